//! Deltaflood lines from elsewhere into a stream: `pg_recvlogical ... -f - | deltastream read`.
//!
//! Lines come with or without commit lines. With them, a transaction ends there; its LSN and time
//! are taken over, and one whose LSN is not beyond the stream's last is dropped: a client that was
//! started again sends it again. What the input's end cuts off is not written. A commit line that
//! says how many lines its transaction has (`_lines`) is held to it.
//!
//! Without commit lines, a transaction ends where `_xid` changes, after a quiet time (the
//! caller's), and at the end of the input; the commit line that is then made has no LSN, and what
//! is sent twice is written twice. Lines without `_xid` (the plugin's `include-xids=off`) go on
//! with the transaction that is open: with commit lines only these end it.
//!
//! Which of the two it is, the caller says, or the stream's last transaction, which has an LSN or
//! not, or else the first commit line that comes.
//!
//! Stamps that the lines have (of another daystream) are replaced. Every field is checked. A
//! `schema` line comes once, and once more before the table's first change in each later segment.
//!
//! Memory: the longest line, and a `schema` line of each table.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};

use deltaflood::{Change, Kind, ParseError, Verb, pairs};

use super::{Commit, Error, Writer, stamp};
use crate::limits::LINE_BYTES_MAX;

/// What was taken in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Lines read.
    pub lines: u64,
    /// Transactions written.
    pub transactions: u64,
    /// Transactions dropped because the stream has them.
    pub repeated: u64,
    /// Lines at the end that belong to no complete transaction, the last perhaps a part of a line;
    /// they were not written.
    pub unfinished: u64,
}

/// Takes in lines, in pieces of any size.
#[derive(Debug, Default)]
pub struct Intake {
    taken: Taken,
    /// The beginning of a line whose end has not come yet.
    carry: Vec<u8>,
    /// Lines of the open transaction.
    open: u64,
    xid: Option<u32>,
    /// The input has commit lines.
    commits: bool,
    /// The last `schema` line of each table, and whether the segment has it.
    schemas: HashMap<Vec<u8>, (Vec<u8>, bool)>,
}

impl Intake {
    /// An intake that has taken nothing.
    #[must_use]
    pub fn new() -> Intake {
        Intake::default()
    }

    /// An intake of lines that have commit lines: nothing is written without one.
    #[must_use]
    pub fn with_commits() -> Intake {
        Intake { commits: true, ..Intake::default() }
    }

    /// What was taken in so far.
    #[must_use]
    pub const fn taken(&self) -> Taken {
        self.taken
    }

    /// Takes the next piece of the input. Nothing is flushed.
    ///
    /// # Errors
    /// `INPUT`, `INPUTCOMMIT` and `INPUTLINES` with the number of the line; those of the writer.
    /// The transaction in progress is then still open in the writer: abandon it.
    pub fn push(&mut self, piece: &[u8], writer: &mut Writer) -> Result<(), Error> {
        let mut rest = piece;
        while let Some(feed) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(feed);
            self.taken.lines += 1;
            if self.carry.is_empty() {
                self.line(line, writer)?;
            } else {
                let mut whole = std::mem::take(&mut self.carry);
                whole.extend_from_slice(line);
                let done = self.line(&whole, writer);
                whole.clear();
                self.carry = whole;
                done?;
            }
            rest = after.get(1..).unwrap_or_default();
        }
        if self.carry.len() + rest.len() > LINE_BYTES_MAX {
            let line = self.taken.lines + 1;
            return Err(Error::InputTooLong { line });
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }

