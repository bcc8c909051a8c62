//! Appending transactions to a stream.
//!
//! Lines go to memory first ([`LOG_WRITER_BUFFER_BYTES`]; a longer line to the file at once), to
//! the file by [`Writer::flush`] or when the buffer is full, and are durable after [`Writer::sync`]
//! only. All lines of a transaction carry the clock of its beginning; the clock never goes back:
//! when the system's does, the last value stays and the sequence number goes on. Segments are cut
//! between transactions, when one has reached its size and when the UTC day has changed.
//!
//! A failed write or fsync leaves unknown bytes on the disk: the writer then refuses everything
//! (`POISONED`). Drop it and open the stream again, which recovers what is sound. Dropping a writer
//! writes nothing: what was not flushed is lost, and was never acknowledged.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use deltaflood::{Change, Kind, Lsn, Verb, write};

use super::error::Damage;
use super::identity::State;
use super::lock::{self, Lock};
use super::origin::{FolderMark, folder_mark};
use super::recover::{self, End};
use super::segment::Output;
use super::storage::Storage;
use super::{Clock, Error, Identity, LastCommit, Mark, Position, SystemClock, mark};
use crate::failpoint;
use crate::limits::{LOG_WRITER_BUFFER_BYTES, SEGMENT_BYTES};

/// How to write.
pub struct WriterOptions {
    /// Size at which a segment is cut, in bytes.
    pub segment_bytes: u64,
    /// Bytes held in memory before they are written, also in mid-transaction.
    pub buffer_bytes: usize,
    /// Where seconds come from.
    pub clock: Box<dyn Clock>,
    /// The file system.
    pub storage: Storage,
}

impl Default for WriterOptions {
    fn default() -> WriterOptions {
        WriterOptions {
            segment_bytes: SEGMENT_BYTES,
            buffer_bytes: LOG_WRITER_BUFFER_BYTES,
            clock: Box::new(SystemClock),
            storage: Storage::default(),
        }
    }
}

/// What a transaction's commit says; what the source does not tell is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Commit {
    /// Top-level transaction id.
    pub xid: Option<u32>,
    /// End of the commit record.
    pub lsn: Option<Lsn>,
    /// Commit time, in microseconds since the Unix epoch.
    pub time_us: Option<i64>,
}

/// A transaction that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Position that the transaction's first line gets.
    pub first: Position,
    /// Whether `schema` lines have to be sent again: the transaction is the first of its segment,
    /// or those before it had no table's line, or it follows an abandoned one, whose `schema`
    /// lines are gone.
    pub fresh: bool,
}

/// The open transaction.
#[derive(Debug)]
struct Transaction {
    begun: Begun,
    /// Offset in the segment of the first line.
    start: u64,
    lines: u64,
    crc: u32,
    xid: Option<u32>,
    /// It has a line of a table.
    tables: bool,
    /// The constant beginning of each line's stamp.
    stamp: Vec<u8>,
}

impl Transaction {
    fn next(&self) -> Position {
        Position { clock: self.begun.first.clock, seq: self.begun.first.seq + self.lines }
    }
}

/// The one writer of a stream.
pub struct Writer {
    dir: PathBuf,
    /// Which folder it was when it was opened.
    folder: Option<FolderMark>,
    clock: Box<dyn Clock>,
    segment_bytes: u64,
    buffer_bytes: usize,
    output: Output,
    open: Option<Transaction>,
    /// The last committed transaction.
    last: Option<Mark>,
    lsn: Option<Lsn>,
    /// The chain behind it.
    chain: u32,
    found: Option<LastCommit>,
    /// What the state file says beside the identity.
    state: RefCell<State>,
    /// The next transaction has to send its `schema` lines again.
    fresh: bool,
    cut: u64,
    _lock: Lock,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("dir", &self.dir).field("last", &self.last).finish()
    }
}

impl Writer {
    /// Opens the stream in the folder `dir` for writing, making the folder (not its parents) when
    /// it is not there, and cuts off an incomplete tail. What it finds is durable when it returns:
    /// [`Writer::last_lsn`] may be acknowledged.
    ///
    /// # Errors
    /// `LOCKED` when there is another writer, `REFUSED` for a folder that others can write in or
    /// own, `FOREIGN` for one written by another program, `CORRUPT` for damage that is not an
    /// incomplete tail, and those of the file system.
    pub fn open(dir: impl Into<PathBuf>, options: WriterOptions) -> Result<Writer, Error> {
        let dir = dir.into();
        let WriterOptions { segment_bytes, buffer_bytes, clock, storage } = options;
        recover::refuse_foreign(&dir)?;
        let lock = lock::acquire(&storage, &dir)?;
        let (identity, state) = Identity::load_all(&dir)?.unzip();
        let state = state.unwrap_or_default();
        let End { segment, last, lsn, chain, commit, cut } =
            recover::recover(&storage, &dir, state.end)?;
        let mut output = Output::resume(storage, dir.clone(), segment)?;
        // DURABILITY: the writer before may have been killed before its fsync, and what is in the
        // stream is acknowledged from now on.
        output.sync()?;
        if let Some(identity) = identity.filter(|_| state.is_old()) {
            // NOTE: before the first commit line with a chain: an older reader is to learn from
            // here that the stream is not for it, and not take it for damaged.
            identity.save(&dir, &state, &output.storage)?;
        }
        let buffer_bytes = buffer_bytes.max(1);
        let folder = folder_mark(&dir);
        Ok(Writer {
            dir,
            folder,
            clock,
            segment_bytes,
            buffer_bytes,
            output,
            open: None,
            last,
            lsn,
            chain,
            found: commit,
            state: RefCell::new(state),
            fresh: false,
            cut,
            _lock: lock,
        })
    }

