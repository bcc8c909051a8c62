//! Power loss: from a record of what the log did with its files, every disk that a power loss may
//! leave is a log that has all that was acknowledged, and goes on.

mod log;

use std::path::Path;
use std::sync::{Arc, Mutex};

use log::disk::Disk;
use log::{Dice, Hand};
use pgsqlite::daystream::{
    Done, Error, Identity, Keep, Operation, Position, Reader, ReaderOptions, Start, Storage, Which,
    Writer, WriterOptions, compress, retain, verify,
};

const CLOCK: i64 = 1_507_593_000;
/// The last transaction that is written before the power goes, and the last one after.
const BEFORE: u32 = 60;
const AFTER: u32 = 64;

/// What an fsync says that fails.
const FAULT: &str = "the disk is ill";

/// What was done, and what the writer's owner was told in between.
enum Step {
    Done(Done),
    /// All transactions up to this one are durable.
    Durable(u32),
    /// This identity is saved.
    Saved(u32),
}

type Record = Arc<Mutex<Vec<Step>>>;

fn number(writer: &Writer) -> u32 {
    writer.last_lsn().map_or(0, |lsn| (lsn.0 / 100) as u32)
}

/// Lines of the transaction `xid`: some are larger than several sectors.
fn size(xid: u32) -> u32 {
    1 + xid * 7 % 40
}

/// Writes as [`stretch`] does, begun again after each death.
fn work(dir: &Path, clock: &Hand, storage: Storage, record: &Record) {
    let mut dice = Dice::new(5);
    for _ in 0..100 {
        match stretch(dir, clock, &storage, record, &mut dice) {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => assert!(format!("{error:?}").contains(FAULT), "{error}"),
        }
    }
    panic!("the work does not come to its end");
}

