//! A reader that takes only so much of a line into memory: what it gives out of longer ones, and
//! what it says of those that are wrong.

mod log;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use log::{Dice, Hand, reason};
use pgsqlite::daystream::{
    Commit, Position, Reader, ReaderOptions, Start, Storage, TableFilter, Which, Writer,
    WriterOptions, compress, segments,
};
use pgsqlite::error::Coded;

const CLOCK: i64 = 1_507_507_200;

/// What is told of a line: position, length, sum with the line feed, verb, and whether it is the
/// last one of its transaction.
type Told = (Position, usize, u32, deltaflood::Verb, bool);

/// A line of table `t` or `other` with a value of `bytes`.
fn line(xid: u32, table: &str, bytes: usize) -> Vec<u8> {
    let value = "0123456789abcdef\\n".repeat(bytes / 18 + 1);
    format!("_table\t{table}\t_xid\t{xid}\t_action\tinsert\tv\t{value}").into_bytes()
}

/// Transactions whose lines have any length up to 300 KB; the segments are small.
fn stream(dir: &Path, transactions: u32) -> Writer {
    let clock = Hand::at(CLOCK);
    let options = WriterOptions { segment_bytes: 1 << 19, ..log::options(&clock) };
    let mut writer = Writer::open(dir, options).unwrap();
    let mut dice = Dice::new(3);
    for xid in 1..=transactions {
        for _ in 0..=dice.below(5) {
            let bytes = 1 << dice.below(19);
            let table = if dice.below(3) == 0 { "other" } else { "t" };
            writer.line(&line(xid, table, bytes as usize + dice.below(40) as usize)).unwrap();
        }
        let commit = Commit { xid: Some(xid), ..Commit::default() };
        writer.commit(commit).unwrap().unwrap();
    }
    writer.sync().unwrap();
    writer
}

fn options(bytes: usize, tables: Option<&TableFilter>) -> ReaderOptions {
    ReaderOptions {
        buffer_bytes: bytes.min(1 << 20),
        line_bytes: bytes,
        tables: tables.cloned(),
        ..ReaderOptions::default()
    }
}

/// Tells of the next line; of one that is cut its text is read and compared with what is said.
fn next(reader: &mut Reader) -> Option<Told> {
    let entry = reader.next().unwrap()?;
    let (position, end, verb) = (entry.position, entry.end, entry.change.verb);
    let (length, crc) = match entry.cut {
        Some(cut) => (cut.length, cut.crc),
        None => {
            let line = entry.change.line();
            (line.len(), crc32c::crc32c_append(crc32c::crc32c(line), b"\n"))
        }
    };
    if entry.cut.is_some() {
        let head = entry.change.line().to_vec();
        let mut text = reader.text(length).unwrap();
        let mut whole = Vec::new();
        loop {
            let piece = text.next(50_000).unwrap();
            if piece.is_empty() {
                break;
            }
            whole.extend(piece);
        }
        assert!(whole.starts_with(&head) && head.len() <= 64 << 10);
        assert_eq!((whole.len(), crc32c::crc32c(&whole)), (length + 1, crc));
    }
    Some((position, length, crc, verb, end))
}

fn all(dir: &Path, options: ReaderOptions) -> Vec<Told> {
    let mut reader = Reader::open(dir, Start::Begin, options).unwrap();
    std::iter::from_fn(|| next(&mut reader)).collect()
}

#[test]
fn what_is_not_taken_into_memory_is_told_as_if_it_were() {
    let dir = log::folder();
    drop(stream(dir.path(), 60));
    let only = TableFilter::new().with("public", "t");
    for round in 0..2 {
        for tables in [None, Some(&only)] {
            let whole = all(dir.path(), options(usize::MAX, tables));
            assert!(whole.iter().filter(|told| told.1 > 60_000).count() > 10);
            for bytes in [4096, 100_000] {
                assert_eq!(all(dir.path(), options(bytes, tables)), whole, "{round} {bytes}");
            }
            // Taken up behind each line by another reader.
            let (bytes, mut told) = (4096, Vec::new());
            let mut reader =
                Reader::open(dir.path(), Start::Begin, options(bytes, tables)).unwrap();
            while let Some(one) = next(&mut reader) {
                told.push(one);
                let mark = reader.bookmark().unwrap();
                reader = Reader::resume(dir.path(), mark, options(bytes, tables)).unwrap();
            }
            assert_eq!(told, whole);
        }
        // The same from compressed segments.
        if round == 0 {
            let done = compress(dir.path(), Which::Closed, &Storage::default(), &|| true).unwrap();
            assert!(done.segments > 1);
        }
    }
}

/// The first segment's file, and its bytes.
fn first(dir: &Path) -> (PathBuf, Vec<u8>) {
    let path = segments(dir).unwrap()[0].path(dir);
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes)
}

