//! Lines put together to whole transactions, checked before anybody sees them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use deltaflood::{Change, Lsn, Verb};
use pgsqlite::daystream::remote::{Fault, Hello, Reason};
use pgsqlite::daystream::{Mark, Position, Start, Transaction, behind};
use pgsqlite::limits::LINE_BYTES_MAX;

use crate::limits::{CLOCK_MAX, SPOOL_MEMORY_BYTES};

/// How a commit line ends.
const COMMIT: &[u8] = b"\t_action\tcommit";
/// How a line begins.
const PREFIX: &[u8] = b"_c\t";
/// A line's position has fewer bytes, its names included.
const STAMP_BYTES_MAX: usize = 64;
/// No commit line is longer, in bytes.
const COMMIT_BYTES_MAX: usize = 4 << 10;

/// What comes out.
pub trait Sink {
    /// A whole transaction; `lines` copies its bytes.
    ///
    /// # Errors
    /// Those of the output.
    fn transaction(&mut self, transaction: Transaction, lines: &mut Spool) -> io::Result<()>;

    /// There is no more for now.
    ///
    /// # Errors
    /// Those of the output.
    fn end(&mut self) -> io::Result<()>;
}

/// Why putting together stopped.
#[derive(Debug)]
pub enum Failure {
    /// What came is no sound transaction.
    Fault(Fault),
    /// The output, or the spool, failed.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// Bytes in memory, and beyond a size in a file without a name.
#[derive(Debug, Default)]
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
}

impl Spool {
    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.memory.len() + bytes.len() > SPOOL_MEMORY_BYTES {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(tempfile::tempfile()?),
            };
            file.write_all(&self.memory)?;
            self.memory.clear();
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    fn clear(&mut self) {
        self.memory.clear();
        self.file = None;
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of the file and of `out`.
    pub fn copy(&mut self, out: &mut impl Write) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(0))?;
            let mut step = vec![0; 1 << 16];
            loop {
                let read = file.read(&mut step)?;
                if read == 0 {
                    break;
                }
                out.write_all(step.get(..read).unwrap_or_default())?;
            }
        }
        out.write_all(&self.memory)
    }
}

/// What the server leaves out, and looks after in place of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filtered {
    /// Nothing.
    #[default]
    No,
    /// Lines: numbers and sums are those of all.
    Lines,
    /// Whole transactions, too: the chain is that of all.
    Transactions,
}

/// Puts transactions together.
#[derive(Debug, Default)]
pub struct Assembler {
    filtered: Filtered,
    spool: Spool,
    /// The line in hand, as far as it may be a commit line.
    line: Vec<u8>,
    overlong: bool,
    /// Bytes of the line in hand.
    length: usize,
    /// Its position was read, and is this one.
    row: Option<Position>,
    stamped: bool,
    lines: u64,
    /// Sum of all whole lines, and with what there is of the line in hand.
    sums: (u32, u32),
    /// Where the last transaction ended.
    pub last: Option<Mark>,
    /// Its position, or that of the transaction before the answer.
    place: Option<Position>,
    /// The stream's chain before the next transaction, where it is known.
    chain: Option<u32>,
    /// What has no LSN beyond this has come before.
    behind: Option<Lsn>,
}

impl Assembler {
    /// An answer begins: to a question for what is behind `start`.
    pub fn begin(&mut self, start: Start, hello: &Hello, filtered: Filtered) {
        self.filtered = filtered;
        self.place = hello.before.map(|before| before.position);
        // NOTE: before a place that is still to come the server passes transactions over.
        let waits = matches!(start, Start::Clock(_) | Start::At(_));
        self.chain = hello.chain.filter(|_| !waits);
        let Start::After(wanted) = start else { return };
        if !hello.before.is_some_and(|before| before.may_be(&wanted)) {
            // NOTE: the stream no longer has that transaction where it was, and gives what comes
            // after it by its LSN, or all there is.
            self.behind = self.behind.max(wanted.lsn);
        }
    }

    /// Forgets a transaction that is not whole.
    pub fn reset(&mut self) {
        self.spool.clear();
        self.next_line();
        self.row = None;
        self.lines = 0;
        self.sums = (0, 0);
    }

