//! The server's notices: silent, or given to a hook.

use super::{Conn, text};
use std::ffi::{c_int, c_void};

/// Receives the text of a notice or warning, as libpq prints it, with its line end.
pub type Hook = Box<dyn FnMut(&str) + Send>;

/// Receives the SQLSTATE and the text of a notice or warning.
pub type CodedHook = Box<dyn FnMut(&str, &str) + Send>;

/// What libpq's notice receiver gets as its argument; boxed, so that its address stays while the
/// [`Conn`] moves.
#[derive(Default)]
pub(super) struct Slot {
    hook: Option<CodedHook>,
    busy: bool,
}

/// Called by libpq for each notice. Must not unwind into C.
pub(super) unsafe extern "C" fn receiver(arg: *mut c_void, notice: *const pq_sys::PGresult) {
    if arg.is_null() || notice.is_null() {
        return;
    }
    // SAFETY: `arg` is the slot that `Conn` registered and keeps alive as long as the connection;
    // libpq calls on the thread that uses the connection, and `busy` refuses a second, nested use.
    let slot = unsafe { &mut *arg.cast::<Slot>() };
    if slot.busy {
        return;
    }
    if let Some(hook) = slot.hook.as_mut() {
        // SAFETY: libpq passes a live result; its strings live as long.
        let (sqlstate, message) = unsafe {
            (
                text::owned(pq_sys::PQresultErrorField(notice, c_int::from(b'C'))),
                text::owned(pq_sys::PQresultErrorMessage(notice)),
            )
        };
        slot.busy = true;
        let call = std::panic::AssertUnwindSafe(|| hook(&sqlstate, &message));
        let _ = std::panic::catch_unwind(call);
        slot.busy = false;
    }
}

impl Conn {
    /// Gives the server's notices and warnings to `hook`, or silences them with `None` (the
    /// default). The hook runs inside libpq's calls: it must be quick and must not use this
    /// connection.
    pub fn set_notice_hook(&self, hook: Option<Hook>) {
        self.set_coded_notice_hook(hook.map(|mut hook| {
            let coded: CodedHook = Box::new(move |_, message| hook(message));
            coded
        }));
    }

    /// As [`Conn::set_notice_hook`], for a hook that goes by the SQLSTATE.
    pub fn set_coded_notice_hook(&self, hook: Option<CodedHook>) {
        let slot = self.notice_slot();
        // SAFETY: the slot belongs to this connection, which is not shared between threads; libpq
        // is not running now, since a hook cannot hold a `Conn` (it is `Send`, `&Conn` is not).
        unsafe { (*slot).hook = hook };
    }
}
