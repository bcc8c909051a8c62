//! The N-th file operation fails, for every N: a coded error, a poisoned writer, nothing half.

mod log;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::{Hand, all, reason};
use pgsqlite::daystream::{Error, Identity, Operation, Storage, Writer, WriterOptions, verify};
use pgsqlite::error::{Class, Coded};

/// A file system whose `n`-th operation fails with `errno`, once.
fn failing(n: u64, errno: i32) -> (Storage, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let fault = move |_: Operation| {
        if counted.fetch_add(1, Ordering::SeqCst) + 1 == n {
            Err(io::Error::from_raw_os_error(errno))
        } else {
            Ok(())
        }
    };
    (Storage::with_fault(Arc::new(fault)), count)
}

/// Transactions `from..=until` with a sync after each; the last one that was acknowledged.
fn work(writer: &mut Writer, from: u32, until: u32, durable: &mut u32) -> Result<(), Error> {
    for xid in from..=until {
        if xid % 4 == 0 {
            writer.line(b"_table\tz\t_xid\t0\t_action\tinsert\tid\t1")?;
            writer.flush()?;
            writer.abandon()?;
        }
        log::write(writer, xid, 1 + xid % 5)?;
        writer.sync()?;
        *durable = xid;
    }
    Ok(())
}

#[test]
fn every_failed_operation_is_an_error_and_loses_nothing_that_was_durable() {
    let mut reasons = Vec::new();
    for errno in [libc::ENOSPC, libc::EIO, libc::EDQUOT] {
        for n in 1.. {
            let dir = log::folder();
            let stream = dir.path().join("stream");
            let clock = Hand::at(1_507_500_000);
            let (storage, count) = failing(n, errno);
            let options = || WriterOptions { segment_bytes: 300, ..log::options(&clock) };
            let faulty = WriterOptions { storage, ..options() };
            let mut durable = 0;
            let failed = Writer::open(&stream, faulty).and_then(|mut writer| {
                let done = work(&mut writer, 1, 12, &mut durable);
                if done.is_err() {
                    for _ in 0..2 {
                        let again = log::write(&mut writer, 99, 1);
                        assert_eq!(reason(&again.unwrap_err()), "POISONED", "operation {n}");
                        assert_eq!(reason(&writer.sync().unwrap_err()), "POISONED");
                    }
                }
                done
            });
            if count.load(Ordering::SeqCst) < n {
                failed.unwrap();
                assert!(n > 40, "only {n} operations");
                break;
            }
            let error = failed.unwrap_err();
            assert_eq!(reason(&error), "IO", "operation {n}: {error}");
            let retry = errno != libc::EIO;
            assert_eq!(error.class() == Class::Retry, retry, "operation {n}");
            reasons.push(error.report());
            // The fault is over: the stream goes on behind what is sound, which is at least what
            // was durable.
            let mut writer = Writer::open(&stream, options()).unwrap();
            let there = writer.last_lsn().map_or(0, |lsn| (lsn.0 / 100) as u32);
            assert!(there >= durable, "operation {n}: {there} of {durable}");
            work(&mut writer, there + 1, 14, &mut durable).unwrap();
            drop(writer);
            let (info, damage) = verify(&stream).unwrap();
            assert!(damage.is_none(), "operation {n}: {damage:?}");
            assert_eq!(info.transactions, 14, "operation {n}");
            let xids: Vec<u32> = all(&stream).iter().map(|(xid, _)| *xid).collect();
            assert_eq!(xids, (1..=14).collect::<Vec<u32>>(), "operation {n}");
        }
    }
    for word in ["make folder", "create", "write", "fsync", "fsync folder", "cut", "remove"] {
        let there = reasons.iter().any(|text| text.contains(word));
        assert!(there, "no operation `{word}` failed");
    }
}

#[test]
fn an_identity_is_replaced_as_a_whole() {
    let dir = log::folder();
    let old = Identity {
        system_id: 7_123_456_789_012_345_678,
        database: "d\tb".into(),
        slot: "s".into(),
        plugin: "deltaflood".into(),
        tables: vec!["\"public\".\"a \"\"b\"".into(), "\"s\".\"t\"".into()],
        timeline: 1,
        ..Identity::default()
    };
    assert_eq!(Identity::load(dir.path()).unwrap(), None);
    log::open(dir.path()).save_identity(&old).unwrap();
    assert_eq!(Identity::load(dir.path()).unwrap().as_ref(), Some(&old));
    let new = Identity { confirmed: "16/B374D848".parse().ok(), timeline: 2, ..old.clone() };
    for n in 1..10 {
        let (storage, count) = failing(n, libc::EIO);
        let options = WriterOptions { storage, ..WriterOptions::default() };
        let saved = Writer::open(dir.path(), options).unwrap().save_identity(&new);
        let there = Identity::load(dir.path()).unwrap().unwrap();
        if count.load(Ordering::SeqCst) < n {
            saved.unwrap();
            assert_eq!(there, new);
            return;
        }
        assert!(saved.is_err());
        assert!(there == old || there == new, "operation {n}: {there:?}");
    }
    panic!("an identity takes more operations than expected");
}

#[test]
fn a_damaged_identity_is_an_error_with_its_byte() {
    let dir = log::folder();
    for (text, byte) in [
        ("", 0),
        ("system_id\t1\tslot\ts", 18),
        ("system_id\tx\tslot\ts\n", 0),
        ("system_id\t1\tslot\ts\tslot\tx\n", 19),
        ("system_id\t1\n", 11),
        ("system_id\t1\tslot\n", 16),
    ] {
        std::fs::write(dir.path().join("stream.tsv"), text).unwrap();
        let error = Identity::load(dir.path()).unwrap_err();
        assert_eq!(error.code().details.last(), Some(&("byte", byte.to_string())), "{text}");
        assert_eq!(reason(&error), "STATE", "{text}");
    }
}
