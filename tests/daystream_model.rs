//! The log against a model: random walks of writes, aborts, crashes, seeks and following readers.

mod log;

use log::{Dice, Hand, rest};
use pgsqlite::daystream::{
    Commit, Position, Reader, ReaderOptions, Start, Storage, Which, Writer, WriterOptions,
    compress, verify,
};

/// A transaction that the model knows of.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    xid: u32,
    lines: usize,
    first: Position,
    last: Position,
}

struct World {
    dir: tempfile::TempDir,
    clock: Hand,
    dice: Dice,
    writer: Option<Writer>,
    /// Flushed transactions: in the file, and there to stay.
    flushed: Vec<Known>,
    /// Written transactions that may still be in memory.
    pending: Vec<Known>,
    xid: u32,
    follower: Option<(Reader, usize)>,
}

impl World {
    fn new(seed: u64) -> World {
        let dir = log::folder();
        World {
            dir,
            clock: Hand::at(1_507_500_000),
            dice: Dice::new(seed),
            writer: None,
            flushed: Vec::new(),
            pending: Vec::new(),
            xid: 0,
            follower: None,
        }
    }

    fn writer(&mut self) -> &mut Writer {
        let options = WriterOptions {
            segment_bytes: 400,
            buffer_bytes: 300,
            clock: Box::new(self.clock.clone()),
            ..WriterOptions::default()
        };
        let path = self.dir.path();
        self.writer.get_or_insert_with(|| Writer::open(path, options).unwrap())
    }

    fn line(&mut self) -> Position {
        let line = format!("_table\tz\t_xid\t{}\t_action\tinsert\tid\t1", self.xid);
        self.writer().line(line.as_bytes()).unwrap()
    }

    fn transaction(&mut self) {
        self.xid += 1;
        let lines = 1 + self.dice.below(8) as usize;
        let first = self.line();
        for _ in 1..lines {
            self.line();
        }
        let commit = Commit { xid: Some(self.xid), ..Commit::default() };
        if self.dice.below(5) == 0 {
            let fresh = self.writer();
            fresh.abandon().unwrap();
            assert!(fresh.begin().unwrap().fresh, "schema lines are gone");
            return;
        }
        let last = self.writer().commit(commit).unwrap().unwrap();
        let newest = self.pending.last().or(self.flushed.last());
        assert!(newest.is_none_or(|known| known.last < first), "positions rise");
        self.pending.push(Known { xid: self.xid, lines, first, last });
    }

    fn flush(&mut self) {
        if self.dice.below(2) == 0 {
            self.writer().flush().unwrap();
        } else {
            self.writer().sync().unwrap();
        }
        self.flushed.append(&mut self.pending);
    }

    /// The process dies, perhaps in mid-transaction; what was in the file stays.
    fn crash(&mut self) {
        if self.dice.below(2) == 0 {
            self.xid += 1;
            for _ in 0..self.dice.below(12) {
                self.line();
            }
        }
        self.writer = None;
        let reader = Reader::open(self.dir.path(), Start::Begin, ReaderOptions::default());
        let Ok(mut reader) = reader else {
            assert!(self.flushed.is_empty());
            return;
        };
        let there = rest(&mut reader).unwrap();
        assert!(there.len() >= self.flushed.len(), "a flushed transaction is gone");
        let count = there.len() - self.flushed.len();
        self.flushed.extend(self.pending.drain(..).take(count));
        self.check(&there, 0);
    }

    fn check(&self, read: &[(u32, usize)], from: usize) {
        let known: Vec<_> = self.flushed[from..].iter().map(|k| (k.xid, k.lines)).collect();
        assert_eq!(read, known);
    }

    /// From any place, what is read is what the model has from there on; more may be in the file.
    fn seek(&mut self) {
        if self.flushed.is_empty() {
            return;
        }
        let known = self.flushed[self.dice.below(self.flushed.len() as u64) as usize];
        let seq = known.first.seq + self.dice.below(known.lines as u64 + 1);
        let inside = Position { clock: known.first.clock, seq };
        let start = match self.dice.below(5) {
            0 => Start::Begin,
            1 => Start::Clock(known.first.clock + self.dice.below(3) as i64 - 1),
            2 => Start::At(inside),
            3 => Start::After(inside.into()),
            _ => Start::After(known.last.into()),
        };
        let wanted = |known: &Known| match start {
            Start::Begin | Start::End => true,
            Start::Clock(clock) => known.last.clock >= clock,
            Start::At(position) => known.last >= position,
            Start::After(mark) => known.last > mark.position,
        };
        let from = self.flushed.iter().take_while(|known| !wanted(known)).count();
        let options = ReaderOptions { buffer_bytes: 4096, ..ReaderOptions::default() };
        let mut reader = Reader::open(self.dir.path(), start, options).unwrap();
        let before = from.checked_sub(1).map(|at| self.flushed[at].last);
        let read = rest(&mut reader).unwrap();
        let sure = self.flushed.len() - from;
        assert!(read.len() >= sure, "{start:?}: {} of {sure}", read.len());
        self.check(&read[..sure], from);
        if read.is_empty() {
            assert!(reader.position() >= before || before.is_none());
        }
    }

