//! Looking ahead: where does the transaction that begins here end, and is it whole and sound?
//!
//! A scan walks lines without giving them out. It checks each line's stamp and order, and at the
//! commit line the transaction's number of lines and checksums. It holds no lines, so a transaction
//! may have any size.

use std::io;
use std::ops::Range;

use deltaflood::{Change, Verb};

use super::content::Content;
use super::error::Damage;
use super::long::{self, Step, Walk};
use super::seek::Place;
use super::window::{Line, Window};
use super::{Mark, Position, stamp};

/// Bytes that are summed up of what is wrong, where lines are not.
const LINE_SUMMED: usize = 64 << 10;

/// How the end of a transaction is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boundary {
    /// By its commit line.
    Commit,
    /// The stream has no commit lines: where `_xid` changes.
    Xid,
}

/// A transaction that was found whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Offset of the first line, in bytes.
    pub(super) start: u64,
    /// Offset after the last line's line feed.
    pub(super) end: u64,
    /// Its last line.
    pub(super) last: Mark,
    /// Number of lines, with the commit line.
    pub(super) lines: u64,
    /// CRC-32C of all lines but the commit line, where there is one.
    pub(super) crc: u32,
    /// Whether the last line is a commit line.
    pub(super) commit: bool,
}

/// Why a scan stopped.
#[derive(Debug)]
pub(super) enum Fault {
    /// The byte, and what is wrong there.
    Damage(u64, Damage),
    /// Reading failed.
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

/// What is wrong with a transaction, and in which bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong {
    byte: u64,
    damage: Damage,
    /// Offset of the line at which that was seen, number and sum of the lines before it, and sum of
    /// what is in memory behind them.
    at: u64,
    lines: u64,
    sums: (u32, u32),
}

/// A scan through one segment.
#[derive(Debug)]
pub(super) struct Scan {
    boundary: Boundary,
    /// Position in the segment's name; checked against the line at offset 0.
    name: Position,
    /// Offset at which the transaction begins.
    pub(super) start: u64,
    /// Offset of the next line to look at.
    pub(super) at: u64,
    /// The transaction before this one, where it is known.
    before: Option<Mark>,
    /// The chain before the transaction, where it is known.
    chain: Option<u32>,
    /// Position of the line before `at`.
    pub(super) last: Option<Position>,
    /// Lines of the transaction before `at`.
    pub(super) lines: u64,
    /// Of the lines up to `summed`. Many lines are summed up at once, which is faster. What is not
    /// summed up yet is in the window's memory, which it leaves only when a line is not whole
    /// there.
    crc: u32,
    summed: u64,
    xid: Option<u32>,
    /// The line at `at` is too long to be in memory: the walk along it, and its position.
    long: Option<(Walk, Position)>,
}

impl Scan {
    /// A scan from `place` in the segment named `name`.
    pub(super) fn new(boundary: Boundary, name: Position, place: Place) -> Scan {
        let Place { offset: start, before, chain } = place;
        Scan {
            boundary,
            name,
            start,
            at: start,
            before,
            chain,
            last: before.map(|before| before.position),
            lines: 0,
            crc: 0,
            summed: start,
            xid: None,
            long: None,
        }
    }

    /// Starts the transaction over.
    pub(super) fn rewind(&mut self) {
        *self = Scan::new(self.boundary, self.name, self.place());
    }

    /// Where the transaction begins.
    pub(super) const fn place(&self) -> Place {
        Place { offset: self.start, before: self.before, chain: self.chain }
    }

    /// That `damage` was seen at `byte`.
    pub(super) fn wrong(&self, window: &Window, byte: u64, damage: Damage) -> Wrong {
        let tail = window.span(self.summed, window.end()).unwrap_or_default();
        let tail = tail.get(..LINE_SUMMED.min(tail.len())).unwrap_or_default();
        let crc = self.long.map_or(self.crc, |(walk, _)| walk.sum(self.crc));
        let sums = (crc, crc32c::crc32c(tail));
        Wrong { byte, damage, at: self.at, lines: self.lines, sums }
    }

    pub(super) const fn boundary(&self) -> Boundary {
        self.boundary
    }

    /// The transaction before this one.
    pub(super) const fn before(&self) -> Option<Mark> {
        self.before
    }

