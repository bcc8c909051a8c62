//! One row of `COPY ... TO STDOUT` in text format: cells separated by TAB, NULL as `\N`, escapes
//! with a backslash.
//!
//! Source: PostgreSQL manual, COPY, "Text Format". Only what the server writes is understood: the
//! escapes `\b \f \n \r \t \v \\`; the octal and hex forms, which only COPY FROM knows, are errors.

use super::batch::{Batch, reserve};
use super::convert::Converter;
use super::{Error, Result};
use crate::limits::IMPORT_BATCH_BYTES;

/// Converts a line (with or without its line end) into the cells of a row. `scratch` is room for
/// unescaping.
///
/// # Errors
/// A damaged escape, or what [`Converter::push`] refuses.
pub(super) fn row(
    line: &[u8],
    converter: &mut Converter,
    batch: &mut Batch,
    scratch: &mut Vec<u8>,
) -> Result<()> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let escaped = memchr::memchr(b'\\', line).is_some();
    converter.begin_row();
    let long = line.len() >= IMPORT_BATCH_BYTES;
    // One copy of the whole line is cheaper than one of each text in it.
    let whole = !escaped && converter.is_mostly_text();
    if whole {
        batch.make_room(line.len(), converter.row())?;
    }
    let base = whole.then(|| batch.push_bytes(line));
    let mut start = 0;
    for end in Tabs::of(line) {
        let cell = line.get(start..end).unwrap_or_default();
        let place = base.map(|base| base.wrapping_add(start));
        start = end.wrapping_add(1);
        if !escaped {
            converter.push_at(batch, Some(cell), place)?;
        } else if cell == b"\\N" {
            converter.push(batch, None)?;
        } else {
            let row = converter.row();
            let damaged = |message| Error::CopyText { row, message };
            if cell.len() >= IMPORT_BATCH_BYTES && converter.takes_text() {
                // Not once more in memory.
                batch.make_room(cell.len(), converter.row())?;
                converter.push_made(batch, |out| unescape_into(cell, out).map_err(damaged))?;
            } else {
                if cell.len() >= IMPORT_BATCH_BYTES && in_line(cell).is_none() {
                    reserve(scratch, cell.len(), row)?;
                }
                let cell = unescape(cell, scratch).map_err(damaged)?;
                converter.push(batch, Some(cell))?;
            }
        }
    }
    if long {
        scratch.shrink_to(IMPORT_BATCH_BYTES);
    }
    converter.end_row(batch)
}

/// The text of a cell that stands there as it is: without an escape, or with one backslash at the
/// beginning alone, as bytes have it in hex form.
fn in_line(cell: &[u8]) -> Option<&[u8]> {
    let text = if cell.starts_with(br"\\") { cell.get(1..)? } else { cell };
    let rest = if text.len() < cell.len() { text.get(1..)? } else { text };
    memchr::memchr(b'\\', rest).is_none().then_some(text)
}

/// Where the cells of a line end: at each TAB, and at its end. Eight bytes at a time, of which all
/// TABs are found at once: for cells of a few bytes a search for each costs twice as much.
struct Tabs<'l> {
    line: &'l [u8],
    /// Of the eight bytes from here on ...
    at: usize,
    /// ... the high bit of every TAB that was not handed out yet.
    found: u64,
    ended: bool,
}

impl<'l> Tabs<'l> {
    const WORD: usize = size_of::<u64>();

    #[inline]
    fn of(line: &'l [u8]) -> Tabs<'l> {
        Tabs { line, at: 0, found: Self::in_word(line, 0), ended: false }
    }

    #[inline]
    fn in_word(line: &[u8], at: usize) -> u64 {
        const TABS: u64 = u64::from_ne_bytes([b'\t'; 8]);
        const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
        let mut word = [0; Self::WORD];
        let rest = line.get(at..).unwrap_or_default();
        match rest.first_chunk() {
            Some(whole) => word = *whole,
            None => word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from),
        }
        // A TAB is 0 in this; the sum sets the high bit of every other byte, without a carry.
        let bytes = u64::from_le_bytes(word) ^ TABS;
        !(((bytes & LOW) + LOW) | bytes | LOW)
    }
}

