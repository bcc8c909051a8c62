//! Commands: blocking, and asynchronous.

use super::{Conn, Error, PgResult, Status, TransactionStatus, text};
use std::ffi::{CStr, CString, c_char, c_int};

/// A parameter: `None` is NULL. Text format: the bytes are UTF-8 text without NUL.
pub type Param<'a> = Option<&'a [u8]>;

/// Parameters in the form libpq wants, in one piece of memory.
#[derive(Debug, Default)]
pub struct ParamList {
    text: Vec<u8>,
    /// Where each begins; None is NULL.
    starts: Vec<Option<usize>>,
}

impl ParamList {
    /// An empty list with room for so many.
    #[must_use]
    pub fn with_capacity(params: usize) -> ParamList {
        ParamList { text: Vec::with_capacity(16 * params), starts: Vec::with_capacity(params) }
    }

    /// Adds a parameter.
    ///
    /// # Errors
    /// `POSTGRES NUL`, `POSTGRES LIBRARY` when memory is short.
    pub fn push(&mut self, param: Param<'_>) -> Result<(), Error> {
        let start = param.map(|_| self.text.len());
        if let Some(bytes) = param {
            if memchr::memchr(0, bytes).is_some() {
                return Err(Error::Nul { what: "parameter" });
            }
            text::reserve(&mut self.text, bytes.len() + 1)?;
            self.text.extend_from_slice(bytes);
            self.text.push(0);
        }
        self.starts.push(start);
        Ok(())
    }

    fn from(params: &[Param<'_>]) -> Result<ParamList, Error> {
        let mut list = ParamList::with_capacity(params.len());
        params.iter().try_for_each(|param| list.push(*param)).map(|()| list)
    }
}

/// The pointers to a list's parameters, while that stays as it is.
struct Params {
    pointers: Vec<*const c_char>,
    count: c_int,
}

impl Params {
    fn of(list: &ParamList) -> Result<Params, Error> {
        let count = c_int::try_from(list.starts.len())
            .map_err(|_| Error::Library { message: "too many parameters".to_owned() })?;
        let pointer = |start: &Option<usize>| match start {
            Some(start) => list.text.get(*start..).map_or(std::ptr::null(), |t| t.as_ptr().cast()),
            None => std::ptr::null(),
        };
        Ok(Params { pointers: list.starts.iter().map(pointer).collect(), count })
    }

    fn values(&self) -> *const *const c_char {
        if self.pointers.is_empty() { std::ptr::null() } else { self.pointers.as_ptr() }
    }
}

/// What a [`Call`] runs.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A statement.
    Sql(&'a str),
    /// A prepared statement, by its name.
    Prepared(&'a str),
}

/// A statement with parameters and results in text or in the server's binary form.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What runs.
    pub target: Target<'a>,
    /// The parameters.
    pub params: &'a [Param<'a>],
    /// Which of them are in binary form (manual, the types' send functions); a missing one is text.
    pub binary: &'a [bool],
    /// Whether the values of the result are to be in binary form.
    pub binary_result: bool,
}

/// The arrays that libpq wants for a [`Call`].
struct Arrays {
    target: CString,
    _strings: Vec<Option<CString>>,
    pointers: Vec<*const c_char>,
    lengths: Vec<c_int>,
    formats: Vec<c_int>,
    count: c_int,
    result: c_int,
}

impl Arrays {
    fn new(call: &Call<'_>) -> Result<Arrays, Error> {
        let out_of_range = |_| Error::Library { message: "a parameter is too long".to_owned() };
        let target = match call.target {
            Target::Sql(sql) => text::c_string(sql, "statement")?,
            Target::Prepared(name) => text::c_string(name, "statement name")?,
        };
        let (mut strings, mut pointers) = (Vec::new(), Vec::new());
        let (mut lengths, mut formats) = (Vec::new(), Vec::new());
        for (n, param) in call.params.iter().enumerate() {
            let binary = call.binary.get(n).copied().unwrap_or(false);
            let bytes = param.unwrap_or_default();
            let string = match param {
                Some(bytes) if !binary => Some(text::c_string(*bytes, "parameter")?),
                _ => None,
            };
            pointers.push(match (&string, param) {
                (Some(string), _) => string.as_ptr(),
                (None, Some(bytes)) => bytes.as_ptr().cast::<c_char>(),
                (None, None) => std::ptr::null(),
            });
            strings.push(string);
            lengths.push(c_int::try_from(bytes.len()).map_err(out_of_range)?);
            formats.push(c_int::from(binary));
        }
        let count = c_int::try_from(pointers.len()).map_err(out_of_range)?;
        let result = c_int::from(call.binary_result);
        Ok(Arrays { target, _strings: strings, pointers, lengths, formats, count, result })
    }
}

