//! Between a look at names and the opening of a file others are at work: what they do at that very
//! moment is played here. Needs `--features failpoints`.
#![cfg(feature = "failpoints")]

mod log;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use log::{Hand, reason, rest};
use pgsqlite::daystream::{
    Error, Keep, Mark, Position, Reader, ReaderOptions, Registration, Start, Storage, Which,
    Writer, WriterOptions, compress, retain, retain_regardless, segments,
};
use pgsqlite::failpoint::{self, READ_LISTED, READ_OPENED};

/// A stream of `count` segments of one transaction each, and where those end.
fn stream(count: u32) -> (tempfile::TempDir, Writer, Vec<Position>) {
    let dir = log::folder();
    let clock = Hand::at(1_507_507_200);
    let small = WriterOptions { segment_bytes: 1, ..log::options(&clock) };
    let mut writer = Writer::open(dir.path(), small).unwrap();
    let ends = (1..=count).map(|xid| log::write(&mut writer, xid, 2).unwrap()).collect();
    writer.sync().unwrap();
    (dir, writer, ends)
}

fn open(dir: &Path, start: Start) -> Result<Reader, Error> {
    Reader::open(dir, start, ReaderOptions::default())
}

fn after(position: Position) -> Start {
    Start::After(Mark::at(position))
}

/// Removes the oldest segments at the next passage of a point: all but `keep` of them.
fn remove_at(point: &'static str, dir: &Path, keep: usize) {
    let dir = dir.to_owned();
    failpoint::once(point, move || remove(&dir, keep));
}

fn remove(dir: &Path, keep: usize) {
    let all = segments(dir).unwrap();
    let bytes = all.iter().rev().take(keep).map(|s| s.path(dir).metadata().unwrap().len()).sum();
    let keep = Keep { days: None, bytes: Some(bytes) };
    retain_regardless(dir, keep, 0, &Storage::default()).unwrap();
}

fn xids(reader: &mut Reader) -> Result<Vec<u32>, Error> {
    Ok(rest(reader)?.into_iter().map(|(xid, _)| xid).collect())
}

#[test]
fn what_is_removed_while_a_reader_opens_is_a_gap_and_never_jumped_over() {
    for point in [READ_LISTED, READ_OPENED] {
        for start in [1, 2, 3] {
            for keep in 1..=4 {
                let (dir, _writer, ends) = stream(7);
                remove_at(point, dir.path(), keep);
                let wanted = ends[start - 1];
                let (first, what) =
                    (8 - keep as u32, format!("{point}, after {start}, kept {keep}"));
                let got = open(dir.path(), after(wanted)).and_then(|mut reader| xids(&mut reader));
                match got {
                    Ok(got) => {
                        let all: Vec<u32> = (start as u32 + 1..=7).collect();
                        assert_eq!(got, all, "{what}");
                    }
                    Err(error) => {
                        assert_eq!(reason(&error), "GAP", "{what}");
                        assert!(first > start as u32 + 1, "{what}: nothing is missing");
                    }
                }
            }
        }
    }
}

#[test]
fn a_clock_and_a_position_whose_lines_are_removed_meanwhile_are_a_gap() {
    for point in [READ_LISTED, READ_OPENED] {
        let (dir, _writer, ends) = stream(5);
        for start in [Start::At(ends[1]), Start::Clock(ends[1].clock)] {
            remove_at(point, dir.path(), 1);
            let got = open(dir.path(), start).and_then(|mut reader| xids(&mut reader));
            assert_eq!(reason(&got.unwrap_err()), "GAP", "{point}");
        }
    }
}

#[test]
fn the_beginning_is_the_first_transaction_that_is_left() {
    for point in [READ_LISTED, READ_OPENED] {
        let (dir, _writer, _) = stream(5);
        remove_at(point, dir.path(), 2);
        let mut reader = open(dir.path(), Start::Begin).unwrap();
        assert_eq!(xids(&mut reader).unwrap(), [4, 5], "{point}");
    }
}

