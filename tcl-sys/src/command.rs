//! Commands (Tcl_CreateObjCommand(3), Tcl_NRCreateCommand(3), Tcl_GetCommandInfo(3)).

use crate::table::{call, int, tcl_fn};
use crate::types::{CmdDeleteProc, CmdInfo, CommandToken, Interp, Obj, ObjCmdProc};
use std::ffi::{c_char, c_int, c_void};

tcl_fn! {
    96 => fn Tcl_CreateObjCommand(interp: *mut Interp, name: *const c_char, proc_: ObjCmdProc, data: *mut c_void, delete: Option<CmdDeleteProc>) -> *mut CommandToken;
    104 => fn Tcl_DeleteCommandFromToken(interp: *mut Interp, token: *mut CommandToken) -> c_int;
    159 => fn Tcl_GetCommandInfo(interp: *mut Interp, name: *const c_char, info: *mut CmdInfo) -> c_int;
    516 => fn Tcl_GetCommandFromObj(interp: *mut Interp, name: *mut Obj) -> *mut CommandToken;
    484 => fn Tcl_GetCommandInfoFromToken(token: *mut CommandToken, info: *mut CmdInfo) -> c_int;
    485 => fn Tcl_SetCommandInfoFromToken(token: *mut CommandToken, info: *const CmdInfo) -> c_int;
    517 => fn Tcl_GetCommandFullName(interp: *mut Interp, token: *mut CommandToken, obj: *mut Obj);
    583 => fn Tcl_NRCreateCommand(interp: *mut Interp, name: *const c_char, proc_: ObjCmdProc, nre: ObjCmdProc, data: *mut c_void, delete: Option<CmdDeleteProc>) -> *mut CommandToken;
    588 => fn Tcl_NRCallObjProc(interp: *mut Interp, proc_: ObjCmdProc, data: *mut c_void, objc: c_int, objv: *const *mut Obj) -> c_int;
}

/// Leaves `wrong # args: should be "..."` in the interpreter, after the first `n` words.
pub unsafe fn wrong_num_args(
    interp: *mut Interp,
    n: isize,
    words: *const *mut Obj,
    message: *const c_char,
) {
    type Wrong<N> = unsafe extern "C" fn(*mut Interp, N, *const *mut Obj, *const c_char);
    call!(264: Wrong<c_int> => |f| f(interp, int(n), words, message),
          264: Wrong<isize> => |f| f(interp, n, words, message))
}
