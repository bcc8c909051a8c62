//! Messages of `pg_logical_emit_message`.

use super::callbacks::in_scratch;
use super::state::{State, transaction};
use super::{error, failpoint};
use crate::line::{Transaction, content_of};
use change_line::Lsn;
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;

/// The callback for messages. One outside of a transaction is a transaction of its own, with the
/// number 0, that ends at the message.
#[pg_guard]
pub unsafe extern "C-unwind" fn message(
    context: *mut pg_sys::LogicalDecodingContext,
    txn: *mut pg_sys::ReorderBufferTXN,
    lsn: pg_sys::XLogRecPtr,
    transactional: bool,
    prefix: *const core::ffi::c_char,
    size: pg_sys::Size,
    content: *const core::ffi::c_char,
) {
    // SAFETY: the context of this callback.
    let state = unsafe { State::of(context) };
    if !state.lines.options().include_messages {
        return;
    }
    failpoint::hit(state.lines.options(), "message");
    // SAFETY: as the callback's interface says: the prefix ends with a NUL byte, the content has
    // `size` bytes, and a message within a transaction comes with it.
    let (of, prefix, content) = unsafe {
        let alone = Transaction { xid: 0, end: Lsn(lsn) };
        let of = if transactional { transaction(txn) } else { alone };
        let content = std::slice::from_raw_parts(content.cast::<u8>(), size);
        (of, CStr::from_ptr(prefix).to_bytes(), content)
    };
    // SAFETY: within a callback. One outside of a transaction is called in a memory context that
    // lives as long as the walsender.
    unsafe { in_scratch(state, |state| print(context, state, of, transactional, prefix, content)) };
    state.lines.relax();
}

/// Prints a message, and the end of one that is a transaction of its own.
///
/// # Safety
/// `context` is that of the callback that is running.
unsafe fn print(
    context: *mut pg_sys::LogicalDecodingContext,
    state: &mut State,
    of: Transaction,
    transactional: bool,
    prefix: &[u8],
    content: &[u8],
) {
    let State { lines, sink, .. } = state;
    match lines.message(of, prefix, content_of(content, sink.is_plain())) {
        Ok(true) => {}
        Ok(false) => return,
        Err(why) => error::unwritten_message(prefix, why),
    }
    let commits = !transactional && lines.options().include_transaction;
    // SAFETY: the callback's context, see the caller.
    unsafe { sink.line(context, lines.line(), !commits) };
    if commits {
        lines.commit(of, now_us(), sink.printed());
        // SAFETY: the callback's context, see the caller.
        unsafe { sink.line(context, lines.line(), true) };
    }
    if !transactional {
        // SAFETY: the callback's context, see the caller.
        unsafe { sink.flush(context) };
        sink.clear();
    }
}

/// Microseconds since the Unix epoch.
fn now_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}
