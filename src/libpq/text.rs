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
