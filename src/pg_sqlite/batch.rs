//! Converted rows on their way to SQLite.

use super::raw_lines::RawLines;
use super::{Error, Result};
use crate::limits::{IMPORT_BATCH_BYTES, IMPORT_BATCH_CELLS};
use crate::sqlite::Value;

/// A cell; text and blobs are places in the batch's bytes.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(usize, u32),
    Blob(usize, u32),
}

/// Room in a buffer for `bytes` more, which come from outside: where there is none, the process is
/// not to end.
///
/// # Errors
/// [`Error::Memory`], with the number of the row.
#[cold]
pub(super) fn reserve(buffer: &mut Vec<u8>, bytes: usize, row: u64) -> Result<()> {
    let reserved = buffer.try_reserve(bytes);
    reserved.map_err(|_| Error::Memory { row, bytes: bytes as u64 })
}

/// Some rows, all of the same number of columns. Its memory is used again and again.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    /// Cells of complete rows.
    complete: usize,
    /// Lines that will be rows, after those in the cells.
    pub(super) raw: RawLines,
}

impl Batch {
    /// Cells in it.
    pub(super) fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Nothing in it, converted or not?
    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.raw.is_empty()
    }

    /// Empties it. Room that one huge row needed is given back.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
        self.complete = 0;
        self.raw.clear();
        self.bytes.shrink_to(IMPORT_BATCH_BYTES * 2);
    }

    /// The row is complete.
    #[inline]
    pub(super) fn end_row(&mut self) {
        self.complete = self.cells.len();
    }

    /// Takes away the cells of a row that is not complete. Their bytes stay until the next
    /// [`Batch::clear`].
    pub(super) fn drop_partial_row(&mut self) {
        self.cells.truncate(self.complete);
    }

    /// Makes room for the bytes of a long line or value, the row being `row`; of short ones nothing
    /// needs to be said.
    ///
    /// # Errors
    /// [`Error::Memory`].
    #[inline]
    pub(super) fn make_room(&mut self, bytes: usize, row: u64) -> Result<()> {
        if bytes >= IMPORT_BATCH_BYTES { reserve(&mut self.bytes, bytes, row) } else { Ok(()) }
    }

    /// Time to hand it over?
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= IMPORT_BATCH_BYTES || self.cells.len() >= IMPORT_BATCH_CELLS
    }

    /// Appends a cell. The value's length fits 32 bits (the caller checked it against SQLite's
    /// limit).
    #[inline]
    pub(super) fn push(&mut self, value: Value<'_>) {
        let start = self.bytes.len();
        let cell = match value {
            Value::Null => Cell::Null,
            Value::Int(int) => Cell::Int(int),
            Value::Real(real) => Cell::Real(real),
            Value::Text(text) => {
                self.push_text(text);
                return;
            }
            Value::Blob(blob) => {
                self.bytes.extend_from_slice(blob);
                Cell::Blob(start, u32::try_from(blob.len()).unwrap_or(u32::MAX))
            }
        };
        self.cells.push(cell);
    }

    /// Appends text, as [`Batch::push`] does.
    #[inline]
    pub(super) fn push_text(&mut self, text: &[u8]) {
        let start = self.push_bytes(text);
        self.push_place(start, text.len());
    }

    /// Takes bytes over that cells are parts of; returns where they are.
    #[inline]
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start
    }

    /// Takes over what `make` appends to the bytes; where that begins, and its length.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn push_made(
        &mut self,
        make: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<(usize, usize)> {
        let start = self.bytes.len();
        make(&mut self.bytes)?;
        Ok((start, self.bytes.len().saturating_sub(start)))
    }

    /// Whether the bytes from `start` on are these.
    pub(super) fn ends_with(&self, start: usize, bytes: &[u8]) -> bool {
        self.bytes.get(start..) == Some(bytes)
    }

    /// Does it have the room of one huge row?
    pub(super) fn is_huge(&self) -> bool {
        self.bytes.capacity() > IMPORT_BATCH_BYTES.saturating_mul(4)
    }

    /// Appends text that is here already, of a length as for [`Batch::push`].
    #[inline]
    pub(super) fn push_place(&mut self, start: usize, length: usize) {
        self.cells.push(Cell::Text(start, u32::try_from(length).unwrap_or(u32::MAX)));
    }

    /// The cell at `at`, row by row from the first; NULL beyond the end.
    #[inline(always)]
    pub(super) fn value(&self, at: usize) -> Value<'_> {
        match self.cells.get(at) {
            None | Some(Cell::Null) => Value::Null,
            Some(Cell::Int(int)) => Value::Int(*int),
            Some(Cell::Real(real)) => Value::Real(*real),
            Some(Cell::Text(start, length)) => Value::Text(self.slice(*start, *length)),
            Some(Cell::Blob(start, length)) => Value::Blob(self.slice(*start, *length)),
        }
    }

    #[inline(always)]
    fn slice(&self, start: usize, length: u32) -> &[u8] {
        self.bytes.get(start..start.saturating_add(length as usize)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn what_the_system_has_no_memory_for_is_an_error() {
        let mut batch = Batch::default();
        batch.push_text(b"short");
        let error = batch.make_room(isize::MAX as usize - 8, 7).unwrap_err();
        assert_eq!(error.code().reason, "MEMORY");
        assert_eq!(batch.value(0), Value::Text(b"short"));
        assert!(batch.make_room(IMPORT_BATCH_BYTES, 8).is_ok());
    }
}
