//! The server's notices: silent, or given to a hook.

use super::Conn;
use std::ffi::{CStr, c_char, c_void};

/// Receives the text of a notice or warning, as libpq prints it, with its line end.
pub type Hook = Box<dyn FnMut(&str) + Send>;

/// What libpq's notice processor gets as its argument; boxed, so that its address stays while the
/// [`Conn`] moves.
#[derive(Default)]
pub(super) struct Slot {
    hook: Option<Hook>,
    busy: bool,
}

/// Called by libpq for each notice. Must not unwind into C.
pub(super) unsafe extern "C" fn processor(arg: *mut c_void, message: *const c_char) {
    if arg.is_null() || message.is_null() {
        return;
    }
    // SAFETY: `arg` is the slot that `Conn` registered and keeps alive as long as the connection;
    // libpq calls on the thread that uses the connection, and `busy` refuses a second, nested use.
    let slot = unsafe { &mut *arg.cast::<Slot>() };
    // SAFETY: libpq passes a NUL-terminated message.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    if slot.busy {
        return;
    }
    if let Some(hook) = slot.hook.as_mut() {
        slot.busy = true;
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(&text)));
        slot.busy = false;
    }
}

impl Conn {
    /// Gives the server's notices and warnings to `hook`, or silences them with `None` (the
    /// default). The hook runs inside libpq's calls: it must be quick and must not use this
    /// connection.
    pub fn set_notice_hook(&self, hook: Option<Hook>) {
        let slot = self.notice_slot();
        // SAFETY: the slot belongs to this connection, which is not shared between threads; libpq
        // is not running now, since a hook cannot hold a `Conn` (it is `Send`, `&Conn` is not).
        unsafe { (*slot).hook = hook };
    }
}
