//! Clocks that go back and jump: positions rise all the same, and every place is found.

mod log;

use log::{Dice, Hand};
use pgsqlite::daystream::{
    Clock, HeldClock, Position, Reader, ReaderOptions, Start, Writer, WriterOptions, verify,
};

/// Seconds by which a clock may be set: back 1 ms (seen as nothing, or as a second), 1 s, 1 h
/// (which is also what a clock in local time does at the end of summer), 25 h; forward likewise.
/// A leap second is a second that comes twice.
const JUMPS: [i64; 12] = [0, -1, -1, -3_600, -90_000, 0, 1, 1, 2, 59, 3_600, 90_000];
const YEAR: i64 = 365 * 86_400;

struct Written {
    /// First and last position of each transaction.
    transactions: Vec<(Position, Position)>,
    /// The clock while each was written.
    clocks: Vec<i64>,
}

/// Writes transactions under a clock that is set again and again; now and then a new writer.
fn walk(dir: &std::path::Path, dice: &mut Dice) -> Written {
    let clock = Hand::at(1_507_590_000);
    let open = || {
        let options =
            pgsqlite::daystream::WriterOptions { segment_bytes: 700, ..log::options(&clock) };
        Writer::open(dir, options).unwrap()
    };
    let mut writer = open();
    let mut written = Written { transactions: Vec::new(), clocks: Vec::new() };
    let year = dice.below(30);
    for n in 0..12 {
        let jump = JUMPS[dice.below(JUMPS.len() as u64) as usize];
        let jump = if n == year { YEAR } else { jump };
        clock.set(clock.seconds() + jump);
        if dice.below(4) == 0 {
            drop(writer);
            writer = open();
        }
        let before = writer.last_position();
        let first = writer.begin().unwrap().first;
        let last = log::write(&mut writer, n as u32 + 1, 1 + dice.below(3) as u32).unwrap();
        assert!(before.is_none_or(|before| before < first) && first < last);
        assert!(first.clock == last.clock && first.clock >= clock.seconds());
        written.transactions.push((first, last));
        written.clocks.push(clock.seconds());
        writer.sync().unwrap();
    }
    written
}

#[test]
fn a_thousand_walks_of_the_clock() {
    for seed in 1..=1000 {
        let dir = log::folder();
        let mut dice = Dice::new(seed);
        let Written { transactions, clocks } = walk(dir.path(), &mut dice);
        let (info, damage) = verify(dir.path()).unwrap();
        assert!(damage.is_none(), "seed {seed}: {damage:?}");
        assert_eq!(info.last, transactions.last().map(|(_, last)| *last), "seed {seed}");
        for _ in 0..3 {
            // What was written while a clock said so is found by what it said: nothing that came
            // then is left out.
            let n = dice.below(clocks.len() as u64) as usize;
            let start = Start::Clock(clocks[n]);
            let options = ReaderOptions { buffer_bytes: 4096, ..ReaderOptions::default() };
            let mut reader = Reader::open(dir.path(), start, options).unwrap();
            let found = reader.next().unwrap().map(|entry| entry.position);
            let wanted = transactions.iter().find(|(_, last)| last.clock >= clocks[n]);
            assert_eq!(found, wanted.map(|(first, _)| *first), "seed {seed}: {start:?}");
            assert!(found.is_some_and(|found| found <= transactions[n].0), "seed {seed}");
        }
    }
}

#[test]
fn a_clock_beyond_what_a_folder_can_be_named_by_is_refused() {
    let dir = log::folder();
    let hand = Hand::at(253_402_300_800);
    let mut writer = Writer::open(dir.path(), log::options(&hand)).unwrap();
    assert_eq!(log::reason(&log::write(&mut writer, 1, 1).unwrap_err()), "CLOCK");
    hand.set(1_507_507_200);
    log::write(&mut writer, 1, 1).unwrap();
}

#[test]
fn a_clock_that_is_far_ahead_is_held_to_the_sources() {
    const FAR: i64 = 2_145_916_800;
    const BOUND: i64 = 3_600;
    let dir = log::folder();
    let hand = Hand::at(FAR);
    let clock = HeldClock::of(hand.clone());
    clock.hear(1_507_507_200_999_999);
    let options = WriterOptions { clock: Box::new(clock.clone()), ..WriterOptions::default() };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    let first = log::write(&mut writer, 1, 1).unwrap();
    assert_eq!(first.clock, 1_507_507_200 + BOUND);
    assert_eq!(clock.ahead_s(), Some(FAR - 1_507_507_200));
    // It is set right, and time goes on.
    hand.set(1_507_507_200 + BOUND + 5);
    clock.hear(1_507_507_205_000_000 + BOUND * 1_000_000);
    let second = log::write(&mut writer, 2, 1).unwrap();
    assert_eq!((second.clock, clock.ahead_s()), (1_507_507_205 + BOUND, None));
    // One that is behind its source is no danger, and nobody was heard of one that is new.
    clock.hear(i64::MAX);
    assert_eq!(clock.now(), hand.seconds());
    assert_eq!(HeldClock::of(Hand::at(FAR)).now(), FAR);
}
