//! `pg_exec_prepared`, `pg_sendquery_prepared`, `pg_sql`: statements with parameters in text or in
//! binary form.

use super::Connection;
use super::failure::request_failed;
use super::handles::connection;
use super::watch::Waiter;
use crate::libpq::{Call, Param, Target};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, InterpRef, Obj};
use std::borrow::Cow;
use std::rc::Rc;

/// A statement whose words have been read.
struct Request<'a> {
    connection: Rc<Connection>,
    text: Cow<'a, str>,
    prepared: bool,
    params: &'a [Obj],
    binary: Vec<bool>,
    binary_result: bool,
}

impl Request<'_> {
    /// Gives the statement to libpq. The text `NULL` means NULL.
    fn with_call<T>(&self, run: impl FnOnce(&Call<'_>) -> T) -> CmdResult<T> {
        let mut values: Vec<Option<Cow<'_, [u8]>>> = Vec::with_capacity(self.params.len());
        for (n, value) in self.params.iter().enumerate() {
            let binary = self.binary.get(n).copied().unwrap_or(false);
            values.push(match value.internal() == b"NULL" {
                true => None,
                false if binary => Some(Cow::Owned(bytes(value)?)),
                false => Some(match value.as_text()? {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                }),
            });
        }
        let params: Vec<Param<'_>> = values.iter().map(Option::as_deref).collect();
        let target =
            if self.prepared { Target::Prepared(&self.text) } else { Target::Sql(&self.text) };
        Ok(run(&Call {
            target,
            params: &params,
            binary: &self.binary,
            binary_result: self.binary_result,
        }))
    }

    /// Runs it and waits: a result handle.
    fn exec(&self, interp: Interp) -> CmdResult {
        let conn = self.connection.statement_conn()?;
        let result = self.with_call(|call| conn.exec_call(call))?;
        let result = result.map_err(|error| request_failed(&conn, error))?;
        self.connection.hand_out(interp, result)
    }

    /// Sends it.
    fn send(&self) -> CmdResult<()> {
        let conn = self.connection.statement_conn()?;
        self.with_call(|call| conn.send_call(call))?.map_err(|error| request_failed(&conn, error))
    }
}

fn bytes(value: &Obj) -> CmdResult<Vec<u8>> {
    value.to_bytes().ok_or_else(|| {
        let code = ["TCL", "VALUE", "BYTES"];
        Failure::new("a binary parameter has characters that are no bytes", &code).into()
    })
}

fn prepared<'a>(interp: Interp, words: &'a [Obj], name: &str) -> CmdResult<Request<'a>> {
    let [_, handle, statement, params @ ..] = words else {
        return Err(
            Failure::wrong_args(&format!("{name} connection statementName ?parm...?")).into()
        );
    };
    Ok(Request {
        connection: connection(interp, handle)?,
        text: statement.as_text()?,
        prepared: true,
        params,
        binary: Vec::new(),
        binary_result: false,
    })
}

/// `pg_exec_prepared conn statement ?param ...?`: a result handle, also when the server refused.
pub(super) fn exec_prepared(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    Ok(Flow::Value(prepared(interp, words, "pg_exec_prepared")?.exec(interp)?))
}

/// `pg_sendquery_prepared conn statement ?param ...?`: empty. The values of the results are text.
pub(super) fn sendquery_prepared(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    prepared(interp, words, "pg_sendquery_prepared")?.send()?;
    Ok(Obj::empty().into())
}

const SQL_USAGE: &str = "pg_sql connection queryString ?-params list? ?-binparams list? \
                         ?-binresults bool? ?-callback script? ?-async bool? ?-prepared bool?";
const SQL_OPTIONS: [&str; 6] =
    ["-params", "-binparams", "-binresults", "-callback", "-async", "-prepared"];

/// `pg_sql conn sql ?option value ...?`: a result handle; with -callback or -async 1 empty. The
/// callback is a script that runs at global level once `pg_getresult` need not wait.
pub(super) fn sql(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, text, options @ ..] = words else {
        return Err(Failure::wrong_args(SQL_USAGE).into());
    };
    let mut params = Vec::new();
    let (mut binary, mut callback) = (Vec::new(), None);
    let (mut binary_result, mut asynchronous, mut prepared) = (false, false, false);
    for pair in options.chunks(2) {
        let [option, value] = pair else { return Err(Failure::wrong_args(SQL_USAGE).into()) };
        match option.internal() {
            b"-params" => params = value.as_list(interp)?,
            b"-binparams" => {
                let flags = value.as_list(interp)?;
                binary = flags.iter().map(|flag| flag.as_bool(interp)).collect::<CmdResult<_>>()?;
            }
            b"-binresults" => binary_result = value.as_bool(interp)?,
            b"-callback" => callback = Some(value).filter(|script| !script.internal().is_empty()),
            b"-async" => asynchronous = value.as_bool(interp)?,
            b"-prepared" => prepared = value.as_bool(interp)?,
            _ => {
                let word = option.text_lossy();
                return Err(Failure::bad_word("option", &word, &SQL_OPTIONS).into());
            }
        }
    }
    let connection = connection(interp, handle)?;
    if callback.is_some() && connection.has_waiter() {
        let code = ["PGSQLITE", "CONNECTION", "WAITING", "name", connection.name()];
        let message = "Attempt to wait for result while already waiting";
        return Err(Failure::new(message, &code).into());
    }
    let text = text.as_text()?;
    let request = Request { connection, text, prepared, params: &params, binary, binary_result };
    if callback.is_none() && !asynchronous {
        return Ok(Flow::Value(request.exec(interp)?));
    }
    request.send()?;
    if let Some(script) = callback {
        let waiter = Waiter::Script { interp: InterpRef::new(interp), script: script.clone() };
        request.connection.wait_for_results(waiter);
    }
    Ok(Obj::empty().into())
}
