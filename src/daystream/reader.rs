//! Reading a stream: whole transactions, in order, from any place, and on as it grows.
//!
//! A reader gives out lines of complete transactions only. Before the first line of one it has
//! checked them all: stamps, order, number of lines, checksums. What it does not check is what is
//! behind the verb; whoever walks the columns finds a malformed one. After an error the lines of
//! the transaction in progress, if any, must be undone.
//!
//! Memory: [`LOG_READER_BUFFER_BYTES`], and the longest line; a transaction may have any size
//! (one larger than half the buffer is read twice). Readers take no lock and do not hinder the
//! writer or each other.
//!
//! A reader sees a transaction as soon as it is in the file, which is before it is durable. When
//! the machine of the stream goes down in between, readers elsewhere have seen a transaction that
//! the stream will get again, at a later position: know it by its LSN.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use deltaflood::{Change, Lsn};

use super::ahead::Cursor;
use super::error::Damage;
use super::filter::TableFilter;
use super::follow::Watch;
use super::long::{self, Cut, Step, Walk};
use super::origin::Origin;
use super::scan::Found;
use super::window::Line;
use super::{Error, Mark, Position, stamp};
use crate::limits::{LINE_BYTES_MAX, LOG_READER_BUFFER_BYTES};

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the first transaction there is.
    Begin,
    /// Behind the last complete transaction there is.
    End,
    /// With the first transaction that has a line of this clock (seconds) or a later one.
    Clock(i64),
    /// With the transaction that holds this position, or the first one behind it.
    At(Position),
    /// Behind this transaction: with the first one whose last line is beyond its position. This is
    /// how a reader goes on that has stored [`Reader::mark`]. When the stream's machine went down
    /// before the end was durable, the stream may end before that position, or have another
    /// transaction there: then with the first one whose LSN is beyond the mark's, and, where that
    /// is not known, with whatever comes next.
    After(Mark),
}

impl Start {
    /// Whether a transaction that ends at `last` is wanted.
    pub(super) fn wants(self, last: Position) -> bool {
        match self {
            Start::Begin | Start::End => true,
            Start::Clock(clock) => last.clock >= clock,
            Start::At(position) => last >= position,
            Start::After(mark) => last > mark.position,
        }
    }

    /// Behind which position it is.
    pub(super) fn place(self) -> Position {
        match self {
            Start::Begin | Start::End => Position::MIN,
            Start::Clock(clock) => Position { clock: clock.max(0), seq: 0 },
            Start::At(position) => position,
            Start::After(mark) => mark.position,
        }
    }
}

/// How to read.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Only these tables; all when `None`.
    pub tables: Option<TableFilter>,
    /// Bytes read ahead.
    pub buffer_bytes: usize,
    /// Longest line that is taken into memory, in bytes. Of a longer one only the head is given out
    /// ([`Entry::cut`]), and [`Reader::text`] reads the rest. One whose head has more than 64 KiB
    /// cannot be read: [`Error::Io`] with the kind `FileTooLarge`, after which [`Reader::resume`]
    /// with a larger number goes on.
    pub line_bytes: usize,
    /// In a stream without commit lines: after this time without growth the last transaction counts
    /// as whole. `None`: only when the next one begins.
    pub quiet: Option<Duration>,
}

impl Default for ReaderOptions {
    fn default() -> ReaderOptions {
        ReaderOptions {
            tables: None,
            buffer_bytes: LOG_READER_BUFFER_BYTES,
            line_bytes: LINE_BYTES_MAX,
            quiet: None,
        }
    }
}

/// One line.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'r> {
    /// The line's position.
    pub position: Position,
    /// The line, its head read.
    pub change: Change<'r>,
    /// Set where only the line's head is in memory: it is longer than
    /// [`ReaderOptions::line_bytes`].
    pub cut: Option<Cut>,
    /// Whether the transaction ends with this line: it is the commit line, or, in a stream without
    /// commit lines, the last one of the transaction that the reader gives out.
    pub end: bool,
    /// The transaction that the line belongs to.
    pub transaction: Transaction,
}

/// What is known of a transaction before its first line is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction {
    /// Position of its last line.
    pub last: Position,
    /// End of its commit record; `None` in a stream without commit lines.
    pub lsn: Option<Lsn>,
    /// Number of its lines, with the commit line.
    pub lines: u64,
    /// The stream's chain behind it; `None` in a stream without commit lines.
    pub chain: Option<u32>,
}

impl Transaction {
    /// No transaction yet.
    pub(super) const NONE: Transaction =
        Transaction { last: Position::MIN, lsn: None, lines: 0, chain: None };

    /// Its end.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark { position: self.last, lsn: self.lsn, chain: self.chain }
    }
}

/// A whole transaction that is being given out.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    found: Found,
    /// Offset of the next line.
    pub(super) at: u64,
    /// The lines are read a second time: check them a second time.
    again: bool,
    crc: u32,
    /// Offset of the last line to give out, where that is not the commit line.
    last_wanted: Option<u64>,
}

