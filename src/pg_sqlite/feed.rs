//! Batches as the row source of an insert.

use super::batch::Batch;
use super::pump::Batches;
use super::{Error, Max, Result};
use crate::sqlite::{RowSource, Value, WithoutWal};
use std::sync::atomic::{AtomicBool, Ordering};

/// Called every so many rows with the number of rows so far; `false` stops the import.
pub(super) struct Progress<'a> {
    pub(super) every: u64,
    pub(super) call: &'a mut dyn FnMut(u64) -> bool,
}

/// Hands out the rows of batch after batch.
pub(super) struct Feed<'a, B> {
    batches: &'a mut B,
    batch: Batch,
    columns: usize,
    /// The current row's first cell in the batch.
    at: usize,
    rows: u64,
    progress: Option<Progress<'a>>,
    /// The column whose greatest value is kept, and that value.
    max: Option<(usize, Option<Max>)>,
    /// Rows at the last call of the progress.
    reported: u64,
    /// Rows at which `advance` says "end" for a moment: a part is to be committed.
    pause_at: Option<u64>,
    /// The source came to its end.
    ended: bool,
    /// All rows that were asked for are handed out: the end, or a pause.
    between_rows: bool,
    /// Set when nothing more is wanted.
    stop: Option<&'a AtomicBool>,
    /// What wants to hear of every batch.
    without_wal: Option<&'a WithoutWal<'a>>,
}

impl<'a, B: Batches> Feed<'a, B> {
    pub(super) fn new(batches: &'a mut B, columns: usize, progress: Option<Progress<'a>>) -> Self {
        let progress = progress.filter(|progress| progress.every > 0);
        Feed {
            batches,
            batch: Batch::default(),
            columns,
            at: 0,
            rows: 0,
            progress,
            max: None,
            reported: 0,
            pause_at: None,
            ended: false,
            between_rows: false,
            stop: None,
            without_wal: None,
        }
    }

    /// Rows handed out so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Did the source come to its end?
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Are all rows that were handed out written?
    pub(super) fn is_between_rows(&self) -> bool {
        self.between_rows
    }

    /// The column of the current row's longest value, and that one's bytes.
    pub(super) fn longest(&self) -> (usize, usize) {
        let bytes = |column: &usize| self.value(*column).byte_len();
        let column = (0..self.columns).max_by_key(bytes).unwrap_or(0);
        (column, bytes(&column))
    }

    /// Keeps the greatest value of a column.
    pub(super) fn watch(&mut self, column: usize) {
        self.max = Some((column, None));
    }

    /// The greatest value of the column watched.
    pub(super) fn max(&self) -> Option<Max> {
        self.max.as_ref().and_then(|(_, max)| max.clone())
    }

    /// The rows go into a database without its WAL.
    pub(super) fn set_without_wal(&mut self, without_wal: Option<&'a WithoutWal<'a>>) {
        self.without_wal = without_wal;
    }

    /// Set, it ends the feed with an error.
    pub(super) fn set_stop(&mut self, stop: Option<&'a AtomicBool>) {
        self.stop = stop;
    }

    /// Pauses after `rows` more rows.
    pub(super) fn pause_after(&mut self, rows: u64) {
        self.pause_at = Some(self.rows.saturating_add(rows));
    }

    /// # Errors
    /// STOPPED, when nothing more is wanted.
    #[inline]
    pub(super) fn go_on(&self) -> Result<()> {
        if self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(Error::Stopped { row: self.rows });
        }
        Ok(())
    }

    fn report(&mut self) -> Result<()> {
        if let Some(progress) = &mut self.progress
            && self.rows.is_multiple_of(progress.every)
            && self.rows > self.reported
        {
            self.reported = self.rows;
            if !(progress.call)(self.rows) {
                return Err(Error::Stopped { row: self.rows });
            }
        }
        Ok(())
    }
}

impl<B: Batches> RowSource for Feed<'_, B> {
    type Error = Error;

    #[inline]
    fn advance(&mut self) -> Result<bool> {
        if self.progress.is_some() {
            self.report()?;
        }
        self.go_on()?;
        if self.pause_at == Some(self.rows) {
            self.pause_at = None;
            self.between_rows = true;
            return Ok(false);
        }
        if self.rows > 0 {
            self.at = self.at.wrapping_add(self.columns);
        }
        while self.at >= self.batch.cells() {
            if let Some(without_wal) = self.without_wal {
                without_wal.go_on();
            }
            let spent = std::mem::take(&mut self.batch);
            match self.batches.next(spent)? {
                Some(batch) => self.batch = batch,
                None => {
                    self.ended = true;
                    self.between_rows = true;
                    return Ok(false);
                }
            }
            self.at = 0;
        }
        self.rows = self.rows.wrapping_add(1);
        self.between_rows = false;
        if let Some((column, max)) = &mut self.max {
            Max::update(max, self.batch.value(self.at.wrapping_add(*column)));
        }
        Ok(true)
    }

    #[inline(always)]
    fn value(&self, column: usize) -> Value<'_> {
        self.batch.value(self.at.wrapping_add(column))
    }
}
