//! Interpreters: results, evaluation, state, packages (Tcl_SetObjResult(3), Tcl_Eval(3),
//! Tcl_NRCreateCommand(3)).

use crate::table::{call, int, tcl_fn};
use crate::types::{ExitProc, Interp, InterpDeleteProc, Namespace, NrPostProc, Obj};
use std::ffi::{c_char, c_int, c_void};

tcl_fn! {
    0 => fn Tcl_PkgProvideEx(interp: *mut Interp, name: *const c_char, version: *const c_char, data: *const c_void) -> c_int;
    79 => fn Tcl_CallWhenDeleted(interp: *mut Interp, proc_: InterpDeleteProc, data: *mut c_void);
    93 => fn Tcl_CreateExitHandler(proc_: ExitProc, data: *mut c_void);
    107 => fn Tcl_DeleteExitHandler(proc_: ExitProc, data: *mut c_void);
    150 => fn Tcl_GetAssocData(interp: *mut Interp, name: *const c_char, proc_: *mut Option<InterpDeleteProc>) -> *mut c_void;
    166 => fn Tcl_GetObjResult(interp: *mut Interp) -> *mut Obj;
    184 => fn Tcl_InterpDeleted(interp: *mut Interp) -> c_int;
    185 => fn Tcl_IsSafe(interp: *mut Interp) -> c_int;
    201 => fn Tcl_Preserve(data: *mut c_void);
    216 => fn Tcl_Release(data: *mut c_void);
    217 => fn Tcl_ResetResult(interp: *mut Interp);
    223 => fn Tcl_SetAssocData(interp: *mut Interp, name: *const c_char, proc_: Option<InterpDeleteProc>, data: *mut c_void);
    234 => fn Tcl_SetObjErrorCode(interp: *mut Interp, code: *mut Obj);
    235 => fn Tcl_SetObjResult(interp: *mut Interp, obj: *mut Obj);
    288 => fn Tcl_CreateThreadExitHandler(proc_: ExitProc, data: *mut c_void);
    293 => fn Tcl_EvalObjEx(interp: *mut Interp, obj: *mut Obj, flags: c_int) -> c_int;
    506 => fn Tcl_CreateNamespace(interp: *mut Interp, name: *const c_char, data: *mut c_void, delete: *const c_void) -> *mut Namespace;
    509 => fn Tcl_Export(interp: *mut Interp, ns: *mut Namespace, pattern: *const c_char, reset: c_int) -> c_int;
    514 => fn Tcl_FindNamespace(interp: *mut Interp, name: *const c_char, context: *mut Namespace, flags: c_int) -> *mut Namespace;
    524 => fn Tcl_LimitExceeded(interp: *mut Interp) -> c_int;
    535 => fn Tcl_SaveInterpState(interp: *mut Interp, status: c_int) -> *mut c_void;
    536 => fn Tcl_RestoreInterpState(interp: *mut Interp, state: *mut c_void) -> c_int;
    538 => fn Tcl_SetReturnOptions(interp: *mut Interp, options: *mut Obj) -> c_int;
    539 => fn Tcl_GetReturnOptions(interp: *mut Interp, result: c_int) -> *mut Obj;
    574 => fn Tcl_AppendObjToErrorInfo(interp: *mut Interp, obj: *mut Obj);
    584 => fn Tcl_NREvalObj(interp: *mut Interp, obj: *mut Obj, flags: c_int) -> c_int;
    587 => fn Tcl_NRAddCallback(interp: *mut Interp, proc_: NrPostProc, d0: *mut c_void, d1: *mut c_void, d2: *mut c_void, d3: *mut c_void);
    605 => fn Tcl_GetErrorLine(interp: *mut Interp) -> c_int;
    609 => fn Tcl_BackgroundException(interp: *mut Interp, code: c_int);
}

/// Evaluates a command given as words.
pub unsafe fn eval_objv(interp: *mut Interp, words: &[*mut Obj], flags: c_int) -> c_int {
    type Eval<N> = unsafe extern "C" fn(*mut Interp, N, *const *mut Obj, c_int) -> c_int;
    let (p, n) = (words.as_ptr(), words.len() as isize);
    call!(292: Eval<c_int> => |f| f(interp, int(n), p, flags),
          292: Eval<isize> => |f| f(interp, n, p, flags))
}
