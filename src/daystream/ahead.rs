//! A reader's look ahead: the next whole transaction, through segments and days, and whether what
//! is there is not yet whole or damaged.
//!
//! A reader works beside a writer that appends, cuts a transaction that it gives up, and cuts after
//! a crash. So before it reports damage it forgets what it has in memory and reads the transaction
//! again; only what is wrong in the same bytes on the second look too is wrong on the disk. The
//! last segment's incomplete tail is not damage: the reader waits there until the writer has cut
//! and gone on.

use std::path::Path;
use std::time::Instant;

use super::content::Content;
use super::error::Damage;
use super::layout::{self, Segment};
use super::reader::later;
use super::scan::{self, Boundary, Fault, Found, Scan, Wrong};
use super::seek::{self, Place};
use super::window::Window;
use super::{Error, Position, Reader, ReaderOptions, link, retained, tail};
use crate::failpoint;

/// Bytes of a segment that are searched for a commit line, to see whether the stream has any.
const BOUNDARY_BYTES: u64 = 64 << 20;

/// How often a transaction that is wrong in another way each time is read again at once.
const LOOKS_MAX: u32 = 8;

/// The open segment.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) segment: Segment,
    pub(super) window: Window,
    pub(super) scan: Scan,
    /// What was wrong when the transaction was read last, from the disk: what is wrong the same way
    /// in the same bytes when they are read again is damage.
    wrong: Option<Wrong>,
    /// How often it was wrong in other ways, since the reader waited last.
    looks: u32,
    /// A later segment exists; what this one has was read once more after that was seen.
    closed: bool,
    /// Length of the file when it last had more, and when that was.
    grown: (u64, Instant),
}

impl Cursor {
    /// Opens a segment; `None` when it is gone.
    pub(super) fn open(
        dir: &Path,
        mut segment: Segment,
        options: &ReaderOptions,
        old: Option<Window>,
    ) -> Result<Option<Cursor>, Error> {
        let Some(file) = Content::open(dir, &mut segment)? else {
            return Ok(None);
        };
        let boundary = boundary_of(dir, &segment, &file)?;
        let mut window = match old {
            Some(mut window) => {
                window.replace(file);
                window
            }
            None => Window::new(file, options.buffer_bytes),
        };
        window.limit(options.line_bytes);
        let scan = Scan::new(boundary, segment.first, seek::BEGIN);
        let grown = (0, Instant::now());
        let (wrong, looks, closed) = (None, 0, false);
        Ok(Some(Cursor { segment, window, scan, wrong, looks, closed, grown }))
    }

    /// Goes to a place in the segment.
    pub(super) fn go(&mut self, place: Place) {
        let boundary = self.scan.boundary();
        self.window.clear();
        self.scan = Scan::new(boundary, self.segment.first, place);
    }

    pub(super) fn corrupt(&self, byte: u64, damage: Damage) -> Error {
        Error::Corrupt { segment: self.segment.name(), byte, damage }
    }

    pub(super) fn io(&self, dir: &Path, error: std::io::Error) -> Error {
        Error::io(self.segment.path(dir), "read", error)
    }

    /// Forgets what is in memory of the transaction being scanned.
    fn look_again(&mut self) {
        self.scan.rewind();
        self.window.clear();
    }

    /// Bytes that were read and belong to no whole transaction.
    fn has_rest(&self) -> bool {
        self.window.end() > self.scan.start
    }
}

/// How the stream's transactions end: by commit lines when this library wrote it, or when the
/// segment has any.
fn boundary_of(dir: &Path, segment: &Segment, file: &Content) -> Result<Boundary, Error> {
    if layout::is_ours(dir) {
        return Ok(Boundary::Commit);
    }
    match file.try_clone().and_then(|file| scan::has_commit(file, BOUNDARY_BYTES)) {
        Ok(true) => Ok(Boundary::Commit),
        Ok(false) => Ok(Boundary::Xid),
        Err(error) => Err(Error::io(segment.path(dir), "read", error)),
    }
}

