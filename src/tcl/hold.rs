//! Keeps what another package's command works on, whatever a script does to the command.
//!
//! A package frees the data of its command in the command's `deleteProc`. While a [`Hold`] lives,
//! that is a function of ours, which only notes the deletion; the package's own comes when the hold
//! ends. So a script may delete the command (`db close`, `rename db {}`) in the midst of a call
//! that works on its data, and finds it gone at once, but the data stays until the call is over.

use super::guard;
use super::interp::Interp;
use super::obj::Obj;
use std::cell::Cell;
use std::ffi::c_void;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tcl_sys as sys;

/// A command whose data stays until this is dropped. Holds of one command end in the reverse order
/// of their beginning: they live on the stack of the call that needs them.
pub(super) struct Hold {
    token: *mut sys::CommandToken,
    kept: Rc<Kept>,
}

/// What the command's `deleteProc` gets meanwhile.
struct Kept {
    /// The package's own `deleteProc` and its argument.
    owner: (*const c_void, *mut c_void),
    deleted: Arc<AtomicBool>,
    /// The hold has ended, but somebody else stood in our place: the deletion goes through.
    passed: Cell<bool>,
}

impl Kept {
    fn release(&self) {
        let (delete, data) = self.owner;
        if delete.is_null() {
            return;
        }
        // SAFETY: the pointer that Tcl gave as the command's deleteProc, which has this type.
        let delete = unsafe { mem::transmute::<*const c_void, sys::CmdDeleteProc>(delete) };
        // SAFETY: the owner's function with the owner's data, once: Tcl called ours in its place.
        unsafe { delete(data) };
    }
}

unsafe extern "C" fn deleted(data: *mut c_void) {
    let _ = guard::caught(|| {
        // SAFETY: the reference that `Hold::new` leaked; Tcl deletes a command once.
        let kept = unsafe { Rc::from_raw(data.cast_const().cast::<Kept>()) };
        kept.deleted.store(true, Ordering::Relaxed);
        if kept.passed.get() {
            kept.release();
        }
    });
}

fn info_of(token: *mut sys::CommandToken) -> Option<sys::CmdInfo> {
    // SAFETY: an all-zero CmdInfo is valid: numbers and null pointers.
    let mut info: sys::CmdInfo = unsafe { mem::zeroed() };
    // SAFETY: a living command; the structure is larger than any version's.
    let found = unsafe { sys::Tcl_GetCommandInfoFromToken(token, &mut info) };
    (found != 0).then_some(info)
}

impl Hold {
    /// Holds the command called `name`, resolved from the current namespace. `None`: there is no
    /// such command.
    pub(super) fn new(interp: Interp, name: &str) -> Option<Hold> {
        let name = Obj::text(name);
        // SAFETY: live interpreter and object.
        let token = unsafe { sys::Tcl_GetCommandFromObj(interp.raw(), name.raw()) };
        if token.is_null() {
            return None;
        }
        let mut info = info_of(token)?;
        let kept = Rc::new(Kept {
            owner: (info.delete_proc, info.delete_data),
            deleted: Arc::default(),
            passed: Cell::new(false),
        });
        info.delete_proc = deleted as *const c_void;
        info.delete_data = Rc::into_raw(Rc::clone(&kept)).cast_mut().cast();
        // SAFETY: a living command, and what Tcl said of it but for the deletion, which gets a
        // counted reference.
        unsafe { sys::Tcl_SetCommandInfoFromToken(token, &info) };
        Some(Hold { token, kept })
    }

    /// Set when a script has deleted the command.
    pub(super) fn deleted(&self) -> &Arc<AtomicBool> {
        &self.kept.deleted
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.kept.deleted.load(Ordering::Relaxed) {
            self.kept.release();
            return;
        }
        let ours = Rc::as_ptr(&self.kept).cast_mut().cast::<c_void>();
        match info_of(self.token) {
            Some(mut info) if info.delete_data == ours => {
                (info.delete_proc, info.delete_data) = self.kept.owner;
                // SAFETY: the command lives, since nobody has deleted it, and it is again as it
                // was.
                unsafe { sys::Tcl_SetCommandInfoFromToken(self.token, &info) };
                // SAFETY: the reference that `new` leaked, which no command holds any more.
                drop(unsafe { Rc::from_raw(ours.cast_const().cast::<Kept>()) });
            }
            _ => self.kept.passed.set(true),
        }
    }
}
