//! One field of a line: escaped text, decoded only where somebody asks for it.

use std::borrow::Cow;

/// A key or a value as it stands in the line, its escapes already found to be well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    pub(crate) const fn new(raw: &'a [u8], escaped: bool) -> Text<'a> {
        Text { raw, escaped }
    }

    /// The bytes as they stand in the line.
    #[must_use]
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Whether the field has an escape; if not, [`Text::raw`] is the value.
    #[must_use]
    pub const fn is_escaped(self) -> bool {
        self.escaped
    }

    /// The value, where it stands in the line as it is: without an escape, or with one backslash at
    /// the beginning alone, as bytes have it in PostgreSQL's hex form.
    #[must_use]
    pub fn in_line(self) -> Option<&'a [u8]> {
        if !self.escaped {
            return Some(self.raw);
        }
        let value = self.raw.get(1..)?;
        let is_plain = |rest: &[u8]| memchr::memchr(b'\\', rest).is_none();
        (self.raw.starts_with(br"\\") && value.get(1..).is_some_and(is_plain)).then_some(value)
    }

    /// The value: borrowed from the line unless it has an escape.
    #[must_use]
    pub fn decode(self) -> Cow<'a, [u8]> {
        if self.escaped {
            let mut out = Vec::with_capacity(self.raw.len());
            self.decode_into(&mut out);
            Cow::Owned(out)
        } else {
            Cow::Borrowed(self.raw)
        }
    }

    /// Appends the value to `out`.
    pub fn decode_into(self, out: &mut Vec<u8>) {
        let mut rest = self.raw;
        if self.escaped {
            while let Some(at) = memchr::memchr(b'\\', rest) {
                let (plain, escape) = rest.split_at(at);
                out.extend_from_slice(plain);
                out.push(escape.get(1).map_or(b'\\', |&letter| unescaped(letter)));
                rest = escape.get(2..).unwrap_or_default();
            }
        }
        out.extend_from_slice(rest);
    }

    /// Whether the value equals `other`, without allocating.
    #[must_use]
    pub fn is(self, other: &[u8]) -> bool {
        if self.escaped { self.decode().as_ref() == other } else { self.raw == other }
    }

    /// Offset within [`Text::raw`] of the byte at `decoded` within the value.
    pub(crate) fn raw_offset(self, decoded: usize) -> usize {
        let mut raw = 0;
        for _ in 0..decoded {
            raw += if self.raw.get(raw) == Some(&b'\\') { 2 } else { 1 };
        }
        raw.min(self.raw.len())
    }
}

/// The byte that an escape letter stands for; a well-formed field has no other letters.
const fn unescaped(letter: u8) -> u8 {
    match letter {
        b't' => b'\t',
        b'n' => b'\n',
        b'r' => b'\r',
        other => other,
    }
}

/// Whether `letter` may follow a backslash.
pub(crate) const fn is_escape_letter(letter: u8) -> bool {
    matches!(letter, b'\\' | b't' | b'n' | b'r')
}
