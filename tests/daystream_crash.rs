//! The writer is killed at each of its failpoints: what was acknowledged is there, and it goes on.
//! Needs `--features failpoints`.
#![cfg(feature = "failpoints")]

mod log;

use std::io::Write;
use std::process::{Command, Stdio};

use log::{Hand, all};
use pgsqlite::daystream::{Error, Identity, Writer, WriterOptions, verify};
use pgsqlite::failpoint;

const DIR: &str = "PGSQLITE_TEST_CRASH_DIR";

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
