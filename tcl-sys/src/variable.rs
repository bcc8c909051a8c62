//! Variables (Tcl_SetVar(3)).

use crate::table::tcl_fn;
use crate::types::{Interp, Obj};
use std::ffi::{c_char, c_int};

tcl_fn! {
    195 => fn Tcl_ObjGetVar2(interp: *mut Interp, name: *mut Obj, element: *mut Obj, flags: c_int) -> *mut Obj;
    196 => fn Tcl_ObjSetVar2(interp: *mut Interp, name: *mut Obj, element: *mut Obj, value: *mut Obj, flags: c_int) -> *mut Obj;
    254 => fn Tcl_UnsetVar2(interp: *mut Interp, name: *const c_char, element: *const c_char, flags: c_int) -> c_int;
}
