//! The log on a real disk: write, read, seek, follow.

mod log;

use std::path::Path;

use log::{Hand, all, options, reason, write};
use pgsqlite::daystream::{Position, Reader, ReaderOptions, Start, Writer, WriterOptions};

#[test]
fn what_is_written_is_read() {
    let dir = log::folder();
    let clock = Hand::at(1_507_507_200);
    let mut writer = Writer::open(dir.path(), options(&clock)).unwrap();
    assert_eq!(write(&mut writer, 1, 3).unwrap(), Position { clock: 1_507_507_200, seq: 3 });
    clock.set(1_507_507_201);
    assert_eq!(write(&mut writer, 2, 1).unwrap(), Position { clock: 1_507_507_201, seq: 1 });
    writer.sync().unwrap();
    assert_eq!(all(dir.path()), [(1, 3), (2, 1)]);
    let text = std::fs::read_to_string(dir.path().join("2017-10-09/1507507200.0.tsv")).unwrap();
    assert!(text.starts_with("_c\t1507507200\t_s\t0\t_table\tz\t_xid\t1\t_action\tinsert\tid\t0"));
    assert_eq!(text.lines().count(), 6);
}

#[test]
fn a_second_writer_is_refused() {
    let dir = log::folder();
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
    let dir = log::folder();
    let open = |path: &Path| Reader::open(path, Start::Begin, ReaderOptions::default());
    assert_eq!(reason(&open(&dir.path().join("none")).unwrap_err()), "NOTFOUND");
    assert_eq!(reason(&open(dir.path()).unwrap_err()), "EMPTY");
    std::fs::write(dir.path().join("file"), "x").unwrap();
    assert_eq!(reason(&open(&dir.path().join("file")).unwrap_err()), "REFUSED");
    let deep = dir.path().join("none/deep");
    let writer = Writer::open(&deep, WriterOptions::default());
    assert_eq!(reason(&writer.unwrap_err()), "NOTFOUND");
}