    /// The stream's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of an incomplete tail that were cut off when the stream was opened.
    #[must_use]
    pub const fn cut_bytes(&self) -> u64 {
        self.cut
    }

    /// Position of the last committed transaction's last line.
    #[must_use]
    pub fn last_position(&self) -> Option<Position> {
        self.last.map(|last| last.position)
    }

    /// The last committed transaction's end.
    #[must_use]
    pub const fn last_mark(&self) -> Option<Mark> {
        self.last
    }

    /// LSN of the last committed transaction that has one. After opening a stream: of the last
    /// segment.
    #[must_use]
    pub const fn last_lsn(&self) -> Option<Lsn> {
        self.lsn
    }

    /// The last transaction that was there when the stream was opened, if it has an LSN.
    #[must_use]
    pub const fn found(&self) -> Option<LastCommit> {
        self.found
    }

    /// Whether a transaction is open: lines were written, and neither commit nor abandon came.
    #[must_use]
    pub const fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// Begins a transaction, in a new segment where one is due. Idle until a line comes: a begun
    /// transaction without lines leaves nothing behind. Begun already, it says the same again.
    ///
    /// # Errors
    /// Those of the file system, when the old segment is made durable; `POISONED`.
    pub fn begin(&mut self) -> Result<Begun, Error> {
        self.output.check()?;
        if let Some(open) = &self.open {
            return Ok(open.begun);
        }
        let now = self.clock.now().max(0);
        let first = match self.last {
            Some(Mark { position: last, .. }) if last.clock >= now => {
                let seq = last.seq.checked_add(1).ok_or(Error::Clock { clock: last.clock })?;
                Position { clock: last.clock, seq }
            }
            _ => Position { clock: now, seq: 0 },
        };
        let new = self.output.prepare(first, self.segment_bytes)?;
        self.fresh |= new;
        let begun = Begun { first, fresh: self.fresh };
        let mut stamp = Vec::with_capacity(32);
        stamp.extend_from_slice(format!("_c\t{}\t_s\t", first.clock).as_bytes());
        let start = self.output.length();
        self.open =
            Some(Transaction { begun, start, lines: 0, crc: 0, xid: None, tables: false, stamp });
        Ok(begun)
    }

    /// Appends a line, without its stamp and without a line feed, to the open transaction; begins
    /// one when none is open. The line's head is checked, its columns are taken as they are.
    ///
    /// # Errors
    /// `LINE` when it is not an unstamped change line of this transaction, or a commit (the
    /// transaction stays open, without the line); those of the file system; `POISONED`.
    pub fn line(&mut self, line: &[u8]) -> Result<Position, Error> {
        let (xid, table) = check_line(line)?;
        if self.open.is_none() {
            self.begin()?;
        }
        self.output.check()?;
        let Some(open) = &mut self.open else {
            return Err(Error::Poisoned);
        };
        if open.lines > 0 && open.xid != xid {
            return Err(Error::BadLine { byte: 0, damage: Damage::Xid });
        }
        open.xid = xid;
        open.tables |= table;
        let position = open.next();
        let out = &mut self.output.buffer;
        let from = out.len();
        out.extend_from_slice(&open.stamp);
        write::number(out, position.seq);
        out.push(b'\t');
        open.crc = crc32c::crc32c_append(open.crc, out.get(from..).unwrap_or_default());
        open.crc = crc32c::crc32c_append(open.crc, line);
        open.crc = crc32c::crc32c_append(open.crc, b"\n");
        open.lines += 1;
        if line.len() < self.buffer_bytes {
            out.extend_from_slice(line);
        } else {
            // NOTE: a long line is not in memory once more.
            self.output.write_out_with(line)?;
        }
        self.output.buffer.push(b'\n');
        failpoint::pass(failpoint::LOG_LINE);
        self.relieve()?;
        Ok(position)
    }

