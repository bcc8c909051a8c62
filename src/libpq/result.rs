//! A result of a command; its values borrow from it.

use super::{Error, Oid, ServerError, text};
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

/// What a command's result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The statement was empty.
    EmptyQuery,
    /// Done, without rows.
    CommandOk,
    /// Done, with rows (possibly none).
    TuplesOk,
    /// COPY to the client has begun.
    CopyOut,
    /// COPY from the client has begun.
    CopyIn,
    /// The server's answer was not understood.
    BadResponse,
    /// A notice or warning.
    NonfatalError,
    /// The command failed.
    FatalError,
    /// Replication has begun.
    CopyBoth,
    /// One row in single-row mode.
    SingleTuple,
    /// A status of pipelines or chunked rows, which this crate does not ask for.
    Other,
}

impl Status {
    /// libpq's name, as in `PGRES_TUPLES_OK`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::EmptyQuery => "PGRES_EMPTY_QUERY",
            Status::CommandOk => "PGRES_COMMAND_OK",
            Status::TuplesOk => "PGRES_TUPLES_OK",
            Status::CopyOut => "PGRES_COPY_OUT",
            Status::CopyIn => "PGRES_COPY_IN",
            Status::BadResponse => "PGRES_BAD_RESPONSE",
            Status::NonfatalError => "PGRES_NONFATAL_ERROR",
            Status::FatalError => "PGRES_FATAL_ERROR",
            Status::CopyBoth => "PGRES_COPY_BOTH",
            Status::SingleTuple => "PGRES_SINGLE_TUPLE",
            Status::Other => "PGRES_OTHER",
        }
    }

    /// Whether a COPY has begun.
    #[must_use]
    pub fn is_copy(self) -> bool {
        matches!(self, Status::CopyIn | Status::CopyOut | Status::CopyBoth)
    }

    /// Whether the command failed.
    #[must_use]
    pub fn is_error(self) -> bool {
        matches!(self, Status::BadResponse | Status::FatalError)
    }
}

/// A field of an error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ErrorField {
    Severity,
    SeverityNonlocalized,
    Sqlstate,
    Primary,
    Detail,
    Hint,
    Position,
    InternalPosition,
    InternalQuery,
    Context,
    Schema,
    Table,
    Column,
    Datatype,
    Constraint,
    File,
    Line,
    Function,
}

impl ErrorField {
    /// The protocol's letter (manual, "Error and Notice Message Fields").
    const fn letter(self) -> u8 {
        match self {
            ErrorField::Severity => b'S',
            ErrorField::SeverityNonlocalized => b'V',
            ErrorField::Sqlstate => b'C',
            ErrorField::Primary => b'M',
            ErrorField::Detail => b'D',
            ErrorField::Hint => b'H',
            ErrorField::Position => b'P',
            ErrorField::InternalPosition => b'p',
            ErrorField::InternalQuery => b'q',
            ErrorField::Context => b'W',
            ErrorField::Schema => b's',
            ErrorField::Table => b't',
            ErrorField::Column => b'c',
            ErrorField::Datatype => b'd',
            ErrorField::Constraint => b'n',
            ErrorField::File => b'F',
            ErrorField::Line => b'L',
            ErrorField::Function => b'R',
        }
    }
}

/// A result of a command. Freed when dropped.
#[derive(Debug)]
pub struct PgResult {
    raw: NonNull<pq_sys::PGresult>,
    owned: bool,
}

// SAFETY: a PGresult is plain memory of its own and may be used by any thread, one at a time.
unsafe impl Send for PgResult {}

impl PgResult {
    pub(super) fn from_raw(raw: *mut pq_sys::PGresult) -> Option<PgResult> {
        NonNull::new(raw).map(|raw| PgResult { raw, owned: true })
    }

    /// A result that holds nothing, in the place of one that is no longer needed; None when there
    /// is no memory.
    #[must_use]
    pub fn empty() -> Option<PgResult> {
        let status = pq_sys::ExecStatusType::PGRES_EMPTY_QUERY;
        // SAFETY: a connection is not needed.
        PgResult::from_raw(unsafe { pq_sys::PQmakeEmptyPGresult(std::ptr::null_mut(), status) })
    }

    /// A `PgResult` over a result that somebody else owns and clears.
    ///
    /// # Safety
    /// `raw` is a live result, stays so as long as this value, and is used by this thread only.
    #[must_use]
    pub unsafe fn borrow_raw(raw: NonNull<pq_sys::PGresult>) -> PgResult {
        PgResult { raw, owned: false }
    }

