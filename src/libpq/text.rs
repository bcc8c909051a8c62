//! C strings in and out of libpq.

use super::Error;
use std::ffi::{CStr, CString, c_char};

/// A C string of `text`.
///
/// # Errors
/// `POSTGRES NUL` when the text contains a NUL byte; `what` names it in the message.
pub(super) fn c_string(text: impl Into<Vec<u8>>, what: &'static str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::Nul { what })
}

/// The text behind a pointer that libpq gave, or empty when there is none. Invalid UTF-8 is
/// replaced: this serves messages and names, never data.
///
/// # Safety
/// `text` is NULL or points at a NUL-terminated string that stays alive during the call.
pub(super) unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not NULL, and the caller promises termination and lifetime.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Room for so many bytes, by whose size a script or a server is not to end the process.
///
/// # Errors
/// `POSTGRES LIBRARY` when memory is short.
pub(super) fn reserve(bytes: &mut Vec<u8>, more: usize) -> Result<(), Error> {
    bytes.try_reserve(more).map_err(|_| Error::Library { message: "out of memory".to_owned() })
}

/// A copy of bytes whose number a script or a server has chosen.
///
/// # Errors
/// As [`reserve`].
pub(super) fn copied(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut copy = Vec::new();
    reserve(&mut copy, bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Bytes that are UTF-8 as text, without a copy; what is no UTF-8 is replaced.
pub(super) fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
