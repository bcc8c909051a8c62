//! A connection: owned or borrowed.

use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::time::Duration;

use libsqlite3_sys as ffi;

use super::error::shorten;
use super::{Error, Reason, Result, Stmt, Value, api};

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only; the file must be there.
    Read,
    /// Read and write; the file must be there.
    Write,
    /// Read and write; the file is made when it is not there.
    Create,
}

/// An SQLite connection on the thread that made it.
///
/// An owned one is closed when dropped; a borrowed one is left as it is. Statements borrow from it,
/// so that none is alive when a command returns.
#[derive(Debug)]
pub struct Db {
    raw: NonNull<ffi::sqlite3>,
    owned: bool,
    /// One thread at a time: connections are opened without a mutex.
    _not_send: PhantomData<*mut ()>,
}

impl Db {
    /// Opens the file `path`: always a file, also when it is called `:memory:` or looks like a URI.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::SingleThread`], or SQLite's CANTOPEN, NOTADB and the like.
    /// A file that is not a database shows only when it is read.
    pub fn open(path: &Path, access: Access) -> Result<Db> {
        use std::os::unix::ffi::OsStrExt;
        // A relative path gets a `./`, so that no name (`:memory:`, `file:...`) means anything but
        // a file.
        let plain = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
        let Ok(name) = CString::new(plain.as_os_str().as_bytes()) else {
            return Err(Error::NulInSql);
        };
        Db::open_name(&name, access)
    }

    /// Opens a new private database in memory.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], NOMEM.
    pub fn open_in_memory() -> Result<Db> {
        Db::open_name(c":memory:", Access::Create)
    }

