//! Many followers while segments are cut and removed, and writers that race for one stream.

mod log;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use log::{Hand, reason};
use pgsqlite::daystream::{
    Keep, Reader, ReaderOptions, Start, Storage, Writer, WriterOptions, retain,
};

const FOLLOWERS: usize = 64;
const ROTATIONS: u32 = 100;
/// Transactions in a segment, and in all.
const EACH: u32 = 20;
const LAST: u32 = ROTATIONS * EACH;

/// What a follower has seen.
#[derive(Debug, Default)]
struct Seen {
    /// The first and the last transaction of each run without a gap.
    runs: Vec<(u32, u32)>,
    gaps: usize,
}

/// Follows from the beginning until the last transaction. A slow one rests after its first lines
/// until retention has passed it; one that is told of a gap begins again with what there is.
fn follow(
    dir: &Path,
    mut reader: Reader,
    slow: bool,
    far: &AtomicU32,
    removed: &AtomicU64,
    failed: &AtomicBool,
) -> Seen {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut seen = Seen::default();
    let mut lines = 0u64;
    loop {
        assert!(Instant::now() < deadline && !failed.load(Ordering::SeqCst), "{seen:?}");
        match reader.next() {
            Ok(Some(entry)) => {
                let xid = entry.change.xid.unwrap();
                entry.change.validate().unwrap();
                lines += 1;
                if !entry.end {
                    continue;
                }
                assert_eq!(lines, entry.transaction.lines, "half a transaction");
                lines = 0;
                far.store(xid, Ordering::SeqCst);
                match seen.runs.last_mut() {
                    Some((_, last)) if *last + 1 == xid => *last = xid,
                    _ => seen.runs.push((xid, xid)),
                }
                if xid == LAST {
                    return seen;
                }
                while slow && seen.gaps == 0 && removed.load(Ordering::SeqCst) == 0 {
                    assert!(Instant::now() < deadline);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(None) => {
                reader.wait(Some(Duration::from_millis(100)), None).unwrap();
            }
            Err(error) => {
                assert_eq!(reason(&error), "GAP", "{error}");
                assert_eq!(lines, 0, "a gap within a transaction");
                seen.gaps += 1;
                reader = Reader::open(dir, Start::Begin, ReaderOptions::default()).unwrap();
            }
        }
    }
}

#[test]
fn followers_through_a_hundred_cuts_and_retention_see_all_or_a_gap() {
    let dir = log::folder();
    let clock = Hand::at(1_507_590_000);
    let options = WriterOptions { segment_bytes: 2_400, ..log::options(&clock) };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    log::write(&mut writer, 1, 1).unwrap();
    writer.sync().unwrap();
    let (removed, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let ready = Barrier::new(FOLLOWERS + 1);
    let far: Vec<AtomicU32> = (0..FOLLOWERS).map(|_| AtomicU32::new(0)).collect();
    let fast_are_at =
        |xid| (0..FOLLOWERS).all(|n| n % 4 == 3 || far[n].load(Ordering::SeqCst) >= xid);
    let seen: Vec<(bool, Seen)> = std::thread::scope(|scope| {
        let (removed, failed, ready, path) = (&removed, &failed, &ready, dir.path());
        let far = &far;
        let started: Vec<_> = (0..FOLLOWERS)
            .map(|n| {
                let slow = n % 4 == 3;
                let work = move || {
                    let reader = Reader::open(path, Start::Begin, ReaderOptions::default());
                    let reader = std::panic::AssertUnwindSafe(reader.unwrap());
                    ready.wait();
                    let seen = std::panic::catch_unwind(move || {
                        let reader = reader;
                        follow(path, reader.0, slow, &far[n], removed, failed)
                    });
                    failed.fetch_or(seen.is_err(), Ordering::SeqCst);
                    (slow, seen.unwrap())
                };
                scope.spawn(work)
            })
            .collect();
        ready.wait();
        for xid in 2..=LAST {
            log::write(&mut writer, xid, 1 + xid % 3).unwrap();
            writer.flush().unwrap();
            if xid % EACH == 0 {
                clock.set(clock.seconds() + 1);
            }
            if xid % (EACH * 5) == 0 {
                // The fast ones are behind what goes; the slow ones are not waited for.
                while !fast_are_at(xid) {
                    assert!(!failed.load(Ordering::SeqCst));
                    std::thread::sleep(Duration::from_millis(1));
                }
                let keep = Keep { days: None, bytes: Some(40_000) };
                let gone = retain(path, keep, 0, &Storage::default()).unwrap();
                removed.fetch_add(gone.segments, Ordering::SeqCst);
            }
        }
        writer.sync().unwrap();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let cut = removed.load(Ordering::SeqCst) as usize + segments(dir.path());
    assert!(cut >= ROTATIONS as usize, "{cut} segments");
    for (slow, seen) in &seen {
        // A run ends where a gap was told, nowhere else.
        assert_eq!(seen.runs.len(), seen.gaps + 1, "{seen:?}");
        assert_eq!(seen.runs[0].0, 1, "{seen:?}");
        assert_eq!(*slow, seen.gaps > 0, "{seen:?}");
    }
}

fn segments(dir: &Path) -> usize {
    let days = std::fs::read_dir(dir).unwrap().filter_map(Result::ok);
    days.filter_map(|day| std::fs::read_dir(day.path()).ok()).map(Iterator::count).sum()
}

#[test]
fn of_two_writers_one_is_refused_in_each_of_a_hundred_races() {
    let dir = log::folder();
    for race in 0..100 {
        let path = dir.path().join(if race % 2 == 0 { "same".into() } else { format!("{race}") });
        let (start, tried) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let racer = || {
            let (path, start, tried) = (path.clone(), Arc::clone(&start), Arc::clone(&tried));
            std::thread::spawn(move || {
                start.wait();
                let opened = Writer::open(&path, WriterOptions::default());
                tried.wait();
                opened.map(|mut writer| log::write(&mut writer, 1, 1).map(drop)).map_err(|error| {
                    assert_eq!(reason(&error), "LOCKED", "{error}");
                })
            })
        };
        let racers = [racer(), racer()];
        let won = racers.map(|thread| matches!(thread.join().unwrap(), Ok(Ok(()))));
        assert!(won[0] != won[1], "race {race}: {won:?}");
    }
}
