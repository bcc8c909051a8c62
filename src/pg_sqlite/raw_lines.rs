//! Lines of a COPY on their way: read by one thread, converted by whichever has the time.
//!
//! On two cores the reader and the server's process often end up on the same one, and wait for each
//! other while the inserting thread has nothing to do. So the reader converts only while enough
//! batches wait; otherwise the inserting thread does.

use super::batch::Batch;
use super::convert::Converter;
use super::{Error, Result, copy_text};
use crate::libpq::{self, CopyData, CopyOut};
use crate::limits::{IMPORT_BATCH_BYTES, IMPORT_BATCH_CELLS};

/// Lines that nobody has converted yet.
#[derive(Debug, Default)]
pub(super) struct RawLines {
    bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    /// Number of the first one, the first of all being 1.
    first: u64,
}

impl RawLines {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Empties it. Room that one huge line needed is given back.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(IMPORT_BATCH_BYTES * 2);
    }

    pub(super) fn push(&mut self, number: u64, line: &[u8]) {
        if self.ends.is_empty() {
            self.first = number;
        }
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    fn is_full(&self, columns: usize) -> bool {
        self.bytes.len() >= IMPORT_BATCH_BYTES
            || self.ends.len().saturating_mul(columns) >= IMPORT_BATCH_CELLS
    }
}

/// Converts lines; each thread has one of its own.
#[derive(Debug, Clone)]
pub(super) struct LineConverter {
    converter: Converter,
    scratch: Vec<u8>,
}

impl LineConverter {
    pub(super) fn new(converter: Converter) -> LineConverter {
        LineConverter { converter, scratch: Vec::new() }
    }

    /// Converts the lines that a batch holds.
    ///
    /// # Errors
    /// Those of [`copy_text::row`]; the rows before that one are in the batch, and perhaps a part
    /// of it.
    pub(super) fn convert(&mut self, batch: &mut Batch) -> Result<()> {
        if batch.raw.is_empty() {
            return Ok(());
        }
        let mut raw = std::mem::take(&mut batch.raw);
        let mut start = 0;
        self.converter.set_next_row(raw.first);
        let converted = raw.ends.iter().try_for_each(|end| {
            let line = raw.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            copy_text::row(line, &mut self.converter, batch, &mut self.scratch)
        });
        raw.clear();
        batch.raw = raw;
        converted
    }

    fn convert_line(&mut self, number: u64, line: &[u8], batch: &mut Batch) -> Result<()> {
        self.converter.set_next_row(number);
        copy_text::row(line, &mut self.converter, batch, &mut self.scratch)
    }
}

/// The lines of a COPY, by number.
pub(super) struct CopyLines<'a> {
    copy: CopyOut<'a>,
    /// Lines so far.
    lines: u64,
    /// A line that is a batch of its own, and so waits for the next one.
    long: Option<CopyData>,
}

impl<'a> CopyLines<'a> {
    /// The lines of `copy`, of which the first one comes after `lines` others.
    pub(super) fn new(copy: CopyOut<'a>, lines: u64) -> CopyLines<'a> {
        CopyLines { copy, lines, long: None }
    }

    /// Lines so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// The next row could not be read.
    #[cold]
    fn unread(&self, error: libpq::Error) -> Error {
        match error.is_unprintable() {
            true => Error::Unprintable { row: self.lines.wrapping_add(1), source: error },
            false => error.into(),
        }
    }

    /// Fills an empty batch with lines; `false` when there are no more after it. A long line is
    /// converted at once, so that it is not in memory once more.
    ///
    /// # Errors
    /// PostgreSQL's; those of `converter`.
    pub(super) fn fill(
        &mut self,
        batch: &mut Batch,
        converter: &mut LineConverter,
    ) -> Result<bool> {
        while !batch.raw.is_full(converter.converter.columns()) {
            let line = match self.long.take() {
                Some(line) => line,
                None => match self.copy.next_row().map_err(|error| self.unread(error))? {
                    Some(line) => line,
                    None => return Ok(false),
                },
            };
            if line.len() >= IMPORT_BATCH_BYTES {
                if batch.raw.is_empty() {
                    self.lines = self.lines.wrapping_add(1);
                    converter.convert_line(self.lines, &line, batch)?;
                } else {
                    self.long = Some(line);
                }
                return Ok(true);
            }
            self.lines = self.lines.wrapping_add(1);
            batch.raw.push(self.lines, &line);
        }
        Ok(true)
    }
}
