//! Values: strings, bytes, numbers, lists, dicts (Tcl_NewStringObj(3), Tcl_ListObj(3),
//! Tcl_DictObj(3)).

use crate::table::{call, int, tcl_fn};
use crate::types::{Interp, Obj};
use std::ffi::{c_char, c_int, c_void};
use std::slice;

tcl_fn! {
    19 => fn Tcl_DbDecrRefCount(obj: *mut Obj, file: *const c_char, line: c_int);
    20 => fn Tcl_DbIncrRefCount(obj: *mut Obj, file: *const c_char, line: c_int);
    21 => fn Tcl_DbIsShared(obj: *mut Obj, file: *const c_char, line: c_int) -> c_int;
    29 => fn Tcl_DuplicateObj(obj: *mut Obj) -> *mut Obj;
    32 => fn Tcl_GetBooleanFromObj(interp: *mut Interp, obj: *mut Obj, out: *mut c_int) -> c_int;
    35 => fn Tcl_GetDoubleFromObj(interp: *mut Interp, obj: *mut Obj, out: *mut f64) -> c_int;
    42 => fn Tcl_InvalidateStringRep(obj: *mut Obj);
    44 => fn Tcl_ListObjAppendElement(interp: *mut Interp, list: *mut Obj, obj: *mut Obj) -> c_int;
    51 => fn Tcl_NewDoubleObj(value: f64) -> *mut Obj;
    487 => fn Tcl_GetWideIntFromObj(interp: *mut Interp, obj: *mut Obj, out: *mut i64) -> c_int;
    488 => fn Tcl_NewWideIntObj(value: i64) -> *mut Obj;
    494 => fn Tcl_DictObjPut(interp: *mut Interp, dict: *mut Obj, k: *mut Obj, v: *mut Obj) -> c_int;
    495 => fn Tcl_DictObjGet(interp: *mut Interp, dict: *mut Obj, k: *mut Obj, v: *mut *mut Obj) -> c_int;
    503 => fn Tcl_NewDictObj() -> *mut Obj;
}

/// One more reference.
#[inline]
pub unsafe fn incr_ref(obj: *mut Obj) {
    // SAFETY: the crate's contract.
    unsafe { Tcl_DbIncrRefCount(obj, c"pgsqlite".as_ptr(), 0) }
}

/// One reference less; frees the object at the last.
#[inline]
pub unsafe fn decr_ref(obj: *mut Obj) {
    // SAFETY: the crate's contract.
    unsafe { Tcl_DbDecrRefCount(obj, c"pgsqlite".as_ptr(), 0) }
}

/// Whether more than one reference is held.
#[inline]
pub unsafe fn is_shared(obj: *mut Obj) -> bool {
    // SAFETY: the crate's contract.
    unsafe { Tcl_DbIsShared(obj, c"pgsqlite".as_ptr(), 0) != 0 }
}

/// A new string object of `bytes`, which are in Tcl's internal form already.
#[inline]
pub unsafe fn new_string(bytes: &[u8]) -> *mut Obj {
    let (p, n) = (bytes.as_ptr(), bytes.len() as isize);
    call!(56: unsafe extern "C" fn(*const u8, c_int) -> *mut Obj => |f| f(p, int(n)),
          56: unsafe extern "C" fn(*const u8, isize) -> *mut Obj => |f| f(p, n))
}

/// A new byte array object.
#[inline]
pub unsafe fn new_byte_array(bytes: &[u8]) -> *mut Obj {
    let (p, n) = (bytes.as_ptr(), bytes.len() as isize);
    call!(50: unsafe extern "C" fn(*const u8, c_int) -> *mut Obj => |f| f(p, int(n)),
          50: unsafe extern "C" fn(*const u8, isize) -> *mut Obj => |f| f(p, n))
}

/// A new list of `elements`; each gets one more reference.
#[inline]
pub unsafe fn new_list(elements: &[*mut Obj]) -> *mut Obj {
    let (p, n) = (elements.as_ptr(), elements.len() as isize);
    call!(53: unsafe extern "C" fn(c_int, *const *mut Obj) -> *mut Obj => |f| f(int(n), p),
          53: unsafe extern "C" fn(isize, *const *mut Obj) -> *mut Obj => |f| f(n, p))
}