    /// Whether nothing of a transaction is in hand.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.lines == 0 && self.line.is_empty() && !self.overlong
    }

    /// Takes in bytes; hands whole transactions to `sink`.
    ///
    /// # Errors
    /// `PROTOCOL` for what is no sound transaction; those of the sink.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), Failure> {
        let mut rest = bytes;
        while let Some(feed) = memchr::memchr(b'\n', rest) {
            let (piece, after) = rest.split_at(feed + 1);
            if feed == 0 && self.is_between() {
                sink.end()?;
            } else if feed == 0 && self.line.is_empty() && !self.overlong {
                return Err(broken("an empty line within a transaction"));
            } else {
                self.take(piece)?;
                self.line_ends(sink)?;
            }
            rest = after;
        }
        if !rest.is_empty() {
            self.take(rest)?;
        }
        Ok(())
    }

    /// Takes in a part of a line. What cannot be one must not fill the disk first.
    fn take(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.length += piece.len();
        if self.length > LINE_BYTES_MAX {
            return Err(broken("a line longer than a line can be"));
        }
        self.check_stamp(piece)?;
        self.spool.add(piece).map_err(no_room)?;
        self.sums.1 = crc32c::crc32c_append(self.sums.1, piece);
        self.overlong |= self.line.len() + piece.len() > COMMIT_BYTES_MAX;
        if self.overlong {
            self.line.clear();
        } else {
            self.line.extend_from_slice(piece);
        }
        Ok(())
    }

    /// Checks how the line begins, as soon as that is there: its position, behind the one before.
    fn check_stamp(&mut self, piece: &[u8]) -> Result<(), Failure> {
        if self.stamped {
            return Ok(());
        }
        // NOTE: not longer than a stamp while it is not read.
        let mut head = self.line.clone();
        head.extend_from_slice(piece.get(..piece.len().min(STAMP_BYTES_MAX)).unwrap_or_default());
        let prefix = head.len().min(PREFIX.len());
        if head.get(..prefix) != PREFIX.get(..prefix) {
            return Err(broken("a line that does not begin with a position"));
        }
        let whole = head.ends_with(b"\n") || head.len() >= STAMP_BYTES_MAX;
        let mut words = head.split(|byte| *byte == b'\t').skip(1);
        let (clock, name, seq) = (words.next(), words.next(), words.next());
        if words.next().is_none() {
            return if whole { Err(broken("a line without a position")) } else { Ok(()) };
        }
        let text = |word: Option<&[u8]>| Some(std::str::from_utf8(word?).ok()?.to_owned());
        let clock = text(clock).and_then(|word| word.parse().ok());
        let seq = text(seq).and_then(|word| word.parse().ok());
        let (Some(clock), Some(b"_s"), Some(seq)) = (clock, name, seq) else {
            return Err(broken("a line without a position"));
        };
        let row = Position { clock, seq };
        if self.row.or(self.place).is_some_and(|before| before >= row) {
            return Err(broken("positions that go back"));
        }
        (self.row, self.stamped) = (Some(row), true);
        Ok(())
    }

    fn line_ends(&mut self, sink: &mut impl Sink) -> Result<(), Failure> {
        self.lines += 1;
        let line = self.line.strip_suffix(b"\n").unwrap_or_default();
        if self.overlong || !line.ends_with(COMMIT) {
            self.next_line();
            return Ok(());
        }
        let change = Change::parse(line).map_err(|_| broken("a malformed line"))?;
        if change.verb != Verb::Commit {
            self.next_line();
            return Ok(());
        }
        let (Some(clock), Some(seq)) = (change.clock, change.seq) else {
            return Err(broken("a commit line without a position"));
        };
        let position = Position { clock, seq };
        self.check_place(&change, position)?;
        self.check(&change)?;
        let last = Mark { position, lsn: change.lsn, chain: Some(behind(&change)) };
        (self.place, self.chain) = (Some(position), last.chain);
        if last.lsn.is_none_or(|lsn| Some(lsn) > self.behind) {
            let Mark { lsn, chain, .. } = last;
            let transaction = Transaction { last: position, lsn, lines: self.lines, chain };
            sink.transaction(transaction, &mut self.spool)?;
        }
        self.last = Some(last);
        self.reset();
        Ok(())
    }

    fn next_line(&mut self) {
        self.line.clear();
        (self.overlong, self.stamped, self.length) = (false, false, 0);
        self.sums.0 = self.sums.1;
    }

    /// Sees that the transaction comes behind the one before it, and that none is missing.
    fn check_place(&self, commit: &Change<'_>, position: Position) -> Result<(), Failure> {
        if position.clock > CLOCK_MAX || i64::try_from(position.seq).is_err() {
            return Err(broken("a position that none can have"));
        }
        if self.place.is_some_and(|place| place >= position) {
            return Err(broken("positions that go back"));
        }
        let chained = self.chain.filter(|_| self.filtered != Filtered::Transactions);
        if chained.zip(commit.chain).is_some_and(|(is, should)| is != should) {
            return Err(broken("transactions are missing, or are others, before one that came"));
        }
        Ok(())
    }

    fn check(&self, commit: &Change<'_>) -> Result<(), Failure> {
        if commit.lines.is_none() || commit.crc.is_none() || commit.commit_crc.is_none() {
            return Err(broken("a transaction without its sums"));
        }
        if self.filtered != Filtered::No {
            return Ok(());
        }
        let line = commit.line();
        let tail = b"\t_commit_crc\t01234567".len() + COMMIT.len();
        let covered = line.get(..line.len().saturating_sub(tail)).unwrap_or_default();
        let whole = || crc32c::crc32c_append(self.sums.0, covered);
        let lines = commit.lines.is_none_or(|lines| lines == self.lines - 1);
        let lines_sum = commit.crc.is_none_or(|crc| crc == self.sums.0);
        if lines && lines_sum && commit.commit_crc.is_none_or(|crc| crc == whole()) {
            return Ok(());
        }
        Err(broken("a transaction whose sums are wrong"))
    }
}

