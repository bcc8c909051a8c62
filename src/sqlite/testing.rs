//! A SQLite library for Rust tests, where no Tcl handle brings one.
//!
//! Costs a few milliseconds once per process; not used by the product itself, which takes whatever
//! library the `sqlite3` package of its interpreter has.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use libsqlite3_sys as ffi;

use super::Db;
use super::api;

type AutoExtension = unsafe extern "C" fn(*const c_void) -> c_int;
type Open = unsafe extern "C" fn(*const c_char, *mut *mut ffi::sqlite3) -> c_int;
type Close = unsafe extern "C" fn(*mut ffi::sqlite3) -> c_int;

/// Loads the system's `libsqlite3.so.0` and installs its API table; the library stays loaded. Any
/// number of times.
///
/// # Errors
/// A text that says what the system lacks.
pub fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(|| load_library(c"libsqlite3.so.0")).clone()
}

/// A new database in memory, in the system's library.
///
/// # Errors
/// A text that says what failed.
pub fn memory() -> Result<Db, String> {
    load()?;
    Db::open_in_memory().map_err(|error| error.to_string())
}

/// Loads the library in the file `name` and offers its table to [`api::pgsqlite_sqlite3_entry`].
///
/// # Errors
/// A text that says what the system lacks, or why the library was refused.
pub fn load_library(name: &CStr) -> Result<(), String> {
    // SAFETY: loading a library runs its initialisers; SQLite's do nothing of note. It is never
    // unloaded.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return Err(format!("cannot load {}", name.to_string_lossy()));
    }
    let symbol = |symbol: &CStr| {
        // SAFETY: an open library and a NUL-terminated name.
        let address = unsafe { libc::dlsym(library, symbol.as_ptr()) };
        if address.is_null() {
            Err(format!("no {} in {}", symbol.to_string_lossy(), name.to_string_lossy()))
        } else {
            Ok(address)
        }
    };
    // SAFETY: these are SQLite's functions with SQLite's signatures.
    let (auto_extension, cancel, open, close) = unsafe {
        (
            std::mem::transmute::<*mut c_void, AutoExtension>(symbol(c"sqlite3_auto_extension")?),
            std::mem::transmute::<*mut c_void, AutoExtension>(symbol(
                c"sqlite3_cancel_auto_extension",
            )?),
            std::mem::transmute::<*mut c_void, Open>(symbol(c"sqlite3_open")?),
            std::mem::transmute::<*mut c_void, Close>(symbol(c"sqlite3_close")?),
        )
    };
    let entry = api::pgsqlite_sqlite3_entry as *const c_void;
    let _ = api::take_outcome();
    let mut db = std::ptr::null_mut();
    // SAFETY: the entry has the signature that SQLite calls it with; every connection opened here
    // is closed here.
    let rc = unsafe {
        auto_extension(entry);
        let rc = open(c":memory:".as_ptr(), &mut db);
        cancel(entry);
        close(db);
        rc
    };
    match api::take_outcome() {
        Some(api::Outcome::Installed) => Ok(()),
        other => {
            Err(format!("{} was not installed: {other:?}, open: {rc}", name.to_string_lossy()))
        }
    }
}
