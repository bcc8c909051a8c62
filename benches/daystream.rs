//! How fast lines are parsed, written and read: `cargo bench --bench daystream`.
//!
//! Lines and bytes per second, each the best of fifty runs, on the folder that `TMPDIR` names.
//! The comparison is a plain copy of the same bytes through `read` in the same run.

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use deltaflood::{Change, Lsn, Verb, write};
use pgsqlite::daystream::{Commit, Reader, ReaderOptions, Start, Writer, WriterOptions};

const TRANSACTIONS: u32 = 10_000;
const LINES: u32 = 10;

/// The best of fifty runs, in seconds.
fn best(mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..50 {
        let started = Instant::now();
        run();
        best = best.min(started.elapsed().as_secs_f64());
    }
    best
}

fn report(what: &str, lines: f64, bytes: f64, seconds: f64) {
    println!(
        "{what:<34} {:>7.2} M lines/s {:>8.0} MB/s",
        lines / seconds / 1e6,
        bytes / seconds / 1e6
    );
}

/// A line of six columns.
fn line(out: &mut Vec<u8>, xid: u32, n: u32) {
    out.clear();
    let number = (xid * LINES + n).to_string();
    let mut columns = write::Line::begin(out).table(b"flights").xid(xid).verb(Verb::Insert);
    columns.column(b"id", number.as_bytes());
    columns.column(b"ident", b"UAL1234").column(b"lat", b"29.7632").column(b"lon", b"-95.3632");
    columns.column(b"at", b"2026-11-20 21:53:36.912962+00").column(b"note", b"");
}

fn write_stream(dir: &std::path::Path, sync: u32) {
    let mut writer = Writer::open(dir, WriterOptions::default()).unwrap();
    let mut text = Vec::new();
    for xid in 0..TRANSACTIONS {
        for n in 0..LINES {
            line(&mut text, xid, n);
            writer.line(&text).unwrap();
        }
        let lsn = Some(Lsn(u64::from(xid) * 1000));
        writer.commit(Commit { xid: Some(xid), lsn, time_us: Some(1) }).unwrap();
        if sync > 0 && xid % sync == 0 {
            writer.sync().unwrap();
        }
    }
    writer.sync().unwrap();
}

/// Reads a whole stream; with `columns`, walks and decodes every column.
fn read_stream(dir: &std::path::Path, columns: bool) -> usize {
    let mut reader = Reader::open(dir, Start::Begin, ReaderOptions::default()).unwrap();
    let mut count = 0;
    while let Some(entry) = reader.next().unwrap() {
        count += 1;
        if columns {
            for column in entry.change.columns() {
                let (name, value) = column.unwrap();
                count += usize::from(name.decode().is_empty()) + value.decode().len() / 1000;
            }
        }
    }
    count
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let lines = f64::from(TRANSACTIONS * (LINES + 1));
    let stream = dir.path().join("0");
    write_stream(&stream, 0);
    let bytes = pgsqlite::daystream::info(&stream).unwrap().bytes as f64;

    let mut texts = Vec::new();
    let mut text = Vec::new();
    for n in 0..10_000 {
        line(&mut text, 7, n);
        texts.push(text.clone());
    }
    let size: usize = texts.iter().map(Vec::len).sum();
    let mut sum = 0;
    let seconds = best(|| {
        for text in &texts {
            let change = Change::parse(text).unwrap();
            sum += change.columns().map(|column| column.unwrap().1.raw().len()).sum::<usize>();
        }
    });
    report("parse, all columns", texts.len() as f64, size as f64, seconds);
    let mut n = 0;
    let seconds = best(|| (0..texts.len() as u32).for_each(|n| line(&mut text, 7, n)));
    report("render", texts.len() as f64, size as f64, seconds);
    for (what, sync) in [("write, fsync at segments", 0), ("write, fsync per 1000", 1000)] {
        let seconds = best(|| {
            n += 1;
            write_stream(&dir.path().join(n.to_string()), sync);
            let _ = std::fs::remove_dir_all(dir.path().join((n - 1).to_string()));
        });
        report(what, lines, bytes, seconds);
    }
    let stream = dir.path().join(n.to_string());
    let seconds = best(|| sum += read_stream(&stream, false));
    report("read", lines, bytes, seconds);
    let seconds = best(|| sum += read_stream(&stream, true));
    report("read, all columns decoded", lines, bytes, seconds);
    let mut buffer = vec![0; 1 << 20];
    let seconds = best(|| {
        for day in std::fs::read_dir(&stream).unwrap().flatten() {
            for file in std::fs::read_dir(day.path()).into_iter().flatten().flatten() {
                let mut file = File::open(file.path()).unwrap();
                while file.read(&mut buffer).unwrap() > 0 {}
            }
        }
    });
    report("(plain read of the files)", lines, bytes, seconds);
    assert!(sum > 0);
}
