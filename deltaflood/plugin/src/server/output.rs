//! Handing lines to the server.

use super::encoding::{Encoding, am_walsender};
use pgrx::pg_sys;

/// Bytes that a line may have: the server's largest buffer, less what a walsender puts before it
/// and after it.
pub const LINE_BYTES: usize = 0x3fff_ffff - 64;

/// So many bytes of short lines go to a walsender's client in one message.
const MESSAGE_BYTES: usize = 16 << 10;

/// Where lines go.
///
/// A walsender makes a system call for each message, which costs more than all that the plugin
/// does; so its client gets several lines in one, divided by LF, but never of two transactions.
/// `pg_recvlogical` ends each message with LF. The server's functions give a row per line.
#[derive(Debug)]
pub struct Sink {
    encoding: Encoding,
    gathers: bool,
    /// Lines that wait for more.
    waiting: Vec<u8>,
    /// Lines of the present transaction.
    printed: u64,
}

impl Sink {
    /// Of this session.
    pub fn of_session() -> Sink {
        // SAFETY: a variable of the backend's one thread.
        let gathers = unsafe { am_walsender };
        Sink { encoding: Encoding::of_session(), gathers, waiting: Vec::new(), printed: 0 }
    }

    /// Whether bytes that are no text of the database may be printed as they are.
    pub fn is_plain(&self) -> bool {
        self.encoding.is_plain()
    }

    /// Lines since the transaction began.
    pub fn printed(&self) -> u64 {
        self.printed
    }

    /// Hands one line on; `last` when it is the last of a change.
    ///
    /// # Safety
    /// `context` is that of the callback that is running.
    #[inline]
    pub unsafe fn line(
        &mut self,
        context: *mut pg_sys::LogicalDecodingContext,
        line: &[u8],
        last: bool,
    ) {
        self.printed += 1;
        // SAFETY: see the caller.
        unsafe {
            if self.waiting.len() + line.len() >= MESSAGE_BYTES {
                self.flush(context);
            }
            if !self.gathers || line.len() >= MESSAGE_BYTES {
                return write(context, self.encoding, line, last);
            }
        }
        if !self.waiting.is_empty() {
            self.waiting.push(b'\n');
        }
        self.waiting.extend_from_slice(line);
    }

    /// Hands on what waits: at the end of a transaction.
    ///
    /// # Safety
    /// `context` is that of the callback that is running.
    pub unsafe fn flush(&mut self, context: *mut pg_sys::LogicalDecodingContext) {
        if !self.waiting.is_empty() {
            // SAFETY: see the caller.
            unsafe { write(context, self.encoding, &self.waiting, true) };
            self.waiting.clear();
        }
    }

    /// Forgets what waits: another transaction begins.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.printed = 0;
    }
}

/// Hands on one message; `last` when it is the last of a change.
///
/// # Safety
/// `context` is that of the callback that is running.
unsafe fn write(
    context: *mut pg_sys::LogicalDecodingContext,
    encoding: Encoding,
    lines: &[u8],
    last: bool,
) {
    // SAFETY: `out` is the context's buffer, and may be written to between Prepare and Write. The
    // text is shorter than the server's largest buffer, see LINE_BYTES; when its conversion is not,
    // the server says so.
    unsafe {
        pg_sys::OutputPluginPrepareWrite(context, last);
        let out = (*context).out;
        let text = encoding.of_client(lines);
        pg_sys::appendBinaryStringInfo(out, text.as_ptr().cast(), text.len() as i32);
        pg_sys::OutputPluginWrite(context, last);
    }
}
