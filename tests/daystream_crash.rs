//! The writer is killed at each of its failpoints: what was acknowledged is there, and it goes on.
//! Needs `--features failpoints`.
#![cfg(feature = "failpoints")]

mod log;

use std::io::Write;
use std::process::{Command, Stdio};

use log::{Hand, all};
use pgsqlite::daystream::{
    Error, Identity, Storage, Which, Writer, WriterOptions, compress, verify,
};
use pgsqlite::failpoint;

const DIR: &str = "PGSQLITE_TEST_CRASH_DIR";
const COMPRESS_DIR: &str = "PGSQLITE_TEST_COMPRESS_DIR";

/// Writes transactions up to 12, saying each one that is durable.
fn work(dir: &std::path::Path) -> Result<(), Error> {
    let clock = Hand::at(1_507_500_000);
    let options = WriterOptions { segment_bytes: 300, ..log::options(&clock) };
    let mut writer = Writer::open(dir, options)?;
    let from = writer.last_lsn().map_or(0, |lsn| (lsn.0 / 100) as u32);
    for xid in from + 1..=12 {
        if xid % 4 == 0 {
            writer.line(b"_table\tz\t_xid\t0\t_action\tinsert\tid\t1")?;
            writer.flush()?;
            writer.abandon()?;
        }
        log::write(&mut writer, xid, 1 + xid % 3)?;
        writer.sync()?;
        println!("durable {xid}");
        std::io::stdout().flush().unwrap();
        let identity = Identity { slot: format!("s{xid}"), ..Identity::default() };
        writer.save_identity(&identity)?;
    }
    Ok(())
}

#[test]
fn child() {
    if let Some(dir) = std::env::var_os(DIR) {
        work(dir.as_ref()).unwrap();
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_was_durable() {
    let points = failpoint::ALL.iter().filter(|name| name.starts_with("log_"));
    for point in points {
        for n in [1, 2, 5] {
            let dir = log::folder();
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["child", "--exact", "--nocapture"])
                .env(DIR, dir.path())
                .env("PGSQLITE_FAILPOINT", format!("{point}:{n}"))
                .stderr(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&child.stdout).into_owned();
            let durable = said.lines().filter(|line| line.contains("durable ")).count();
            assert!(!child.status.success(), "{point}:{n} was not passed");
            let writer = Writer::open(dir.path(), WriterOptions::default()).unwrap();
            let there = writer.last_lsn().map_or(0, |lsn| (lsn.0 / 100) as usize);
            drop(writer);
            assert!(there >= durable, "{point}:{n}: {there} of {durable}");
            let slot = Identity::load(dir.path()).unwrap().map(|identity| identity.slot);
            assert!(slot.is_none_or(|slot| slot.starts_with('s')), "{point}:{n}");
            work(dir.path()).unwrap();
            let (info, damage) = verify(dir.path()).unwrap();
            assert!(damage.is_none() && info.transactions == 12, "{point}:{n}: {damage:?}");
            let xids: Vec<u32> = all(dir.path()).iter().map(|(xid, _)| *xid).collect();
            assert_eq!(xids, (1..=12).collect::<Vec<_>>(), "{point}:{n}");
        }
    }
}

/// Writes a stream of several segments, where there is none, and compresses it.
fn work_and_compress(dir: &std::path::Path) -> Result<u64, Error> {
    work(dir)?;
    Ok(compress(dir, Which::Closed, &Storage::default(), &|| true)?.segments)
}

#[test]
fn compressing_child() {
    if let Some(dir) = std::env::var_os(COMPRESS_DIR) {
        work_and_compress(dir.as_ref()).unwrap();
    }
}

#[test]
fn killed_while_compressing_a_stream_has_all_its_lines() {
    let whole = log::folder();
    work(whole.path()).unwrap();
    let wanted = log::lines(whole.path()).0;
    for point in failpoint::ALL.iter().filter(|name| name.starts_with("compress_")) {
        for n in [1, 3] {
            let dir = log::folder();
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["compressing_child", "--exact"])
                .env(COMPRESS_DIR, dir.path())
                .env("PGSQLITE_FAILPOINT", format!("{point}:{n}"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(!child.success(), "{point}:{n} was not passed");
            assert!(log::lines(dir.path()).0 == wanted, "{point}:{n}");
            // The rest is done; what was left half is gone.
            assert!(work_and_compress(dir.path()).unwrap() > 0, "{point}:{n}");
            let (info, damage) = verify(dir.path()).unwrap();
            assert!(damage.is_none() && info.compressed + 1 == info.segments, "{point}:{n}");
            assert!(log::lines(dir.path()).0 == wanted, "{point}:{n}");
            for day in std::fs::read_dir(dir.path()).unwrap().flatten() {
                let names = std::fs::read_dir(day.path()).into_iter().flatten().flatten();
                let plain = names.filter(|name| !name.path().to_string_lossy().ends_with(".zst"));
                assert!(plain.count() <= 1, "{point}:{n}");
            }
        }
    }
}
