//! What a reader needs in memory does not grow with a transaction.

mod log;

use std::path::Path;
use std::process::Command;

use pgsqlite::daystream::{Reader, ReaderOptions, Start};

const DIR: &str = "PGSQLITE_TEST_MEMORY_DIR";
/// Rows of the one transaction; ten times as many on request.
const ROWS: u32 = 1_000_000;
/// A follower's limit, in KiB.
const LIMIT_KIB: u64 = 16 << 10;

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Reads the stream in a process of its own; says how much more memory that took.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let before = peak();
    let mut reader = Reader::open(Path::new(&dir), Start::Begin, ReaderOptions::default()).unwrap();
    let mut lines = 0u64;
    while let Some(entry) = reader.next().unwrap() {
        lines += 1;
        assert!(!entry.end || entry.transaction.lines == lines);
    }
    println!("lines {lines} kib {}", peak() - before);
}

#[test]
fn a_follower_of_a_million_rows_stays_small() {
    let dir = log::folder();
    let all = std::env::var_os("PGSQLITE_TEST_ALL").is_some();
    let rows = if all { ROWS * 10 } else { ROWS };
    let mut writer = log::open(dir.path());
    log::write(&mut writer, 1, rows).unwrap();
    writer.sync().unwrap();
    drop(writer);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let words: Vec<&str> = said.split_whitespace().collect();
    let number = |name| {
        let at = words.iter().position(|word| *word == name).expect(&said);
        words[at + 1].parse::<u64>().unwrap()
    };
    assert_eq!(number("lines"), u64::from(rows) + 1);
    assert!(number("kib") < LIMIT_KIB, "{said}");
}
