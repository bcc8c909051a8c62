//! What is kept for registered readers, when the stream that it is about is not the one that is
//! there any more.

mod log;

use std::path::Path;

use log::{Hand, reason, rest};
use pgsqlite::daystream::{
    Identity, Keep, Reader, ReaderOptions, Registration, Start, Storage, Writer, WriterOptions,
    registered, retain, segments,
};

const BEGAN: i64 = 1_507_507_200;
const DAY: i64 = 86_400;

fn writer(dir: &Path, clock: &Hand) -> Writer {
    let options = WriterOptions { segment_bytes: 1, ..log::options(clock) };
    Writer::open(dir, options).unwrap()
}

/// Writes the transactions `from` to `to`, each in a segment of its own.
fn write(writer: &mut Writer, from: u32, to: u32) {
    for xid in from..=to {
        log::write(writer, xid, 2).unwrap();
    }
    writer.sync().unwrap();
}

fn register(dir: &Path, start: Start) -> (Reader, Registration) {
    let options = ReaderOptions::default();
    Registration::open(dir, "audit", start, options, Storage::default()).unwrap()
}

fn xids(reader: &mut Reader) -> Vec<u32> {
    rest(reader).unwrap().into_iter().map(|(xid, _)| xid).collect()
}

/// A stream whose clock was far ahead when its machine went down: transaction 4, which the reader
/// has confirmed, is lost, and those behind it stand at lower positions.
#[test]
fn a_reader_confirms_also_where_positions_have_gone_back() {
    let root = log::folder();
    let dir = root.path();
    let clock = Hand::at(BEGAN);
    let mut before = writer(dir, &clock);
    write(&mut before, 1, 3);
    clock.set(BEGAN + 400 * DAY);
    write(&mut before, 4, 4);
    let (mut reader, mut registration) = register(dir, Start::Begin);
    assert_eq!(xids(&mut reader), [1, 2, 3, 4]);
    registration.confirm(reader.position().unwrap()).unwrap();
    drop((reader, registration, before));
    let lost = segments(dir).unwrap().pop().unwrap();
    std::fs::remove_file(lost.path(dir)).unwrap();
    clock.set(BEGAN + 10);
    let mut after = writer(dir, &clock);
    write(&mut after, 4, 7);

    let (mut reader, mut registration) = register(dir, Start::Begin);
    assert_eq!(xids(&mut reader), [5, 6, 7]);
    let known = registered(dir).unwrap().remove(0).confirmed.unwrap();
    // What it is done with already, a confirmation of less does not take back.
    registration.confirm(segments(dir).unwrap()[1].first).unwrap();
    assert_eq!(registered(dir).unwrap().remove(0).confirmed, Some(known));
    registration.confirm(reader.position().unwrap()).unwrap();
    drop((reader, registration));
    let (mut reader, _registration) = register(dir, Start::Begin);
    assert_eq!(xids(&mut reader), []);
    let keep = Keep { days: None, bytes: Some(1) };
    assert_eq!(retain(dir, keep, 0, &Storage::default()).unwrap().segments, 6);
}

#[test]
fn nothing_is_confirmed_in_another_stream_by_the_name() {
    let root = log::folder();
    let dir = root.path().join("stream");
    let clock = Hand::at(BEGAN);
    let make = |made| {
        let mut writer = writer(&dir, &clock);
        let identity = Identity { system_id: 7, slot: "s".into(), made, ..Identity::default() };
        writer.save_identity(&identity).unwrap();
        write(&mut writer, 1, 3);
        writer
    };
    let first = make(1);
    let (mut reader, mut registration) = register(&dir, Start::Begin);
    assert_eq!(xids(&mut reader), [1, 2, 3]);
    let end = reader.position().unwrap();
    drop(first);
    std::fs::rename(&dir, root.path().join("away")).unwrap();
    assert_eq!(reason(&registration.confirm(end).unwrap_err()), "NOTFOUND");
    let _second = make(2);
    let options = ReaderOptions::default();
    let other = Registration::open(&dir, "other", Start::Begin, options, Storage::default());
    let _other = other.unwrap();
    assert_eq!(reason(&registration.confirm(end).unwrap_err()), "CHANGED");
    let names: Vec<_> = registered(&dir).unwrap().into_iter().map(|reader| reader.name).collect();
    assert_eq!(names, ["other"]);
    let (mut reader, _registration) = register(&dir, Start::Begin);
    assert_eq!(xids(&mut reader), [1, 2, 3]);
}