/// A new empty list with room for `number` elements.
#[inline]
pub unsafe fn new_list_for(number: usize) -> *mut Obj {
    let (p, n) = (std::ptr::null::<*mut Obj>(), number as isize);
    call!(53: unsafe extern "C" fn(c_int, *const *mut Obj) -> *mut Obj => |f| f(int(n), p),
          53: unsafe extern "C" fn(isize, *const *mut Obj) -> *mut Obj => |f| f(n, p))
}

/// Appends `elements` to an unshared list of `length` elements; each gets one more reference.
#[inline]
pub unsafe fn list_append(list: *mut Obj, length: usize, elements: &[*mut Obj]) {
    type Replace<N> =
        unsafe extern "C" fn(*mut Interp, *mut Obj, N, N, N, *const *mut Obj) -> c_int;
    let (at, p, n) = (length as isize, elements.as_ptr(), elements.len() as isize);
    let none = std::ptr::null_mut();
    call!(48: Replace<c_int> => |f| f(none, list, int(at), 0, int(n), p),
          48: Replace<isize> => |f| f(none, list, at, 0, n, p));
}

/// The string representation, in Tcl's internal form; a NUL byte follows it in memory.
#[inline]
pub unsafe fn string_bytes<'a>(obj: *mut Obj) -> &'a [u8] {
    let (p, n) = call!(
        41: unsafe extern "C" fn(*mut Obj, *mut c_int) -> *const u8 => |f| {
            let mut n: c_int = 0;
            let p = f(obj, &mut n);
            (p, n as usize)
        },
        651: unsafe extern "C" fn(*mut Obj, *mut isize) -> *const u8 => |f| {
            let mut n: isize = 0;
            let p = f(obj, &mut n);
            (p, n as usize)
        }
    );
    // SAFETY: Tcl gives a pointer to n bytes that live as long as the object keeps its string.
    unsafe { slice::from_raw_parts(p, n) }
}

/// The bytes of a byte array; None (9.0 only) when the value is no sequence of bytes.
#[inline]
pub unsafe fn byte_array<'a>(obj: *mut Obj) -> Option<&'a [u8]> {
    type Get9 = unsafe extern "C" fn(*mut Interp, *mut Obj, *mut isize) -> *const u8;
    // NOTE: 9.0 declares slot 33 as well, but libtcl 9.0.1 leaves it empty.
    let (p, n) = call!(
        33: unsafe extern "C" fn(*mut Obj, *mut c_int) -> *const u8 => |f| {
            let mut n: c_int = 0;
            let p = f(obj, &mut n);
            (p, n as usize)
        },
        650: Get9 => |f| {
            let mut n: isize = 0;
            let p = f(std::ptr::null_mut(), obj, &mut n);
            (p, n as usize)
        }
    );
    // SAFETY: Tcl's own pointer and length, good as long as the object's bytes are not read in
    // another form, which is the caller's care.
    if p.is_null() { None } else { Some(unsafe { slice::from_raw_parts(p, n) }) }
}

/// The elements of a list; None with a message in `interp` when it is no list.
#[inline]
pub unsafe fn list_elements<'a>(interp: *mut Interp, list: *mut Obj) -> Option<&'a [*mut Obj]> {
    type Get<N> =
        unsafe extern "C" fn(*mut Interp, *mut Obj, *mut N, *mut *const *mut Obj) -> c_int;
    let mut p: *const *mut Obj = std::ptr::null();
    let (status, n) = call!(
        45: Get<c_int> => |f| {
            let mut n: c_int = 0;
            let status = f(interp, list, &mut n, &mut p);
            (status, n as usize)
        },
        661: Get<isize> => |f| {
            let mut n: isize = 0;
            let status = f(interp, list, &mut n, &mut p);
            (status, n as usize)
        }
    );
    match (status, n) {
        (0, 0) => Some(&[]),
        // SAFETY: Tcl gives n pointers that live as long as the list's internal form.
        (0, n) => Some(unsafe { slice::from_raw_parts(p, n) }),
        _ => None,
    }
}

/// A block of Tcl's allocator.
pub unsafe fn alloc(bytes: usize) -> *mut c_void {
    call!(3: unsafe extern "C" fn(u32) -> *mut c_void => |f| f(bytes as u32),
          3: unsafe extern "C" fn(usize) -> *mut c_void => |f| f(bytes))
}