#[test]
fn a_changed_byte_of_a_long_line_is_damage() {
    let dir = log::folder();
    let clock = Hand::at(CLOCK);
    let mut writer = Writer::open(dir.path(), log::options(&clock)).unwrap();
    for xid in 1..=3 {
        writer.line(&line(xid, "t", 30_000)).unwrap();
        writer.commit(Commit { xid: Some(xid), ..Commit::default() }).unwrap().unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    let (path, bytes) = first(dir.path());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // Every part of the second line: its stamp, its head, its value, its line feed.
    let ends: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] == b'\n').collect();
    let (from, to) = (ends[1] + 1, ends[2]);
    for at in (from..from + 60).chain((from + 60..to).step_by(997)).chain([to - 1, to]) {
        file.write_all_at(&[bytes[at] ^ 4], at as u64).unwrap();
        let mut reader = Reader::open(dir.path(), Start::Begin, options(4096, None)).unwrap();
        let mut given = 0;
        let error = loop {
            match reader.next() {
                Ok(Some(_)) => given += 1,
                Ok(None) => panic!("byte {at} is not noticed"),
                // What has no head that can be read is looked at as a whole.
                Err(error) if reason(&error) == "IO" => {
                    let mark = reader.bookmark().unwrap();
                    reader = Reader::resume(dir.path(), mark, options(usize::MAX, None)).unwrap();
                }
                Err(error) => break error,
            }
        };
        assert_eq!((given, reason(&error)), (2, "CORRUPT"), "byte {at}: {error}");
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    assert_eq!(all(dir.path(), options(4096, None)).len(), 6);
}

#[test]
fn a_long_line_that_comes_piece_by_piece_and_is_given_up_is_no_damage() {
    let dir = log::folder();
    drop(stream(dir.path(), 1));
    let (path, sound) = first(dir.path());
    let whole = all(dir.path(), options(usize::MAX, None));
    let mut reader = Reader::open(dir.path(), Start::End, options(4096, None)).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let stamped = |seq: usize, rest: &str| format!("_c\t{CLOCK}\t_s\t{seq}\t{rest}");
    let mut dice = Dice::new(11);
    // Each time another line grows and is taken back, shorter or longer than the one before.
    for round in 0..20 {
        let value = "xy".repeat(20_000 + dice.below(20_000) as usize);
        let text =
            stamped(whole.len(), &format!("_table\tt\t_xid\t7\t_action\tinsert\tv\t{value}"));
        let mut at = 0;
        while at < text.len() {
            let piece = (1 + dice.below(9_000) as usize).min(text.len() - at);
            let offset = (sound.len() + at) as u64;
            file.write_all_at(&text.as_bytes()[at..at + piece], offset).unwrap();
            at += piece;
            if round % 3 < 2 {
                assert!(reader.next().unwrap().is_none(), "{round} {at}");
            }
        }
        assert!(reader.next().unwrap().is_none());
        file.set_len(sound.len() as u64).unwrap();
    }
    drop((file, reader));
    let clock = Hand::at(CLOCK);
    let mut writer = Writer::open(dir.path(), log::options(&clock)).unwrap();
    let mut reader = Reader::open(dir.path(), Start::End, options(4096, None)).unwrap();
    for (round, given_up) in [50_000, 90_000, 20_000, 90_000].into_iter().enumerate() {
        let xid = 10 + round as u32;
        writer.line(&line(xid, "t", given_up)).unwrap();
        writer.flush().unwrap();
        assert!(reader.next().unwrap().is_none());
        writer.abandon().unwrap();
        writer.line(&line(xid, "t", 60_000 + round)).unwrap();
        writer.commit(Commit { xid: Some(xid), ..Commit::default() }).unwrap().unwrap();
        writer.flush().unwrap();
        assert!(next(&mut reader).is_some_and(|told| told.1 > 60_000 && !told.4));
        assert!(next(&mut reader).is_some_and(|told| told.4));
        assert!(next(&mut reader).is_none());
    }
}

#[test]
fn a_line_whose_head_is_too_long_has_to_be_read_as_a_whole() {
    let dir = log::folder();
    let clock = Hand::at(CLOCK);
    let mut writer = Writer::open(dir.path(), log::options(&clock)).unwrap();
    log::write(&mut writer, 1, 2).unwrap();
    let long = "k".repeat(80_000);
    writer
        .line(format!("_table\tt\t_xid\t2\t_unchanged\t{long}\t_action\tinsert\ta\t1").as_bytes())
        .unwrap();
    writer.commit(Commit { xid: Some(2), ..Commit::default() }).unwrap().unwrap();
    writer.flush().unwrap();
    let mut reader = Reader::open(dir.path(), Start::Begin, options(4096, None)).unwrap();
    for _ in 0..3 {
        assert!(next(&mut reader).is_some());
    }
    let error = reader.next().unwrap_err();
    assert_eq!(error.code().reason, "IO", "{error}");
    let mark = reader.bookmark().unwrap();
    let mut reader = Reader::resume(dir.path(), mark, options(usize::MAX, None)).unwrap();
    assert!(next(&mut reader).is_some_and(|told| told.1 > 80_000));
    assert!(next(&mut reader).is_some_and(|told| told.4));
    assert!(next(&mut reader).is_none());
}
