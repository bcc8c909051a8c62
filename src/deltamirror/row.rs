//! One row of the stream, decoded into cells that can be bound, without an allocation per row.

use deltaflood::Text;

use crate::limits::MIRROR_ROW_BYTES;
use crate::schema::value::{Kind, ValueError, convert};
use crate::sqlite::Value;

/// A value of the row in hand; longer ones lie in the line or in the row's arena.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell {
    /// The column is not in the line: NULL, or unchanged.
    Absent,
    Int(i64),
    Real(f64),
    /// Text in the line, as it stands there.
    Line {
        start: usize,
        len: usize,
    },
    /// Text in the arena.
    Text {
        start: usize,
        len: usize,
    },
    /// Bytes in the arena.
    Blob {
        start: usize,
        len: usize,
    },
}

/// The cells of a row, one per column of the table; reused from row to row.
#[derive(Debug, Default)]
pub(super) struct Row {
    cells: Vec<Cell>,
    arena: Vec<u8>,
    /// Decoded text, before it is converted.
    decoded: Vec<u8>,
    /// What a conversion makes.
    scratch: Vec<u8>,
}

impl Row {
    /// Forgets the row; every one of `columns` cells is absent.
    pub(super) fn clear(&mut self, columns: usize) {
        self.cells.clear();
        self.cells.resize(columns, Cell::Absent);
        self.arena.clear();
        self.arena.shrink_to(MIRROR_ROW_BYTES);
    }

    /// Whether the column is in the line.
    pub(super) fn has(&self, column: usize) -> bool {
        !matches!(self.cells.get(column), None | Some(Cell::Absent))
    }

    /// Converts a field of `line` and puts it into `column`.
    #[inline]
    pub(super) fn set(
        &mut self,
        column: usize,
        kind: Kind,
        field: Text<'_>,
        line: &[u8],
    ) -> Result<(), ValueError> {
        let cell = match (field.in_line(), kind) {
            (Some(text), Kind::Text) => {
                // It is a part of the line: its place there is the difference of addresses.
                let start = (text.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
                if start <= line.len() {
                    Cell::Line { start, len: text.len() }
                } else {
                    keep(Value::Text(text), &mut self.arena)
                }
            }
            (None, Kind::Text) => {
                let start = self.arena.len();
                field.decode_into(&mut self.arena);
                Cell::Text { start, len: self.arena.len() - start }
            }
            (Some(text), _) => keep(convert(kind, text, &mut self.scratch)?, &mut self.arena),
            (None, _) => {
                self.decoded.clear();
                field.decode_into(&mut self.decoded);
                keep(convert(kind, &self.decoded, &mut self.scratch)?, &mut self.arena)
            }
        };
        // NOTE: what one huge value needed is given back before SQLite makes a record of it.
        self.decoded.shrink_to(MIRROR_ROW_BYTES);
        self.scratch.shrink_to(MIRROR_ROW_BYTES);
        if let Some(slot) = self.cells.get_mut(column) {
            *slot = cell;
        }
        Ok(())
    }

    /// Copies what lies in `line` into the arena, so that the row outlives the line.
    pub(super) fn detach(&mut self, line: &[u8]) {
        for cell in &mut self.cells {
            if let Cell::Line { start, len } = *cell {
                let bytes = line.get(start..start + len).unwrap_or_default();
                *cell = Cell::Text { start: self.arena.len(), len };
                self.arena.extend_from_slice(bytes);
            }
        }
    }

    /// The value of a column; NULL where it is absent.
    #[inline]
    pub(super) fn value<'a>(&'a self, column: usize, line: &'a [u8]) -> Value<'a> {
        match self.cells.get(column) {
            None | Some(Cell::Absent) => Value::Null,
            Some(Cell::Int(int)) => Value::Int(*int),
            Some(Cell::Real(real)) => Value::Real(*real),
            Some(Cell::Line { start, len }) => {
                Value::Text(line.get(*start..start + len).unwrap_or_default())
            }
            Some(Cell::Text { start, len }) => {
                Value::Text(self.arena.get(*start..start + len).unwrap_or_default())
            }
            Some(Cell::Blob { start, len }) => {
                Value::Blob(self.arena.get(*start..start + len).unwrap_or_default())
            }
        }
    }
}

/// A value as a cell; text and bytes go into the arena.
#[inline]
fn keep(value: Value<'_>, arena: &mut Vec<u8>) -> Cell {
    let start = arena.len();
    match value {
        Value::Null => Cell::Absent,
        Value::Int(int) => Cell::Int(int),
        Value::Real(real) => Cell::Real(real),
        Value::Text(bytes) => {
            arena.extend_from_slice(bytes);
            Cell::Text { start, len: bytes.len() }
        }
        Value::Blob(bytes) => {
            arena.extend_from_slice(bytes);
            Cell::Blob { start, len: bytes.len() }
        }
    }
}

/// A vector of values for the next row, in the room of the last one's.
pub(super) fn recycle<'a>(mut values: Vec<Value<'_>>) -> Vec<Value<'a>> {
    values.clear();
    // Empty, and the same layout: the room stays, nothing is copied.
    values.into_iter().map(|_| Value::Null).collect()
}

/// `column=value` pairs for a message; values are shortened to 60 characters.
pub(super) fn describe<'a>(pairs: impl Iterator<Item = (&'a str, Value<'a>)>) -> String {
    const CHARS_MAX: usize = 60;
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(name);
        text.push('=');
        match value {
            Value::Null => text.push_str("NULL"),
            Value::Int(int) => text.push_str(&int.to_string()),
            Value::Real(real) => text.push_str(&real.to_string()),
            Value::Text(bytes) => {
                text.extend(String::from_utf8_lossy(bytes).chars().take(CHARS_MAX));
            }
            Value::Blob(bytes) => text.push_str(&format!("({} bytes)", bytes.len())),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltaflood::Change;

    #[test]
    fn cells_come_from_the_line_or_the_arena() {
        let line = b"_table\tt\t_action\tinsert\ta\tplain\tb\tx\\ty\tc\t\\\\x00ff\td\t-5\te\t1.5";
        let change = Change::parse(line).unwrap();
        let kinds = [Kind::Text, Kind::Text, Kind::Bytea, Kind::Integer, Kind::Real];
        let mut row = Row::default();
        row.clear(6);
        for (at, pair) in change.columns().enumerate() {
            row.set(at, kinds[at], pair.unwrap().1, line).unwrap();
        }
        let check = |row: &Row, line: &[u8]| {
            assert_eq!(row.value(0, line), Value::Text(b"plain"));
            assert_eq!(row.value(1, line), Value::Text(b"x\ty"));
            assert_eq!(row.value(2, line), Value::Blob(&[0, 0xff]));
            assert_eq!(row.value(3, line), Value::Int(-5));
            assert_eq!(row.value(4, line), Value::Real(1.5));
            assert_eq!(row.value(5, line), Value::Null);
        };
        check(&row, line);
        row.detach(line);
        check(&row, b"");
        assert!(row.has(4) && !row.has(5) && !row.has(6));
    }

    #[test]
    fn a_row_is_described_in_one_line() {
        let long = "x".repeat(100);
        let pairs = [("a", Value::Int(1)), ("b", Value::from(long.as_str())), ("c", Value::Null)];
        assert_eq!(describe(pairs.into_iter()), format!("a=1 b={} c=NULL", "x".repeat(60)));
    }
}
