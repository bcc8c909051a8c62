//! What other extensions written in C call: `PgGetConnectionId` and `PgGetResultId`, declared in
//! `include/pgtclId.h` with the signatures of Pgtcl.
//!
//! The pointers stay the handle's: valid until the script disconnects or clears.

use super::error::CmdResult;
use super::guard;
use super::interp::Interp;
use super::obj::Obj;
use crate::pgtcl;
use std::ffi::{CStr, c_char, c_void};
use std::rc::Rc;
use tcl_sys as sys;

/// Runs `find` for a handle's name; null, with the error in the interpreter, when there is none.
unsafe fn found<T>(
    interp: *mut sys::Interp,
    handle: *const c_char,
    connid: *mut *mut c_void,
    find: impl FnOnce(Interp, &Obj) -> CmdResult<(*mut T, *const c_void)>,
) -> *mut T {
    // SAFETY: the caller gives a live interpreter of this thread. The package may not have been
    // loaded into any interpreter yet, though its library is.
    let interp = unsafe {
        if interp.is_null() || handle.is_null() || !sys::init(interp) {
            return std::ptr::null_mut();
        }
        let Some(interp) = Interp::from_raw(interp) else { return std::ptr::null_mut() };
        interp
    };
    // SAFETY: the caller gives a C string.
    let name = unsafe { CStr::from_ptr(handle) };
    let outcome = guard::caught(|| find(interp, &Obj::internal_form(name.to_bytes())));
    let exception = match outcome {
        Ok(Ok((pointer, connection))) => {
            if !connid.is_null() {
                // SAFETY: the caller gives a place for the pointer.
                unsafe { *connid = connection.cast_mut() };
            }
            return pointer;
        }
        Ok(Err(exception)) => exception,
        Err(failure) => failure.into(),
    };
    exception.raise(interp);
    std::ptr::null_mut()
}

/// The connection behind a handle, and at `connid`, unless that is null, an opaque pointer.
///
/// # Safety
/// A live interpreter of this thread, a C string, and null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PgGetConnectionId(
    interp: *mut sys::Interp,
    handle: *const c_char,
    connid: *mut *mut c_void,
) -> *mut pq_sys::PGconn {
    // SAFETY: as given.
    unsafe {
        found(interp, handle, connid, |interp, name| {
            let connection = pgtcl::connection(interp, name)?;
            let raw = connection.conn()?.as_raw();
            Ok((raw, Rc::as_ptr(&connection).cast()))
        })
    }
}

/// The result behind a handle, and at `resultid`, unless that is null, an opaque pointer.
///
/// # Safety
/// As of [`PgGetConnectionId`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PgGetResultId(
    interp: *mut sys::Interp,
    handle: *const c_char,
    resultid: *mut *mut c_void,
) -> *mut pq_sys::PGresult {
    // SAFETY: as given.
    unsafe {
        found(interp, handle, resultid, |interp, name| {
            let result = pgtcl::result(interp, name)?;
            Ok((result.pg_result().as_raw(), Rc::as_ptr(&result).cast()))
        })
    }
}
