//! A stream that is removed and made anew while it is read: nobody goes over from one to the other.

mod log;

use std::path::{Path, PathBuf};
use std::time::Duration;

use log::{Hand, options, reason, rest};
use pgsqlite::daystream::{Identity, Reader, ReaderOptions, Start, Writer, WriterOptions};

const BEGAN: i64 = 1_507_507_200;

/// A stream made at `made`, with small segments.
fn make(dir: &Path, clock: &Hand, made: u64) -> Writer {
    std::fs::create_dir_all(dir).unwrap();
    let writer = Writer::open(dir, WriterOptions { segment_bytes: 500, ..options(clock) }).unwrap();
    let identity = Identity { system_id: 7, slot: "s".into(), made, ..Identity::default() };
    writer.save_identity(&identity).unwrap();
    writer
}

/// A stream made at 1, in a folder that can go.
fn first() -> (tempfile::TempDir, PathBuf, Hand, Writer) {
    let root = log::folder();
    let dir = root.path().join("stream");
    let clock = Hand::at(BEGAN);
    let writer = make(&dir, &clock, 1);
    (root, dir, clock, writer)
}

/// Writes a transaction that readers find.
fn put(writer: &mut Writer, xid: u32, lines: u32) {
    log::write(writer, xid, lines).unwrap();
    writer.sync().unwrap();
}

fn open(dir: &Path, start: Start) -> Reader {
    Reader::open(dir, start, ReaderOptions::default()).unwrap()
}

/// What a follower gives out before it fails, and the word of its error.
fn follow_to_error(reader: &mut Reader) -> (usize, &'static str) {
    let mut given = 0;
    for _ in 0..100 {
        match reader.next() {
            Ok(Some(_)) => given += 1,
            Ok(None) => match reader.wait(Some(Duration::from_secs(1)), None) {
                Ok(_) => {}
                Err(error) => return (given, reason(&error)),
            },
            Err(error) => return (given, reason(&error)),
        }
    }
    panic!("{given} lines and no error");
}

#[test]
fn a_follower_at_the_end_ends() {
    // The new stream's first segment has another name than the old one, or the same.
    for later in [10, 0] {
        let (_root, dir, clock, mut writer) = first();
        put(&mut writer, 1, 2);
        let mut reader = open(&dir, Start::Begin);
        assert_eq!(rest(&mut reader).unwrap(), [(1, 2)]);
        reader.wait(Some(Duration::ZERO), None).unwrap();
        assert_eq!(rest(&mut reader).unwrap(), []);
        drop(writer);
        std::fs::remove_dir_all(&dir).unwrap();
        clock.set(BEGAN + later);
        let mut writer = make(&dir, &clock, 2);
        put(&mut writer, 2, 2);
        assert_eq!(follow_to_error(&mut reader), (0, "CHANGED"), "{later} s later");
        assert_eq!(rest(&mut open(&dir, Start::Begin)).unwrap(), [(2, 2)]);
    }
}

#[test]
fn a_reader_in_the_middle_ends() {
    let (_root, dir, clock, mut writer) = first();
    for xid in 1..20 {
        clock.set(BEGAN + i64::from(xid));
        put(&mut writer, xid, 5);
    }
    let mut reader = open(&dir, Start::Begin);
    reader.next().unwrap().unwrap();
    let mark = reader.bookmark().unwrap();
    drop(writer);
    std::fs::remove_dir_all(&dir).unwrap();
    clock.set(BEGAN + 100);
    let mut writer = make(&dir, &clock, 2);
    put(&mut writer, 99, 2);
    // The rest of the segment that is open, and no line of the new stream.
    let (given, word) = follow_to_error(&mut reader);
    assert!(given < 20, "{given}");
    assert_eq!(word, "CHANGED");
    // One who takes up where another was sees from which stream that is.
    let resumed = Reader::resume(&dir, mark, ReaderOptions::default());
    assert!(resumed.is_err() || resumed.unwrap().made() == Some(2));
    assert_eq!(reader.made(), Some(1));
}

