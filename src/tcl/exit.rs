//! What must be done before a thread ends: `exit` deletes no interpreter, so handles would never
//! hear of it
//! (Tcl_CreateThreadExitHandler(3); Tcl_Exit(3) runs those of its own thread).
//!
//! Not guaranteed: a process that is killed, and `exit` called in another thread, run nothing here.
//! What is durable by
//! then stays durable.

use super::guard;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use tcl_sys as sys;

type Action = Box<dyn FnOnce()>;

#[derive(Default)]
struct Actions {
    registered: bool,
    next: u64,
    waiting: BTreeMap<u64, Action>,
}

thread_local! {
    static ACTIONS: RefCell<Actions> = RefCell::default();
}

/// An action that waits for the thread's end; dropping this takes it back.
pub struct AtExit(u64);

/// Runs `action` when this thread's Tcl ends, unless the value returned is dropped before. It must
/// not run scripts.
pub fn at_exit(action: impl FnOnce() + 'static) -> AtExit {
    ACTIONS.with_borrow_mut(|actions| {
        if !actions.registered {
            // SAFETY: Tcl is initialised on this thread: callers are inside a command. The function
            // takes no data.
            unsafe { sys::Tcl_CreateThreadExitHandler(ended, std::ptr::null_mut()) };
            actions.registered = true;
        }
        actions.next += 1;
        let number = actions.next;
        actions.waiting.insert(number, Box::new(action));
        AtExit(number)
    })
}

impl Drop for AtExit {
    fn drop(&mut self) {
        // NOTE: dropped outside the borrow: what the action holds may hold another of these.
        let taken = ACTIONS
            .try_with(|actions| {
                actions.try_borrow_mut().ok().and_then(|mut all| all.waiting.remove(&self.0))
            })
            .ok()
            .flatten();
        drop(taken);
    }
}

unsafe extern "C" fn ended(_data: *mut c_void) {
    let next = || ACTIONS.try_with(|a| a.try_borrow_mut().ok()?.waiting.pop_last()).ok().flatten();
    while let Some((_, action)) = next() {
        let _ = guard::caught(action);
    }
}