    fn follow(&mut self) {
        if self.follower.is_none() {
            let open = Reader::open(self.dir.path(), Start::Begin, ReaderOptions::default());
            self.follower = open.ok().map(|reader| (reader, 0));
        }
        let Some((mut reader, from)) = self.follower.take() else {
            return;
        };
        let read = rest(&mut reader).unwrap();
        let sure = self.flushed.len().saturating_sub(from);
        assert!(read.len() >= sure, "the follower lags");
        let more: Vec<_> = self.flushed[from.min(self.flushed.len())..]
            .iter()
            .chain(&self.pending)
            .map(|known| (known.xid, known.lines))
            .skip(from.saturating_sub(self.flushed.len()))
            .take(read.len())
            .collect();
        assert_eq!(read, more, "the follower reads something else");
        self.follower = Some((reader, from + read.len()));
    }

    fn tick(&mut self) {
        let jump = match self.dice.below(12) {
            0 => 86_400,
            1 => -3_600,
            2 => -86_400 - 3_600,
            3 => 365 * 86_400,
            4 => -1,
            _ => self.dice.below(3) as i64,
        };
        // NOTE: a year forward happens once in a walk, or the walk leaves the calendar.
        let jump = if jump > 86_400 && self.clock.seconds() > 1_530_000_000 { 1 } else { jump };
        self.clock.set(self.clock.seconds() + jump);
    }

    /// Compresses the closed segments, or some of them.
    fn compress(&mut self) {
        let clock = self.clock.seconds() - self.dice.below(3) as i64;
        let which = if self.dice.below(2) == 0 { Which::Closed } else { Which::Before(clock) };
        if !self.flushed.is_empty() {
            compress(self.dir.path(), which, &Storage::default(), &|| true).unwrap();
        }
    }

    fn step(&mut self) {
        match self.dice.below(21) {
            0..8 => self.transaction(),
            8..11 => self.flush(),
            11..14 => self.tick(),
            14 => self.crash(),
            15..17 => self.seek(),
            17..20 => self.follow(),
            _ => self.compress(),
        }
    }
}

#[test]
fn random_walks_agree_with_the_model() {
    let walks = if std::env::var_os("PGSQLITE_TEST_ALL").is_some() { 1000 } else { 60 };
    let only = std::env::var("PGSQLITE_SEED").ok().map(|seed| seed.parse().unwrap());
    for seed in only.map_or(1..=walks, |seed: u64| seed..=seed) {
        let mut world = World::new(seed);
        let walk = std::panic::AssertUnwindSafe(|| {
            for _ in 0..200 {
                world.step();
            }
            world.flush();
            world.follow();
            world.writer = None;
            let (info, damage) = verify(world.dir.path()).unwrap();
            assert!(damage.is_none(), "{damage:?}");
            assert_eq!(info.transactions as usize, world.flushed.len());
            assert_eq!(info.last, world.flushed.last().map(|known| known.last));
        });
        if let Err(cause) = std::panic::catch_unwind(walk) {
            eprintln!("PGSQLITE_SEED={seed}");
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn a_seek_finds_what_a_linear_scan_finds() {
    let dir = log::folder();
    let clock = Hand::at(1_507_590_000);
    let mut dice = Dice::new(3);
    let mut options = log::options(&clock);
    options.segment_bytes = 30_000;
    let mut writer = Writer::open(dir.path(), options).unwrap();
    for xid in 1..4000 {
        log::write(&mut writer, xid, 1 + dice.below(4) as u32).unwrap();
        // Equal clocks, gaps, and a day's border.
        let gap = [0, 0, 0, 1, 1, 7, 100][dice.below(7) as usize];
        clock.set(clock.seconds() + gap);
    }
    writer.sync().unwrap();
    let mut linear = Vec::new();
    let mut reader = Reader::open(dir.path(), Start::Begin, ReaderOptions::default()).unwrap();
    let mut first = None;
    while let Some(entry) = reader.next().unwrap() {
        let begin = *first.get_or_insert(entry.position);
        if entry.end {
            linear.push((begin, entry.position));
            first = None;
        }
    }
    assert_eq!(linear.len(), 3999);
    let days = std::fs::read_dir(dir.path()).unwrap().count() - 1;
    assert!(days >= 2, "the stream crosses midnight");
    let (low, high) = (linear[0].0.clock - 5, linear[3998].1.clock + 5);
    for round in 0..1500 {
        if round == 500 {
            compress(dir.path(), Which::Before((low + high) / 2), &Storage::default(), &|| true)
                .unwrap();
        }
        let clock = low + dice.below((high - low) as u64) as i64;
        let position = Position { clock, seq: dice.below(30) };
        let start = match dice.below(3) {
            0 => Start::Clock(clock),
            1 => Start::At(position),
            _ => Start::After(position.into()),
        };
        let wanted = linear.iter().find(|(_, last)| match start {
            Start::Clock(clock) => last.clock >= clock,
            Start::At(position) => *last >= position,
            _ => *last > position,
        });
        let mut reader = Reader::open(dir.path(), start, ReaderOptions::default()).unwrap();
        let found = reader.next().unwrap().map(|entry| entry.position);
        assert_eq!(found, wanted.map(|(first, _)| *first), "{start:?}");
    }
}
