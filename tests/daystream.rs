//! The log on a real disk: write, read, seek, follow.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use deltaflood::{Lsn, Verb};
use pgsqlite::daystream::{
    Clock, Commit, Error, Position, Reader, ReaderOptions, Start, Writer, WriterOptions,
};
use pgsqlite::error::Coded;

/// A clock that a test moves.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn at(seconds: i64) -> Hand {
        Hand(Arc::new(AtomicI64::new(seconds)))
    }
    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn options(clock: &Hand) -> WriterOptions {
    WriterOptions { clock: Box::new(clock.clone()), ..WriterOptions::default() }
}

/// Writes one transaction of `lines` lines.
fn write(writer: &mut Writer, xid: u32, lines: u32) -> Position {
    for n in 0..lines {
        let line = format!("_table\tz\t_xid\t{xid}\t_action\tinsert\tid\t{n}\tname\tfox{xid}");
        writer.line(line.as_bytes()).unwrap();
    }
    let lsn = Some(Lsn(u64::from(xid) * 100));
    writer.commit(Commit { xid: Some(xid), lsn, time_us: Some(7) }).unwrap().unwrap()
}

/// The transactions that a reader gives out: xid and number of lines before the commit.
fn transactions(reader: &mut Reader) -> Result<Vec<(u32, usize)>, Error> {
    let mut found = Vec::new();
    let mut lines = 0;
    while let Some(entry) = reader.next()? {
        if entry.change.verb == Verb::Commit {
            assert!(entry.end);
            found.push((entry.change.xid.unwrap(), lines));
            lines = 0;
        } else {
            assert!(!entry.end);
            lines += 1;
        }
    }
    assert_eq!(lines, 0, "half a transaction was given out");
    Ok(found)
}

fn read_all(dir: &Path) -> Vec<(u32, usize)> {
    let mut reader = Reader::open(dir, Start::Begin, ReaderOptions::default()).unwrap();
    transactions(&mut reader).unwrap()
}

fn reason(error: &Error) -> &'static str {
    error.code().reason
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::at(1_507_507_200);
    let mut writer = Writer::open(dir.path(), options(&clock)).unwrap();
    assert_eq!(write(&mut writer, 1, 3), Position { clock: 1_507_507_200, seq: 3 });
    clock.set(1_507_507_201);
    assert_eq!(write(&mut writer, 2, 1), Position { clock: 1_507_507_201, seq: 1 });
    writer.sync().unwrap();
    assert_eq!(read_all(dir.path()), [(1, 3), (2, 1)]);
    let text = std::fs::read_to_string(dir.path().join("2017-10-09/1507507200.0.tsv")).unwrap();
    assert!(text.starts_with("_c\t1507507200\t_s\t0\t_table\tz\t_xid\t1\t_action\tinsert\tid\t0"));
    assert_eq!(text.lines().count(), 6);
}

#[test]
fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::open(dir.path(), WriterOptions::default()).unwrap();
    for _ in 0..100 {
        let second = Writer::open(dir.path(), WriterOptions::default());
        assert_eq!(reason(&second.unwrap_err()), "LOCKED");
    }
    drop(writer);
    Writer::open(dir.path(), WriterOptions::default()).unwrap();
}

#[test]
fn folders_that_hold_no_stream_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Reader::open(path, Start::Begin, ReaderOptions::default());
    assert_eq!(reason(&open(&dir.path().join("none")).unwrap_err()), "NOTFOUND");
    assert_eq!(reason(&open(dir.path()).unwrap_err()), "EMPTY");
    std::fs::write(dir.path().join("file"), "x").unwrap();
    assert_eq!(reason(&open(&dir.path().join("file")).unwrap_err()), "REFUSED");
    let deep = dir.path().join("none/deep");
    let writer = Writer::open(&deep, WriterOptions::default());
    assert_eq!(reason(&writer.unwrap_err()), "NOTFOUND");
}
