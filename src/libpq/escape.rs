//! Quoting of literals, identifiers and byte strings.

use super::{Conn, Error, text};
use std::ffi::{CStr, c_char, c_int};

impl Conn {
    /// `text` as a quoted literal, `'...'` or ` E'...'`, right for this connection.
    ///
    /// # Errors
    /// `POSTGRES LIBRARY` when the text is not valid in the connection's encoding.
    pub fn escape_literal(&self, text: &str) -> Result<String, Error> {
        // SAFETY: the connection is live; start and length describe `text`.
        let raw = unsafe {
            pq_sys::PQescapeLiteral(self.as_raw(), text.as_ptr().cast::<c_char>(), text.len())
        };
        self.taken(raw)
    }

    /// `text` as a quoted identifier, `"..."`.
    ///
    /// # Errors
    /// As [`Conn::escape_literal`].
    pub fn escape_identifier(&self, text: &str) -> Result<String, Error> {
        // SAFETY: the connection is live; start and length describe `text`.
        let raw = unsafe {
            pq_sys::PQescapeIdentifier(self.as_raw(), text.as_ptr().cast::<c_char>(), text.len())
        };
        self.taken(raw)
    }

    fn taken(&self, raw: *mut c_char) -> Result<String, Error> {
        if raw.is_null() {
            return Err(self.last_error());
        }
        // SAFETY: a NUL-terminated string that libpq allocated for us, freed once.
        unsafe {
            let copy = text::copied(CStr::from_ptr(raw).to_bytes());
            pq_sys::PQfreemem(raw.cast());
            copy.map(text::into_text)
        }
    }

    /// The inside of a string literal (without its quotes), right for this connection.
    ///
    /// # Errors
    /// `POSTGRES LIBRARY` when the text is not valid in the connection's encoding.
    pub fn escape_string(&self, text: &str) -> Result<String, Error> {
        let mut out = escape_buffer(text)?;
        let mut failed: c_int = 0;
        // SAFETY: the buffer has twice the text's length plus one, as libpq requires.
        let length = unsafe {
            pq_sys::PQescapeStringConn(
                self.as_raw(),
                out.as_mut_ptr().cast::<c_char>(),
                text.as_ptr().cast::<c_char>(),
                text.len(),
                &mut failed,
            )
        };
        if failed != 0 {
            return Err(self.last_error());
        }
        // SAFETY: libpq has written so many bytes, and a NUL behind them.
        unsafe { out.set_len(length) };
        Ok(text::into_text(out))
    }

    /// A password in the form that `ALTER USER ... PASSWORD` stores, so that it is not sent, and
    /// not logged, as it is. Without an algorithm the server's `password_encryption` is asked for.
    ///
    /// # Errors
    /// `POSTGRES LIBRARY` (an algorithm that is not known), `POSTGRES LOST`, `POSTGRES NUL`.
    pub fn encrypt_password(
        &self,
        user: &str,
        password: &str,
        algorithm: Option<&str>,
    ) -> Result<String, Error> {
        let user = text::c_string(user, "user name")?;
        let password = text::c_string(password, "password")?;
        let algorithm = algorithm.map(|name| text::c_string(name, "algorithm")).transpose()?;
        let algorithm = algorithm.as_ref().map_or(std::ptr::null(), |name| name.as_ptr());
        // SAFETY: the connection is live, the strings NUL-terminated or NULL.
        let raw = unsafe {
            pq_sys::PQencryptPasswordConn(
                self.as_raw(),
                password.as_ptr(),
                user.as_ptr(),
                algorithm,
            )
        };
        self.taken(raw)
    }

    /// Bytes as the inside of a literal, right for this connection (`\x...`).
    ///
    /// # Errors
    /// `POSTGRES LIBRARY` when out of memory.
    pub fn escape_bytea(&self, bytes: &[u8]) -> Result<String, Error> {
        let mut length = 0;
        // SAFETY: the connection is live; start and length describe `bytes`.
        let raw = unsafe {
            pq_sys::PQescapeByteaConn(self.as_raw(), bytes.as_ptr(), bytes.len(), &mut length)
        };
        self.taken(raw.cast())
    }
}

/// Room for the escaped text: twice its length and a NUL.
fn escape_buffer(text: &str) -> Result<Vec<u8>, Error> {
    let size = text.len().checked_mul(2).and_then(|n| n.checked_add(1));
    let size = size.ok_or_else(|| Error::Library { message: "the text is too long".to_owned() })?;
    let mut buffer = Vec::new();
    text::reserve(&mut buffer, size)?;
    Ok(buffer)
}

/// The inside of a string literal without a connection. Whether backslashes are doubled, libpq
/// tells by the connection used last in the process; before there was any they are. The encoding
/// of that one says nothing of this text, which is UTF-8: read as SJIS, a character could take the
/// quote behind it.
///
/// # Errors
/// `POSTGRES LIBRARY` when the text is longer than memory allows.
pub fn escape_string(text: &str) -> Result<String, Error> {
    let mut probe = [0_u8; 3];
    // SAFETY: room for one byte doubled and a NUL, as libpq requires.
    let length =
        unsafe { pq_sys::PQescapeString(probe.as_mut_ptr().cast::<c_char>(), c"\\".as_ptr(), 1) };
    let backslashes = length > 1;
    let mut out = escape_buffer(text)?;
    for &byte in text.as_bytes() {
        if byte == b'\'' || (byte == b'\\' && backslashes) {
            out.push(byte);
        }
        out.push(byte);
    }
    Ok(text::into_text(out))
}

/// Bytes as the inside of a literal in octal escapes, without a connection.
///
/// # Errors
/// `POSTGRES LIBRARY` when out of memory.
pub fn escape_bytea(bytes: &[u8]) -> Result<String, Error> {
    let mut length = 0;
    // SAFETY: start and length describe `bytes`; the result is a string of libpq's, freed once.
    unsafe {
        let raw = pq_sys::PQescapeBytea(bytes.as_ptr(), bytes.len(), &mut length);
        if raw.is_null() {
            return Err(Error::Library { message: "out of memory".to_owned() });
        }
        let copy = text::copied(CStr::from_ptr(raw.cast()).to_bytes());
        pq_sys::PQfreemem(raw.cast());
        copy.map(text::into_text)
    }
}

/// The bytes that a `bytea` value in text form stands for.
///
/// # Errors
/// `POSTGRES NUL`, `POSTGRES LIBRARY` when out of memory.
pub fn unescape_bytea(text: &[u8]) -> Result<Vec<u8>, Error> {
    let text = text::c_string(text, "bytea text")?;
    let mut length = 0;
    // SAFETY: the text is NUL-terminated; libpq allocates `length` bytes, freed once after copying.
    unsafe {
        let raw = pq_sys::PQunescapeBytea(text.as_ptr().cast::<u8>(), &mut length);
        if raw.is_null() {
            return Err(Error::Library { message: "out of memory".to_owned() });
        }
        let bytes = text::copied(std::slice::from_raw_parts(raw, length));
        pq_sys::PQfreemem(raw.cast());
        bytes
    }
}