    /// The input is quiet: without commit lines, the open transaction counts as complete.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn quiet(&mut self, writer: &mut Writer) -> Result<(), Error> {
        self.commits |= writer.last_lsn().is_some();
        if !self.commits && self.carry.is_empty() {
            self.commit(Commit { xid: self.xid, ..Commit::default() }, writer)?;
        }
        Ok(())
    }

    /// The input is at its end: an incomplete transaction is abandoned.
    ///
    /// # Errors
    /// Without commit lines, `INPUT` for a last line without its line feed; those of the writer.
    pub fn finish(&mut self, writer: &mut Writer) -> Result<Taken, Error> {
        self.commits |= writer.last_lsn().is_some();
        if self.commits && !self.carry.is_empty() {
            // Whoever wrote it was cut off, and will send all of the transaction again.
            self.carry.clear();
            self.taken.lines += 1;
            self.open += 1;
        }
        if !self.carry.is_empty() {
            writer.abandon()?;
            let (line, byte) = (self.taken.lines + 1, self.carry.len());
            return Err(Error::Input { line, byte, kind: Kind::NoLineFeed });
        }
        self.quiet(writer)?;
        self.taken.unfinished = self.open;
        self.open = 0;
        writer.abandon()?;
        Ok(self.taken)
    }

    fn line(&mut self, line: &[u8], writer: &mut Writer) -> Result<(), Error> {
        let number = self.taken.lines;
        let input =
            |error: ParseError| Error::Input { line: number, byte: error.byte, kind: error.kind };
        let change = Change::parse(line).map_err(input)?;
        change.validate().map_err(input)?;
        if change.verb == Verb::Commit {
            self.commits = true;
            // NOTE: a daystream's lines may be some of a transaction's, those of one table.
            if let Some(wanted) = change.lines.filter(|_| change.clock.is_none())
                && wanted != self.open
            {
                return Err(Error::InputLines { line: number, wanted, got: self.open });
            }
            let commit = Commit { xid: change.xid, lsn: change.lsn, time_us: change.time };
            return self.commit(commit, writer);
        }
        if self.open > 0 && change.xid != self.xid {
            if self.commits || writer.last_lsn().is_some() {
                return Err(Error::InputCommit { line: number });
            }
            self.commit(Commit { xid: self.xid, ..Commit::default() }, writer)?;
        }
        self.xid = change.xid;
        let stamped = if line.starts_with(stamp::PREFIX) { stamp::read(line).ok() } else { None };
        let from = stamped.map_or(0, |(_, from)| from);
        let line = line.get(from..).unwrap_or_default();
        self.describe(&change, line, writer)?;
        writer.line(line)?;
        self.open += 1;
        Ok(())
    }

    /// Sees to it that a reader that begins with this segment knows what the line's table is.
    fn describe(
        &mut self,
        change: &Change<'_>,
        line: &[u8],
        writer: &mut Writer,
    ) -> Result<(), Error> {
        if self.open == 0 && writer.begin()?.fresh {
            self.schemas.values_mut().for_each(|(_, told)| *told = false);
        }
        if !change.verb.has_table() || self.schemas.is_empty() && change.verb != Verb::Schema {
            return Ok(());
        }
        let mut table = Vec::new();
        for name in [change.schema, change.table, change.qualified_table].into_iter().flatten() {
            table.extend_from_slice(name.raw());
            table.push(b'\t');
        }
        if change.verb == Verb::Schema {
            self.schemas.insert(table, (line.to_owned(), true));
        } else if let Some((schema, told)) = self.schemas.get_mut(&table)
            && !std::mem::replace(told, true)
        {
            writer.line(&with_xid(schema, change.xid))?;
        }
        Ok(())
    }

    fn commit(&mut self, commit: Commit, writer: &mut Writer) -> Result<(), Error> {
        if self.open == 0 {
            return Ok(());
        }
        let known = writer.last_lsn();
        if commit.lsn.is_some() && commit.lsn <= known {
            writer.abandon()?;
            self.taken.repeated += 1;
        } else {
            writer.commit(commit)?;
            self.taken.transactions += 1;
        }
        self.open = 0;
        Ok(())
    }
}

/// The line, without a stamp, with another transaction's id.
fn with_xid(line: &[u8], xid: Option<u32>) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() + 10);
    let mut fields = pairs(line);
    let mut head = true;
    loop {
        let from = fields.offset();
        let Some(Ok((key, _))) = fields.next() else { return out };
        let pair = line.get(from..fields.offset()).unwrap_or_default();
        head &= key.raw() != b"_action";
        if !head || key.raw() != b"_xid" {
            out.extend_from_slice(pair);
        } else if let Some(xid) = xid {
            out.extend_from_slice(format!("_xid\t{xid}\t").as_bytes());
        }
    }
}

/// Takes in all of `input` and makes it durable: whatever came before an error, too.
///
/// # Errors
/// Those of [`Intake::push`] and [`Intake::finish`], and `INPUTIO` when reading fails.
pub fn take_in(mut input: impl Read, writer: &mut Writer) -> Result<Taken, Error> {
    let mut intake = Intake::new();
    let done = pump(&mut input, &mut intake, writer);
    if done.is_err() {
        writer.abandon()?;
    }
    writer.sync()?;
    done
}

fn pump(input: &mut impl Read, intake: &mut Intake, writer: &mut Writer) -> Result<Taken, Error> {
    let mut piece = vec![0; 1 << 16];
    loop {
        match input.read(&mut piece) {
            Ok(0) => return intake.finish(writer),
            Ok(length) => {
                intake.push(piece.get(..length).unwrap_or_default(), writer)?;
                // NOTE: a reader of a live pipe should not wait for a full buffer.
                if length < piece.len() {
                    writer.flush()?;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(Error::InputIo { line: intake.taken.lines, source });
            }
        }
    }
}
