//! The event loop (Tcl_CreateFileHandler(3), Tcl_CreateTimerHandler(3), Tcl_ThreadQueueEvent(3),
//! Tcl_DoOneEvent(3)).

use crate::table::tcl_fn;
use crate::types::{Event, FileProc, TimerProc, TimerToken};
use std::ffi::{c_int, c_void};

tcl_fn! {
    9 => fn Tcl_CreateFileHandler(fd: c_int, mask: c_int, proc_: FileProc, data: *mut c_void);
    10 => fn Tcl_DeleteFileHandler(fd: c_int);
    98 => fn Tcl_CreateTimerHandler(milliseconds: c_int, proc_: TimerProc, data: *mut c_void) -> *mut TimerToken;
    112 => fn Tcl_DeleteTimerHandler(token: *mut TimerToken);
    115 => fn Tcl_DoOneEvent(flags: c_int) -> c_int;
    300 => fn Tcl_GetCurrentThread() -> *mut c_void;
    318 => fn Tcl_ThreadAlert(thread: *mut c_void);
    319 => fn Tcl_ThreadQueueEvent(thread: *mut c_void, event: *mut Event, position: c_int);
}