    /// Ends the open transaction with its commit line; `None`, and nothing written, when it has no
    /// lines. The transaction is durable after the next [`Writer::sync`].
    ///
    /// # Errors
    /// `LINE` when `commit.xid` is not that of the lines; those of the file system; `POISONED`.
    pub fn commit(&mut self, commit: Commit) -> Result<Option<Position>, Error> {
        self.output.check()?;
        let Some(open) = self.open.take_if(|open| open.lines > 0) else {
            self.open = None;
            return Ok(None);
        };
        if commit.xid.is_some() && open.xid.is_some() && commit.xid != open.xid {
            self.open = Some(open);
            return Err(Error::BadLine { byte: 0, damage: Damage::Xid });
        }
        failpoint::pass(failpoint::LOG_COMMIT_BEFORE);
        let position = open.next();
        self.chain = push_commit(&mut self.output.buffer, position, &open, commit, self.chain);
        self.last = Some(Mark { position, lsn: commit.lsn, chain: Some(self.chain) });
        self.lsn = commit.lsn.or(self.lsn);
        // NOTE: a heartbeat takes no `schema` lines with it.
        self.fresh &= !open.tables;
        failpoint::pass(failpoint::LOG_COMMIT_AFTER);
        self.relieve()?;
        Ok(Some(position))
    }

    /// Drops the open transaction, wherever its lines are already. Its `schema` lines go with it:
    /// the next [`Writer::begin`] says so.
    ///
    /// # Errors
    /// Those of the file system; `POISONED`.
    pub fn abandon(&mut self) -> Result<(), Error> {
        self.output.check()?;
        if let Some(open) = self.open.take() {
            self.fresh = true;
            self.output.cut(open.start)?;
        }
        Ok(())
    }

    /// Writes what is in memory to the file: readers see its whole transactions from now on.
    ///
    /// # Errors
    /// Those of the file system; `POISONED`.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.output.write_out()
    }

    /// Makes everything written so far durable: file, and folders where a segment is new.
    ///
    /// # Errors
    /// Those of the file system; `POISONED`.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.output.sync()
    }

    /// Sees that what is written still stands where it is looked for: that the folder, and in it
    /// the segment, are the ones that are open. Call it before anything is acknowledged: what goes
    /// into a removed file is gone. Two looks at the file system.
    ///
    /// # Errors
    /// `NOTFOUND` when the folder is gone, `CHANGED` when another one is in its place, `IO` for a
    /// segment that is gone or is another file.
    pub fn check_place(&self) -> Result<(), Error> {
        match folder_mark(&self.dir) {
            None => Err(Error::NotFound { dir: self.dir.clone() }),
            now if now != self.folder => Err(Error::Changed { dir: self.dir.clone() }),
            _ => self.output.check_place(),
        }
    }

    /// Saves the stream's identity durably, replacing the saved one, and with it how far the stream
    /// is durable: a stream that has less when it is opened again is damaged, not torn.
    ///
    /// # Errors
    /// Those of [`Writer::check_place`] and of the file system. The old state stays; the writer is
    /// not poisoned.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), Error> {
        // NOTE: another stream in the place of this one keeps its own.
        self.check_place()?;
        let old = self.state.borrow().clone();
        let end = if self.output.is_durable() { self.last } else { old.end };
        let state = State { end, ..old };
        identity.save(&self.dir, &state, &self.output.storage)?;
        self.state.replace(state);
        Ok(())
    }

    fn relieve(&mut self) -> Result<(), Error> {
        if self.output.buffer.len() >= self.buffer_bytes {
            self.output.write_out()?;
        }
        Ok(())
    }
}

/// Checks the head of an unstamped line; its transaction id, and whether it is of a table.
fn check_line(line: &[u8]) -> Result<(Option<u32>, bool), Error> {
    let bad = |byte, kind| Error::BadLine { byte, damage: Damage::Line(kind) };
    let change = Change::parse(line).map_err(|error| bad(error.byte, error.kind))?;
    if let Some(feed) = memchr::memchr(b'\n', line) {
        return Err(bad(feed, Kind::LineFeed));
    }
    if change.clock.is_some() || change.seq.is_some() {
        return Err(bad(0, Kind::DuplicateHead));
    }
    if change.verb == Verb::Commit {
        return Err(bad(0, Kind::UnknownVerb));
    }
    Ok((change.xid, change.verb.has_table()))
}

/// Appends a commit line; the chain behind it, where it was `before`.
fn push_commit(
    out: &mut Vec<u8>,
    position: Position,
    open: &Transaction,
    commit: Commit,
    before: u32,
) -> u32 {
    let from = out.len();
    let mut line = write::Line::begin(out).stamp(position.clock, position.seq);
    if let Some(xid) = commit.xid.or(open.xid) {
        line = line.xid(xid);
    }
    if let Some(lsn) = commit.lsn {
        line = line.lsn(lsn);
    }
    if let Some(time_us) = commit.time_us {
        line = line.time(time_us);
    }
    line = line.checksum(open.lines, open.crc).chain(before);
    let covered = line.buffer().get(from..).unwrap_or_default();
    let crc = crc32c::crc32c_append(open.crc, covered);
    line.commit_checksum(crc).verb(Verb::Commit).end();
    mark::chain_after(before, crc)
}