    /// A copy of a result that somebody else owns and may clear: all that it holds.
    ///
    /// # Errors
    /// `POSTGRES LIBRARY` when out of memory.
    ///
    /// # Safety
    /// `raw` is a live result.
    pub unsafe fn copy_raw(raw: NonNull<pq_sys::PGresult>) -> Result<PgResult, Error> {
        let parts = pq_sys::PG_COPYRES_ATTRS | pq_sys::PG_COPYRES_TUPLES;
        // SAFETY: live, by the caller.
        let copy = unsafe { pq_sys::PQcopyResult(raw.as_ptr(), parts as c_int) };
        PgResult::from_raw(copy)
            .ok_or_else(|| Error::Library { message: "out of memory".to_owned() })
    }

    /// The `PGresult*`, for code that must hand it to another C library. It stays owned by this
    /// value.
    #[must_use]
    pub fn as_raw(&self) -> *mut pq_sys::PGresult {
        self.raw.as_ptr()
    }

    /// What the result is.
    #[must_use]
    pub fn status(&self) -> Status {
        use pq_sys::ExecStatusType as S;
        // SAFETY: the result is live.
        match unsafe { pq_sys::PQresultStatus(self.as_raw()) } {
            S::PGRES_EMPTY_QUERY => Status::EmptyQuery,
            S::PGRES_COMMAND_OK => Status::CommandOk,
            S::PGRES_TUPLES_OK => Status::TuplesOk,
            S::PGRES_COPY_OUT => Status::CopyOut,
            S::PGRES_COPY_IN => Status::CopyIn,
            S::PGRES_BAD_RESPONSE => Status::BadResponse,
            S::PGRES_NONFATAL_ERROR => Status::NonfatalError,
            S::PGRES_FATAL_ERROR => Status::FatalError,
            S::PGRES_COPY_BOTH => Status::CopyBoth,
            S::PGRES_SINGLE_TUPLE => Status::SingleTuple,
            _ => Status::Other,
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn ntuples(&self) -> usize {
        // SAFETY: the result is live.
        usize::try_from(unsafe { pq_sys::PQntuples(self.as_raw()) }).unwrap_or(0)
    }

    /// Number of columns.
    #[must_use]
    pub fn nfields(&self) -> usize {
        // SAFETY: the result is live.
        usize::try_from(unsafe { pq_sys::PQnfields(self.as_raw()) }).unwrap_or(0)
    }

    /// A column's number as libpq wants it, when there is such a column.
    fn column(&self, col: usize) -> Option<c_int> {
        if col < self.nfields() { c_int::try_from(col).ok() } else { None }
    }

    /// A column's name, in UTF-8 (invalid bytes replaced).
    #[must_use]
    pub fn fname(&self, col: usize) -> Option<String> {
        let col = self.column(col)?;
        // SAFETY: the column exists; the string belongs to the result.
        Some(unsafe { text::owned(pq_sys::PQfname(self.as_raw(), col)) })
    }

    /// A column's type.
    #[must_use]
    pub fn ftype(&self, col: usize) -> Option<Oid> {
        let col = self.column(col)?;
        // SAFETY: the column exists.
        Some(unsafe { pq_sys::PQftype(self.as_raw(), col) })
    }

    /// Whether the values are in the server's binary form.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        // SAFETY: the result is live.
        unsafe { pq_sys::PQbinaryTuples(self.as_raw()) != 0 }
    }

    /// A column's type modifier, -1 when there is none.
    #[must_use]
    pub fn fmod(&self, col: usize) -> Option<i32> {
        let col = self.column(col)?;
        // SAFETY: the column exists.
        Some(unsafe { pq_sys::PQfmod(self.as_raw(), col) })
    }

    /// The size of a column's type in bytes, negative when it varies.
    #[must_use]
    pub fn fsize(&self, col: usize) -> Option<i32> {
        let col = self.column(col)?;
        // SAFETY: the column exists.
        Some(unsafe { pq_sys::PQfsize(self.as_raw(), col) })
    }

    /// The number of the column named `name`, taken as it is (no case folding).
    #[must_use]
    pub fn fnumber(&self, name: &str) -> Option<usize> {
        (0..self.nfields()).find(|col| self.fname(*col).as_deref() == Some(name))
    }

    /// A value's bytes; `None` for NULL and for a row or column that is not there.
    #[must_use]
    pub fn value(&self, row: usize, col: usize) -> Option<&[u8]> {
        if row >= self.ntuples() || col >= self.nfields() {
            return None;
        }
        self.value_at(row as c_int, col as c_int)
    }

    /// As [`PgResult::value`], for a row and column known to be there.
    #[inline]
    fn value_at(&self, row: c_int, col: c_int) -> Option<&[u8]> {
        // SAFETY: row and column exist (checked by the caller in this module); the bytes belong to
        // the result and live as long as the borrow of self.
        unsafe {
            let raw = self.raw.as_ptr();
            let length = pq_sys::PQgetlength(raw, row, col);
            if length == 0 && pq_sys::PQgetisnull(raw, row, col) != 0 {
                return None;
            }
            let start = pq_sys::PQgetvalue(raw, row, col).cast::<u8>();
            Some(std::slice::from_raw_parts(start, usize::try_from(length).unwrap_or(0)))
        }
    }

    /// A value as text; `None` for NULL. Invalid UTF-8 is replaced.
    #[must_use]
    pub fn text(&self, row: usize, col: usize) -> Option<String> {
        self.value(row, col).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The values of a row, in column order.
    pub fn row(&self, row: usize) -> impl Iterator<Item = Option<&[u8]>> {
        let columns = if row < self.ntuples() { self.nfields() } else { 0 };
        (0..columns).map(move |col| self.value_at(row as c_int, col as c_int))
    }

    /// The number of rows a command touched, as text; empty for commands that do not count.
    #[must_use]
    pub fn cmd_tuples(&self) -> String {
        // SAFETY: the result is live; libpq writes into the result's own buffer only.
        unsafe { text::owned(pq_sys::PQcmdTuples(self.as_raw())) }
    }

    /// The command tag, as in `INSERT 0 1`.
    #[must_use]
    pub fn cmd_status(&self) -> String {
        // SAFETY: a live result; libpq's text is NUL-terminated and is read at once.
        unsafe { text::owned(pq_sys::PQcmdStatus(self.as_raw())) }
    }

    /// The object id of an inserted row, 0 when there is none.
    #[must_use]
    pub fn oid_value(&self) -> Oid {
        // SAFETY: the result is live.
        unsafe { pq_sys::PQoidValue(self.as_raw()) }
    }

    /// The whole error message with its line ends, empty when there is none.
    #[must_use]
    pub fn error_message(&self) -> String {
        // SAFETY: the result is live and owns the string.
        unsafe { text::owned(pq_sys::PQresultErrorMessage(self.as_raw())) }
    }

    /// One field of the error message.
    #[must_use]
    pub fn error_field(&self, field: ErrorField) -> Option<String> {
        // SAFETY: the result is live and owns the string.
        unsafe {
            let value = pq_sys::PQresultErrorField(self.as_raw(), c_int::from(field.letter()));
            (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
        }
    }

    /// The result itself when it is not an error.
    ///
    /// # Errors
    /// `POSTGRES SERVER` with the SQLSTATE; `POSTGRES LOST` when libpq made the error itself
    /// because the connection broke.
    pub fn into_ok(self) -> Result<PgResult, Error> {
        if !self.status().is_error() {
            return Ok(self);
        }
        let field = |f| self.error_field(f).unwrap_or_default();
        let sqlstate = field(ErrorField::Sqlstate);
        let mut message = field(ErrorField::Primary);
        if message.is_empty() {
            message = self.error_message().trim_end().to_owned();
        }
        if sqlstate.is_empty() {
            // Only libpq's own errors have no SQLSTATE, and those of results mean a broken
            // connection.
            return Err(Error::Lost { message });
        }
        let severity = self
            .error_field(ErrorField::SeverityNonlocalized)
            .unwrap_or_else(|| field(ErrorField::Severity));
        let (detail, hint) = (field(ErrorField::Detail), field(ErrorField::Hint));
        Err(Error::Server(Box::new(ServerError { sqlstate, severity, message, detail, hint })))
    }
}

impl Drop for PgResult {
    fn drop(&mut self) {
        if self.owned {
            // SAFETY: ours, cleared once.
            unsafe { pq_sys::PQclear(self.raw.as_ptr()) }
        }
    }
}
