//! The API table: which SQLite library this process talks to.
//!
//! SQLite hands its table of functions (`sqlite3_api_routines`) to every extension it loads.
//! [`pgsqlite_sqlite3_entry`] is such an extension's entry; it keeps the table of the first library
//! that calls it, for the life of the process, and refuses every other library. Only fields that
//! 3.34.1 already had are read, and only after the library said that it is at least that version,
//! so a table shorter than ours is never read past its end.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};

use libsqlite3_sys as ffi;

use super::{Error, Result};

/// The library whose table is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// `sqlite3_sourceid`: date and hash of the sources it was built from.
    pub source_id: String,
    /// `sqlite3_libversion_number`: 3040001 is 3.40.1.
    pub version: i32,
    /// Addresses of three of its functions: two copies of the same sources differ here.
    functions: [usize; 3],
}

/// What became of an offered table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Installed now, or the same library as before.
    Installed,
    /// Another library than the installed one.
    Second {
        /// Its source id.
        source_id: String,
    },
    /// Older than 3.34.1.
    TooOld {
        /// Its version number.
        version: i32,
    },
    /// The table lacks a function every library has.
    Incomplete,
}

impl Outcome {
    fn message(&self) -> String {
        match self {
            Outcome::Installed => "pgsqlite: installed".to_owned(),
            Outcome::Second { source_id } => {
                format!("pgsqlite: a second SQLite library in this process: {source_id}")
            }
            Outcome::TooOld { version } => {
                format!("pgsqlite: SQLite {version} is too old, 3.34.1 is needed")
            }
            Outcome::Incomplete => "pgsqlite: SQLite's API table is incomplete".to_owned(),
        }
    }
}

static LIBRARY: OnceLock<Library> = OnceLock::new();
/// Held while a table is installed: two interpreters on two threads may load the package at once.
static INSTALLING: Mutex<()> = Mutex::new(());

thread_local! {
    /// What the last call of the entry on this thread decided: the loader tells its caller only a
    /// text.
    static LAST: RefCell<Option<Outcome>> = const { RefCell::new(None) };
}

/// The library in use, or `None` before the first table was installed.
pub fn library() -> Option<&'static Library> {
    LIBRARY.get()
}

/// The library in use.
///
/// # Errors
/// [`Error::NotInstalled`] before the first table was installed.
pub(super) fn require() -> Result<&'static Library> {
    library().ok_or(Error::NotInstalled)
}

/// What the last call of the entry on this thread decided; taken away by this call.
pub(super) fn take_outcome() -> Option<Outcome> {
    LAST.with(|last| last.borrow_mut().take())
}

/// Entry for `select load_extension('<this library>', 'pgsqlite_sqlite3_entry')`: takes SQLite's
/// API table.
///
/// Returns `SQLITE_OK`, or `SQLITE_ERROR` with a message for a library that is refused. Loading it
/// twice is harmless.
///
/// # Safety
/// Called by SQLite only: `err` is null or takes a message that SQLite frees; `api` is SQLite's own
/// table, which lives as long as the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pgsqlite_sqlite3_entry(
    _db: *mut ffi::sqlite3,
    err: *mut *mut c_char,
    api: *mut ffi::sqlite3_api_routines,
) -> c_int {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller is SQLite and `api` its table.
        unsafe { install(api) }
    }))
    .unwrap_or(Outcome::Incomplete);
    let code = if outcome == Outcome::Installed { ffi::SQLITE_OK } else { ffi::SQLITE_ERROR };
    if code != ffi::SQLITE_OK {
        // SAFETY: SQLite's own table and its place for a message, which is checked for null.
        unsafe { tell(api, err, &outcome.message()) };
    }
    // A thread that is ending has no slot any more; then nobody asks.
    let _ = LAST.try_with(|last| last.borrow_mut().replace(outcome));
    code
}

