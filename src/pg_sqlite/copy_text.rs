//! One row of `COPY ... TO STDOUT` in text format: cells separated by TAB, NULL as `\N`, escapes
//! with a backslash.
//!
//! Source: PostgreSQL manual, COPY, "Text Format". Only what the server writes is understood: the
//! escapes `\b \f \n \r \t \v \\`; the octal and hex forms, which only COPY FROM knows, are errors.

use super::batch::Batch;
use super::convert::Converter;
use super::{Error, Result};

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
    let mut start = 0;
    for end in memchr::memchr_iter(b'\t', line).chain(std::iter::once(line.len())) {
        let cell = line.get(start..end).unwrap_or_default();
        start = end.saturating_add(1);
        if !escaped {
            converter.push(batch, Some(cell))?;
        } else if cell == b"\\N" {
            converter.push(batch, None)?;
        } else {
            let cell = unescape(cell, scratch)
                .map_err(|message| Error::CopyText { row: converter.row(), message })?;
            converter.push(batch, Some(cell))?;
        }
    }
    converter.end_row(batch)
}

fn unescape<'a>(
    cell: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> std::result::Result<&'a [u8], &'static str> {
    let Some(first) = memchr::memchr(b'\\', cell) else { return Ok(cell) };
    scratch.clear();
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
    if rest.is_empty() { Ok(scratch) } else { Err("a backslash at the end of a cell") }
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

    #[test]
    fn null_empty_and_escapes() {
        let found = cells(b"a\t\t\\N\t\\\\N\tx\\ty\\n\\r\\b\\f\\v\\\\z\n", 5).unwrap();
        let want: Vec<Option<Vec<u8>>> = vec![
            Some(b"a".to_vec()),
            Some(b"".to_vec()),
            None,
            Some(b"\\N".to_vec()),
            Some(b"x\ty\n\r\x08\x0c\x0b\\z".to_vec()),
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