    fn open_name(name: &CStr, access: Access) -> Result<Db> {
        api::require()?;
        // NOTE: connections of our own live beside the user's handles, and on other threads.
        // SAFETY: takes nothing, returns a constant.
        if unsafe { ffi::sqlite3_threadsafe() } == 0 {
            return Err(Error::SingleThread);
        }
        let flags = ffi::SQLITE_OPEN_NOMUTEX
            | match access {
                Access::Read => ffi::SQLITE_OPEN_READONLY,
                Access::Write => ffi::SQLITE_OPEN_READWRITE,
                Access::Create => ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE,
            };
        let mut raw = std::ptr::null_mut();
        // SAFETY: the name is NUL-terminated, `raw` takes the connection.
        let rc = unsafe { ffi::sqlite3_open_v2(name.as_ptr(), &mut raw, flags, std::ptr::null()) };
        let Some(raw) = NonNull::new(raw) else {
            return Err(Error::Failed {
                reason: Reason::NoMem,
                extended: rc,
                message: "out of memory".to_owned(),
                sql: format!("open {}", name.to_string_lossy()),
            });
        };
        // Owned from here on: also a failed open leaves a connection that must be closed.
        let db = Db { raw, owned: true, _not_send: PhantomData };
        if rc != ffi::SQLITE_OK {
            return Err(db.error(rc, &format!("open {}", name.to_string_lossy())));
        }
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_extended_result_codes(db.raw(), 1) };
        Ok(db)
    }

    /// A connection that belongs to somebody else.
    ///
    /// # Safety
    /// `raw` is an open connection of the library whose table is installed, used by no other thread
    /// meanwhile, and it stays open as long as the result is used.
    pub(super) unsafe fn borrow(raw: NonNull<ffi::sqlite3>) -> Db {
        Db { raw, owned: false, _not_send: PhantomData }
    }

    pub(super) fn raw(&self) -> *mut ffi::sqlite3 {
        self.raw.as_ptr()
    }

    /// Prepares the first statement of `sql`; what follows it is ignored.
    ///
    /// # Errors
    /// ERROR for wrong SQL, BUSY, LOCKED and others; MISUSE for empty SQL.
    pub fn prepare(&self, sql: &str) -> Result<Stmt<'_>> {
        match Stmt::prepare(self, sql)? {
            (Some(stmt), _) => Ok(stmt),
            (None, _) => Err(Error::Failed {
                reason: Reason::Misuse,
                extended: ffi::SQLITE_MISUSE,
                message: "no SQL statement".to_owned(),
                sql: shorten(sql),
            }),
        }
    }

    /// Runs every statement of `sql`; rows are thrown away.
    ///
    /// # Errors
    /// The first statement that fails ends it; those before it stay done, unless a transaction is
    /// open.
    pub fn exec(&self, sql: &str) -> Result<()> {
        let mut rest = sql;
        while !rest.is_empty() {
            let (stmt, tail) = Stmt::prepare(self, rest)?;
            if let Some(mut stmt) = stmt {
                while stmt.step()? {}
            }
            rest = rest.get(tail..).unwrap_or_default();
        }
        Ok(())
    }

    /// Runs one statement with parameters to its end; returns the rows it changed.
    ///
    /// # Errors
    /// As [`Stmt::execute`].
    pub fn execute(&self, sql: &str, parameters: &[Value<'_>]) -> Result<u64> {
        self.prepare(sql)?.execute(parameters)
    }

    /// First column of the first row as an integer; `None` when there is no row or it is no
    /// integer.
    ///
    /// # Errors
    /// Those of preparing and stepping.
    pub fn query_int(&self, sql: &str, parameters: &[Value<'_>]) -> Result<Option<i64>> {
        let mut stmt = self.prepare(sql)?;
        stmt.bind_all(parameters)?;
        Ok(if stmt.step()? { stmt.column(0).as_int() } else { None })
    }

    /// First column of the first row as text; `None` when there is no row or it is no text.
    ///
    /// # Errors
    /// Those of preparing and stepping.
    pub fn query_text(&self, sql: &str, parameters: &[Value<'_>]) -> Result<Option<String>> {
        let mut stmt = self.prepare(sql)?;
        stmt.bind_all(parameters)?;
        Ok(if stmt.step()? { stmt.column(0).as_str().map(str::to_owned) } else { None })
    }

    /// The names of the databases: `main`, `temp` once it has been used, and those attached.
    ///
    /// # Errors
    /// Those of preparing and stepping, as when an authorizer refuses it.
    pub fn databases(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        // NOTE: not the table-valued function: a table of its name would come before it.
        let mut stmt = self.prepare("PRAGMA database_list")?;
        while stmt.step()? {
            names.extend(stmt.column(1).as_str().map(str::to_owned));
        }
        Ok(names)
    }

    /// Is a transaction open on this connection (autocommit off)?
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_get_autocommit(self.raw()) == 0 }
    }

    /// Rows changed since the connection was opened, triggers included; wraps at 2^32.
    #[must_use]
    pub fn total_changes(&self) -> u32 {
        // SAFETY: an open connection.
        (unsafe { ffi::sqlite3_total_changes(self.raw()) }) as u32
    }

    /// Rows changed by the last INSERT, UPDATE or DELETE, without its triggers.
    #[must_use]
    pub fn changes(&self) -> u64 {
        // SAFETY: an open connection.
        u64::try_from(unsafe { ffi::sqlite3_changes(self.raw()) }).unwrap_or(0)
    }

    /// Rowid of the last row inserted.
    #[must_use]
    pub fn last_insert_rowid(&self) -> i64 {
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_last_insert_rowid(self.raw()) }
    }

    /// How long to wait for another connection's lock before BUSY; at most 2^31 ms. Replaces a busy
    /// handler: use it on owned connections only, a borrowed one may have its owner's.
    pub fn busy_timeout(&self, wait: Duration) {
        let ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_busy_timeout(self.raw(), ms) };
    }

    /// Longest text, blob or row in bytes that this connection stores.
    #[must_use]
    pub fn length_limit(&self) -> u64 {
        // SAFETY: an open connection; -1 only asks.
        let limit =
            unsafe { ffi::sqlite3_limit(self.raw(), ffi::SQLITE_LIMIT_LENGTH as c_int, -1) };
        u64::try_from(limit).unwrap_or(0)
    }

    /// Sets the longest text, blob or row in bytes; SQLite's compiled-in maximum caps it.
    pub fn set_length_limit(&self, bytes: u32) {
        let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_limit(self.raw(), ffi::SQLITE_LIMIT_LENGTH as c_int, bytes) };
    }

    /// The file of the main database; `None` for one in memory or temporary.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.file_of("main")
    }

    /// The file of an attached database by its name; `None` when it has none.
    #[must_use]
    pub fn file_of(&self, schema: &str) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStrExt;
        let schema = CString::new(schema).ok()?;
        // SAFETY: an open connection and a NUL-terminated name.
        let name = unsafe { ffi::sqlite3_db_filename(self.raw(), schema.as_ptr()) };
        if name.is_null() {
            return None;
        }
        // SAFETY: NUL-terminated, and it lives until the database is detached; copied at once.
        let name = unsafe { CStr::from_ptr(name) };
        let path = std::ffi::OsStr::from_bytes(name.to_bytes());
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    /// Whether the main database's file is not what its name leads to: it was removed, or another
    /// one put in its place. False where that cannot be told.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        let mut moved: c_int = 0;
        // SAFETY: an open connection, a NUL-terminated name, and an int, as this operation wants.
        let rc = unsafe {
            let moved = (&raw mut moved).cast();
            let operation = ffi::SQLITE_FCNTL_HAS_MOVED;
            ffi::sqlite3_file_control(self.raw(), c"main".as_ptr(), operation, moved)
        };
        rc == ffi::SQLITE_OK && moved != 0
    }

    /// The SQL of every statement of this connection that has begun and not ended, whoever prepared
    /// it.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        let mut found = Vec::new();
        // SAFETY: an open connection; null asks for its first statement.
        let mut stmt = unsafe { ffi::sqlite3_next_stmt(self.raw(), std::ptr::null_mut()) };
        while !stmt.is_null() {
            // SAFETY: a statement of this connection; its text lives as long as it does and is
            // copied at once.
            unsafe {
                let sql = ffi::sqlite3_sql(stmt);
                if ffi::sqlite3_stmt_busy(stmt) != 0 && !sql.is_null() {
                    found.push(CStr::from_ptr(sql).to_string_lossy().into_owned());
                }
                stmt = ffi::sqlite3_next_stmt(self.raw(), stmt);
            }
        }
        found
    }

    /// Makes a running statement of this connection end with INTERRUPT.
    pub fn interrupt(&self) {
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_interrupt(self.raw()) };
    }

    /// The error of the call that just returned `rc`, with SQLite's message, copied at once.
    pub(super) fn error(&self, rc: c_int, sql: &str) -> Error {
        // SAFETY: an open connection; the message is copied before any other call.
        let (extended, message) = unsafe {
            let message = ffi::sqlite3_errmsg(self.raw());
            let message = if message.is_null() {
                String::new()
            } else {
                CStr::from_ptr(message).to_string_lossy().into_owned()
            };
            (ffi::sqlite3_extended_errcode(self.raw()), message)
        };
        // MISUSE and some others do not touch the connection's own code.
        let extended = if extended & 0xff == rc & 0xff { extended } else { rc };
        Error::Failed { reason: Reason::from_code(rc), extended, message, sql: shorten(sql) }
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if self.owned {
            // SAFETY: ours, and no statement is alive: they borrow from `self`.
            unsafe { ffi::sqlite3_close(self.raw()) };
        }
    }
}
