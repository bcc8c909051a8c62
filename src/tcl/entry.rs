//! What `load` calls: `Pgsqlite_Init` and its kin (Tcl_StaticPackage(3), load(n)).

use super::guard;
use super::interp::Interp;
use crate::commands;
use std::ffi::c_int;
use tcl_sys as sys;

/// Finds the stub table and registers what `kind` has.
unsafe fn enter(interp: *mut sys::Interp, kind: commands::Kind) -> c_int {
    // SAFETY: Tcl's `load` gives a live interpreter.
    let interp = unsafe {
        if interp.is_null() || !sys::init(interp) {
            return sys::TCL_ERROR;
        }
        match Interp::from_raw(interp) {
            Some(interp) => interp,
            None => return sys::TCL_ERROR,
        }
    };
    let outcome = guard::caught(|| commands::register(interp, kind));
    let exception = match outcome {
        Ok(Ok(())) => return sys::TCL_OK,
        Ok(Err(exception)) => exception,
        Err(failure) => failure.into(),
    };
    exception.raise(interp)
}

/// `load` under the package's name: everything.
///
/// # Safety
/// Called by Tcl with a live interpreter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Pgsqlite_Init(interp: *mut sys::Interp) -> c_int {
    // SAFETY: as given.
    unsafe { enter(interp, commands::Kind::Trusted) }
}

/// `load` into a safe interpreter: nothing that opens files or connections.
///
/// # Safety
/// Called by Tcl with a live interpreter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Pgsqlite_SafeInit(interp: *mut sys::Interp) -> c_int {
    // SAFETY: as given.
    unsafe { enter(interp, commands::Kind::Safe) }
}

/// `load` under the name of the package that this one stands in for.
///
/// # Safety
/// Called by Tcl with a live interpreter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Pgtcl_Init(interp: *mut sys::Interp) -> c_int {
    // SAFETY: as given.
    unsafe { enter(interp, commands::Kind::Trusted) }
}

/// As [`Pgsqlite_SafeInit`].
///
/// # Safety
/// Called by Tcl with a live interpreter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Pgtcl_SafeInit(interp: *mut sys::Interp) -> c_int {
    // SAFETY: as given.
    unsafe { enter(interp, commands::Kind::Safe) }
}