/// A transaction that is too large for memory has no other place.
fn no_room(error: io::Error) -> Failure {
    let dir = std::env::temp_dir();
    let name = dir.display();
    let why = format!("cannot keep a large transaction in a file in {name}: {error}; set TMPDIR");
    Failure::Fault(Fault::new(Reason::Local, why).with("path", name))
}

fn broken(what: &str) -> Failure {
    Failure::Fault(Fault::new(Reason::Protocol, format!("what came is no daystream: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Sink for Seen {
        fn transaction(&mut self, transaction: Transaction, lines: &mut Spool) -> io::Result<()> {
            let mut text = Vec::new();
            lines.copy(&mut text)?;
            assert_eq!(
                text.iter().filter(|byte| **byte == b'\n').count() as u64,
                transaction.lines
            );
            self.0.push(format!("{} {}", transaction.last, text.len()));
            Ok(())
        }
        fn end(&mut self) -> io::Result<()> {
            self.0.push("end".to_owned());
            Ok(())
        }
    }

    fn transaction(seq: u64, value: &str) -> Vec<u8> {
        let row = format!("_c\t7\t_s\t{seq}\t_table\tt\t_xid\t1\t_action\tinsert\tv\t{value}\n");
        let crc = crc32c::crc32c(row.as_bytes());
        let head =
            format!("_c\t7\t_s\t{}\t_xid\t1\t_lsn\t0/1\t_lines\t1\t_crc\t{crc:08x}", seq + 1);
        let whole = crc32c::crc32c_append(crc, head.as_bytes());
        format!("{row}{head}\t_commit_crc\t{whole:08x}\t_action\tcommit\n").into_bytes()
    }

    #[test]
    fn cut_anywhere_the_same_transactions_come_out() {
        let mut text = transaction(0, "x");
        let first = text.len();
        text.push(b'\n');
        text.extend(transaction(2, &"long ".repeat(2000)));
        let wanted =
            ["7 1".to_owned(), "end".to_owned(), format!("7 3 {}", text.len() - first - 1)];
        for cut in (0..text.len()).step_by(7) {
            let (mut seen, mut assembler) = (Seen::default(), Assembler::default());
            for part in [&text[..cut], &text[cut..]] {
                assembler.feed(part, &mut seen).unwrap();
            }
            assert!(assembler.is_between());
            assert_eq!(seen.0[0], format!("7 1 {first}"));
            assert_eq!(seen.0[1..], wanted[1..]);
        }
    }

    #[test]
    fn a_transaction_larger_than_memory_waits_in_a_file() {
        let value = "v".repeat(SPOOL_MEMORY_BYTES / 2);
        let (mut seen, mut assembler) = (Seen::default(), Assembler::default());
        let text = transaction(0, &value.repeat(5));
        for part in text.chunks(1 << 16) {
            assembler.feed(part, &mut seen).unwrap();
            assert!(assembler.spool.memory.len() <= SPOOL_MEMORY_BYTES);
        }
        assert_eq!(seen.0, [format!("7 1 {}", text.len())]);
    }

    #[test]
    fn what_cannot_be_a_line_is_refused_as_it_comes() {
        let sound = transaction(0, "x");
        for (text, why) in [
            (b"<html>".repeat(1000), "begin with a position"),
            (vec![0; 100], "begin with a position"),
            (b"_c\t".iter().copied().chain(b"7".repeat(100)).collect(), "without a position"),
            (b"_c\t7\t_t\t0\t_table".to_vec(), "without a position"),
            (b"_c\t7\n".to_vec(), "without a position"),
            ([&sound[..], b"_c\t7\t_s\t1\t_table"].concat(), "go back"),
            (b"_c\t7\t_s\t5\t_table\tt\n_c\t7\t_s\t5\t_table".to_vec(), "go back"),
        ] {
            for step in [1, 7, text.len()] {
                let (mut seen, mut assembler) = (Seen::default(), Assembler::default());
                let fed = text.chunks(step).try_for_each(|part| assembler.feed(part, &mut seen));
                let Err(Failure::Fault(fault)) = fed else { panic!("{why}: {fed:?}") };
                assert!(fault.message.contains(why), "{why}: {}", fault.message);
            }
        }
        // A line that never ends.
        let mut assembler = Assembler::default();
        assembler.feed(b"_c\t7\t_s\t5\t_table\t", &mut Seen::default()).unwrap();
        assembler.length = LINE_BYTES_MAX - 10;
        assert!(assembler.feed(&[b'x'; 100], &mut Seen::default()).is_err());
        assert!(assembler.spool.memory.len() < 100);
    }

    #[test]
    fn a_changed_byte_is_found() {
        let text = transaction(0, "value");
        for at in 0..text.len() {
            let mut wrong = text.clone();
            wrong[at] ^= 1;
            let (mut seen, mut assembler) = (Seen::default(), Assembler::default());
            let fed = assembler.feed(&wrong, &mut seen);
            assert!(fed.is_err() || !assembler.is_between() || seen.0.is_empty(), "{at}");
        }
    }
}
