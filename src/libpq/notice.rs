//! The server's notices: silent, or given to a hook.

use super::{Conn, text};
use std::cell::Cell;
use std::ffi::{c_int, c_void};

/// Receives the text of a notice or warning, as libpq prints it, with its line end.
pub type Hook = Box<dyn FnMut(&str) + Send>;

/// Receives the SQLSTATE and the text of a notice or warning.
pub type CodedHook = Box<dyn FnMut(&str, &str) + Send>;

/// What libpq's notice receiver gets as its argument; boxed, so that its address stays while the
/// [`Conn`] moves. Of cells, for a hook may come back here: by a connection that it finds in a
/// variable of its thread it can set a hook, or run a statement that brings another notice.
#[derive(Default)]
pub(super) struct Slot {
    /// Taken out while it runs.
    hook: Cell<Option<CodedHook>>,
    /// How often a hook was set.
    set: Cell<u64>,
}

/// Called by libpq for each notice. Must not unwind into C.
pub(super) unsafe extern "C" fn receiver(arg: *mut c_void, notice: *const pq_sys::PGresult) {
    if arg.is_null() || notice.is_null() {
        return;
    }
    // SAFETY: `arg` is the slot that `Conn` registered and keeps alive as long as the connection;
    // libpq calls on the thread that uses the connection, and all that is inside are cells.
    let slot = unsafe { &*arg.cast::<Slot>() };
    let Some(mut hook) = slot.hook.take() else { return };
    // SAFETY: libpq passes a live result; its strings live as long.
    let (sqlstate, message) = unsafe {
        (
            text::owned(pq_sys::PQresultErrorField(notice, c_int::from(b'C'))),
            text::owned(pq_sys::PQresultErrorMessage(notice)),
        )
    };
    let set = slot.set.get();
    let call = std::panic::AssertUnwindSafe(|| hook(&sqlstate, &message));
    let _ = std::panic::catch_unwind(call);
    // Another one may have been set meanwhile, or this one taken away.
    if slot.set.get() == set {
        slot.hook.set(Some(hook));
    }
}

impl Conn {
    /// Gives the server's notices and warnings to `hook`, or silences them with `None` (the
    /// default). The hook runs inside libpq's calls: it must be quick and should not use this
    /// connection. It may set another hook, or none; that one hears of the next notice.
    pub fn set_notice_hook(&self, hook: Option<Hook>) {
        self.set_coded_notice_hook(hook.map(|mut hook| {
            let coded: CodedHook = Box::new(move |_, message| hook(message));
            coded
        }));
    }

    /// As [`Conn::set_notice_hook`], for a hook that goes by the SQLSTATE.
    pub fn set_coded_notice_hook(&self, hook: Option<CodedHook>) {
        // SAFETY: the slot belongs to this connection, which is not shared between threads, and
        // lives as long; it is all of cells, so that a hook which runs now may come here.
        let slot = unsafe { &*self.notice_slot() };
        slot.set.set(slot.set.get() + 1);
        drop(slot.hook.replace(hook));
    }
}
