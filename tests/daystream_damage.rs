//! Torn tails and flipped bits: what is cut, what is an error; nothing else ever comes out.

mod log;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use log::{Dice, Hand, lines, open, reason, write};
use pgsqlite::daystream::{Error, Identity, Reader, ReaderOptions, Start, Writer, WriterOptions};
use pgsqlite::error::Coded;

const SEGMENT: &str = "2017-10-09/1507507200.0.tsv";

/// Offsets after each commit line of a segment.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let mut ends = vec![0];
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        at += line.len();
        if line.ends_with(b"\t_action\tcommit\n") {
            ends.push(at);
        }
    }
    ends
}

/// A stream of one segment of about `size` bytes; its bytes.
fn stream(dir: &Path, size: usize) -> (PathBuf, Vec<u8>) {
    let mut writer = open(dir);
    let mut dice = Dice::new(7);
    let path = dir.join(SEGMENT);
    for xid in 1.. {
        write(&mut writer, xid, 1 + dice.below(12) as u32).unwrap();
        writer.flush().unwrap();
        if std::fs::metadata(&path).unwrap().len() as usize >= size {
            break;
        }
    }
    writer.sync().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes)
}

/// Puts `bytes` into the file in place of what it has.
fn put(path: &Path, bytes: &[u8]) {
    let make = || OpenOptions::new().write(true).open(path);
    let file = make().or_else(|_| File::create(path)).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

/// Opens the stream for writing, twice; the segment must then have exactly the bytes `sound`.
fn recovers(dir: &Path, path: &Path, sound: &[u8], what: &str) {
    for _ in 0..2 {
        match Writer::open(dir, pgsqlite::daystream::WriterOptions::default()) {
            Ok(_) => {}
            Err(error) => panic!("{what}: {error}"),
        }
        let left = std::fs::read(path).unwrap_or_default();
        assert!(left == sound, "{what}: {} bytes left of {}", left.len(), sound.len());
    }
}

#[test]
fn a_tail_torn_anywhere_leaves_exactly_the_whole_transactions() {
    let dir = log::folder();
    let (path, bytes) = stream(dir.path(), 64 << 10);
    let ends = ends(&bytes);
    let mut dice = Dice::new(11);
    // Every byte of the last transactions, and one in 197 of the rest; all of them on request.
    let step = if std::env::var_os("PGSQLITE_TEST_ALL").is_some() { 1 } else { 197 };
    let near = bytes.len().saturating_sub(250);
    let cuts = (0..near).step_by(step).chain(near..bytes.len());
    for cut in cuts {
        let sound = *ends.iter().rfind(|&&end| end <= cut).unwrap();
        let sound = &bytes[..sound];
        put(&path, &bytes[..cut]);
        recovers(dir.path(), &path, sound, &format!("cut at {cut}"));
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        put(&path, &torn);
        recovers(dir.path(), &path, sound, &format!("zeros from {cut}"));
        torn[cut..].fill_with(|| dice.next() as u8);
        put(&path, &torn);
        recovers(dir.path(), &path, sound, &format!("garbage from {cut}"));
    }
}

#[test]
fn a_reader_at_a_torn_tail_gives_out_the_whole_transactions_and_waits() {
    let dir = log::folder();
    let (path, bytes) = stream(dir.path(), 4 << 10);
    let ends = ends(&bytes);
    let mut dice = Dice::new(13);
    for cut in 0..bytes.len() {
        let sound = *ends.iter().rfind(|&&end| end <= cut).unwrap();
        let count = bytes[..sound].iter().filter(|&&byte| byte == b'\n').count();
        let mut torn = bytes.clone();
        for form in 0..3 {
            match form {
                0 => torn.truncate(cut),
                1 => torn.resize(bytes.len(), 0),
                _ => torn[cut..].fill_with(|| dice.next() as u8),
            }
            put(&path, &torn);
            let (read, error) = lines(dir.path());
            assert!(error.is_none(), "form {form} at {cut}: {error:?}");
            assert_eq!(read.len(), count, "form {form} at {cut}");
        }
    }
}

#[test]
fn a_flipped_bit_never_changes_a_record() {
    let dir = log::folder();
    let (path, bytes) = stream(dir.path(), 16 << 10);
    let (good, error) = lines(dir.path());
    assert!(error.is_none());
    let ends = ends(&bytes);
    let last = ends[ends.len() - 2];
    let body = &bytes[..bytes.len() - 1];
    let commit = body.iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    // One bit of every fourth byte, every bit of the first line and the last; all on request.
    let all = std::env::var_os("PGSQLITE_TEST_ALL").is_some();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let near = at + 1 >= commit || at < 100;
            if !all && !near && (at % 4 != 0 || bit != (at * 5 + at / 8) % 8) {
                continue;
            }
            file.write_all_at(&[bytes[at] ^ 1 << bit], at as u64).unwrap();
            let (read, error) = lines(dir.path());
            assert!(good.starts_with(&read), "bit {bit} of byte {at}: a changed record");
            match error {
                Some(Error::Corrupt { byte, .. }) => {
                    let start = *ends.iter().rfind(|&&end| end <= at).unwrap() as u64;
                    let end = *ends.iter().find(|&&end| end > at).unwrap() as u64;
                    let next = ends.iter().find(|&&next| next as u64 > end);
                    let end = next.map_or(end, |&next| next as u64);
                    assert!(byte >= start && byte <= end, "bit {bit} of {at}: byte {byte}");
                }
                Some(error) => panic!("bit {bit} of byte {at}: {error}"),
                None => {
                    // The end of the last commit line, and the line feed before it, could have
                    // been torn there.
                    let torn = at >= bytes.len() - 16 || at + 1 == commit;
                    assert!(torn, "bit {bit} of byte {at}: no error");
                    assert_eq!(read.len(), bytes[..last].iter().filter(|&&b| b == b'\n').count());
                }
            }
            file.write_all_at(&bytes[at..=at], at as u64).unwrap();
        }
    }
}