/// What to do at the end of what was scanned.
enum Next {
    /// There may be more: scan on.
    Scan,
    /// A transaction without a commit line is taken for whole.
    Take(Found),
    /// There is no more for now.
    Wait,
}

impl Reader {
    /// The next transaction that the reader wants; `None` when there is none for now.
    pub(super) fn look_ahead(&mut self) -> Result<Option<Found>, Error> {
        loop {
            if self.cursor.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(cursor) = &mut self.cursor else {
                return Ok(None);
            };
            let found = match cursor.scan.step(&mut cursor.window) {
                Ok(Some(found)) => found,
                Ok(None) => match self.at_end()? {
                    Next::Scan => continue,
                    Next::Take(found) => found,
                    Next::Wait => {
                        self.settle();
                        return Ok(None);
                    }
                },
                Err(Fault::Io(error)) => return Err(cursor.io(&self.dir, error)),
                Err(Fault::Damage(byte, damage)) => {
                    if self.is_damage(byte, damage)? {
                        continue;
                    }
                    return Ok(None);
                }
            };
            self.settle();
            if let Some(cursor) = &mut self.cursor {
                cursor.closed = false;
            }
            if self.wants(&found.last) {
                return Ok(Some(found));
            }
            self.passed(found.last);
        }
    }

    /// Something is wrong at `byte`: true to look again, false when it is an incomplete tail.
    fn is_damage(&mut self, byte: u64, damage: Damage) -> Result<bool, Error> {
        let dir = &self.dir;
        let Some(cursor) = &mut self.cursor else {
            return Ok(false);
        };
        // NOTE: a writer may have given up the transaction while it was read, and have written
        // another one in its place: then the bytes differ from one look to the next.
        let wrong = cursor.scan.wrong(&cursor.window, byte, damage);
        if cursor.wrong.replace(wrong) != Some(wrong) && cursor.looks < LOOKS_MAX {
            cursor.looks += 1;
            cursor.look_again();
            return Ok(true);
        }
        if cursor.looks >= LOOKS_MAX {
            // NOTE: it does not stand still; the next call looks further.
            cursor.look_again();
            self.settle();
            self.look = true;
            return Ok(false);
        }
        let torn = !cursor.segment.compressed
            && layout::next(dir, cursor.segment.first)?.is_none()
            && tail::is_torn(cursor.window.file(), &cursor.scan, byte, &damage)
                .map_err(|error| cursor.io(dir, error))?;
        (cursor.wrong, cursor.looks) = (None, 0);
        cursor.look_again();
        if torn { Ok(false) } else { Err(cursor.corrupt(byte, damage)) }
    }

