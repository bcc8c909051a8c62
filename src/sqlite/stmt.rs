//! A prepared statement.

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use libsqlite3_sys as ffi;

use super::{Db, Error, Result, Value};

/// A prepared statement; finalised when dropped.
#[derive(Debug)]
pub struct Stmt<'db> {
    db: &'db Db,
    raw: NonNull<ffi::sqlite3_stmt>,
}

impl<'db> Stmt<'db> {
    /// The first statement of `sql` (`None` when there is only blank or comment) and where the text
    /// after it begins.
    pub(super) fn prepare(db: &'db Db, sql: &str) -> Result<(Option<Stmt<'db>>, usize)> {
        if sql.as_bytes().contains(&0) {
            return Err(Error::NulInSql);
        }
        let Ok(bytes) = c_int::try_from(sql.len()) else {
            return Err(too_big(db, sql.len()));
        };
        let start = sql.as_ptr().cast();
        let (mut raw, mut tail) = (std::ptr::null_mut(), std::ptr::null());
        // SAFETY: `sql` is `bytes` long; SQLite reads no further.
        let rc = unsafe { ffi::sqlite3_prepare_v3(db.raw(), start, bytes, 0, &mut raw, &mut tail) };
        if rc != ffi::SQLITE_OK {
            return Err(db.error(rc, sql));
        }
        let tail = (tail as usize).saturating_sub(start as usize).min(sql.len());
        // A tail that made no progress would never end.
        let tail = if tail == 0 { sql.len() } else { tail };
        Ok((NonNull::new(raw).map(|raw| Stmt { db, raw }), tail))
    }

    /// Binds a copy of `value` to the parameter `index`, the first being 1.
    ///
    /// # Errors
    /// RANGE for a parameter that is not there, TOOBIG, MISUSE when the statement is running.
    pub fn bind(&mut self, index: usize, value: Value<'_>) -> Result<()> {
        // SAFETY: TRANSIENT: SQLite makes its own copy.
        unsafe { self.bind_raw(index, value, ffi::SQLITE_TRANSIENT()) }
    }

