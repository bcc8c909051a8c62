//! Taking up a reader where another one was.
//!
//! Who reads for many, as a server does, cannot keep a reader for each of them open. A reader that
//! was left in the middle of a transaction is not worth a second search, check and walk.

use std::path::PathBuf;

use super::ahead::Cursor;
use super::reader::Ready;
use super::seek::Place;
use super::{Error, Position, Reader, ReaderOptions, Segment, Start, Transaction};

/// A place between two lines, also within a transaction, where a reader was: [`Reader::resume`].
#[derive(Debug, Clone)]
pub struct Mark {
    segment: Segment,
    place: Place,
    ready: Option<Ready>,
    transaction: Transaction,
    start: Start,
    last: Option<Position>,
}

impl Reader {
    /// Where the reader is; `None` when it has no segment open.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        let cursor = self.cursor.as_ref()?;
        Some(Mark {
            segment: cursor.segment.clone(),
            place: Place { offset: cursor.scan.start, before: cursor.scan.before() },
            ready: self.ready.clone(),
            transaction: self.transaction,
            start: self.start,
            last: self.last,
        })
    }

    /// Goes on where another reader of the stream was, without a search. A transaction within which
    /// that is was checked by the other one, and is not read from its beginning again: however
    /// large it is, it can be read in many parts by as many readers.
    ///
    /// # Errors
    /// As [`Reader::open`]; `GAP` also for a segment that is gone without a note of it, when it
    /// holds the rest of a transaction.
    pub fn resume(
        dir: impl Into<PathBuf>,
        mark: Mark,
        options: ReaderOptions,
    ) -> Result<Reader, Error> {
        let Mark { segment, place, ready, transaction, start, last } = mark;
        let mut reader = Reader::closed(dir.into(), start, options)?;
        (reader.transaction, reader.last) = (transaction, last);
        let bytes = reader.options.buffer_bytes;
        match Cursor::open(&reader.dir, segment, bytes, None)? {
            Some(mut cursor) => {
                cursor.go(place);
                (reader.cursor, reader.ready) = (Some(cursor), ready);
            }
            None if ready.is_some() => {
                let (wanted, removed) = (last.unwrap_or(Position::MIN), transaction.last);
                return Err(Error::Gap { wanted, removed });
            }
            // NOTE: the next segment is looked for, and what was removed is told.
            None => {}
        }
        reader.origin.check(&reader.dir)?;
        Ok(reader)
    }
}
