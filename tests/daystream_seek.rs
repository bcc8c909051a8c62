//! Finding a place in a large stream, against a walk from its beginning.

mod log;

use log::{Dice, Hand};
use pgsqlite::daystream::{Position, Reader, ReaderOptions, Start, Writer};

/// Lines in the stream, commit lines included, and seeks.
const LINES: usize = 1_000_000;
const SEEKS: usize = 10_000;

#[test]
fn ten_thousand_seeks_in_a_million_lines_find_what_a_walk_finds() {
    let dir = log::folder();
    let clock = Hand::at(1_507_500_000);
    let mut dice = Dice::new(17);
    let mut options = log::options(&clock);
    options.segment_bytes = 2 << 20;
    let mut writer = Writer::open(dir.path(), options).unwrap();
    let mut lines = 0;
    let mut xid = 0;
    while lines < LINES {
        xid += 1;
        let size = [1, 2, 3, 30][dice.below(4) as usize];
        log::write(&mut writer, xid, size).unwrap();
        lines += size as usize + 1;
        // Equal clocks for long, gaps, and day borders.
        let gap = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 7, 40][dice.below(12) as usize];
        clock.set(clock.seconds() + gap);
    }
    writer.sync().unwrap();
    let mut walk = Vec::new();
    let mut reader = Reader::open(dir.path(), Start::Begin, ReaderOptions::default()).unwrap();
    let mut first = None;
    while let Some(entry) = reader.next().unwrap() {
        let begin = *first.get_or_insert(entry.position);
        if entry.end {
            walk.push((begin, entry.position));
            first = None;
        }
    }
    assert_eq!(walk.len(), xid as usize);
    let days = std::fs::read_dir(dir.path()).unwrap().count() - 1;
    assert!(days >= 3, "the stream crosses midnight twice: {days} days");
    let (low, high) = (walk[0].0.clock - 5, walk[walk.len() - 1].1.clock + 5);
    for n in 0..SEEKS {
        // Half of the places are near a transaction's ends, half are anywhere.
        let (begin, end) = walk[dice.below(walk.len() as u64) as usize];
        let near = [begin, end, Position { seq: end.seq + 1, ..end }][dice.below(3) as usize];
        let anywhere = low + dice.below((high - low) as u64) as i64;
        let anywhere = Position { clock: anywhere, seq: dice.below(60) };
        let place = if n % 2 == 0 { near } else { anywhere };
        let start = match dice.below(3) {
            0 => Start::Clock(place.clock),
            1 => Start::At(place),
            _ => Start::After(place.into()),
        };
        let before = |(_, last): &(Position, Position)| match start {
            Start::Clock(clock) => last.clock < clock,
            Start::At(position) => *last < position,
            _ => *last <= place,
        };
        let wanted = walk.get(walk.partition_point(before)).map(|(first, _)| *first);
        let options = ReaderOptions { buffer_bytes: 4096, ..ReaderOptions::default() };
        let mut reader = Reader::open(dir.path(), start, options).unwrap();
        let found = reader.next().unwrap().map(|entry| entry.position);
        assert_eq!(found, wanted, "seek {n}: {start:?}");
    }
}