impl Conn {
    /// Runs a statement with parameters in either form, and waits.
    ///
    /// # Errors
    /// As [`Conn::exec`].
    pub fn exec_call(&self, call: &Call<'_>) -> Result<PgResult, Error> {
        let a = Arrays::new(call)?;
        let (values, lengths) = (a.pointers.as_ptr(), a.lengths.as_ptr());
        let (target, formats) = (a.target.as_ptr(), a.formats.as_ptr());
        let none = std::ptr::null();
        // SAFETY: the connection is live; the arrays have `count` elements, which live during the
        // call.
        self.result(unsafe {
            match call.target {
                Target::Sql(_) => pq_sys::PQexecParams(
                    self.as_raw(),
                    target,
                    a.count,
                    none,
                    values,
                    lengths,
                    formats,
                    a.result,
                ),
                Target::Prepared(_) => pq_sys::PQexecPrepared(
                    self.as_raw(),
                    target,
                    a.count,
                    values,
                    lengths,
                    formats,
                    a.result,
                ),
            }
        })
    }

    /// Sends a statement with parameters in either form, and does not wait.
    ///
    /// # Errors
    /// As [`Conn::send_query`].
    pub fn send_call(&self, call: &Call<'_>) -> Result<(), Error> {
        let a = Arrays::new(call)?;
        let (values, lengths) = (a.pointers.as_ptr(), a.lengths.as_ptr());
        let (target, formats) = (a.target.as_ptr(), a.formats.as_ptr());
        let none = std::ptr::null();
        // SAFETY: as in exec_call; libpq copies what it sends.
        self.sent(unsafe {
            match call.target {
                Target::Sql(_) => pq_sys::PQsendQueryParams(
                    self.as_raw(),
                    target,
                    a.count,
                    none,
                    values,
                    lengths,
                    formats,
                    a.result,
                ),
                Target::Prepared(_) => pq_sys::PQsendQueryPrepared(
                    self.as_raw(),
                    target,
                    a.count,
                    values,
                    lengths,
                    formats,
                    a.result,
                ),
            }
        })
    }

    /// Runs one or several statements and returns the last result, whatever its status.
    ///
    /// # Errors
    /// `POSTGRES LOST` or `POSTGRES LIBRARY` when there is no result at all; `POSTGRES NUL`.
    pub fn exec(&self, sql: &str) -> Result<PgResult, Error> {
        self.exec_c(&text::c_string(sql, "statement")?)
    }

    /// As [`Conn::exec`], of a statement in the form that libpq takes.
    ///
    /// # Errors
    /// As [`Conn::exec`].
    pub fn exec_c(&self, sql: &CStr) -> Result<PgResult, Error> {
        // SAFETY: the connection is live, the statement NUL-terminated.
        self.result(unsafe { pq_sys::PQexec(self.as_raw(), sql.as_ptr()) })
    }