    /// Goes on to the end of the transaction; `None` when the file ends before it does. A later
    /// call goes on from there.
    pub(super) fn step(&mut self, window: &mut Window) -> Result<Option<Found>, Fault> {
        window.keep(self.start);
        loop {
            if self.long.is_some() && !self.walk_on(window)? {
                return Ok(None);
            }
            if let Some(range) = window.peek(self.at) {
                match self.line(window, range)? {
                    None => continue,
                    found => return Ok(found),
                }
            }
            self.sum_up(window)?;
            let range = match window.line(self.at)? {
                Line::Whole(range) => range,
                Line::Long(range) => {
                    self.begin_long(long::head(window.bytes(range)))?;
                    continue;
                }
                Line::Partial => return Ok(None),
                Line::TooLong { like_a_line: true } => {
                    return Err(Fault::Damage(self.at, Damage::TooLong));
                }
                Line::TooLong { like_a_line: false } => {
                    return Err(Fault::Damage(self.at, Damage::Stamp));
                }
            };
            let found = self.line(window, range)?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Sums up the lines that are not yet.
    fn sum_up(&mut self, window: &Window) -> Result<(), Fault> {
        if self.summed < self.at {
            let lines = window.span(self.summed, self.at);
            // NOTE: the second look would find the same lines in memory.
            let lines = lines.ok_or(Fault::Damage(self.start, Damage::Crc))?;
            self.crc = crc32c::crc32c_append(self.crc, lines);
            self.summed = self.at;
        }
        Ok(())
    }

    /// A line begins with `head` that is too long to be in memory. Only a line whose head is not
    /// all there, or of a stream without commit lines, has to be read as a whole all the same.
    fn begin_long(&mut self, head: &[u8]) -> Result<(), Fault> {
        let sound = Change::parse(head).is_ok_and(|change| change.verb != Verb::Commit);
        let Some((position, _)) = stamp::read(head).ok().filter(|_| sound) else {
            return Err(Fault::Io(io::ErrorKind::FileTooLarge.into()));
        };
        if self.boundary == Boundary::Xid {
            return Err(Fault::Io(io::ErrorKind::FileTooLarge.into()));
        }
        self.check_place(position).map_err(|damage| Fault::Damage(self.at, damage))?;
        self.long = Some((Walk::new(self.at), position));
        Ok(())
    }

    /// Goes on along the long line; false when the file ends before it does.
    fn walk_on(&mut self, window: &mut Window) -> Result<bool, Fault> {
        let Some((walk, position)) = &mut self.long else { return Ok(true) };
        match walk.step(window)? {
            Step::Partial => return Ok(false),
            Step::TooLong => return Err(Fault::Damage(self.at, Damage::TooLong)),
            Step::Over => {}
        }
        (self.crc, self.summed, self.at) = (walk.sum(self.crc), walk.at, walk.at);
        self.last = Some(*position);
        self.lines += 1;
        self.long = None;
        Ok(true)
    }

    /// Whether a line at `position` can come next.
    fn check_place(&self, position: Position) -> Result<(), Damage> {
        if self.last.is_some_and(|last| position <= last) {
            return Err(Damage::Order);
        }
        if self.at == 0 && position != self.name {
            return Err(Damage::Name);
        }
        Ok(())
    }

    /// Takes in one line; the transaction when it ends with it (or, without commits, before it).
    fn line(&mut self, window: &Window, range: Range<usize>) -> Result<Option<Found>, Fault> {
        let line = window.bytes(range);
        let damage = |byte: usize, damage| Fault::Damage(self.at + byte as u64, damage);
        let (position, _) = stamp::read(line).map_err(|byte| damage(byte, Damage::Stamp))?;
        // NOTE: a line that was torn within its stamp can be anywhere in the order; it is no line.
        let misplaced = |what| match Change::parse(line) {
            Ok(_) => damage(0, what),
            Err(error) => damage(error.byte, Damage::Line(error.kind)),
        };
        self.check_place(position).map_err(misplaced)?;
        let next = self.at + line.len() as u64 + 1;
        if self.boundary == Boundary::Xid || line.ends_with(stamp::COMMIT) {
            let change = Change::parse(line)
                .map_err(|error| damage(error.byte, Damage::Line(error.kind)))?;
            if change.verb == Verb::Commit {
                self.sum_up(window)?;
                self.check_commit(&change)?;
                return Ok(Some(self.finish(next, Mark::of(position, &change), true)));
            }
            let other = change.xid.is_none() || change.xid != self.xid;
            if self.boundary == Boundary::Xid && self.lines > 0 && other {
                let last = self.last.unwrap_or(position);
                self.sum_up(window)?;
                return Ok(Some(self.finish(self.at, Mark::at(last), false)));
            }
            self.xid = change.xid;
        }
        self.lines += 1;
        self.last = Some(position);
        self.at = next;
        Ok(None)
    }

    /// Checks a commit line, at `self.at`, against the lines before it.
    fn check_commit(&self, commit: &Change<'_>) -> Result<(), Fault> {
        if let Some(crc) = commit.commit_crc {
            let line = commit.line();
            let tail = b"\t_commit_crc\t01234567".len() + stamp::COMMIT.len();
            let covered = line.get(..line.len().saturating_sub(tail)).unwrap_or_default();
            if crc32c::crc32c_append(self.crc, covered) != crc {
                return Err(if commit.crc == Some(self.crc) {
                    Fault::Damage(self.at, Damage::CommitCrc)
                } else {
                    Fault::Damage(self.start, Damage::Crc)
                });
            }
        }
        if commit.lines.is_some_and(|lines| lines != self.lines) {
            return Err(Fault::Damage(self.at, Damage::Lines));
        }
        if commit.crc.is_some_and(|crc| crc != self.crc) {
            return Err(Fault::Damage(self.start, Damage::Crc));
        }
        if self.chain.zip(commit.chain).is_some_and(|(is, should)| is != should) {
            return Err(Fault::Damage(self.start, Damage::Chain));
        }
        Ok(())
    }

    /// The transaction ends at offset `end`; the next one begins there.
    fn finish(&mut self, end: u64, last: Mark, commit: bool) -> Found {
        let (start, crc) = (self.start, self.crc);
        let lines = self.lines + u64::from(commit);
        let found = Found { start, end, last, lines, crc, commit };
        *self = Scan::new(self.boundary, self.name, Place::behind(end, last));
        found
    }

    /// Without commit lines: what was scanned is taken for a whole transaction.
    pub(super) fn take_pending(&mut self) -> Option<Found> {
        let last = self.last.filter(|_| self.lines > 0 && self.boundary == Boundary::Xid)?;
        Some(self.finish(self.at, Mark::at(last), false))
    }
}

/// Whether a segment's first `limit` bytes hold a commit line.
pub(super) fn has_commit(file: Content, limit: u64) -> io::Result<bool> {
    let mut window = Window::new(file, crate::limits::LOG_READER_BUFFER_BYTES);
    let mut at = 0;
    while at < limit {
        let Line::Whole(range) = window.line(at)? else {
            return Ok(false);
        };
        let line = window.bytes(range);
        at += line.len() as u64 + 1;
        if line.ends_with(stamp::COMMIT)
            && Change::parse(line).is_ok_and(|change| change.verb == Verb::Commit)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