impl Iterator for Tabs<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            self.at = self.at.wrapping_add(Self::WORD);
            if self.at >= self.line.len() {
                let ended = std::mem::replace(&mut self.ended, true);
                return (!ended).then_some(self.line.len());
            }
            self.found = Self::in_word(self.line, self.at);
        }
        let byte = self.found.trailing_zeros() / 8;
        self.found &= self.found.wrapping_sub(1);
        Some(self.at.wrapping_add(byte as usize))
    }
}

fn unescape<'a>(
    cell: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> std::result::Result<&'a [u8], &'static str> {
    if let Some(text) = in_line(cell) {
        return Ok(text);
    }
    scratch.clear();
    unescape_into(cell, scratch)?;
    Ok(scratch)
}

/// Appends the text of a cell.
fn unescape_into(cell: &[u8], scratch: &mut Vec<u8>) -> std::result::Result<(), &'static str> {
    let first = memchr::memchr(b'\\', cell).unwrap_or(cell.len());
    let (plain, mut rest) = cell.split_at(first);
    scratch.extend_from_slice(plain);
    while let [backslash, code, after @ ..] = rest {
        debug_assert_eq!(*backslash, b'\\');
        scratch.push(match code {
            b'\\' => b'\\',
            b't' => b'\t',
            b'n' => b'\n',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            _ => return Err("unknown escape"),
        });
        let next = memchr::memchr(b'\\', after).unwrap_or(after.len());
        let (plain, tail) = after.split_at(next);
        scratch.extend_from_slice(plain);
        rest = tail;
    }
    if rest.is_empty() { Ok(()) } else { Err("a backslash at the end of a cell") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg_sqlite::Column;
    use crate::schema::value::Kind;
    use crate::sqlite::Value;

    fn cells(line: &[u8], columns: usize) -> Result<Vec<Option<Vec<u8>>>> {
        let columns = (0..columns).map(|n| Column::new(format!("c{n}"), Kind::Text)).collect();
        let mut converter = Converter::new(columns, None, true, 1000);
        let mut batch = Batch::default();
        row(line, &mut converter, &mut batch, &mut Vec::new())?;
        let cell = |at| match batch.value(at) {
            Value::Text(text) => Some(text.to_vec()),
            _ => None,
        };
        Ok((0..batch.cells()).map(cell).collect())
    }

    proptest::proptest! {
        #[test]
        fn every_cell_ends_where_it_does(line in "[\t\n\u{88}\u{89}\u{8a}a\u{109}]{0,40}") {
            let line = line.as_bytes();
            let ends: Vec<usize> = Tabs::of(line).collect();
            let want: Vec<usize> = memchr::memchr_iter(b'\t', line).chain([line.len()]).collect();
            proptest::prop_assert_eq!(ends, want);
        }
    }

    #[test]
    fn null_empty_and_escapes() {
        let found = cells(b"a\t\t\\N\t\\\\N\tx\\ty\\n\\r\\b\\f\\v\\\\z\t\\\\\n", 6).unwrap();
        let want: Vec<Option<Vec<u8>>> = vec![
            Some(b"a".to_vec()),
            Some(b"".to_vec()),
            None,
            Some(b"\\N".to_vec()),
            Some(b"x\ty\n\r\x08\x0c\x0b\\z".to_vec()),
            Some(b"\\".to_vec()),
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn damage_is_an_error_with_the_row() {
        assert!(matches!(cells(b"a\\q\n", 1), Err(Error::CopyText { row: 1, .. })));
        assert!(matches!(cells(b"a\\", 1), Err(Error::CopyText { row: 1, .. })));
        assert!(matches!(cells(b"a\tb", 1), Err(Error::RowColumns { expected: 1, found: 2, .. })));
        assert!(matches!(cells(b"a", 2), Err(Error::RowColumns { expected: 2, found: 1, .. })));
    }
}
