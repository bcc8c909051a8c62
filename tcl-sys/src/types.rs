//! C types and constants of tcl.h.

use std::ffi::{c_char, c_int, c_long, c_void};

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name {
            _opaque: [u8; 0],
            _not_send: std::marker::PhantomData<*mut u8>,
        }
    )*};
}
opaque! {
    /// `Tcl_Interp`.
    Interp,
    /// `Tcl_Obj`; its layout differs between 8.6 and 9.0, so it is never looked into.
    Obj,
    /// `struct Tcl_Command_`.
    CommandToken,
    /// `struct Tcl_Channel_`.
    ChannelToken,
    /// `Tcl_Namespace`.
    Namespace,
    /// `struct Tcl_TimerToken_`.
    TimerToken
}

pub const TCL_OK: c_int = 0;
pub const TCL_ERROR: c_int = 1;
pub const TCL_RETURN: c_int = 2;
pub const TCL_BREAK: c_int = 3;
pub const TCL_CONTINUE: c_int = 4;

pub const TCL_GLOBAL_ONLY: c_int = 1;
pub const TCL_LEAVE_ERR_MSG: c_int = 0x200;
pub const TCL_EVAL_GLOBAL: c_int = 0x2_0000;

pub const TCL_READABLE: c_int = 1 << 1;
pub const TCL_WRITABLE: c_int = 1 << 2;
pub const TCL_EXCEPTION: c_int = 1 << 3;

pub const TCL_DONT_WAIT: c_int = 1 << 1;
pub const TCL_ALL_EVENTS: c_int = !TCL_DONT_WAIT;
pub const TCL_QUEUE_TAIL: c_int = 0;

pub type ObjCmdProc =
    unsafe extern "C" fn(*mut c_void, *mut Interp, c_int, *const *mut Obj) -> c_int;
pub type CmdDeleteProc = unsafe extern "C" fn(*mut c_void);
pub type InterpDeleteProc = unsafe extern "C" fn(*mut c_void, *mut Interp);
pub type NrPostProc = unsafe extern "C" fn(*mut *mut c_void, *mut Interp, c_int) -> c_int;
pub type FileProc = unsafe extern "C" fn(*mut c_void, c_int);
pub type TimerProc = unsafe extern "C" fn(*mut c_void);
pub type ExitProc = unsafe extern "C" fn(*mut c_void);
pub type EventProc = unsafe extern "C" fn(*mut Event, c_int) -> c_int;

/// `Tcl_Event`: the head of a queued event; allocated by [`crate::alloc`], freed by Tcl.
#[repr(C)]
pub struct Event {
    pub proc_: EventProc,
    pub next: *mut Event,
}

/// `Tcl_Time`: 8.6 has longs, 9.0 `long long` seconds; both are 64 bits where this crate runs.
#[repr(C)]
pub struct Time {
    pub sec: c_long,
    pub usec: c_long,
}

/// `Tcl_CmdInfo`, with the two fields that 9.0 added at its end and some room beyond.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CmdInfo {
    /// 1: objProc is native; 2 (9.0 only): objProc2 is.
    pub is_native_object_proc: c_int,
    pub obj_proc: Option<ObjCmdProc>,
    pub obj_client_data: *mut c_void,
    pub proc_: *const c_void,
    pub client_data: *mut c_void,
    pub delete_proc: *const c_void,
    pub delete_data: *mut c_void,
    pub namespace: *mut Namespace,
    pub obj_proc2: *const c_void,
    pub obj_client_data2: *mut c_void,
    pub room: [usize; 4],
}

/// `TCL_CLOSE2PROC`: the value of `close_proc` that sends Tcl to `close2_proc`.
pub const TCL_CLOSE2PROC: usize = 1;
/// `TCL_CHANNEL_VERSION_5`.
pub const TCL_CHANNEL_VERSION_5: usize = 5;

/// `TCL_CHANNEL_THREAD_REMOVE`: the channel leaves the thread that calls.
pub const TCL_CHANNEL_THREAD_REMOVE: c_int = 1;

/// `Tcl_ChannelType`, version 5; the same layout in 8.6 and 9.0.
#[repr(C)]
pub struct ChannelType {
    pub type_name: *const c_char,
    pub version: usize,
    pub close_proc: usize,
    pub input_proc:
        Option<unsafe extern "C" fn(*mut c_void, *mut c_char, c_int, *mut c_int) -> c_int>,
    pub output_proc:
        Option<unsafe extern "C" fn(*mut c_void, *const c_char, c_int, *mut c_int) -> c_int>,
    pub seek_proc: usize,
    pub set_option_proc: usize,
    pub get_option_proc: usize,
    pub watch_proc: Option<unsafe extern "C" fn(*mut c_void, c_int)>,
    pub get_handle_proc:
        Option<unsafe extern "C" fn(*mut c_void, c_int, *mut *mut c_void) -> c_int>,
    pub close2_proc: Option<unsafe extern "C" fn(*mut c_void, *mut Interp, c_int) -> c_int>,
    pub block_mode_proc: Option<unsafe extern "C" fn(*mut c_void, c_int) -> c_int>,
    pub flush_proc: usize,
    pub handler_proc: usize,
    pub wide_seek_proc: usize,
    pub thread_action_proc: Option<unsafe extern "C" fn(*mut c_void, c_int)>,
    pub truncate_proc: usize,
}
// SAFETY: a channel type is a constant table of function pointers.
unsafe impl Sync for ChannelType {}
