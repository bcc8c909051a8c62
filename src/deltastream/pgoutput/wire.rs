//! Reading the fields of a message, never beyond its end.

use super::DecodeError;

/// The unread rest of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire<'a> {
    rest: &'a [u8],
}

/// A value in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// NULL, or not part of the identity.
    Null,
    /// Stored out of line and not touched; not sent.
    Unchanged,
    /// PostgreSQL's text.
    Text(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Wire<'a> {
        Wire { rest: message }
    }

    #[inline]
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A text that ends with a NUL byte, without it.
    pub(super) fn text(&mut self) -> Result<&'a [u8], DecodeError> {
        let end = memchr::memchr(0, self.rest).ok_or(DecodeError::Short)?;
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    #[inline]
    pub(super) fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        match self.u8()? {
            b't' => {
                let length = self.u32()? as usize;
                self.bytes(length).map(Value::Text)
            }
            b'n' => Ok(Value::Null),
            b'u' => Ok(Value::Unchanged),
            kind => Err(DecodeError::Kind { what: "value", kind }),
        }
    }
}
