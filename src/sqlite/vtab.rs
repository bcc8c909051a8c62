//! The virtual table behind [`super::Insert`]: eponymous, one cursor, one pass.
//!
//! Every callback catches panics: unwinding through SQLite's C frames would abort the process. What
//! a source reports and a panic's payload wait in [`Shared`] until the statement has ended.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::collections::hash_map::RandomState;
use std::ffi::{CString, c_char, c_int, c_void};
use std::fmt::Write;
use std::hash::{BuildHasher, Hasher};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use libsqlite3_sys as ffi;

use super::insert::Failure;
use super::{Db, Error, RowSource, Value};

/// What the callbacks of one insert work on; lives on the stack of [`super::Insert::run`].
pub(super) struct Shared<'s, S: RowSource> {
    /// Only the one open cursor's callbacks reach it, one at a time: see `open`.
    source: UnsafeCell<&'s mut S>,
    columns: usize,
    rows: Cell<u64>,
    at_end: Cell<bool>,
    /// A cursor has been opened: there is never a second one.
    opened: Cell<bool>,
    /// The one scan has begun.
    started: Cell<bool>,
    failure: Cell<Option<Failure<S::Error>>>,
}

impl<'s, S: RowSource> Shared<'s, S> {
    pub(super) fn new(source: &'s mut S, columns: usize) -> Self {
        Shared {
            source: UnsafeCell::new(source),
            columns,
            rows: Cell::new(0),
            at_end: Cell::new(false),
            opened: Cell::new(false),
            started: Cell::new(false),
            failure: Cell::new(None),
        }
    }

    /// Rows handed to SQLite.
    pub(super) fn rows(&self) -> u64 {
        self.rows.get()
    }

    pub(super) fn into_failure(self) -> Option<Failure<S::Error>> {
        self.failure.into_inner()
    }

    fn fail(&self, failure: Failure<S::Error>) -> c_int {
        self.failure.set(Some(failure));
        ffi::SQLITE_ABORT
    }

    fn panicked(&self, payload: Box<dyn Any + Send>) -> c_int {
        self.fail(Failure::Panic(payload))
    }

    /// # Safety
    /// No other reference into the source is alive.
    unsafe fn advance(&self) -> c_int {
        let advanced = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the caller's promise; the borrow ends here.
            unsafe { &mut *self.source.get() }.advance()
        }));
        match advanced {
            Ok(Ok(true)) => {
                self.rows.set(self.rows.get().wrapping_add(1));
                ffi::SQLITE_OK
            }
            Ok(Ok(false)) => {
                self.at_end.set(true);
                ffi::SQLITE_OK
            }
            Ok(Err(error)) => self.fail(Failure::Source(error)),
            Err(payload) => self.panicked(payload),
        }
    }
}

/// A registered module; unregistered when dropped. Statements that use it must be gone by then.
pub(super) struct Module<'a> {
    db: &'a Db,
    name: CString,
    _shared: PhantomData<&'a ()>,
}

impl<'a> Module<'a> {
    /// Registers a source under a name of its own.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub(super) fn register<S: RowSource>(
        db: &'a Db,
        shared: &'a Shared<'_, S>,
    ) -> Result<Module<'a>, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        /// A table that somebody has made under the name would come before the source.
        static NOBODY_KNOWS: LazyLock<u64> =
            LazyLock::new(|| RandomState::new().build_hasher().finish());
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pgsqlite_source_{number}_{:016x}", *NOBODY_KNOWS);
        let name = CString::new(name).map_err(|_| Error::NulInSql)?;
        let module = Module { db, name, _shared: PhantomData };
        // SAFETY: the module struct is static; `shared` outlives the registration, which ends when
        // `module` is dropped.
        let rc = unsafe {
            ffi::sqlite3_create_module_v2(
                db.raw(),
                module.name.as_ptr(),
                Callbacks::<S>::MODULE,
                std::ptr::from_ref(shared).cast_mut().cast(),
                None,
            )
        };
        if rc == ffi::SQLITE_OK { Ok(module) } else { Err(db.error(rc, module.name())) }
    }

    pub(super) fn name(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        // SAFETY: an open connection; a null module removes the registration and disconnects its
        // table.
        unsafe {
            ffi::sqlite3_create_module_v2(
                self.db.raw(),
                self.name.as_ptr(),
                std::ptr::null(),
                std::ptr::null_mut(),
                None,
            )
        };
    }
}