/// A reader of a stream.
#[derive(Debug)]
pub struct Reader {
    pub(super) dir: PathBuf,
    pub(super) options: ReaderOptions,
    pub(super) start: Start,
    pub(super) cursor: Option<Cursor>,
    pub(super) ready: Option<Ready>,
    /// The transaction of the last line given out.
    pub(super) transaction: Transaction,
    /// The last transaction that was given out or passed over.
    pub(super) last: Option<Mark>,
    /// The stream's chain behind it, or before the first one, where it is known.
    pub(super) chain: Option<u32>,
    /// Only transactions beyond this LSN are wanted: the stream does not have the one that the
    /// reader was to begin behind.
    pub(super) behind: Option<Lsn>,
    /// The last position that was removed when the reader began.
    pub(super) floor: Option<Position>,
    /// Which stream it is.
    pub(super) origin: Origin,
    pub(super) watch: Option<Watch>,
    /// Names may have changed since they were last listed.
    pub(super) look: bool,
    /// When they were last listed without a report.
    pub(super) listed_at: Instant,
    /// The day folders to watch may have changed.
    pub(super) rewatch: bool,
    /// Head of the line given out last, when that was a long one.
    pub(super) head: Vec<u8>,
}

/// A line to give out: where it is in the window (or in `head`, where it is cut), and whether it is
/// the last one.
struct Given {
    range: Range<usize>,
    cut: Option<Cut>,
    position: Position,
    end: bool,
}

impl Reader {
    /// Opens the stream in the folder `dir`.
    ///
    /// # Errors
    /// `NOTFOUND`, `EMPTY` (no writer was ever there), `PERMISSION`, `GAP` when retention has
    /// removed what follows the place, and those of the file system.
    pub fn open(
        dir: impl Into<PathBuf>,
        start: Start,
        options: ReaderOptions,
    ) -> Result<Reader, Error> {
        let mut reader = Reader::closed(dir.into(), start, options)?;
        reader.seek()?;
        reader.origin.check(&reader.dir)?;
        Ok(reader)
    }

    /// A reader without an open segment.
    pub(super) fn closed(
        dir: PathBuf,
        start: Start,
        options: ReaderOptions,
    ) -> Result<Reader, Error> {
        check_folder(&dir)?;
        let origin = Origin::of(&dir);
        Ok(Reader {
            dir,
            origin,
            options,
            start,
            cursor: None,
            ready: None,
            transaction: Transaction::NONE,
            last: None,
            chain: None,
            behind: None,
            floor: None,
            watch: None,
            look: true,
            listed_at: Instant::now(),
            rewatch: true,
            head: Vec::new(),
        })
    }

