//! Handing lines to the server.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Bytes that a line may have: the server's largest buffer, less what a walsender puts before it
/// and after it.
pub const LINE_BYTES: usize = 0x3fff_ffff - 64;

// SAFETY: declared as in replication/walsender.h, which pgrx does not read for every major.
unsafe extern "C" {
    static am_walsender: bool;
}

/// What lines are converted to: `None` when the client has the database's encoding.
#[derive(Debug, Clone, Copy)]
pub struct Encoding(Option<i32>);

impl Encoding {
    /// Of this session. Functions hand on text in the database's encoding, and the server converts
    /// it; a walsender's client gets what the plugin prints.
    pub fn of_session() -> Encoding {
        // SAFETY: variables and functions of the backend's one thread.
        unsafe {
            let client = pg_sys::pg_get_client_encoding();
            let same = client == pg_sys::GetDatabaseEncoding();
            Encoding((am_walsender && !same).then_some(client))
        }
    }

    /// Whether bytes that are no text of the database may be printed as they are.
    pub fn is_plain(self) -> bool {
        // SAFETY: as above.
        let database = unsafe { pg_sys::GetDatabaseEncoding() };
        self.0.is_none() && database == pg_sys::pg_enc::PG_UTF8 as i32
    }
}

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
}

impl Sink {
    /// Of this session.
    pub fn of_session() -> Sink {
        // SAFETY: a variable of the backend's one thread.
        let gathers = unsafe { am_walsender };
        Sink { encoding: Encoding::of_session(), gathers, waiting: Vec::new() }
    }

    /// Whether bytes that are no text of the database may be printed as they are.
    pub fn is_plain(&self) -> bool {
        self.encoding.is_plain()
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

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
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
        match encoding.0 {
            None => pg_sys::appendBinaryStringInfo(out, lines.as_ptr().cast(), lines.len() as i32),
            Some(client) => {
                let from = lines.as_ptr().cast::<core::ffi::c_char>();
                let to = pg_sys::pg_server_to_any(from, lines.len() as i32, client);
                let text =
                    if to.cast_const() == from { lines } else { CStr::from_ptr(to).to_bytes() };
                pg_sys::appendBinaryStringInfo(out, text.as_ptr().cast(), text.len() as i32);
            }
        }
        pg_sys::OutputPluginWrite(context, last);
    }
}