#[repr(C)]
struct Table<'s, S: RowSource> {
    base: ffi::sqlite3_vtab,
    shared: *const Shared<'s, S>,
}

#[repr(C)]
struct Cursor<'s, S: RowSource> {
    base: ffi::sqlite3_vtab_cursor,
    shared: *const Shared<'s, S>,
}

struct Callbacks<'s, S>(PhantomData<&'s mut S>);

impl<'s, S: RowSource> Callbacks<'s, S> {
    /// Without xCreate: eponymous only. Version 0: no field after xRename is read.
    const MODULE: &'static ffi::sqlite3_module = &ffi::sqlite3_module {
        iVersion: 0,
        xCreate: None,
        xConnect: Some(Self::connect),
        xBestIndex: Some(Self::best_index),
        xDisconnect: Some(Self::disconnect),
        xDestroy: None,
        xOpen: Some(Self::open),
        xClose: Some(Self::close),
        xFilter: Some(Self::filter),
        xNext: Some(Self::next),
        xEof: Some(Self::eof),
        xColumn: Some(Self::column),
        xRowid: Some(Self::rowid),
        xUpdate: None,
        xBegin: None,
        xSync: None,
        xCommit: None,
        xRollback: None,
        xFindFunction: None,
        xRename: None,
        xSavepoint: None,
        xRelease: None,
        xRollbackTo: None,
        xShadowName: None,
    };

    /// # Safety
    /// As SQLite calls it: `aux` is the `Shared` of [`Module::register`], the rest is SQLite's.
    unsafe extern "C" fn connect(
        db: *mut ffi::sqlite3,
        aux: *mut c_void,
        _argc: c_int,
        _argv: *const *const c_char,
        table: *mut *mut ffi::sqlite3_vtab,
        _err: *mut *mut c_char,
    ) -> c_int {
        let shared = aux.cast_const().cast::<Shared<'s, S>>();
        // SAFETY: registered with this type, and alive as long as the registration.
        let columns = unsafe { &*shared }.columns;
        let Some(sql) = declaration(columns) else { return ffi::SQLITE_NOMEM };
        // SAFETY: SQLite's own connection, within xConnect as required.
        let rc = unsafe { ffi::sqlite3_declare_vtab(db, sql.as_ptr()) };
        if rc == ffi::SQLITE_OK {
            let made = Box::new(Table { base: ffi::sqlite3_vtab::default(), shared });
            // SAFETY: `table` takes the result; the box comes back in `disconnect`.
            unsafe { *table = Box::into_raw(made).cast() };
        }
        rc
    }

    unsafe extern "C" fn disconnect(table: *mut ffi::sqlite3_vtab) -> c_int {
        // SAFETY: made by `connect`, given back once.
        drop(unsafe { Box::from_raw(table.cast::<Table<'s, S>>()) });
        ffi::SQLITE_OK
    }

    unsafe extern "C" fn best_index(
        _table: *mut ffi::sqlite3_vtab,
        info: *mut ffi::sqlite3_index_info,
    ) -> c_int {
        // SAFETY: SQLite's own struct. Every plan is the same full scan.
        unsafe { (*info).estimatedCost = 1e6 };
        ffi::SQLITE_OK
    }

    unsafe extern "C" fn open(
        table: *mut ffi::sqlite3_vtab,
        cursor: *mut *mut ffi::sqlite3_vtab_cursor,
    ) -> c_int {
        // SAFETY: made by `connect`.
        let shared = unsafe { (*table.cast::<Table<'s, S>>()).shared };
        // SAFETY: alive as long as the registration.
        if unsafe { &*shared }.opened.replace(true) {
            // A script that runs meanwhile found the name: the rows belong to the insert.
            return ffi::SQLITE_LOCKED;
        }
        let made = Box::new(Cursor { base: ffi::sqlite3_vtab_cursor::default(), shared });
        // SAFETY: `cursor` takes the result; the box comes back in `close`.
        unsafe { *cursor = Box::into_raw(made).cast() };
        ffi::SQLITE_OK
    }

    unsafe extern "C" fn close(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
        // SAFETY: made by `open`, given back once.
        drop(unsafe { Box::from_raw(cursor.cast::<Cursor<'s, S>>()) });
        ffi::SQLITE_OK
    }

    /// # Safety
    /// `cursor` is one of ours; the result is not kept beyond the callback.
    unsafe fn shared<'x>(cursor: *mut ffi::sqlite3_vtab_cursor) -> &'x Shared<'s, S> {
        // SAFETY: made by `open`; the `Shared` outlives every statement of this insert.
        unsafe { &*(*cursor.cast::<Cursor<'s, S>>()).shared }
    }

    unsafe extern "C" fn filter(
        cursor: *mut ffi::sqlite3_vtab_cursor,
        _index: c_int,
        _index_text: *const c_char,
        _argc: c_int,
        _argv: *mut *mut ffi::sqlite3_value,
    ) -> c_int {
        // SAFETY: one of our cursors, within the callback.
        let shared = unsafe { Self::shared(cursor) };
        if shared.started.replace(true) {
            return ffi::SQLITE_LOCKED;
        }
        // SAFETY: there is one cursor, and SQLite is in one of its callbacks at a time.
        unsafe { shared.advance() }
    }

    unsafe extern "C" fn next(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
        // SAFETY: one of our cursors, one callback at a time. Cells of the row before were copied
        // into its record.
        unsafe { Self::shared(cursor).advance() }
    }

    unsafe extern "C" fn eof(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
        // SAFETY: one of our cursors, within the callback.
        c_int::from(unsafe { Self::shared(cursor) }.at_end.get())
    }

    unsafe extern "C" fn column(
        cursor: *mut ffi::sqlite3_vtab_cursor,
        context: *mut ffi::sqlite3_context,
        column: c_int,
    ) -> c_int {
        // SAFETY: one of our cursors, within the callback.
        let shared = unsafe { Self::shared(cursor) };
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        let given = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: no callback that changes the source runs now; shared borrows of it may be
            // many.
            let value = unsafe { &*shared.source.get().cast_const() }.value(column);
            // SAFETY: SQLite's own context. Without triggers the cell is read before the next
            // `advance`.
            unsafe { give(context, value) };
        }));
        match given {
            Ok(()) => ffi::SQLITE_OK,
            Err(payload) => shared.panicked(payload),
        }
    }

    unsafe extern "C" fn rowid(
        cursor: *mut ffi::sqlite3_vtab_cursor,
        rowid: *mut ffi::sqlite3_int64,
    ) -> c_int {
        // SAFETY: one of our cursors; `rowid` takes the answer.
        unsafe { *rowid = Self::shared(cursor).rows() as i64 };
        ffi::SQLITE_OK
    }
}

/// The declaration that SQLite learns the number of columns from.
fn declaration(columns: usize) -> Option<CString> {
    let mut sql = String::from("CREATE TABLE x(");
    for column in 0..columns {
        let comma = if column == 0 { "" } else { "," };
        write!(sql, "{comma}c{column}").ok()?;
    }
    sql.push(')');
    CString::new(sql).ok()
}

/// Gives SQLite one cell.
///
/// # Safety
/// `context` is that of a running xColumn. The value's bytes stay as they are until SQLite has made
/// the row's record: the program of an insert without triggers reads every cell into a register,
/// makes the record from the registers and overwrites them with the next row's.
#[inline(always)]
unsafe fn give(context: *mut ffi::sqlite3_context, value: Value<'_>) {
    let destructor = ffi::SQLITE_STATIC();
    let bytes = value.byte_len() as u64;
    // SAFETY: whole slices with their lengths, checked by SQLite against its limit; the rest as
    // promised by the caller.
    unsafe {
        match value {
            Value::Null => ffi::sqlite3_result_null(context),
            Value::Int(int) => ffi::sqlite3_result_int64(context, int),
            Value::Real(real) => ffi::sqlite3_result_double(context, real),
            Value::Text(text) => ffi::sqlite3_result_text64(
                context,
                text.as_ptr().cast(),
                bytes,
                destructor,
                ffi::SQLITE_UTF8 as u8,
            ),
            Value::Blob([]) => ffi::sqlite3_result_zeroblob(context, 0),
            Value::Blob(blob) => {
                ffi::sqlite3_result_blob64(context, blob.as_ptr().cast(), bytes, destructor)
            }
        }
    }
}
