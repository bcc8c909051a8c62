//! From PostgreSQL's text of a row to the cells of a batch.

use super::batch::{Batch, reserve};
use super::{Column, Error, Result};
use crate::limits::IMPORT_BATCH_BYTES;
use crate::schema::value::{self, Kind, ValueError};
use crate::sqlite::Value;

/// Converts rows, and knows which row and column it is at when one fails.
#[derive(Debug, Clone)]
pub(super) struct Converter {
    columns: Vec<Column>,
    /// The text that means NULL.
    null: Option<Vec<u8>>,
    strict: bool,
    mostly_text: bool,
    /// Longest value in bytes.
    length_limit: u64,
    /// Number of the row being converted, the first being 1.
    row: u64,
    column: usize,
    scratch: Vec<u8>,
}

impl Converter {
    pub(super) fn new(
        columns: Vec<Column>,
        null: Option<&[u8]>,
        strict: bool,
        length_limit: u64,
    ) -> Converter {
        let null = null.map(<[u8]>::to_vec);
        let length_limit = length_limit.min(u64::from(u32::MAX));
        let texts = columns.iter().filter(|column| column.kind == Kind::Text).count();
        Converter {
            mostly_text: texts.saturating_mul(2) >= columns.len(),
            columns,
            null,
            strict,
            length_limit,
            row: 0,
            column: 0,
            scratch: Vec::new(),
        }
    }

    /// Number of the current row, the first being 1.
    pub(super) fn row(&self) -> u64 {
        self.row
    }

    /// The next row is number `row`.
    pub(super) fn set_next_row(&mut self, row: u64) {
        self.row = row.wrapping_sub(1);
    }

    /// Columns of a row.
    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Columns that the current row still lacks.
    pub(super) fn missing(&self) -> usize {
        self.columns.len().saturating_sub(self.column)
    }

    /// Are values that do not fit errors?
    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Is much of a row stored as the text that it is?
    pub(super) fn is_mostly_text(&self) -> bool {
        self.mostly_text
    }

    /// The number of the column called `name`.
    pub(super) fn position(&self, name: &[u8]) -> Option<usize> {
        self.columns.iter().position(|column| column.name.as_bytes() == name)
    }

    /// A new row begins.
    #[inline]
    pub(super) fn begin_row(&mut self) {
        self.row = self.row.wrapping_add(1);
        self.column = 0;
    }

    /// The row is complete.
    ///
    /// # Errors
    /// It has fewer columns than it should.
    #[inline]
    pub(super) fn end_row(&self, batch: &mut Batch) -> Result<()> {
        if self.column == self.columns.len() {
            batch.end_row();
            Ok(())
        } else {
            let (row, expected, found) = (self.row, self.columns.len(), self.column);
            Err(Error::RowColumns { row, expected, found })
        }
    }

    /// Appends the next cell of the row.
    ///
    /// # Errors
    /// Its text does not fit its type, is too long, or the row has no such column.
    #[inline]
    pub(super) fn push(&mut self, batch: &mut Batch, text: Option<&[u8]>) -> Result<()> {
        self.push_at(batch, text, None)
    }

    /// Is the next cell stored as the text that it is?
    pub(super) fn takes_text(&self) -> bool {
        self.columns.get(self.column).is_some_and(|column| column.kind == Kind::Text)
    }

    /// Appends the next cell, one of text, which `make` puts behind the bytes that it is given.
    ///
    /// # Errors
    /// Those of `make`; as [`Converter::push`].
    pub(super) fn push_made(
        &mut self,
        batch: &mut Batch,
        make: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        self.column = self.column.wrapping_add(1);
        let (start, length) = batch.push_made(make)?;
        if length as u64 > self.length_limit {
            return Err(self.too_big(length as u64));
        }
        if self.null.as_deref().is_some_and(|null| batch.ends_with(start, null)) {
            batch.push(Value::Null);
        } else {
            batch.push_place(start, length);
        }
        Ok(())
    }

    /// As [`Converter::push`]; `place` is where the batch has this text already.
    ///
    /// # Errors
    /// As [`Converter::push`].
    #[inline]
    pub(super) fn push_at(
        &mut self,
        batch: &mut Batch,
        text: Option<&[u8]>,
        place: Option<usize>,
    ) -> Result<()> {
        let Some(column) = self.columns.get(self.column) else {
            let expected = self.columns.len();
            let found = expected.saturating_add(1);
            return Err(Error::RowColumns { row: self.row, expected, found });
        };
        self.column = self.column.wrapping_add(1);
        let text = match text {
            Some(text) if self.null.as_deref() != Some(text) => text,
            _ => {
                batch.push(Value::Null);
                return Ok(());
            }
        };
        if text.len() >= IMPORT_BATCH_BYTES {
            // Bytes in hex form are half as many.
            let hex = column.kind == Kind::Bytea && text.starts_with(b"\\x");
            let room = if hex { text.len() / 2 } else { text.len() };
            batch.make_room(if place.is_none() { room } else { 0 }, self.row)?;
            let scratch = if column.kind == Kind::Text { 0 } else { room };
            reserve(&mut self.scratch, scratch, self.row)?;
        }
        if column.kind == Kind::Text {
            // Most cells are this, and need not go through a result of 24 bytes in memory.
            return if text.len() as u64 <= self.length_limit {
                match place {
                    Some(place) => batch.push_place(place, text.len()),
                    None => batch.push_text(text),
                }
                Ok(())
            } else {
                Err(self.too_big(text.len() as u64))
            };
        }
        let value = if self.strict {
            match value::convert(column.kind, text, &mut self.scratch) {
                Ok(value) => value,
                // COMPAT: PostgreSQL's booleans are numbers in an integer column, too.
                Err(ValueError::NotInteger) if text == b"t" || text == b"f" => {
                    Value::Int(i64::from(text == b"t"))
                }
                Err(reason) => return Err(self.not_a_value(reason)),
            }
        } else {
            value::convert_lenient(column.kind, text, &mut self.scratch)
        };
        let bytes = value.byte_len() as u64;
        if bytes > self.length_limit {
            return Err(self.too_big(bytes));
        }
        batch.push(value);
        if self.scratch.capacity() > IMPORT_BATCH_BYTES {
            self.scratch.shrink_to(IMPORT_BATCH_BYTES);
        }
        Ok(())
    }

    /// The error of the cell before the current place, which its column cannot hold.
    #[cold]
    fn not_a_value(&self, reason: ValueError) -> Error {
        let column = self.columns.get(self.column.saturating_sub(1));
        Error::Value {
            column: column.map(|column| column.name.clone()).unwrap_or_default(),
            row: self.row,
            kind: column.map_or(Kind::Text, |column| column.kind),
            reason,
        }
    }

    /// The error of the cell before the current place.
    #[cold]
    fn too_big(&self, bytes: u64) -> Error {
        let column = self.columns.get(self.column.saturating_sub(1));
        Error::TooBig {
            // The import knows.
            table: String::new(),
            column: column.map(|column| column.name.clone()).unwrap_or_default(),
            row: self.row,
            bytes,
            limit: self.length_limit,
        }
    }
}
