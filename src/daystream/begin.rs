//! Where a reader begins: the segment, and the place in it.
//!
//! Names are listed before files are opened, and between the two somebody may remove or compress a
//! segment, or make one. So what was removed is looked at *after* the segment is open, which can
//! then be read whatever becomes of its name; and a segment that is gone is no end of the stream,
//! but a reason to list the names again.

use deltaflood::Lsn;

use super::ahead::Cursor;
use super::scan::Boundary;
use super::seek::{self, Place};
use super::{Error, Mark, Position, Reader, Start, layout, link, locate, retained};
use crate::failpoint;

impl Reader {
    /// Opens the segment in which the reader begins, at the right transaction.
    pub(super) fn seek(&mut self) -> Result<(), Error> {
        // NOTE: each turn somebody has removed or made a segment since the last one.
        while !self.try_seek()? {}
        Ok(())
    }

    /// False: the segments have changed meanwhile.
    fn try_seek(&mut self) -> Result<bool, Error> {
        let dir = &self.dir;
        let found = match self.start {
            Start::Begin => retained::first(dir)?,
            Start::End => layout::last(dir, None)?,
            Start::Clock(clock) => layout::at(dir, Position { clock: clock.max(0), seq: 0 })?,
            Start::At(position) => layout::at(dir, position)?,
            Start::After(mark) => layout::at(dir, mark.position)?,
        };
        failpoint::pass(failpoint::READ_LISTED);
        let mut cursor = None;
        if let Some(segment) = found {
            cursor = Cursor::open(dir, segment, &self.options, None)?;
            if cursor.is_none() {
                return Ok(false);
            }
        } else if !layout::is_ours(dir) {
            return Err(Error::Empty { dir: dir.clone() });
        }
        failpoint::pass(failpoint::READ_OPENED);
        let removed = retained::load(dir)?;
        self.floor = removed.map(|removed| removed.position);
        match (self.start, removed.map(|removed| removed.position)) {
            (_, None) | (Start::End, _) => {}
            (Start::Begin, Some(removed)) => {
                if cursor.as_ref().is_some_and(|cursor| cursor.segment.first <= removed) {
                    return Ok(false);
                }
            }
            (Start::Clock(clock), Some(removed)) if removed.clock < clock => {}
            (Start::At(wanted), Some(removed)) if removed < wanted => {}
            (Start::After(wanted), Some(removed)) if removed <= wanted.position => {}
            (start, Some(removed)) => {
                return Err(Error::Gap { wanted: start.place(), removed });
            }
        }
        match cursor {
            Some(cursor) => self.place(cursor),
            None => self.before_the_first(),
        }
    }

    /// There is no segment: the stream's first transaction is still to come, or all that there was
    /// is lost.
    fn before_the_first(&mut self) -> Result<bool, Error> {
        if let Start::After(mark) = self.start {
            self.start = Start::Begin;
            self.behind = mark.lsn;
        }
        Ok(true)
    }

    /// Goes to the right transaction in the segment of `cursor`.
    fn place(&mut self, cursor: Cursor) -> Result<bool, Error> {
        let (dir, start, boundary) = (&self.dir, self.start, cursor.scan.boundary());
        let file = cursor.window.file();
        let place = match (start, boundary) {
            (Start::Begin, _) => Ok(seek::BEGIN),
            (Start::End, Boundary::Commit) => seek::end(file),
            (Start::End, Boundary::Xid) => {
                seek::end_of_lines(file).map(|offset| Place { offset, ..seek::BEGIN })
            }
            _ => seek::find(file, &|position| start.wants(position)),
        };
        let mut place = place.map_err(|error| cursor.io(dir, error))?;
        if place.offset == 0 && boundary == Boundary::Commit {
            place = link::beginning(dir, cursor.segment.first)?;
        }
        if start == Start::Begin {
            place.before = None;
        }
        if let Start::After(mark) = start
            && boundary == Boundary::Commit
            && !place.before.is_some_and(|before| before.may_be(&mark))
        {
            match mark.lsn {
                // NOTE: the mark is the end of what retention has removed.
                _ if retained::load(dir)?.is_some_and(|removed| removed.may_be(&mark)) => {}
                Some(lsn) => return self.seek_lsn(lsn),
                None if is_other(place.before, mark) => {
                    let removed = mark.position;
                    return Err(Error::Gap { wanted: mark.position, removed });
                }
                None if self.ends_at(&cursor, place)? => {
                    // NOTE: the stream ends before the position, which was read from it once: its
                    // machine went down before that was durable. Whatever comes now is new.
                    self.start = Start::End;
                }
                // Of a position nothing more is known, and it may be any.
                None => {}
            }
        }
        self.begin_at(cursor, place);
        Ok(true)
    }

    fn begin_at(&mut self, mut cursor: Cursor, place: Place) {
        cursor.go(place);
        (self.last, self.chain) = (place.before, place.chain);
        self.cursor = Some(cursor);
    }

    /// Whether nothing whole stands behind `place`.
    fn ends_at(&self, cursor: &Cursor, place: Place) -> Result<bool, Error> {
        let end = seek::end(cursor.window.file());
        let end = end.map_err(|error| cursor.io(&self.dir, error))?;
        Ok(place.offset == end.offset && layout::next(&self.dir, cursor.segment.first)?.is_none())
    }

    /// The transaction that the reader was to begin behind is not where it was: the stream's
    /// machine went down before it was durable, and perhaps its clock was set back. What the
    /// reader has not had is what has a higher LSN.
    fn seek_lsn(&mut self, lsn: Lsn) -> Result<bool, Error> {
        let dir = &self.dir;
        let Some(segment) = locate::with_lsn(dir, lsn)? else { return Ok(false) };
        let Some(cursor) = Cursor::open(dir, segment, &self.options, None)? else {
            return Ok(false);
        };
        let first = cursor.segment.first;
        let place = link::beginning(dir, first)?;
        if place.before.is_none()
            && let Some(removed) = retained::load(dir)?
            && removed.lsn.is_none_or(|removed| removed > lsn)
        {
            let (wanted, removed) = (self.start.place(), removed.position);
            return Err(Error::Gap { wanted, removed });
        }
        self.behind = Some(lsn);
        self.begin_at(cursor, place);
        Ok(true)
    }
}

/// Whether another transaction than `mark` ends at its position.
fn is_other(there: Option<Mark>, mark: Mark) -> bool {
    there.is_some_and(|there| there.position == mark.position && !there.may_be(&mark))
}
