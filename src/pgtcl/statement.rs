//! A statement with its parameters, from the words of a command to libpq.

use super::failure::request_failed;
use super::substitute;
use crate::libpq::{Conn, Error, ParamList, PgResult};
use crate::tcl::{CmdResult, Failure, Interp, Obj};
use std::borrow::Cow;
use std::ffi::{CStr, CString};

const VARIABLES_ALONE: &str = "-variables can not be used with positional or named parameters";

/// Where parameters come from.
#[derive(Default)]
pub(super) enum Binding {
    /// There are none: several statements are allowed.
    #[default]
    None,
    /// `:name` in the statement: variables of the caller.
    Variables,
    /// `` `name` `` in the statement: elements of this array.
    Array(Obj),
    /// `$1`, `$2`, ...: these values; the text `NULL` means NULL.
    Positional(Vec<Obj>),
}

impl Binding {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Binding::None)
    }

    /// The parameters of two options: -variables goes with no other; else the later one counts.
    fn and(self, later: Binding) -> CmdResult<Binding> {
        match (&self, &later) {
            (Binding::Variables, Binding::Array(_)) | (Binding::Array(_), Binding::Variables) => {
                Err(Failure::new(VARIABLES_ALONE, &["TCL", "WRONGARGS"]).into())
            }
            _ => Ok(later),
        }
    }
}

/// The text of a statement: as libpq takes it, or to be copied first.
enum Sql<'a> {
    Ready(&'a CStr),
    Text(Cow<'a, str>),
}

impl<'a> Sql<'a> {
    fn of(sql: &'a Obj) -> CmdResult<Sql<'a>> {
        match sql.as_c_text() {
            Some(text) => Ok(Sql::Ready(text)),
            None => Ok(Sql::Text(sql.as_text()?)),
        }
    }

    /// The text with a NUL at its end.
    fn c_text(&self) -> Result<Cow<'_, CStr>, Error> {
        match self {
            Sql::Ready(text) => Ok(Cow::Borrowed(text)),
            Sql::Text(text) => CString::new(text.as_bytes())
                .map(Cow::Owned)
                .map_err(|_| Error::Nul { what: "statement" }),
        }
    }
}

/// A statement ready to be sent.
pub(super) struct Statement<'a> {
    sql: Sql<'a>,
    params: Option<Vec<Option<Obj>>>,
}

impl<'a> Statement<'a> {
    /// Reads the values of the parameters.
    ///
    /// # Errors
    /// A malformed substitution; text that has no UTF-8 form.
    pub(super) fn bind(interp: Interp, sql: &'a Obj, binding: Binding) -> CmdResult<Statement<'a>> {
        match binding {
            Binding::None => Ok(Statement { sql: Sql::of(sql)?, params: None }),
            // COMPAT: an empty list is no list, and several statements are allowed.
            Binding::Positional(values) if values.is_empty() => {
                Self::bind(interp, sql, Binding::None)
            }
            Binding::Positional(values) => {
                let null = |value: &Obj| value.internal() == b"NULL";
                let params = values.into_iter().map(|v| if null(&v) { None } else { Some(v) });
                Ok(Statement { params: Some(params.collect()), sql: Sql::of(sql)? })
            }
            Binding::Variables => {
                let sql = sql.as_text()?;
                let found = substitute::variables(&sql, |name| {
                    interp.get_var(&Obj::text(name), None).is_some()
                })?;
                Ok(Self::substituted(found, |name| interp.get_var(&Obj::text(name), None)))
            }
            Binding::Array(array) => {
                let sql = sql.as_text()?;
                let found = substitute::backquotes(&sql)?;
                Ok(Self::substituted(found, |name| interp.get_var(&array, Some(&Obj::text(name)))))
            }
        }
    }

    fn substituted(
        found: substitute::Substituted,
        value: impl Fn(&str) -> Option<Obj>,
    ) -> Statement<'a> {
        let params: Vec<_> = found.names.iter().map(|name| value(name)).collect();
        let params = if params.is_empty() { None } else { Some(params) };
        Statement { sql: Sql::Text(Cow::Owned(found.sql)), params }
    }

    /// Runs it and waits; the result may be an error of the server.
    ///
    /// # Errors
    /// There is no result: `POSTGRESQL REQUEST_FAILED ...`.
    pub(super) fn exec(&self, conn: &Conn) -> CmdResult<PgResult> {
        self.with_params(|params| match params {
            None => conn.exec_c(&self.sql.c_text()?),
            Some(params) => conn.exec_list(&self.sql.c_text()?, params),
        })?
        .map_err(|error| request_failed(conn, error))
    }

    /// Sends it and does not wait.
    ///
    /// # Errors
    /// It could not be sent: `POSTGRESQL REQUEST_FAILED ...`.
    pub(super) fn send(&self, conn: &Conn) -> CmdResult<()> {
        self.with_params(|params| match params {
            None => conn.send_query_c(&self.sql.c_text()?),
            Some(params) => conn.send_query_list(&self.sql.c_text()?, params),
        })?
        .map_err(|error| request_failed(conn, error))
    }

    fn with_params<T>(
        &self,
        run: impl FnOnce(Option<&ParamList>) -> Result<T, Error>,
    ) -> CmdResult<Result<T, Error>> {
        let Some(params) = &self.params else { return Ok(run(None)) };
        let mut list = ParamList::with_capacity(params.len());
        for value in params {
            match value {
                None => list.push(None)?,
                Some(value) => list.push(Some(value.as_text()?.as_bytes()))?,
            }
        }
        Ok(run(Some(&list)))
    }
}

/// The words of `pg_exec` and `pg_sendquery`.
pub(super) struct Call<'a> {
    pub connection: &'a Obj,
    pub sql: &'a Obj,
    pub binding: Binding,
}

impl<'a> Call<'a> {
    /// Reads `?-variables? ?-paramarray arr? conn ?...? sql ?param ...?`. A statement may begin
    /// with the two dashes of a comment.
    ///
    /// # Errors
    /// `TCL WRONGARGS`; positional and named parameters together.
    pub(super) fn parse(words: &'a [Obj], usage: &str) -> CmdResult<Call<'a>> {
        let wrong = || Failure::wrong_args(usage);
        let mut binding = Binding::None;
        let mut connection = None;
        let mut rest = words.get(1..).unwrap_or_default();
        loop {
            let [word, tail @ ..] = rest else { return Err(wrong().into()) };
            match (word.internal(), tail, connection) {
                (b"-variables", _, _) => {
                    binding = binding.and(Binding::Variables)?;
                    rest = tail;
                }
                (b"-paramarray", [array, tail @ ..], _) => {
                    binding = binding.and(Binding::Array(array.clone()))?;
                    rest = tail;
                }
                ([b'-', second, ..], _, _) if *second != b'-' => return Err(wrong().into()),
                (_, _, None) => {
                    connection = Some(word);
                    rest = tail;
                }
                (_, params, Some(connection)) => {
                    let binding = with_positional(binding, params)?;
                    return Ok(Call { connection, sql: word, binding });
                }
            }
        }
    }
}

fn with_positional(binding: Binding, params: &[Obj]) -> CmdResult<Binding> {
    if params.is_empty() {
        return Ok(binding);
    }
    let message = match binding {
        Binding::None => return Ok(Binding::Positional(params.to_vec())),
        Binding::Variables => VARIABLES_ALONE,
        _ => "Can't use both positional and named parameters",
    };
    Err(Failure::new(message, &["TCL", "WRONGARGS"]).into())
}