/// Writes transactions, large ones in several writes, with and without fsync, given up ones, new
/// segments and a new day between them, identities, retention, and compressed segments. True when
/// it has come to its end, false when it is killed.
fn stretch(
    dir: &Path,
    clock: &Hand,
    storage: &Storage,
    record: &Record,
    dice: &mut Dice,
) -> Result<bool, Error> {
    let tell = |step| record.lock().unwrap().push(step);
    let options = WriterOptions {
        segment_bytes: 9_000,
        buffer_bytes: 900,
        storage: storage.clone(),
        ..log::options(clock)
    };
    let mut writer = Writer::open(dir, options)?;
    // As a capture does: its first word to the server is that it has what the writer found.
    tell(Step::Durable(number(&writer)));
    for xid in number(&writer) + 1..=BEFORE {
        if dice.below(4) == 0 {
            for _ in 0..dice.below(40) {
                writer.line(b"_table\tz\t_xid\t0\t_action\tinsert\tname\tgiven up")?;
            }
            if dice.below(2) == 0 {
                writer.sync()?;
            }
            writer.abandon()?;
        }
        log::write(&mut writer, xid, size(xid))?;
        match dice.below(4) {
            0 => {}
            1 => writer.flush()?,
            _ => {
                writer.sync()?;
                tell(Step::Durable(xid));
            }
        }
        if dice.below(6) == 0 {
            let identity = Identity { slot: format!("s{xid}"), ..Identity::default() };
            writer.save_identity(&identity)?;
            tell(Step::Saved(xid));
        }
        if dice.below(12) == 0 {
            retain(dir, Keep { bytes: Some(30_000), days: None }, 0, storage)?;
        }
        if dice.below(8) == 0 {
            compress(dir, Which::Closed, storage, &|| true)?;
        }
        clock.set(clock.seconds() + dice.below(50) as i64);
        if dice.below(12) == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The transactions that a reader gives out; each must be as it was written.
fn read(dir: &Path, what: &str) -> Vec<u32> {
    let options = ReaderOptions::default();
    let mut reader = match Reader::open(dir, Start::Begin, options) {
        Ok(reader) => reader,
        Err(error) => {
            assert_eq!(log::reason(&error), "EMPTY", "{what}: {error}");
            return Vec::new();
        }
    };
    let read = log::rest(&mut reader).unwrap_or_else(|error| panic!("{what}: {error}"));
    for (xid, lines) in &read {
        assert_eq!(*lines, size(*xid) as usize, "{what}: transaction {xid}");
    }
    read.into_iter().map(|(xid, _)| xid).collect()
}

/// One disk after a power loss: all that was acknowledged is there, and the log goes on.
fn check(dir: &Path, durable: u32, saved: u32, what: &str) {
    let seen = read(dir, what);
    let first = *seen.first().unwrap_or(&1);
    let last = seen.last().copied().unwrap_or(0);
    assert_eq!(seen, (first..=last).collect::<Vec<_>>(), "{what}");
    assert!(last >= durable, "{what}: {last} is the last, {durable} was durable");
    if first > 1 {
        let after = Start::After(Position { clock: CLOCK, seq: 0 }.into());
        let late = Reader::open(dir, after, ReaderOptions::default());
        let reason = late.map(|_| ()).map_err(|error| log::reason(&error));
        assert_eq!(reason, Err("GAP"), "{what}: {first} is the first");
    }
    let slot = Identity::load(dir).unwrap().map_or(0, |state| state.slot[1..].parse().unwrap());
    assert!(slot >= saved, "{what}: state {slot}, {saved} was saved");
    let clock = Hand::at(CLOCK + 100_000);
    let mut writer = Writer::open(dir, log::options(&clock)).unwrap_or_else(|error| {
        panic!("{what}: {error}");
    });
    assert_eq!(number(&writer), last, "{what}");
    for xid in last + 1..=AFTER {
        log::write(&mut writer, xid, size(xid)).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    let (_, damage) = verify(dir).unwrap();
    assert!(damage.is_none(), "{what}: {damage:?}");
    assert_eq!(read(dir, what), (first..=AFTER).collect::<Vec<_>>(), "{what}");
}

#[test]
fn every_legal_image_of_a_power_loss_has_what_was_acknowledged_and_goes_on() {
    let dir = log::folder();
    let root = dir.path().join("stream");
    let record: Record = Arc::default();
    let trace = Arc::clone(&record);
    let storage =
        Storage::with_trace(Arc::new(move |done| trace.lock().unwrap().push(Step::Done(done))));
    let dice = Mutex::new(Dice::new(11));
    let storage = storage.and_fault(Arc::new(move |operation| {
        let fails = operation == Operation::Sync && dice.lock().unwrap().below(12) == 0;
        if fails { Err(std::io::Error::other(FAULT)) } else { Ok(()) }
    }));
    let clock = Hand::at(CLOCK);
    work(&root, &clock, storage, &record);
    let images: u64 = if std::env::var_os("PGSQLITE_TEST_ALL").is_some() { 10_000 } else { 500 };
    let only = std::env::var("PGSQLITE_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let record = record.lock().unwrap();
    let (mut disk, mut durable, mut saved, mut seed) = (Disk::default(), 0, 0, 0);
    for (at, step) in record.iter().enumerate() {
        match step {
            Step::Done(done) => disk.take(done),
            Step::Durable(xid) => durable = *xid,
            Step::Saved(xid) => saved = *xid,
        }
        let due = (at as u64 + 1) * images / record.len() as u64;
        while seed < due {
            seed += 1;
            if only.is_some_and(|only| only != seed) {
                continue;
            }
            let to = dir.path().join("after");
            std::fs::create_dir(&to).unwrap();
            disk.crash(&root, &to, &mut Dice::new(seed));
            check(&to, durable, saved, &format!("PGSQLITE_SEED={seed}, step {at}"));
            std::fs::remove_dir_all(&to).unwrap();
        }
    }
    assert_eq!(seed, images);
    let packed = |to: &Path| to.extension().is_some_and(|extension| extension == "zst");
    let compressed =
        record.iter().filter(|step| matches!(step, Step::Done(Done::Rename(_, to)) if packed(to)));
    assert!(compressed.count() > 5, "segments were compressed");
    let failed = record.iter().filter(|step| matches!(step, Step::Done(Done::SyncFailed(_))));
    assert!(failed.count() > 3, "fsyncs failed");
    assert!(durable > 50 && saved > 40, "{durable} {saved}");
}
