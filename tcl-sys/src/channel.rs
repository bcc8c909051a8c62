//! Channels (Tcl_CreateChannel(3), Tcl_OpenFileChannel(3)).

use crate::table::{call, int, tcl_fn};
use crate::types::{ChannelToken, ChannelType, Interp, Obj};
use std::ffi::{c_char, c_int, c_void};

tcl_fn! {
    88 => fn Tcl_CreateChannel(type_: *const ChannelType, name: *const c_char, data: *mut c_void, mask: c_int) -> *mut ChannelToken;
    126 => fn Tcl_Eof(chan: *mut ChannelToken) -> c_int;
    146 => fn Tcl_Flush(chan: *mut ChannelToken) -> c_int;
    151 => fn Tcl_GetChannel(interp: *mut Interp, name: *const c_char, mode: *mut c_int) -> *mut ChannelToken;
    154 => fn Tcl_GetChannelInstanceData(chan: *mut ChannelToken) -> *mut c_void;
    156 => fn Tcl_GetChannelName(chan: *mut ChannelToken) -> *const c_char;
    158 => fn Tcl_GetChannelType(chan: *mut ChannelToken) -> *const ChannelType;
    210 => fn Tcl_RegisterChannel(interp: *mut Interp, chan: *mut ChannelToken);
    225 => fn Tcl_SetChannelOption(interp: *mut Interp, chan: *mut ChannelToken, name: *const c_char, value: *const c_char) -> c_int;
    227 => fn Tcl_SetErrno(errno: c_int);
    252 => fn Tcl_UnregisterChannel(interp: *mut Interp, chan: *mut ChannelToken) -> c_int;
    414 => fn Tcl_IsChannelRegistered(interp: *mut Interp, chan: *mut ChannelToken) -> c_int;
    479 => fn Tcl_OutputBuffered(chan: *mut ChannelToken) -> c_int;
    562 => fn Tcl_SetChannelErrorInterp(interp: *mut Interp, message: *mut Obj);
    564 => fn Tcl_SetChannelError(chan: *mut ChannelToken, message: *mut Obj);
}

/// Reads up to `buf.len()` bytes; -1 on error, 0 at the end.
pub unsafe fn read(chan: *mut ChannelToken, buf: &mut [u8]) -> isize {
    let (p, n) = (buf.as_mut_ptr(), buf.len() as isize);
    call!(206: unsafe extern "C" fn(*mut ChannelToken, *mut u8, c_int) -> c_int => |f| f(chan, p, int(n)) as isize,
          206: unsafe extern "C" fn(*mut ChannelToken, *mut u8, isize) -> isize => |f| f(chan, p, n))
}

/// Writes bytes; -1 on error.
pub unsafe fn write(chan: *mut ChannelToken, bytes: &[u8]) -> isize {
    let (p, n) = (bytes.as_ptr(), bytes.len() as isize);
    call!(263: unsafe extern "C" fn(*mut ChannelToken, *const u8, c_int) -> c_int => |f| f(chan, p, int(n)) as isize,
          263: unsafe extern "C" fn(*mut ChannelToken, *const u8, isize) -> isize => |f| f(chan, p, n))
}