/// Where this library's own file is, as `load_extension` needs it; `None` when the system cannot
/// tell.
#[must_use]
pub fn own_path() -> Option<String> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address is one of our own functions, `info` is room for the answer.
    let found = unsafe { libc::dladdr(own_path as *const c_void, info.as_mut_ptr()) };
    if found == 0 {
        return None;
    }
    // SAFETY: dladdr succeeded and filled the struct; before that it was all zero, which is valid
    // for it.
    let info = unsafe { info.assume_init() };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr's file name is NUL-terminated and lives as long as the library.
    let path = unsafe { CStr::from_ptr(info.dli_fname) };
    path.to_str().ok().map(str::to_owned)
}

/// Installs the table unless another library's is installed already.
///
/// # Safety
/// `api` is null or a library's own table.
unsafe fn install(api: *mut ffi::sqlite3_api_routines) -> Outcome {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: null or a library's own table, as the caller promises.
    let offered = match unsafe { identify(api) } {
        Ok(library) => library,
        Err(outcome) => return outcome,
    };
    if let Some(installed) = LIBRARY.get() {
        return if *installed == offered {
            Outcome::Installed
        } else {
            Outcome::Second { source_id: offered.source_id }
        };
    }
    // SAFETY: the table is a library's own, and that library is new enough for every field the
    // bindings read.
    match unsafe { ffi::rusqlite_extension_init2(api) } {
        Ok(()) => {
            let _ = LIBRARY.set(offered);
            Outcome::Installed
        }
        Err(_) => Outcome::TooOld { version: offered.version },
    }
}

/// Who is the library behind this table?
///
/// # Safety
/// `api` is null or a library's own table.
unsafe fn identify(api: *mut ffi::sqlite3_api_routines) -> std::result::Result<Library, Outcome> {
    if api.is_null() {
        return Err(Outcome::Incomplete);
    }
    // NOTE: no reference to the whole table is made: it may be shorter than the bindings' struct.
    // SAFETY: this field is there since 3.0.
    let Some(version) = (unsafe { (&raw const (*api).libversion_number).read() }) else {
        return Err(Outcome::Incomplete);
    };
    // SAFETY: takes nothing, returns a constant.
    let version = unsafe { version() };
    if version < ffi::SQLITE_VERSION_NUMBER {
        return Err(Outcome::TooOld { version });
    }
    // SAFETY: these fields are there since 3.20 at the latest, and the library is newer.
    let (source_id, step, open, prepare) = unsafe {
        (
            (&raw const (*api).sourceid).read(),
            (&raw const (*api).step).read(),
            (&raw const (*api).open_v2).read(),
            (&raw const (*api).prepare_v3).read(),
        )
    };
    let (Some(source_id), Some(step), Some(open), Some(prepare)) = (source_id, step, open, prepare)
    else {
        return Err(Outcome::Incomplete);
    };
    // SAFETY: takes nothing, returns a constant NUL-terminated text.
    let source_id = unsafe { CStr::from_ptr(source_id()) };
    Ok(Library {
        source_id: source_id.to_string_lossy().into_owned(),
        version,
        functions: [step as usize, open as usize, prepare as usize],
    })
}

/// Puts a message where SQLite asked for one, in memory of the very library that will free it.
///
/// # Safety
/// `api` is null or a library's own table; `err` is null or writable.
unsafe fn tell(api: *mut ffi::sqlite3_api_routines, err: *mut *mut c_char, message: &str) {
    if api.is_null() || err.is_null() {
        return;
    }
    // SAFETY: this field is there since 3.0.
    let Some(malloc) = (unsafe { (&raw const (*api).malloc).read() }) else { return };
    let Ok(bytes) = c_int::try_from(message.len().saturating_add(1)) else { return };
    // SAFETY: a plain allocation; null is checked below.
    let room = unsafe { malloc(bytes) }.cast::<u8>();
    if room.is_null() {
        return;
    }
    // SAFETY: `room` has message.len() + 1 bytes.
    unsafe {
        std::ptr::copy_nonoverlapping(message.as_ptr(), room, message.len());
        room.add(message.len()).write(0);
        *err = room.cast();
    }
}