#[test]
fn the_end_is_never_the_beginning() {
    let (dir, mut writer, ends) = stream(3);
    // The last segment holds a part of a transaction, which is given up while a reader opens.
    writer.line(b"_table\tz\t_xid\t9\t_action\tinsert").unwrap();
    writer.flush().unwrap();
    assert_eq!(segments(dir.path()).unwrap().len(), 4);
    let writer = Rc::new(std::cell::RefCell::new(writer));
    let its = Rc::clone(&writer);
    failpoint::once(READ_LISTED, move || its.borrow_mut().abandon().unwrap());
    let mut reader = open(dir.path(), Start::End).unwrap();
    assert_eq!(segments(dir.path()).unwrap().len(), 3);
    assert_eq!(reader.position(), Some(ends[2]));
    log::write(&mut writer.borrow_mut(), 4, 1).unwrap();
    writer.borrow_mut().flush().unwrap();
    assert_eq!(xids(&mut reader).unwrap(), [4]);
}

#[test]
fn a_segment_that_is_compressed_while_a_reader_opens_is_read() {
    let (dir, _writer, ends) = stream(4);
    let its: PathBuf = dir.path().to_owned();
    failpoint::once(READ_LISTED, move || {
        let storage = Storage::default();
        compress(&its, Which::Closed, &storage, &|| true).unwrap();
    });
    let mut reader = open(dir.path(), after(ends[0])).unwrap();
    assert!(segments(dir.path()).unwrap()[0].compressed);
    assert_eq!(xids(&mut reader).unwrap(), [2, 3, 4]);
}

#[test]
fn a_follower_whose_next_segment_is_removed_is_told() {
    let (dir, mut writer, _) = stream(1);
    let mut reader = open(dir.path(), Start::Begin).unwrap();
    assert_eq!(xids(&mut reader).unwrap(), [1]);
    for xid in 2..=5 {
        log::write(&mut writer, xid, 2).unwrap();
    }
    writer.sync().unwrap();
    remove(dir.path(), 2);
    assert_eq!(reason(&xids(&mut reader).unwrap_err()), "GAP");
}

#[test]
fn who_began_before_the_first_transaction_is_told_of_a_gap_too() {
    let dir = log::folder();
    let clock = Hand::at(1_507_507_200);
    let small = WriterOptions { segment_bytes: 1, ..log::options(&clock) };
    let mut writer = Writer::open(dir.path(), small).unwrap();
    for start in [Start::Begin, Start::End] {
        let mut reader = open(dir.path(), start).unwrap();
        assert_eq!(xids(&mut reader).unwrap(), []);
        let first = writer.last_lsn().map_or(1, |lsn| (lsn.0 / 100) as u32 + 1);
        for xid in first..first + 4 {
            log::write(&mut writer, xid, 2).unwrap();
        }
        writer.sync().unwrap();
        if start == Start::Begin {
            remove_at(READ_LISTED, dir.path(), 1);
            assert_eq!(reason(&xids(&mut reader).unwrap_err()), "GAP");
        }
    }
}

#[test]
fn a_registered_reader_is_not_passed_by() {
    let (dir, _writer, _) = stream(5);
    let options = ReaderOptions::default();
    let storage = Storage::default();
    let opened =
        Registration::open(dir.path(), "a", Start::Begin, options.clone(), storage.clone());
    let (mut reader, mut registration) = opened.unwrap();
    let mut ends = 0;
    while ends < 2 {
        ends += u32::from(reader.next().unwrap().unwrap().end);
    }
    registration.confirm(reader.position().unwrap()).unwrap();
    drop((reader, registration));
    let keep = Keep { days: None, bytes: Some(1) };
    retain(dir.path(), keep, 0, &storage).unwrap();
    remove_at(READ_LISTED, dir.path(), 1);
    let opened = Registration::open(dir.path(), "a", Start::Begin, options, storage);
    assert_eq!(reason(&opened.map(|_| ()).unwrap_err()), "GAP");
}

#[test]
fn a_registered_reader_that_has_confirmed_nothing_is_told_of_what_goes_while_it_opens() {
    for point in [READ_LISTED, READ_OPENED] {
        let (dir, _writer, _) = stream(7);
        let open = || {
            let options = ReaderOptions::default();
            Registration::open(dir.path(), "audit", Start::Begin, options, Storage::default())
        };
        drop(open().unwrap());
        remove_at(point, dir.path(), 3);
        assert_eq!(reason(&open().map(drop).unwrap_err()), "GAP", "{point}");
    }
}