    /// Position of the last line of the last transaction that was given out to its end, or that
    /// lies before the place where the reader began. `None` before the stream's first transaction.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.last.map(|last| last.position)
    }

    /// The same, with what tells the transaction from another one at that position.
    #[must_use]
    pub const fn mark(&self) -> Option<Mark> {
        self.last
    }

    /// The stream's chain before the transaction that comes next; `None`: not known.
    #[must_use]
    pub const fn chain(&self) -> Option<u32> {
        self.chain
    }

    /// Whether a transaction is wanted.
    pub(super) fn wants(&self, last: &Mark) -> bool {
        match self.behind {
            Some(behind) => last.lsn.is_none_or(|lsn| lsn > behind),
            None => self.start.wants(last.position),
        }
    }

    /// A transaction was given out, or passed over.
    pub(super) fn passed(&mut self, last: Mark) {
        self.last = Some(last);
        self.chain = last.chain;
    }

    /// When the stream was made ([`Identity::made`](super::Identity::made)); `None` when it does
    /// not tell.
    #[must_use]
    pub const fn made(&self) -> Option<u64> {
        self.origin.made()
    }

    /// The next line of a complete transaction; `None` when there is none for now. A later call
    /// goes on where the stream has grown: [`Reader::wait`].
    ///
    /// # Errors
    /// `CORRUPT` with segment and byte, `GAP`, `CHANGED` and `NOTFOUND` when the stream was made
    /// anew or removed since it was opened, and those of the file system.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        let Some(Given { range, cut, position, end }) = self.advance()? else {
            return Ok(None);
        };
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let line = if cut.is_some() { &self.head } else { cursor.window.bytes(range) };
        let transaction = self.transaction;
        match Change::parse(line) {
            Ok(change) => Ok(Some(Entry { position, change, cut, end, transaction })),
            Err(error) => {
                let (length, kind) = (cut.map_or(line.len(), |cut| cut.length), error.kind);
                Err(self.corrupt_line(length, error.byte, Damage::Line(kind)))
            }
        }
    }

    /// The line given out last, of `length` bytes, is wrong at its byte `byte`.
    pub(super) fn corrupt_line(&self, length: usize, byte: usize, damage: Damage) -> Error {
        let Some(cursor) = &self.cursor else {
            return Error::Poisoned;
        };
        let next = self.ready.as_ref().map_or(cursor.scan.start, |ready| ready.at);
        cursor.corrupt(next.saturating_sub(length as u64 + 1) + byte as u64, damage)
    }

    /// Goes on to the next line to give out.
    fn advance(&mut self) -> Result<Option<Given>, Error> {
        loop {
            if self.ready.is_none() {
                let Some(found) = self.look_ahead()? else {
                    return Ok(None);
                };
                self.begin(found)?;
            }
            let (Some(ready), Some(cursor)) = (&mut self.ready, &mut self.cursor) else {
                continue;
            };
            let offset = ready.at;
            let whole = look_at(cursor, offset, &mut self.head);
            let whole = whole.map_err(|error| cursor.io(&self.dir, error))?;
            let (range, cut) = whole.ok_or_else(|| cursor.corrupt(offset, Damage::Shorter))?;
            let line = match cut {
                None => cursor.window.bytes(range.clone()),
                Some(_) => &self.head,
            };
            let (position, behind) = stamp::read(line)
                .map_err(|byte| cursor.corrupt(offset + byte as u64, Damage::Stamp))?;
            let with_feed = cut.map_or(line.len(), |cut| cut.length) + 1;
            ready.at += with_feed as u64;
            let mut end = ready.at >= ready.found.end;
            if ready.again && !(end && ready.found.commit) {
                ready.crc = if let Some(cut) = cut {
                    crc32c::crc32c_combine(ready.crc, cut.crc, with_feed)
                } else {
                    let bytes = cursor.window.bytes(range.start..range.end + 1);
                    crc32c::crc32c_append(ready.crc, bytes)
                };
            }
            if ready.again && end && ready.crc != ready.found.crc {
                return Err(cursor.corrupt(ready.found.start, Damage::Crc));
            }
            let wanted = match &self.options.tables {
                Some(tables) if !(end && ready.found.commit) => {
                    let rest = line.get(behind..).unwrap_or_default();
                    tables.glance(rest).unwrap_or_else(|| {
                        Change::parse(line).map_or(true, |change| tables.passes(&change))
                    })
                }
                _ => true,
            };
            let last = ready.found.last;
            let finished = end;
            end |= ready.last_wanted == Some(offset);
            if finished {
                self.ready = None;
                self.passed(last);
            }
            if wanted {
                return Ok(Some(Given { range, cut, position, end }));
            }
        }
    }

    /// A transaction was found: its lines are next.
    fn begin(&mut self, found: Found) -> Result<(), Error> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(());
        };
        let again = !cursor.window.holds(found.start);
        let mut last_wanted = None;
        if let (Some(tables), false) = (&self.options.tables, found.commit) {
            let mut at = found.start;
            while at < found.end {
                let line = cursor.window.line(at);
                let Line::Whole(range) = line.map_err(|error| cursor.io(&self.dir, error))? else {
                    return Err(cursor.corrupt(at, Damage::Shorter));
                };
                let line = cursor.window.bytes(range);
                if Change::parse(line).map_or(true, |change| tables.passes(&change)) {
                    last_wanted = Some(at);
                }
                at += line.len() as u64 + 1;
            }
        }
        let at = found.start;
        let Mark { position: last, lsn, chain } = found.last;
        self.transaction = Transaction { last, lsn, lines: found.lines, chain };
        self.ready = Some(Ready { found, at, again, crc: 0, last_wanted });
        Ok(())
    }

    /// Opens the segment with the last line that was read, behind that line.
    pub(super) fn return_to_last(&mut self) -> Result<(), Error> {
        let Some(last) = self.last else { return Ok(()) };
        let start = std::mem::replace(&mut self.start, Start::After(last));
        self.seek()?;
        self.start = start;
        self.origin.check(&self.dir)?;
        self.last = later(self.last, Some(last));
        (self.look, self.rewatch) = (true, true);
        Ok(())
    }
}

/// The line that begins at `offset`: where it is in the window, or, of one that is too long, its
/// head in `head` and what is known of the rest. `None` where the file ends before.
fn look_at(
    cursor: &mut Cursor,
    offset: u64,
    head: &mut Vec<u8>,
) -> io::Result<Option<(Range<usize>, Option<Cut>)>> {
    let range = match cursor.window.line(offset)? {
        Line::Whole(range) => return Ok(Some((range, None))),
        Line::Long(range) => range,
        Line::Partial | Line::TooLong { .. } => return Ok(None),
    };
    head.clear();
    head.extend_from_slice(long::head(cursor.window.bytes(range)));
    let mut walk = Walk::new(offset);
    let over = walk.step(&mut cursor.window)? == Step::Over;
    Ok(over.then(|| (0..head.len(), Some(walk.cut()))))
}

/// The later one of two places.
pub(super) fn later(one: Option<Mark>, other: Option<Mark>) -> Option<Mark> {
    let place = |mark: Option<Mark>| mark.map(|mark| mark.position);
    if place(other) > place(one) { other } else { one }
}

/// Refuses a folder that is none.
pub(super) fn check_folder(dir: &Path) -> Result<(), Error> {
    match dir.metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(Error::Refused { path: dir.to_owned(), why: "it is not a folder" }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NotFound { dir: dir.to_owned() })
        }
        Err(error) => Err(Error::io(dir, "look at", error)),
    }
}