    /// Binds copies of the values to the parameters 1, 2, ...
    ///
    /// # Errors
    /// As [`Stmt::bind`].
    pub fn bind_all(&mut self, values: &[Value<'_>]) -> Result<()> {
        for (index, value) in values.iter().enumerate() {
            self.bind(index.saturating_add(1), *value)?;
        }
        Ok(())
    }

    /// Runs the statement to its end with these parameters, which are not copied; rows are thrown
    /// away. Returns the rows it changed. The statement can be run again at once.
    ///
    /// # Errors
    /// Those of binding and stepping. The statement is reset in every case.
    pub fn execute(&mut self, parameters: &[Value<'_>]) -> Result<u64> {
        self.with_static(parameters, |stmt| {
            while stmt.step()? {}
            Ok(())
        })?;
        Ok(self.db.changes())
    }

    /// Has the query a row with these parameters, which are not copied? It is reset before and
    /// afterwards.
    ///
    /// # Errors
    /// Those of binding and stepping.
    pub fn exists(&mut self, parameters: &[Value<'_>]) -> Result<bool> {
        self.with_static(parameters, Stmt::step)
    }

    /// Binds without copying, runs, and leaves no borrowed text bound.
    fn with_static<T>(
        &mut self,
        parameters: &[Value<'_>],
        run: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.reset();
        let bound = parameters.iter().enumerate().try_for_each(|(index, value)| {
            // SAFETY: STATIC: the bytes outlive the run, and the bindings are cleared below.
            unsafe { self.bind_raw(index.saturating_add(1), *value, ffi::SQLITE_STATIC()) }
        });
        let done = bound.and_then(|()| run(self));
        self.reset();
        if !parameters.is_empty() {
            // SAFETY: a statement that is not running.
            unsafe { ffi::sqlite3_clear_bindings(self.raw.as_ptr()) };
        }
        done
    }

    /// # Safety
    /// With the destructor STATIC, the value's bytes outlive the binding.
    unsafe fn bind_raw(
        &mut self,
        index: usize,
        value: Value<'_>,
        destructor: ffi::sqlite3_destructor_type,
    ) -> Result<()> {
        let raw = self.raw.as_ptr();
        let at = c_int::try_from(index).unwrap_or(c_int::MAX);
        let bytes = value.byte_len() as u64;
        // SAFETY: pointers and lengths of whole slices; what they may do later is the caller's
        // promise.
        let rc = unsafe {
            match value {
                Value::Null => ffi::sqlite3_bind_null(raw, at),
                Value::Int(int) => ffi::sqlite3_bind_int64(raw, at, int),
                Value::Real(real) => ffi::sqlite3_bind_double(raw, at, real),
                Value::Text(text) => ffi::sqlite3_bind_text64(
                    raw,
                    at,
                    text.as_ptr().cast(),
                    bytes,
                    destructor,
                    ffi::SQLITE_UTF8 as u8,
                ),
                // A blob without bytes is still a blob: zeroblob, since a dangling pointer is no
                // better than null.
                Value::Blob([]) => ffi::sqlite3_bind_zeroblob(raw, at, 0),
                Value::Blob(blob) => {
                    ffi::sqlite3_bind_blob64(raw, at, blob.as_ptr().cast(), bytes, destructor)
                }
            }
        };
        match rc {
            ffi::SQLITE_OK => Ok(()),
            ffi::SQLITE_TOOBIG => Err(too_big(self.db, value.byte_len())),
            rc => Err(self.error(rc)),
        }
    }

    /// Goes to the next row; `false` at the end.
    ///
    /// # Errors
    /// Whatever SQLite reports: BUSY, CONSTRAINT, FULL, IOERR, ... The statement is reset then.
    pub fn step(&mut self) -> Result<bool> {
        // SAFETY: a prepared statement of an open connection.
        match unsafe { ffi::sqlite3_step(self.raw.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            rc => {
                let error = self.error(rc);
                self.reset();
                Err(error)
            }
        }
    }

    /// Ends the run, keeps the bindings; the next step starts afresh.
    pub fn reset(&mut self) {
        // SAFETY: a prepared statement. The code repeats the error of the last step, which was
        // reported there.
        unsafe { ffi::sqlite3_reset(self.raw.as_ptr()) };
    }

    /// Columns of the result; 0 for a statement without one.
    #[must_use]
    pub fn column_count(&self) -> usize {
        // SAFETY: a prepared statement.
        usize::try_from(unsafe { ffi::sqlite3_column_count(self.raw.as_ptr()) }).unwrap_or(0)
    }

    /// Parameters to bind.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        // SAFETY: a prepared statement.
        let count = unsafe { ffi::sqlite3_bind_parameter_count(self.raw.as_ptr()) };
        usize::try_from(count).unwrap_or(0)
    }

    /// Does it leave the database file as it is?
    #[must_use]
    pub fn is_readonly(&self) -> bool {
        // SAFETY: a prepared statement.
        unsafe { ffi::sqlite3_stmt_readonly(self.raw.as_ptr()) != 0 }
    }

    /// Name of a column, the first being 0; empty when there is none.
    #[must_use]
    pub fn column_name(&self, column: usize) -> String {
        let at = c_int::try_from(column).unwrap_or(-1);
        // SAFETY: a prepared statement; an index out of range gives null. Copied at once.
        unsafe {
            let name = ffi::sqlite3_column_name(self.raw.as_ptr(), at);
            if name.is_null() {
                String::new()
            } else {
                CStr::from_ptr(name).to_string_lossy().into_owned()
            }
        }
    }

    /// A column of the current row, the first being 0; NULL when there is no row or no such column.
    #[must_use]
    pub fn column(&self, column: usize) -> Value<'_> {
        let raw = self.raw.as_ptr();
        // SAFETY: a prepared statement; without a row or out of range the count is less or the type
        // NULL.
        let row_columns = unsafe { ffi::sqlite3_data_count(raw) };
        let at = match c_int::try_from(column) {
            Ok(at) if at < row_columns => at,
            _ => return Value::Null,
        };
        // SAFETY: in range. The value is asked once and read without SQLite's lock, which this
        // thread alone would take: a connection is used by one thread at a time. Each value is read
        // in its own type, so nothing is converted and earlier pointers stay valid until the next
        // step or reset, which need `&mut self`.
        unsafe {
            let value = ffi::sqlite3_column_value(raw, at);
            match ffi::sqlite3_value_type(value) {
                ffi::SQLITE_INTEGER => Value::Int(ffi::sqlite3_value_int64(value)),
                ffi::SQLITE_FLOAT => Value::Real(ffi::sqlite3_value_double(value)),
                ffi::SQLITE_TEXT => {
                    Value::Text(slice(ffi::sqlite3_value_text(value).cast(), value))
                }
                ffi::SQLITE_BLOB => Value::Blob(slice(ffi::sqlite3_value_blob(value), value)),
                _ => Value::Null,
            }
        }
    }

    fn error(&self, rc: c_int) -> Error {
        // SAFETY: a prepared statement; its text lives as long as it.
        let sql = unsafe {
            let sql = ffi::sqlite3_sql(self.raw.as_ptr());
            if sql.is_null() { "".into() } else { CStr::from_ptr(sql).to_string_lossy() }
        };
        self.db.error(rc, &sql)
    }
}

impl Drop for Stmt<'_> {
    fn drop(&mut self) {
        // SAFETY: ours; the connection is still open, since it is borrowed.
        unsafe { ffi::sqlite3_finalize(self.raw.as_ptr()) };
    }
}

/// # Safety
/// `start` is what SQLite returned for this value just now, and lives as long as `'a`.
unsafe fn slice<'a>(start: *const std::ffi::c_void, value: *mut ffi::sqlite3_value) -> &'a [u8] {
    // SAFETY: asked after the pointer, as SQLite wants it.
    let bytes = unsafe { ffi::sqlite3_value_bytes(value) };
    match usize::try_from(bytes) {
        // SAFETY: SQLite's own pointer and length, valid as the caller promises.
        Ok(bytes) if bytes > 0 && !start.is_null() => unsafe {
            std::slice::from_raw_parts(start.cast(), bytes)
        },
        _ => &[],
    }
}

fn too_big(db: &Db, bytes: usize) -> Error {
    Error::TooBig { bytes: bytes as u64, limit: db.length_limit() }
}
