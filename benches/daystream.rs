//! How fast lines are parsed, written and read: `cargo bench --bench daystream`.
//!
//! Lines and bytes per second, each the best of fifty runs, on the folder that `TMPDIR` names.
//! The comparison is a plain copy of the same bytes through `read` in the same run.
//!
//! With `PGSQLITE_BENCH_GB=10`, also how long it takes to find a place in a stream of that size, as
//! plain files and compressed; that writes as many bytes.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use deltaflood::{Change, Lsn, Verb, write};
use pgsqlite::daystream::{
    Clock, Commit, Position, Reader, ReaderOptions, Start, Storage, TableFilter, Which, Writer,
    WriterOptions, compress,
};

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

/// Transactions of two lines per second, made durable together every 10 ms.
fn small_transactions(dir: &std::path::Path) -> (f64, f64) {
    let mut writer = Writer::open(dir, WriterOptions::default()).unwrap();
    let mut text = Vec::new();
    let (started, mut synced, mut syncs) = (Instant::now(), Instant::now(), 0);
    let mut xid = 0;
    while started.elapsed() < Duration::from_secs(2) {
        xid += 1;
        for n in 0..2 {
            line(&mut text, xid, n);
            writer.line(&text).unwrap();
        }
        let lsn = Some(Lsn(u64::from(xid) * 1000));
        writer.commit(Commit { xid: Some(xid), lsn, time_us: Some(1) }).unwrap();
        writer.flush().unwrap();
        if synced.elapsed() >= Duration::from_millis(10) {
            writer.sync().unwrap();
            synced = Instant::now();
            syncs += 1;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    (f64::from(xid) / seconds, f64::from(syncs) / seconds)
}

/// A clock that is moved by hand.
struct Hand(Arc<AtomicI64>);

impl Clock for Hand {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Milliseconds to open a reader at a place and to have its first line: median and worst of 300.
fn seek(dir: &std::path::Path, clocks: std::ops::Range<i64>) -> (f64, f64) {
    let mut times: Vec<f64> = (0..300)
        .map(|n: i64| {
            let clock = clocks.start + n * 7919 % (clocks.end - clocks.start);
            let start = match n % 2 {
                0 => Start::Clock(clock),
                _ => Start::After(Position { clock, seq: 0 }.into()),
            };
            let started = Instant::now();
            let mut reader = Reader::open(dir, start, ReaderOptions::default()).unwrap();
            let found = reader.next().unwrap().unwrap().position.clock;
            assert!(found == clock || found == clock + 1);
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() - 1])
}

/// Seeks in a stream of `gigabytes`, plain and compressed.
fn seek_in_a_large_stream(dir: &std::path::Path, gigabytes: u64) {
    let begin = 1_700_000_000;
    let clock = Arc::new(AtomicI64::new(begin));
    let hand = Box::new(Hand(Arc::clone(&clock)));
    let options = WriterOptions { clock: hand, ..WriterOptions::default() };
    let mut writer = Writer::open(dir, options).unwrap();
    let mut text = Vec::new();
    let (mut written, mut xid) = (0, 0);
    while written < gigabytes << 30 {
        xid += 1;
        for n in 0..1000 {
            line(&mut text, xid, n);
            writer.line(&text).unwrap();
            written += text.len() as u64 + 30;
        }
        writer.commit(Commit::default()).unwrap();
        clock.fetch_add(1, Ordering::Relaxed);
    }
    writer.sync().unwrap();
    let end = clock.load(Ordering::Relaxed);
    let report = |what: &str, (median, worst): (f64, f64)| {
        println!("{what:<34} {median:>7.2} ms median {worst:>8.2} ms worst");
    };
    report(&format!("seek in {gigabytes} GB"), seek(dir, begin..end - 1));
    let done = compress(dir, Which::Closed, &Storage::default(), &|| true).unwrap();
    println!("compressed: {} segments to {:.1} %", done.segments, {
        done.bytes as f64 * 100.0 / done.text_bytes as f64
    });
    report(&format!("seek in {gigabytes} GB, compressed"), seek(dir, begin..end - 1));
}

/// Reads a stream for a table that it does not have.
fn read_other_tables(dir: &std::path::Path) -> usize {
    let tables = Some(TableFilter::new().with("public", "other"));
    let options = ReaderOptions { tables, ..ReaderOptions::default() };
    let mut reader = Reader::open(dir, Start::Begin, options).unwrap();
    let mut count = 0;
    while reader.next().unwrap().is_some() {
        count += 1;
    }
    count
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    if let Some(gigabytes) = std::env::var("PGSQLITE_BENCH_GB").ok().and_then(|n| n.parse().ok()) {
        return seek_in_a_large_stream(dir.path(), gigabytes);
    }
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
    let seconds = best(|| sum += read_other_tables(&stream));
    report("read, tables filtered out", lines, bytes, seconds);
    compress(&stream, Which::Closed, &Storage::default(), &|| true).unwrap();
    let seconds = best(|| sum += read_stream(&stream, false));
    report("read, compressed", lines, bytes, seconds);
    let (transactions, syncs) = small_transactions(&dir.path().join("small"));
    println!("small transactions, fsync per 10 ms {transactions:>10.0} /s, {syncs:.0} fsyncs/s");
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