#[test]
fn damage_is_not_cut_off() {
    let dir = log::folder();
    let (path, bytes) = stream(dir.path(), 4 << 10);
    let ends = ends(&bytes);
    let middle = ends[ends.len() / 2];
    let refuse = |damaged: &[u8], what: &str| {
        put(&path, damaged);
        let error = Writer::open(dir.path(), Default::default()).unwrap_err();
        assert_eq!(reason(&error), "CORRUPT", "{what}");
        assert_eq!(error.code().details[0], ("segment", SEGMENT.to_owned()), "{what}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged, "{what}: the segment was changed");
        let word = error.code().details[2].1.clone();
        let (_, other) = lines(dir.path());
        assert_eq!(other.map(|error| error.code()), Some(error.code()), "{what}: the reader");
        word
    };
    let mut zeros = bytes.clone();
    zeros[middle + 5..middle + 40].fill(0);
    assert_eq!(refuse(&zeros, "zeros in the middle"), "STAMP");
    let line = bytes[middle..].iter().position(|&byte| byte == b'\n').unwrap() + middle + 1;
    let without: Vec<u8> = [&bytes[..middle], &bytes[line..]].concat();
    assert_eq!(refuse(&without, "a line is missing"), "CRC");
    let twice = [&bytes[..line], &bytes[middle..]].concat();
    assert_eq!(refuse(&twice, "a line is there twice"), "ORDER");
    let end = *ends.last().unwrap();
    let again = [&bytes, &bytes[ends[ends.len() - 2]..end]].concat();
    assert_eq!(refuse(&again, "a transaction is there twice"), "ORDER");
    assert_eq!(refuse(&bytes[ends[1]..], "the first transaction is missing"), "NAME");
    let text = String::from_utf8(bytes.clone()).unwrap();
    let lsn = text.replacen("_lsn\t0/64\t", "_lsn\t0/65\t", 1).into_bytes();
    assert_eq!(refuse(&lsn, "another LSN"), "COMMITCRC");
    let value = text.replacen("fox1", "fox7", 1).into_bytes();
    assert_eq!(refuse(&value, "another value"), "CRC");
}

#[test]
fn a_tail_that_was_durable_is_damage() {
    let dir = log::folder();
    let (path, bytes) = stream(dir.path(), 4 << 10);
    let ends = ends(&bytes);
    let last = ends[ends.len() - 2];
    let mut writer = Writer::open(dir.path(), Default::default()).unwrap();
    writer.sync().unwrap();
    writer.save_identity(&Identity::default()).unwrap();
    drop(writer);
    for cut in [10, last, last + 1, bytes.len() - 20, bytes.len() - 1] {
        put(&path, &bytes[..cut]);
        let sound = *ends.iter().rfind(|&&end| end <= cut).unwrap();
        let opened = Writer::open(dir.path(), Default::default());
        if cut == sound {
            // A segment that ends between transactions: deltastream compares it with the slot.
            continue;
        }
        let details = opened.unwrap_err().code().details;
        assert_eq!(details[1], ("byte", sound.to_string()), "cut at {cut}");
        assert_eq!(details[2], ("damage", "LOST".to_owned()), "cut at {cut}");
        assert_eq!(std::fs::read(&path).unwrap(), &bytes[..cut], "cut at {cut}");
    }
}

/// What is wrong, by its word.
fn damage_of(error: &Error) -> String {
    let details = error.code().details;
    details.into_iter().find(|(key, _)| *key == "damage").unwrap().1
}

#[test]
fn a_segment_that_lost_its_end_is_damage() {
    let dir = log::folder();
    let clock = Hand::at(1_507_507_200);
    let small = WriterOptions { segment_bytes: 1, ..log::options(&clock) };
    let mut writer = Writer::open(dir.path(), small).unwrap();
    for xid in 1..=3 {
        log::write(&mut writer, xid, 2).unwrap();
    }
    writer.sync().unwrap();
    let path = |seq: u32| dir.path().join(format!("2017-10-09/1507507200.{seq}.tsv"));
    let cut = |seq, length| {
        let file = std::fs::OpenOptions::new().write(true).open(path(seq)).unwrap();
        file.set_len(length).unwrap();
    };
    let mut reader = Reader::open(dir.path(), Start::Begin, ReaderOptions::default()).unwrap();
    log::rest(&mut reader).unwrap();
    // The one being read.
    cut(6, 10);
    assert_eq!(damage_of(&log::rest(&mut reader).unwrap_err()), "SHORTER");
    // A closed one.
    cut(3, 100);
    assert_eq!(damage_of(&log::lines(dir.path()).1.unwrap()), "INCOMPLETE");
}