    /// What was wrong before is past.
    fn settle(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            (cursor.wrong, cursor.looks) = (None, 0);
        }
    }

    /// The scan is at the end of the file.
    fn at_end(&mut self) -> Result<Next, Error> {
        let names_changed = self.names_changed()?;
        let Some(cursor) = &mut self.cursor else {
            return Ok(Next::Scan);
        };
        let file = cursor.window.file();
        let seen = file.len().and_then(|length| Ok((length, file.is_gone()?)));
        let (length, gone) = seen.map_err(|error| cursor.io(&self.dir, error))?;
        if length < cursor.scan.start {
            return Err(cursor.corrupt(length, Damage::Shorter));
        }
        if length < cursor.window.end() {
            cursor.look_again();
            return Ok(Next::Scan);
        }
        if cursor.grown.0 != cursor.window.end() {
            cursor.grown = (cursor.window.end(), Instant::now());
        }
        if gone && cursor.scan.start == 0 {
            // NOTE: a writer removed the segment when the transaction that began it was abandoned.
            // Another one may have gone on in the segment before, which was left.
            self.cursor = None;
            self.return_to_last()?;
            return Ok(Next::Scan);
        }
        if let Some(quiet) = self.options.quiet
            && cursor.scan.at == cursor.window.end()
            && cursor.grown.1.elapsed() >= quiet
            && let Some(found) = cursor.scan.take_pending()
        {
            return Ok(Next::Take(found));
        }
        if !names_changed && !cursor.closed {
            return Ok(Next::Wait);
        }
        let next = layout::next(&self.dir, cursor.segment.first)?;
        // NOTE: the first segment of another stream may have the open one's name.
        self.origin.check(&self.dir)?;
        let Some(next) = next else {
            if gone && !cursor.segment.is_there(&self.dir) {
                // NOTE: retention and compression leave the last one alone.
                let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(Error::io(cursor.segment.path(&self.dir), "find", missing));
            }
            self.look = false;
            return Ok(Next::Wait);
        };
        if !cursor.closed {
            cursor.closed = true;
            return Ok(Next::Scan);
        }
        if cursor.scan.at == cursor.window.end()
            && let Some(found) = cursor.scan.take_pending()
        {
            return Ok(Next::Take(found));
        }
        if cursor.has_rest() {
            let wrong = cursor.scan.wrong(&cursor.window, cursor.scan.start, Damage::Incomplete);
            if cursor.wrong.replace(wrong) != Some(wrong) {
                cursor.look_again();
                return Ok(Next::Scan);
            }
            return Err(cursor.corrupt(cursor.scan.start, Damage::Incomplete));
        }
        // NOTE: after the names were listed, as below.
        let read = later(self.last, cursor.scan.before()).map(|last| last.position);
        retained::check(&self.dir, read)?;
        self.enter(next)?;
        Ok(Next::Scan)
    }

    /// Opens the segment behind the last line that was read; false when there is none yet.
    fn open_next(&mut self) -> Result<bool, Error> {
        loop {
            let next = match self.last {
                Some(last) => layout::next(&self.dir, last.position)?,
                None => retained::first(&self.dir)?,
            };
            let Some(segment) = next else {
                self.origin.check(&self.dir)?;
                return Ok(false);
            };
            failpoint::pass(failpoint::READ_LISTED);
            // NOTE: after the names were listed. What was removed before that is in the note by
            // now; what is removed later is not found when it is opened, and looked for again.
            match self.last {
                Some(last) => retained::check(&self.dir, Some(last.position))?,
                None => self.check_floor()?,
            }
            self.enter(segment)?;
            if self.cursor.is_some() {
                return Ok(true);
            }
        }
    }

    /// A reader that had nothing to read yet wants all that was written since it began.
    fn check_floor(&self) -> Result<(), Error> {
        let removed = retained::load(&self.dir)?.map(|removed| removed.position);
        match removed.filter(|_| removed > self.floor) {
            None => Ok(()),
            Some(removed) => {
                let wanted = self.floor.unwrap_or(Position::MIN);
                Err(Error::Gap { wanted, removed })
            }
        }
    }

    /// Opens `segment` at its beginning, in place of the open one; without one when it is gone.
    fn enter(&mut self, segment: Segment) -> Result<(), Error> {
        let old = self.cursor.take();
        let place = match (&old, self.last) {
            (Some(cursor), _) => {
                let place = cursor.scan.place();
                Place { offset: 0, before: place.before.or(self.last), ..place }
            }
            (None, Some(_)) => Place { offset: 0, before: self.last, chain: self.chain },
            (None, None) if layout::is_ours(&self.dir) => {
                Place { before: None, ..link::beginning(&self.dir, segment.first)? }
            }
            (None, None) => seek::BEGIN,
        };
        let window = old.map(|cursor| cursor.window);
        self.rewatch = true;
        self.cursor = Cursor::open(&self.dir, segment, &self.options, window)?;
        self.origin.check(&self.dir)?;
        if let Some(cursor) = &mut self.cursor {
            cursor.go(place);
        }
        if let Some(before) = place.before {
            self.passed(before);
        }
        Ok(())
    }
}
