//! What the tests of the log share: a clock that a test moves, transactions, folders in memory.

#![allow(dead_code)]

pub mod disk;

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
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    pub fn at(seconds: i64) -> Hand {
        Hand(Arc::new(AtomicI64::new(seconds)))
    }
    pub fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
    pub fn seconds(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Clock for Hand {
    fn now(&self) -> i64 {
        self.seconds()
    }
}

/// Numbers that look random and are the same in every run (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}

/// A folder for a stream, in memory where the system has such a place: fsync costs nothing there.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// How the tests write: with the clock `clock`.
pub fn options(clock: &Hand) -> WriterOptions {
    WriterOptions { clock: Box::new(clock.clone()), ..WriterOptions::default() }
}

/// A writer whose clock stands at 2017-10-09.
pub fn open(dir: &Path) -> Writer {
    Writer::open(dir, options(&Hand::at(1_507_507_200))).unwrap()
}

/// Writes one transaction of `lines` lines.
pub fn write(writer: &mut Writer, xid: u32, lines: u32) -> Result<Position, Error> {
    for n in 0..lines {
        let line = format!("_table\tz\t_xid\t{xid}\t_action\tinsert\tid\t{n}\tname\tfox{xid}");
        writer.line(line.as_bytes())?;
    }
    let lsn = Some(Lsn(u64::from(xid) * 100));
    let commit = Commit { xid: Some(xid), lsn, time_us: Some(7) };
    Ok(writer.commit(commit)?.expect("lines were written"))
}

/// The rest of the transactions that a reader gives out: xid and number of lines before the commit.
pub fn rest(reader: &mut Reader) -> Result<Vec<(u32, usize)>, Error> {
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

/// Everything that a reader gives out before it ends or fails, line by line.
pub fn lines(dir: &Path) -> (Vec<Vec<u8>>, Option<Error>) {
    let mut reader = Reader::open(dir, Start::Begin, ReaderOptions::default()).unwrap();
    let mut lines = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(entry)) => lines.push(entry.change.line().to_vec()),
            Ok(None) => return (lines, None),
            Err(error) => return (lines, Some(error)),
        }
    }
}

/// All transactions of a sound stream.
pub fn all(dir: &Path) -> Vec<(u32, usize)> {
    let mut reader = Reader::open(dir, Start::Begin, ReaderOptions::default()).unwrap();
    rest(&mut reader).unwrap()
}

/// The word of an error's code.
pub fn reason(error: &Error) -> &'static str {
    error.code().reason
}
