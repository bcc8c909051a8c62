//! Handing lines to the server.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Bytes that a line may have: the server's largest buffer, less what a walsender puts before it
/// and after it.
pub const LINE_BYTES: usize = 0x3fff_ffff - 64;

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
            Encoding((pg_sys::am_walsender && !same).then_some(client))
        }
    }

    /// Whether bytes that are no text of the database may be printed as they are.
    pub fn is_plain(self) -> bool {
        // SAFETY: as above.
        let database = unsafe { pg_sys::GetDatabaseEncoding() };
        self.0.is_none() && database == pg_sys::pg_enc::PG_UTF8 as i32
    }
}

/// Hands one line on; `last` when it is the last of a change.
///
/// # Safety
/// `context` is that of the callback that is running.
pub unsafe fn write(
    context: *mut pg_sys::LogicalDecodingContext,
    encoding: Encoding,
    line: &[u8],
    last: bool,
) {
    // SAFETY: `out` is the context's buffer, and may be written to between Prepare and Write. The
    // line is shorter than the server's largest buffer, see LINE_BYTES; when its conversion is not,
    // the server says so.
    unsafe {
        pg_sys::OutputPluginPrepareWrite(context, last);
        let out = (*context).out;
        match encoding.0 {
            None => pg_sys::appendBinaryStringInfo(out, line.as_ptr().cast(), line.len() as i32),
            Some(client) => {
                let from = line.as_ptr().cast::<core::ffi::c_char>();
                let to = pg_sys::pg_server_to_any(from, line.len() as i32, client);
                let text =
                    if to.cast_const() == from { line } else { CStr::from_ptr(to).to_bytes() };
                pg_sys::appendBinaryStringInfo(out, text.as_ptr().cast(), text.len() as i32);
            }
        }
        pg_sys::OutputPluginWrite(context, last);
    }
}