    /// Runs one statement with text parameters; the result's values are text.
    ///
    /// # Errors
    /// As [`Conn::exec`].
    pub fn exec_params(&self, sql: &str, params: &[Param<'_>]) -> Result<PgResult, Error> {
        self.exec_list(&text::c_string(sql, "statement")?, &ParamList::from(params)?)
    }

    /// As [`Conn::exec_params`].
    ///
    /// # Errors
    /// As [`Conn::exec`].
    pub fn exec_list(&self, sql: &CStr, params: &ParamList) -> Result<PgResult, Error> {
        let params = Params::of(params)?;
        // SAFETY: the connection is live; the arrays have `count` elements; text format needs no
        // lengths.
        self.result(unsafe {
            pq_sys::PQexecParams(
                self.as_raw(),
                sql.as_ptr(),
                params.count,
                std::ptr::null(),
                params.values(),
                std::ptr::null(),
                std::ptr::null(),
                0,
            )
        })
    }

    /// Runs a prepared statement with text parameters.
    ///
    /// # Errors
    /// As [`Conn::exec`].
    pub fn exec_prepared(&self, name: &str, params: &[Param<'_>]) -> Result<PgResult, Error> {
        let name = text::c_string(name, "statement name")?;
        let list = ParamList::from(params)?;
        let params = Params::of(&list)?;
        // SAFETY: as in exec_params.
        self.result(unsafe {
            pq_sys::PQexecPrepared(
                self.as_raw(),
                name.as_ptr(),
                params.count,
                params.values(),
                std::ptr::null(),
                std::ptr::null(),
                0,
            )
        })
    }

    /// Prepares a statement; parameter types are inferred.
    ///
    /// # Errors
    /// As [`Conn::exec`].
    pub fn prepare(&self, name: &str, sql: &str) -> Result<PgResult, Error> {
        let name = text::c_string(name, "statement name")?;
        let sql = text::c_string(sql, "statement")?;
        // SAFETY: the connection is live, the strings NUL-terminated, no types are given.
        self.result(unsafe {
            pq_sys::PQprepare(self.as_raw(), name.as_ptr(), sql.as_ptr(), 0, std::ptr::null())
        })
    }

    /// What the result of a query will look like, without running it: names and types of its
    /// columns, no rows. Replaces the unnamed prepared statement. Two messages: outside of a
    /// transaction one of its own is around them, for a pool may answer the second by another
    /// server.
    ///
    /// # Errors
    /// As [`Conn::query`]; also when it is more than one statement.
    pub fn describe(&self, sql: &str) -> Result<PgResult, Error> {
        let alone = self.transaction_status() == TransactionStatus::Idle;
        if alone {
            self.query("BEGIN")?;
        }
        let prepared = self.prepare("", sql).and_then(PgResult::into_ok);
        let described = prepared.and_then(|_| {
            // SAFETY: the connection is live, the name NUL-terminated.
            self.result(unsafe { pq_sys::PQdescribePrepared(self.as_raw(), c"".as_ptr()) })
        });
        if alone {
            // NOTE: of a connection that is lost the error before is the one to tell.
            let _ = self.exec("ROLLBACK");
        }
        described?.into_ok()
    }

    /// Runs statements whose failure is an error.
    ///
    /// # Errors
    /// `POSTGRES SERVER` with the SQLSTATE, and those of [`Conn::exec`].
    pub fn query(&self, sql: &str) -> Result<PgResult, Error> {
        self.exec(sql)?.into_ok()
    }

    /// Runs a statement with text parameters; its failure is an error.
    ///
    /// # Errors
    /// As [`Conn::query`].
    pub fn query_params(&self, sql: &str, params: &[Param<'_>]) -> Result<PgResult, Error> {
        self.exec_params(sql, params)?.into_ok()
    }

    fn sent(&self, ok: c_int) -> Result<(), Error> {
        if ok == 1 { Ok(()) } else { Err(self.last_error()) }
    }

    /// Sends one or several statements without waiting.
    ///
    /// # Errors
    /// `POSTGRES LOST`, `POSTGRES LIBRARY` (as when a command is still running), `POSTGRES NUL`.
    pub fn send_query(&self, sql: &str) -> Result<(), Error> {
        self.send_query_c(&text::c_string(sql, "statement")?)
    }

    /// As [`Conn::send_query`], of a statement in the form that libpq takes.
    ///
    /// # Errors
    /// As [`Conn::send_query`].
    pub fn send_query_c(&self, sql: &CStr) -> Result<(), Error> {
        // SAFETY: the connection is live, the statement NUL-terminated.
        self.sent(unsafe { pq_sys::PQsendQuery(self.as_raw(), sql.as_ptr()) })
    }

    /// Sends a statement with text parameters without waiting; the result's values are text.
    ///
    /// # Errors
    /// As [`Conn::send_query`].
    pub fn send_query_params(&self, sql: &str, params: &[Param<'_>]) -> Result<(), Error> {
        self.send_query_list(&text::c_string(sql, "statement")?, &ParamList::from(params)?)
    }

    /// As [`Conn::send_query_params`].
    ///
    /// # Errors
    /// As [`Conn::send_query`].
    pub fn send_query_list(&self, sql: &CStr, params: &ParamList) -> Result<(), Error> {
        let params = Params::of(params)?;
        // SAFETY: as in exec_params.
        self.sent(unsafe {
            pq_sys::PQsendQueryParams(
                self.as_raw(),
                sql.as_ptr(),
                params.count,
                std::ptr::null(),
                params.values(),
                std::ptr::null(),
                std::ptr::null(),
                0,
            )
        })
    }

    /// Sends the execution of a prepared statement without waiting.
    ///
    /// # Errors
    /// As [`Conn::send_query`].
    pub fn send_query_prepared(&self, name: &str, params: &[Param<'_>]) -> Result<(), Error> {
        let name = text::c_string(name, "statement name")?;
        let list = ParamList::from(params)?;
        let params = Params::of(&list)?;
        // SAFETY: as in exec_params.
        self.sent(unsafe {
            pq_sys::PQsendQueryPrepared(
                self.as_raw(),
                name.as_ptr(),
                params.count,
                params.values(),
                std::ptr::null(),
                std::ptr::null(),
                0,
            )
        })
    }

    /// Asks that the command just sent gives its rows one by one. True when libpq accepted.
    #[must_use]
    pub fn set_single_row_mode(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQsetSingleRowMode(self.as_raw()) == 1 }
    }

    /// Reads what has arrived, without waiting.
    ///
    /// # Errors
    /// `POSTGRES LOST` when the connection broke.
    pub fn consume_input(&self) -> Result<(), Error> {
        // SAFETY: the connection is live.
        self.sent(unsafe { pq_sys::PQconsumeInput(self.as_raw()) })
    }

    /// Whether [`Conn::get_result`] would wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQisBusy(self.as_raw()) == 1 }
    }

    /// Looks at what has been read already, without reading: the end of a statement behind its last
    /// result lets the next one be sent.
    pub fn parse_input(&self) {
        // libpq does it whatever it then answers.
        let _ = self.is_busy();
    }

    /// The next result of what was sent; `None` when there are no more. Waits when
    /// [`Conn::is_busy`].
    #[must_use]
    pub fn get_result(&self) -> Option<PgResult> {
        // SAFETY: the connection is live.
        PgResult::from_raw(unsafe { pq_sys::PQgetResult(self.as_raw()) })
    }

    /// Throws away the rest of what was sent, until the connection is idle. Does not end a COPY.
    pub fn drain(&self) {
        while let Some(result) = self.get_result() {
            if matches!(result.status(), Status::CopyIn | Status::CopyOut | Status::CopyBoth) {
                return;
            }
        }
    }

    /// Makes sending non-blocking or blocking.
    ///
    /// # Errors
    /// `POSTGRES LOST` when what was waiting to be sent could not be.
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<(), Error> {
        // SAFETY: the connection is live.
        let failed = unsafe { pq_sys::PQsetnonblocking(self.as_raw(), c_int::from(nonblocking)) };
        if failed == 0 { Ok(()) } else { Err(self.last_error()) }
    }

    /// Whether sending is non-blocking.
    #[must_use]
    pub fn is_nonblocking(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQisnonblocking(self.as_raw()) == 1 }
    }

    /// Sends what is waiting. True when all is sent, false when the socket must become writable
    /// first.
    ///
    /// # Errors
    /// `POSTGRES LOST`.
    pub fn flush(&self) -> Result<bool, Error> {
        // SAFETY: the connection is live.
        match unsafe { pq_sys::PQflush(self.as_raw()) } {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(self.last_error()),
        }
    }
}
