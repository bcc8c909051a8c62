//! File and timer events (Tcl_CreateFileHandler(3), Tcl_CreateTimerHandler(3)).
//!
//! File events are level triggered: a handler consumes what is there before it runs a script, or
//! idle events starve.

use super::guard;
use super::interp::{Interp, InterpRef};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::rc::Rc;
use tcl_sys as sys;

/// Interest in a file descriptor being readable; ends when dropped.
pub struct Readable {
    fd: RawFd,
    callback: *const Callback,
}

struct Callback {
    interp: InterpRef,
    run: Box<dyn Fn(Interp)>,
}

impl Readable {
    /// Calls `callback` from the event loop whenever `fd` is readable, while `interp` lives. A
    /// panic in it goes to `interp bgerror`.
    pub fn new(interp: Interp, fd: RawFd, callback: impl Fn(Interp) + 'static) -> Readable {
        let callback = Callback { interp: InterpRef::new(interp), run: Box::new(callback) };
        let callback = Rc::into_raw(Rc::new(callback));
        // SAFETY: the data is a counted reference that Drop gives back after the handler is gone.
        unsafe {
            sys::Tcl_CreateFileHandler(fd, sys::TCL_READABLE, ready, callback.cast_mut().cast());
        }
        Readable { fd, callback }
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        // SAFETY: the handler is removed first, then its reference.
        unsafe {
            sys::Tcl_DeleteFileHandler(self.fd);
            drop(Rc::from_raw(self.callback));
        }
    }
}

unsafe extern "C" fn ready(data: *mut c_void, _mask: c_int) {
    let _ = guard::caught(|| {
        let callback = data.cast_const().cast::<Callback>();
        // SAFETY: the handler is registered, so its reference lives; one more is held, for the
        // callback may drop it.
        let callback = unsafe {
            Rc::increment_strong_count(callback);
            Rc::from_raw(callback)
        };
        guard::in_background(&callback.interp, |interp| (callback.run)(interp));
    });
}

/// A callback after some time; cancelled when dropped.
pub struct Timer(Rc<TimerState>);

type Once = Box<dyn FnOnce(Interp)>;

struct TimerState {
    token: Cell<*mut sys::TimerToken>,
    interp: InterpRef,
    callback: Cell<Option<Once>>,
}

impl Timer {
    /// Calls `callback` once from the event loop, `milliseconds` from now, if `interp` lives then.
    /// A panic in it goes to `interp bgerror`.
    pub fn after(
        interp: Interp,
        milliseconds: u32,
        callback: impl FnOnce(Interp) + 'static,
    ) -> Timer {
        let state = Rc::new(TimerState {
            token: Cell::new(std::ptr::null_mut()),
            interp: InterpRef::new(interp),
            callback: Cell::new(Some(Box::new(callback))),
        });
        let data = Rc::into_raw(Rc::clone(&state)).cast_mut().cast();
        let wait = c_int::try_from(milliseconds).unwrap_or(c_int::MAX);
        // SAFETY: the data is a counted reference, given back by `fired` or by Drop, whichever
        // comes.
        state.token.set(unsafe { sys::Tcl_CreateTimerHandler(wait, fired, data) });
        Timer(state)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let token = self.0.token.replace(std::ptr::null_mut());
        if !token.is_null() {
            // SAFETY: a token that has not fired is live; its reference is given back here instead.
            unsafe {
                sys::Tcl_DeleteTimerHandler(token);
                drop(Rc::from_raw(Rc::as_ptr(&self.0)));
            }
        }
    }
}

unsafe extern "C" fn fired(data: *mut c_void) {
    let _ = guard::caught(|| {
        // SAFETY: the reference that `after` leaked; a timer fires at most once, and Drop then
        // finds no token.
        let state = unsafe { Rc::from_raw(data.cast_const().cast::<TimerState>()) };
        state.token.set(std::ptr::null_mut());
        if let Some(callback) = state.callback.take() {
            guard::in_background(&state.interp, callback);
        }
    });
}

/// Serves one event, waiting for it if `wait`. False: there was none (or nothing to wait for).
pub fn serve_one(wait: bool) -> bool {
    let flags = if wait { sys::TCL_ALL_EVENTS } else { sys::TCL_ALL_EVENTS | sys::TCL_DONT_WAIT };
    // SAFETY: called on a thread whose Tcl is initialised, as every caller here is inside a
    // command.
    unsafe { sys::Tcl_DoOneEvent(flags) != 0 }
}
