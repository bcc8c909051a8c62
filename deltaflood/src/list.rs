//! Lists of names in a field (`_unchanged`, `_key`): Tcl lists in backslash form.
//!
//! Names are separated by one space. In a name each byte that is special to Tcl is preceded by a
//! backslash: space, `\ { } [ ] " $ ;`, and a leading `#`; TAB, LF, CR, VT and FF are written `\t
//! \n \r \v \f`. An empty name is `{}`. There is no other form, so that equal lists are equal
//! bytes. Source: Tcl's list syntax, lindex(n) and Tcl(n).
//!
//! The form here is the field's value; in a line it is escaped once more, like any value.

use std::borrow::Cow;

/// A value that is not a list in backslash form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListError {
    /// Offset of the offending byte within the value.
    pub byte: usize,
}

impl std::fmt::Display for ListError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a list in backslash form at byte {}", self.byte)
    }
}

impl std::error::Error for ListError {}

/// The letter that stands for a byte after a backslash; `None` when the byte is not special.
const fn letter_of(byte: u8) -> Option<u8> {
    match byte {
        b' ' | b'\\' | b'{' | b'}' | b'[' | b']' | b'"' | b'$' | b';' => Some(byte),
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        0x0B => Some(b'v'),
        0x0C => Some(b'f'),
        _ => None,
    }
}

/// The byte that a letter after a backslash stands for.
const fn byte_of(letter: u8) -> Option<u8> {
    match letter {
        b' ' | b'\\' | b'{' | b'}' | b'[' | b']' | b'"' | b'$' | b';' | b'#' => Some(letter),
        b't' => Some(b'\t'),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b'v' => Some(0x0B),
        b'f' => Some(0x0C),
        _ => None,
    }
}

/// Appends one name to the list in `out`, after a space unless the list is still empty.
pub fn push(out: &mut Vec<u8>, name: &[u8]) {
    if !out.is_empty() {
        out.push(b' ');
    }
    if name.is_empty() {
        out.extend_from_slice(b"{}");
    }
    if name.first() == Some(&b'#') {
        out.push(b'\\');
    }
    for &byte in name {
        match letter_of(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None => out.push(byte),
        }
    }
}

/// The list of `names`.
#[must_use]
pub fn encode<'n>(names: impl IntoIterator<Item = &'n [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for name in names {
        push(&mut out, name);
    }
    out
}

/// The names of a list, one by one.
#[must_use]
pub const fn names(list: &[u8]) -> Names<'_> {
    Names { list, at: 0 }
}

/// Iterator over a list: [`names`]. Allocates only for names with a backslash.
#[derive(Debug, Clone)]
pub struct Names<'a> {
    list: &'a [u8],
    at: usize,
}

impl<'a> Names<'a> {
    fn read(&mut self) -> Result<Cow<'a, [u8]>, ListError> {
        let start = self.at;
        let rest = self.list.get(start..).unwrap_or_default();
        if rest == b"{}" || rest.starts_with(b"{} ") {
            self.end(start + 2)?;
            return Ok(Cow::Borrowed(&[]));
        }
        let mut decoded: Option<Vec<u8>> = None;
        let mut at = start;
        while let Some(&byte) = self.list.get(at) {
            if byte == b' ' {
                break;
            }
            let plain = letter_of(byte).is_none() && !(byte == b'#' && at == start);
            let value = if byte == b'\\' {
                let out = decoded
                    .get_or_insert_with(|| self.list.get(start..at).unwrap_or_default().to_vec());
                let letter = self.list.get(at + 1).copied();
                // NOTE: `\#` stands only where the number sign needs it, at the beginning.
                let letter = letter.filter(|&l| l != b'#' || at == start);
                let value = letter.and_then(byte_of).ok_or(ListError { byte: at })?;
                out.push(value);
                at += 2;
                continue;
            } else if plain {
                byte
            } else {
                return Err(ListError { byte: at });
            };
            if let Some(out) = decoded.as_mut() {
                out.push(value);
            }
            at += 1;
        }
        if at == start {
            return Err(ListError { byte: at });
        }
        let raw = self.list.get(start..at).unwrap_or_default();
        self.end(at)?;
        Ok(decoded.map_or(Cow::Borrowed(raw), Cow::Owned))
    }

    /// Steps over the one space after a name that ended at `at`; a name must follow it.
    fn end(&mut self, at: usize) -> Result<(), ListError> {
        self.at = at + 1;
        if at < self.list.len() && self.at >= self.list.len() {
            return Err(ListError { byte: at });
        }
        Ok(())
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = Result<Cow<'a, [u8]>, ListError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.list.len() {
            return None;
        }
        let name = self.read();
        if name.is_err() {
            self.at = self.list.len();
        }
        Some(name)
    }
}

/// All names of a list.
///
/// # Errors
/// The byte at which the value is not a list in backslash form.
pub fn decode(list: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, ListError> {
    names(list).collect()
}
