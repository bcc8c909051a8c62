//! Commands: blocking, and asynchronous.

use super::{Conn, Error, PgResult, Status, text};
use std::ffi::{CString, c_char, c_int};

/// A parameter: `None` is NULL. Text format: the bytes are UTF-8 text without NUL.
pub type Param<'a> = Option<&'a [u8]>;

/// Parameters in the form libpq wants; keeps the strings alive.
struct Params {
    _strings: Vec<Option<CString>>,
    pointers: Vec<*const c_char>,
    count: c_int,
}

impl Params {
    fn new(params: &[Param<'_>]) -> Result<Params, Error> {
        let mut strings = Vec::with_capacity(params.len());
        for param in params {
            strings.push(param.map(|bytes| text::c_string(bytes, "parameter")).transpose()?);
        }
        let pointers =
            strings.iter().map(|s| s.as_ref().map_or(std::ptr::null(), |s| s.as_ptr())).collect();
        let count = c_int::try_from(params.len())
            .map_err(|_| Error::Library { message: "too many parameters".to_owned() })?;
        Ok(Params { _strings: strings, pointers, count })
    }

    fn values(&self) -> *const *const c_char {
        if self.pointers.is_empty() { std::ptr::null() } else { self.pointers.as_ptr() }
    }
}

impl Conn {
    /// Runs one or several statements and returns the last result, whatever its status.
    ///
    /// # Errors
    /// `POSTGRES LOST` or `POSTGRES LIBRARY` when there is no result at all; `POSTGRES NUL`.
    pub fn exec(&self, sql: &str) -> Result<PgResult, Error> {
        let sql = text::c_string(sql, "statement")?;
        // SAFETY: the connection is live, the statement NUL-terminated.
        self.result(unsafe { pq_sys::PQexec(self.as_raw(), sql.as_ptr()) })
    }

    /// Runs one statement with text parameters; the result's values are text.
    ///
    /// # Errors
    /// As [`Conn::exec`].
    pub fn exec_params(&self, sql: &str, params: &[Param<'_>]) -> Result<PgResult, Error> {
        let sql = text::c_string(sql, "statement")?;
        let params = Params::new(params)?;
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
        let params = Params::new(params)?;
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
        let sql = text::c_string(sql, "statement")?;
        // SAFETY: the connection is live, the statement NUL-terminated.
        self.sent(unsafe { pq_sys::PQsendQuery(self.as_raw(), sql.as_ptr()) })
    }

    /// Sends a statement with text parameters without waiting; the result's values are text.
    ///
    /// # Errors
    /// As [`Conn::send_query`].
    pub fn send_query_params(&self, sql: &str, params: &[Param<'_>]) -> Result<(), Error> {
        let sql = text::c_string(sql, "statement")?;
        let params = Params::new(params)?;
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
        let params = Params::new(params)?;
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
