//! The stub table: found, checked, kept once per process.

use crate::types::Interp;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Slots that this crate reaches; both versions have more than this.
const SLOTS: usize = 690;
const MAGIC_8: u32 = 0xFCA3_BACF;
const MAGIC_9: u32 = 0xFCA3_BACB + size_of::<*const c_void>() as u32;

#[repr(C)]
pub(crate) struct Stubs {
    magic: c_int,
    hooks: *const c_void,
    slot: [*const c_void; SLOTS],
}

/// The head of every Tcl interpreter (tcl.h).
#[repr(C)]
struct InterpHead {
    legacy_result: *const c_char,
    legacy_free: *const c_void,
    error_line: c_int,
    stub_table: *const Stubs,
}

static TABLE: AtomicPtr<Stubs> = AtomicPtr::new(ptr::null_mut());
static TCL9: AtomicBool = AtomicBool::new(false);

/// Finds the stub table of `interp` and keeps it for the process. False: not a Tcl that this crate
/// knows, and then nothing else of this crate may be called.
pub unsafe fn init(interp: *mut Interp) -> bool {
    // SAFETY: the caller gives a live interpreter, whose head is as described in every Tcl since
    // 8.1.
    let table = unsafe { (*interp.cast::<InterpHead>()).stub_table };
    if table.is_null() {
        return false;
    }
    // SAFETY: the magic number is the first field of every version of the table.
    let magic = unsafe { (*table).magic } as u32;
    if magic != MAGIC_8 && magic != MAGIC_9 {
        return false;
    }
    type RequireEx = unsafe extern "C" fn(
        *mut Interp,
        *const c_char,
        *const c_char,
        c_int,
        *mut *const Stubs,
    ) -> *const c_char;
    let mut authoritative: *const Stubs = ptr::null();
    // SAFETY: slot 1 is Tcl_PkgRequireEx in every version; this is the call that Tcl_InitStubs
    // makes.
    let version = unsafe {
        let require = std::mem::transmute::<*const c_void, RequireEx>((*table).slot[1]);
        require(interp, c"Tcl".as_ptr(), c"8.6-".as_ptr(), 0, &mut authoritative)
    };
    if version.is_null() {
        return false;
    }
    let table = if authoritative.is_null() { table } else { authoritative };
    TCL9.store(magic == MAGIC_9, Ordering::Relaxed);
    TABLE.store(table.cast_mut(), Ordering::Release);
    true
}

/// Whether the running Tcl is version 9.
#[inline]
pub fn is_tcl9() -> bool {
    TCL9.load(Ordering::Relaxed)
}

/// The function pointer at a slot.
#[inline]
pub(crate) unsafe fn slot(n: usize) -> *const c_void {
    let table = TABLE.load(Ordering::Relaxed);
    debug_assert!(!table.is_null(), "tcl_sys::init was not called");
    // SAFETY: init succeeded (the crate's contract), so the table is live for the rest of the
    // process.
    unsafe { (*table).slot[n] }
}

/// Declares functions whose type is the same in both versions: `slot => fn name(args) -> result;`
macro_rules! tcl_fn {
    ($(
        $(#[$doc:meta])*
        $slot:literal => fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;
    )*) => {$(
        $(#[$doc])*
        #[inline]
        pub unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the slot holds a function of exactly this C type in Tcl 8.6 and 9.0.
            unsafe {
                let f = std::mem::transmute::<
                    *const std::ffi::c_void,
                    unsafe extern "C" fn($($ty),*) $(-> $ret)?,
                >($crate::table::slot($slot));
                f($($arg),*)
            }
        }
    )*};
}
pub(crate) use tcl_fn;

/// Calls a slot by its type in each version: `call!(slot8: type8 => expression8, slot9: type9 =>
/// expression9)`.
macro_rules! call {
    ($s8:literal: $t8:ty => |$f8:ident| $e8:expr, $s9:literal: $t9:ty => |$f9:ident| $e9:expr) => {
        if $crate::table::is_tcl9() {
            // SAFETY: the slot holds a function of this C type in Tcl 9.0.
            unsafe {
                let $f9 =
                    std::mem::transmute::<*const std::ffi::c_void, $t9>($crate::table::slot($s9));
                $e9
            }
        } else {
            // SAFETY: the slot holds a function of this C type in Tcl 8.6.
            unsafe {
                let $f8 =
                    std::mem::transmute::<*const std::ffi::c_void, $t8>($crate::table::slot($s8));
                $e8
            }
        }
    };
}
pub(crate) use call;

/// A length as Tcl 8.6 takes it.
#[inline]
pub(crate) fn int(n: isize) -> c_int {
    c_int::try_from(n).unwrap_or(c_int::MAX)
}
