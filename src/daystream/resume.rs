//! Taking up a reader where another one was.
//!
//! Who reads for many, as a server does, cannot keep a reader for each of them open. A reader that
//! was left in the middle of a transaction is not worth a second search, check and walk.

use std::path::PathBuf;

use deltaflood::Lsn;

use super::ahead::Cursor;
use super::reader::Ready;
use super::seek::Place;
use super::text::Text;
use super::{Error, Mark, Position, Reader, ReaderOptions, Segment, Start, Transaction};

/// A place between two lines, also within a transaction, where a reader was: [`Reader::resume`].
#[derive(Debug, Clone)]
pub struct Bookmark {
    segment: Segment,
    place: Place,
    ready: Option<Ready>,
    transaction: Transaction,
    start: Start,
    last: Option<Mark>,
    chain: Option<u32>,
    behind: Option<Lsn>,
    floor: Option<Position>,
}

impl Reader {
    /// Where the reader is; `None` when it has no segment open.
    #[must_use]
    pub fn bookmark(&self) -> Option<Bookmark> {
        let cursor = self.cursor.as_ref()?;
        Some(Bookmark {
            segment: cursor.segment.clone(),
            place: cursor.scan.place(),
            ready: self.ready.clone(),
            transaction: self.transaction,
            start: self.start,
            last: self.last,
            chain: self.chain,
            behind: self.behind,
            floor: self.floor,
        })
    }

    /// Where the line stands that was given out last, of `length` bytes without its line feed.
    #[must_use]
    pub fn text(&self, length: usize) -> Option<Text> {
        let cursor = self.cursor.as_ref()?;
        let end = self.ready.as_ref().map_or(cursor.scan.start, |ready| ready.at);
        let at = end.checked_sub(length as u64 + 1)?;
        Some(Text::new(self.dir.clone(), cursor.segment.clone(), at..end))
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
        mark: Bookmark,
        options: ReaderOptions,
    ) -> Result<Reader, Error> {
        let Bookmark { segment, place, ready, transaction, start, last, chain, behind, floor } =
            mark;
        let mut reader = Reader::closed(dir.into(), start, options)?;
        (reader.transaction, reader.last) = (transaction, last);
        (reader.chain, reader.behind, reader.floor) = (chain, behind, floor);
        match Cursor::open(&reader.dir, segment, &reader.options, None)? {
            Some(mut cursor) => {
                cursor.go(place);
                (reader.cursor, reader.ready) = (Some(cursor), ready);
            }
            None if ready.is_some() => {
                let wanted = last.map_or(Position::MIN, |last| last.position);
                let removed = transaction.last;
                return Err(Error::Gap { wanted, removed });
            }
            // NOTE: the next segment is looked for, and what was removed is told.
            None => {}
        }
        reader.origin.check(&reader.dir)?;
        Ok(reader)
    }
}
