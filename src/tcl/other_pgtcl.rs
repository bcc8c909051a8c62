//! The handles of another Pgtcl that the interpreter has loaded, through the C functions which it
//! exports: `PgGetConnectionId` and `PgGetResultId`.
//!
//! Its library is the one that `pg_disconnect` comes from. It must use the same libpq as we do, for
//! its connections are handed to ours. A connection is kept from closing while it is in use here
//! (its channel is held); a result is copied.

use super::channel::Channel;
use super::error::{CmdResult, Failure};
use super::interp::Interp;
use super::obj::Obj;
use crate::libpq::{self, Conn, PgResult};
use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use tcl_sys as sys;

type Getter =
    unsafe extern "C" fn(*mut sys::Interp, *const c_char, *mut *mut c_void) -> *mut c_void;

/// The shared library of the other Pgtcl.
struct Library(NonNull<c_void>);

impl Library {
    /// The library from which the interpreter's `pg_disconnect` comes; None when that is a script,
    /// is not there, or is our own.
    fn of(interp: Interp) -> Option<Library> {
        let disconnect = interp.command_info(&Obj::text("::pg_disconnect"))?.obj_proc;
        let name = file_of(disconnect)?;
        let own = super::c_interface::PgGetConnectionId as *const c_void;
        if file_of(own) == Some(name) {
            return None;
        }
        // SAFETY: a C string; with RTLD_NOLOAD nothing is loaded that is not there.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        NonNull::new(handle).map(Library)
    }

    /// The address of a function of the library, or of one that it uses.
    fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: an open library and a C string.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) })
    }

    /// What one of its two functions says of a name.
    fn get<T>(&self, interp: Interp, function: &CStr, name: &Obj) -> CmdResult<Option<NonNull<T>>> {
        let Some(getter) = self.symbol(function) else { return Ok(None) };
        if self.symbol(c"PQstatus").map(NonNull::as_ptr) != Some(libpq::library_address()) {
            let name = name.text_lossy();
            let code = ["PGSQLITE", "HANDLE", "SECONDLIBPQ", "name", &name];
            let message = "the other Pgtcl uses another copy of libpq than pgsqlite does";
            return Err(Failure::new(message, &code).into());
        }
        // SAFETY: Pgtcl's documented signature for both; a live interpreter of this thread, a C
        // string (Tcl's strings end with NUL), no place for the connection's id.
        let found = unsafe {
            let getter = std::mem::transmute::<*mut c_void, Getter>(getter.as_ptr());
            getter(interp.raw(), name.internal().as_ptr().cast(), std::ptr::null_mut())
        };
        interp.reset_result();
        Ok(NonNull::new(found.cast::<T>()))
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once.
        unsafe { libc::dlclose(self.0.as_ptr()) };
    }
}

/// The file of the library that holds an address.
fn file_of<'a>(address: *const c_void) -> Option<&'a CStr> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: any address may be asked for; the struct is all zero, which is valid for it, before
    // it is filled. The name lives as long as the library, which Tcl does not unload.
    unsafe {
        if address.is_null() || libc::dladdr(address, info.as_mut_ptr()) == 0 {
            return None;
        }
        let name = info.assume_init().dli_fname;
        if name.is_null() { None } else { Some(CStr::from_ptr(name)) }
    }
}

/// A connection of the other Pgtcl, kept from closing while this lives.
pub struct Lent {
    conn: Conn,
    _channel: Channel,
}

impl Lent {
    /// The connection.
    #[must_use]
    pub fn conn(&self) -> &Conn {
        &self.conn
    }
}

/// Whether the interpreter's `pg_disconnect` is another Pgtcl's.
#[must_use]
pub fn is_loaded(interp: Interp) -> bool {
    Library::of(interp).is_some_and(|library| library.symbol(c"PgGetConnectionId").is_some())
}

/// The connection that `name` means to another Pgtcl; None when there is no other, or it has none
/// of that name.
///
/// # Errors
/// `PGSQLITE HANDLE SECONDLIBPQ name X`.
pub fn connection(interp: Interp, name: &Obj) -> CmdResult<Option<Lent>> {
    let Some(library) = Library::of(interp) else { return Ok(None) };
    let Some(raw) = library.get(interp, c"PgGetConnectionId", name)? else { return Ok(None) };
    let Some(channel) = Channel::lookup(interp, name) else { return Ok(None) };
    // SAFETY: a connection of the same libpq on this thread; its channel, which is held as long as
    // the value lives, finishes it only when it closes.
    let conn = unsafe { Conn::borrow_raw(raw) };
    Ok(Some(Lent { conn, _channel: channel }))
}

/// A copy of the result that `name` means to another Pgtcl; None as of [`connection`].
///
/// # Errors
/// `PGSQLITE HANDLE SECONDLIBPQ name X`, `PGSQLITE POSTGRES LIBRARY` when memory is short.
pub fn result(interp: Interp, name: &Obj) -> CmdResult<Option<PgResult>> {
    let Some(library) = Library::of(interp) else { return Ok(None) };
    let Some(raw) = library.get(interp, c"PgGetResultId", name)? else { return Ok(None) };
    // SAFETY: a live result of the same libpq, for no script has run since it was given.
    Ok(Some(unsafe { PgResult::copy_raw(raw) }?))
}