#[test]
fn a_stream_that_is_gone_is_said_to_be() {
    let (root, dir, _, mut writer) = first();
    put(&mut writer, 1, 2);
    let mut reader = open(&dir, Start::End);
    drop(writer);
    std::fs::rename(&dir, root.path().join("away")).unwrap();
    assert_eq!(follow_to_error(&mut reader), (0, "NOTFOUND"));
    // It is the same one when it is back.
    std::fs::rename(root.path().join("away"), &dir).unwrap();
    let mut writer = make(&dir, &Hand::at(BEGAN + 1), 1);
    put(&mut writer, 2, 2);
    assert_eq!(rest(&mut reader).unwrap(), [(2, 2)]);
}

#[test]
fn a_state_file_that_is_replaced_changes_nothing() {
    let (_root, dir, clock, mut writer) = first();
    put(&mut writer, 1, 2);
    let mut reader = open(&dir, Start::Begin);
    for xid in 2..10 {
        clock.set(BEGAN + i64::from(xid));
        drop(writer);
        writer = make(&dir, &clock, 1);
        put(&mut writer, xid, 5);
    }
    assert_eq!(rest(&mut reader).unwrap().len(), 9);
}

/// The same stream as `first`, but one that does not tell when it was made.
fn nameless() -> (tempfile::TempDir, PathBuf, Hand, Writer) {
    let root = log::folder();
    let dir = root.path().join("stream");
    let clock = Hand::at(BEGAN);
    let writer = Writer::open(&dir, options(&clock)).unwrap();
    (root, dir, clock, writer)
}

#[test]
fn a_stream_that_does_not_tell_when_it_was_made_is_known_by_its_folder() {
    for lines in [0, 2] {
        for anew in [false, true] {
            let (root, dir, clock, mut writer) = nameless();
            if lines > 0 {
                put(&mut writer, 1, lines);
            }
            let mut reader = open(&dir, Start::End);
            assert_eq!(rest(&mut reader).unwrap(), []);
            drop(writer);
            std::fs::rename(&dir, root.path().join("away")).unwrap();
            let _new = anew.then(|| Writer::open(&dir, options(&clock)).unwrap());
            let word = if anew { "CHANGED" } else { "NOTFOUND" };
            assert_eq!(follow_to_error(&mut reader), (0, word), "{lines} lines");
        }
    }
}

#[test]
fn a_last_segment_that_is_removed_by_hand_is_said_to_be() {
    let (_root, dir, _, mut writer) = first();
    put(&mut writer, 1, 2);
    let mut reader = open(&dir, Start::End);
    assert_eq!(rest(&mut reader).unwrap(), []);
    writer.check_place().unwrap();
    std::fs::remove_file(pgsqlite::daystream::segments(&dir).unwrap()[0].path(&dir)).unwrap();
    assert_eq!(follow_to_error(&mut reader), (0, "IO"));
}

#[test]
fn a_writer_learns_that_its_folder_or_its_segment_is_another_one() {
    let place = |writer: &Writer| writer.check_place().map_err(|error| reason(&error));
    let (root, dir, clock, mut writer) = first();
    assert_eq!(place(&writer), Ok(()));
    put(&mut writer, 1, 2);
    assert_eq!(place(&writer), Ok(()));
    let segment = pgsqlite::daystream::segments(&dir).unwrap()[0].path(&dir);
    let bytes = std::fs::read(&segment).unwrap();
    // Another file of the same bytes.
    std::fs::remove_file(&segment).unwrap();
    assert_eq!(place(&writer), Err("IO"));
    std::fs::write(&segment, bytes).unwrap();
    assert_eq!(place(&writer), Err("IO"));
    let away = root.path().join("away");
    std::fs::rename(&dir, &away).unwrap();
    assert_eq!(place(&writer), Err("NOTFOUND"));
    let new = make(&dir, &clock, 1);
    assert_eq!(place(&writer), Err("CHANGED"));
    let other = Identity { system_id: 7, slot: "s".into(), made: 9, ..Identity::default() };
    assert_eq!(reason(&writer.save_identity(&other).unwrap_err()), "CHANGED");
    assert_eq!(Identity::load(&dir).unwrap().unwrap().made, 1);
    drop(new);
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::write(&dir, "").unwrap();
    assert_eq!(place(&writer), Err("NOTFOUND"));
}
