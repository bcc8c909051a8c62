//! The log on a real disk: write, read, seek, follow.

mod log;

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use log::{Hand, all, options, reason, write};
use pgsqlite::daystream::{
    Commit, Keep, Position, Reader, ReaderOptions, Removed, Start, Storage, TableFilter, Woken,
    Writer, WriterOptions, retain,
};
use pgsqlite::error::Coded;

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

/// Waits for `reader` until it has given out `count` transactions.
fn follow(reader: &mut Reader, count: usize) -> Vec<(u32, usize)> {
    let started = std::time::Instant::now();
    let mut found = Vec::new();
    loop {
        found.append(&mut log::rest(reader).unwrap());
        if found.len() >= count {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{} of {count}", found.len());
        reader.wait(Some(Duration::from_secs(5)), None).unwrap();
    }
}

#[test]
fn followers_see_every_transaction_through_cuts_and_days() {
    let dir = log::folder();
    let clock = Hand::at(1_507_500_000);
    let options = WriterOptions { segment_bytes: 2000, ..options(&clock) };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    let path = dir.path().to_owned();
    let followers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let open = Reader::open(path, Start::Begin, ReaderOptions::default());
                follow(&mut open.unwrap(), 1500)
            })
        })
        .collect();
    let mut written = Vec::new();
    for xid in 1..=1500 {
        if xid % 7 == 0 {
            writer.line(b"_table\tz\t_xid\t0\t_action\tinsert\tid\t1").unwrap();
            writer.flush().unwrap();
            writer.abandon().unwrap();
        }
        write(&mut writer, xid, 1 + xid % 9).unwrap();
        writer.flush().unwrap();
        written.push((xid, 1 + xid as usize % 9));
        if xid % 100 == 0 {
            clock.set(clock.seconds() + 40_000);
        }
    }
    for follower in followers {
        assert_eq!(follower.join().unwrap(), written);
    }
}

#[test]
fn a_wait_ends_by_a_change_a_wake_or_its_time() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    let mut reader = Reader::open(dir.path(), Start::End, ReaderOptions::default()).unwrap();
    let (wake, waker) = std::io::pipe().unwrap();
    let short = Some(Duration::from_millis(20));
    // The first wait only begins to watch.
    assert_eq!(reader.wait(short, None).unwrap(), Woken::Change);
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.wait(short, Some(wake.as_fd())).unwrap(), Woken::Timeout);
    (&waker).write_all(b"x").unwrap();
    assert_eq!(reader.wait(None, Some(wake.as_fd())).unwrap(), Woken::Wake);
    write(&mut writer, 1, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(follow(&mut reader, 1), [(1, 1)]);
    write(&mut writer, 2, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(follow(&mut reader, 1), [(2, 1)]);
}

#[test]
fn a_transaction_larger_than_the_buffer_is_read_whole() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    write(&mut writer, 1, 2).unwrap();
    write(&mut writer, 2, 40_000).unwrap();
    let long = vec![b'x'; 300_000];
    let mut line = b"_table\tz\t_xid\t3\t_action\tinsert\tid\t".to_vec();
    line.extend_from_slice(&long);
    writer.line(&line).unwrap();
    writer.flush().unwrap();
    let options = ReaderOptions { buffer_bytes: 8192, ..ReaderOptions::default() };
    let mut reader = Reader::open(dir.path(), Start::Begin, options.clone()).unwrap();
    assert_eq!(log::rest(&mut reader).unwrap(), [(1, 2), (2, 40_000)]);
    writer.commit(Commit::default()).unwrap();
    write(&mut writer, 4, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(log::rest(&mut reader).unwrap(), [(3, 1), (4, 1)]);
    let mut reader = Reader::open(dir.path(), Start::Clock(0), options).unwrap();
    assert_eq!(log::rest(&mut reader).unwrap().len(), 4);
}

#[test]
fn a_reader_with_a_filter_sees_its_tables_and_all_commits() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    for (table, schema) in [("a", ""), ("b", ""), ("a", "_schema\ts\t"), ("c", "")] {
        let line = format!("_table\t{table}\t{schema}_xid\t1\t_action\tinsert\tid\t1");
        writer.line(line.as_bytes()).unwrap();
    }
    writer.commit(Commit::default()).unwrap();
    writer.sync().unwrap();
    let tables = TableFilter::new().with("s", "a").with("public", "c");
    let options = ReaderOptions { tables: Some(tables), ..ReaderOptions::default() };
    let mut reader = Reader::open(dir.path(), Start::Begin, options).unwrap();
    let mut seen = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let table = entry.change.table.map(|table| table.decode().into_owned());
        seen.push((table, entry.position.seq, entry.end));
    }
    let (a, c) = (Some(b"a".to_vec()), Some(b"c".to_vec()));
    assert_eq!(seen, [(a, 2, false), (c, 3, false), (None, 4, true)]);
}

#[test]
fn a_stream_without_commit_lines_ends_transactions_where_the_xid_changes() {
    let dir = log::folder();
    let day = dir.path().join("2017-10-09");
    std::fs::create_dir(&day).unwrap();
    let mut text = String::new();
    for (seq, xid) in [1, 1, 2, 2, 2, 3].iter().enumerate() {
        let table = if xid % 2 == 0 { "b" } else { "a" };
        text += &format!("_c\t1507507200\t_s\t{seq}\t_table\t{table}\t_xid\t{xid}");
        text += "\t_action\tinsert\tid\t1\n";
    }
    std::fs::write(day.join("1507507200.0.tsv"), &text).unwrap();
    let ends = |options: &ReaderOptions| {
        let mut reader = Reader::open(dir.path(), Start::Begin, options.clone()).unwrap();
        let mut ends = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            ends.push((entry.position.seq, entry.end));
        }
        ends
    };
    let mut options = ReaderOptions::default();
    let all = [(0, false), (1, true), (2, false), (3, false), (4, true), (5, true)];
    assert_eq!(ends(&options), all[..5]);
    options.quiet = Some(Duration::ZERO);
    assert_eq!(ends(&options), all);
    options.tables = Some(TableFilter::new().with("public", "a"));
    assert_eq!(ends(&options), [all[0], all[1], all[5]]);
    let writer = Writer::open(dir.path(), WriterOptions::default());
    assert_eq!(reason(&writer.unwrap_err()), "FOREIGN");
    assert_eq!(std::fs::read_to_string(day.join("1507507200.0.tsv")).unwrap(), text);
}

#[test]
fn what_is_unsafe_or_unreadable_is_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    write(&mut writer, 1, 1).unwrap();
    writer.sync().unwrap();
    drop(writer);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let day = dir.path().join("2017-10-09");
    let segment = day.join("1507507200.0.tsv");
    assert_eq!((mode(&day) | 0o750, mode(&segment) | 0o640), (0o750, 0o640));
    let read = || Reader::open(dir.path(), Start::Begin, ReaderOptions::default());
    let write = || Writer::open(dir.path(), WriterOptions::default());
    let moved = dir.path().join("moved");
    std::fs::rename(&segment, &moved).unwrap();
    symlink(&moved, &segment).unwrap();
    assert_eq!(reason(&read().unwrap_err()), "REFUSED");
    assert_eq!(reason(&write().unwrap_err()), "REFUSED");
    std::fs::remove_file(&segment).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &segment,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert_eq!(reason(&read().unwrap_err()), "REFUSED");
    std::fs::remove_file(&segment).unwrap();
    std::fs::write(day.join("1507507200.0.tsv.zst"), "x").unwrap();
    assert_eq!(reason(&read().unwrap_err()), "CORRUPT");
    std::fs::remove_file(day.join("1507507200.0.tsv.zst")).unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(reason(&write().unwrap_err()), "REFUSED");
}

#[test]
fn lines_that_are_no_changes_are_refused_and_the_transaction_goes_on() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    writer.line(b"_table\tz\t_xid\t1\t_action\tinsert\tid\t1").unwrap();
    for (line, damage) in [
        (&b"_table\tz\t_xid\t1"[..], "NOVERB"),
        (b"_table\tz\t_xid\t1\t_action\tinsert\tid\t1\n2", "LINEFEED"),
        (b"_c\t1\t_s\t1\t_table\tz\t_xid\t1\t_action\tinsert", "DUPLICATEHEAD"),
        (b"_xid\t1\t_action\tcommit", "UNKNOWNVERB"),
        (b"_table\tz\t_xid\t2\t_action\tinsert", "XID"),
    ] {
        let error = writer.line(line).unwrap_err();
        assert_eq!(reason(&error), "LINE");
        assert_eq!(error.code().details[1], ("damage", damage.to_owned()));
    }
    writer.commit(Commit::default()).unwrap().unwrap();
    assert_eq!(writer.commit(Commit::default()).unwrap(), None);
    writer.sync().unwrap();
    assert_eq!(all(dir.path()), [(1, 1)]);
}

#[test]
fn a_reader_that_comes_after_retention_learns_of_the_gap() {
    let dir = log::folder();
    let clock = Hand::at(1_507_507_200);
    let options = WriterOptions { segment_bytes: 1, ..options(&clock) };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    let mut ends = Vec::new();
    for xid in 1..=4 {
        ends.push(write(&mut writer, xid, 1).unwrap());
        clock.set(clock.seconds() + 1);
    }
    writer.sync().unwrap();
    let open = |start| Reader::open(dir.path(), start, ReaderOptions::default());
    let mut slow = open(Start::Begin).unwrap();
    while !slow.next().unwrap().unwrap().end {}
    let size = dir.path().join("2017-10-09/1507507200.0.tsv").metadata().unwrap().len();
    let keep = |days, bytes, now| {
        let keep = Keep { days, bytes };
        retain(dir.path(), keep, now, &Storage::default()).unwrap()
    };
    let now = clock.seconds();
    assert_eq!(keep(None, None, now), Removed::default());
    assert_eq!(keep(Some(1), Some(5 * size), now).segments, 0);
    let removed = keep(Some(1), None, 1_507_507_202 + 86_400);
    assert_eq!(removed, Removed { segments: 1, bytes: size, last: Some(ends[0]) });
    let removed = keep(None, Some(2 * size + 60), now);
    assert_eq!(removed, Removed { segments: 1, bytes: size, last: Some(ends[1]) });
    assert_eq!(keep(None, Some(2 * size + 60), now).segments, 0);
    assert_eq!(reason(&slow.next().unwrap_err()), "GAP");
    assert_eq!(reason(&open(Start::After(ends[0].into())).unwrap_err()), "GAP");
    assert_eq!(reason(&open(Start::Clock(1_507_507_200)).unwrap_err()), "GAP");
    for start in [Start::Begin, Start::After(ends[1].into()), Start::Clock(1_507_507_202)] {
        assert_eq!(log::rest(&mut open(start).unwrap()).unwrap(), [(3, 1), (4, 1)], "{start:?}");
    }
}

#[test]
fn after_a_power_loss_a_reader_goes_on_with_what_is_new() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    write(&mut writer, 1, 1).unwrap();
    writer.flush().unwrap();
    let path = dir.path().join("2017-10-09/1507507200.0.tsv");
    let durable = path.metadata().unwrap().len();
    write(&mut writer, 2, 1).unwrap();
    let lost = write(&mut writer, 3, 5).unwrap();
    writer.flush().unwrap();
    drop(writer);
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(durable).unwrap();
    let start = Start::After(lost.into());
    let mut reader = Reader::open(dir.path(), start, ReaderOptions::default()).unwrap();
    assert!(reader.next().unwrap().is_none());
    let mut writer = log::open(dir.path());
    write(&mut writer, 2, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(log::rest(&mut reader).unwrap(), [(2, 1)]);
}

#[test]
fn retention_never_removes_the_last_segment() {
    let dir = log::folder();
    let clock = Hand::at(1_507_500_000);
    let options = WriterOptions { segment_bytes: 1, ..options(&clock) };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    for xid in 1..=3 {
        write(&mut writer, xid, 1).unwrap();
        clock.set(clock.seconds() + 86_400);
    }
    writer.sync().unwrap();
    let keep = Keep { days: Some(0), bytes: Some(0) };
    let removed = retain(dir.path(), keep, i64::MAX, &Storage::default()).unwrap();
    assert_eq!(removed.segments, 2);
    assert_eq!(all(dir.path()), [(3, 1)]);
    assert!(!dir.path().join("2017-10-08").exists());
    write(&mut writer, 4, 1).unwrap();
    writer.sync().unwrap();
    assert_eq!(all(dir.path()), [(3, 1), (4, 1)]);
}

#[test]
fn a_segment_that_readers_may_have_left_is_not_written_again() {
    let dir = log::folder();
    let clock = Hand::at(1_507_500_000);
    let mut writer = Writer::open(dir.path(), options(&clock)).unwrap();
    write(&mut writer, 1, 1).unwrap();
    clock.set(clock.seconds() + 86_400);
    writer.line(b"_table\tz\t_xid\t2\t_action\tinsert\tid\t1").unwrap();
    writer.flush().unwrap();
    let mut reader = Reader::open(dir.path(), Start::Begin, ReaderOptions::default()).unwrap();
    assert_eq!(log::rest(&mut reader).unwrap(), [(1, 1)]);
    // The writer dies, and the clock is set back: the reader waits in a segment that goes.
    drop(writer);
    clock.set(clock.seconds() - 86_400);
    let mut writer = Writer::open(dir.path(), options(&clock)).unwrap();
    write(&mut writer, 3, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(log::rest(&mut reader).unwrap(), [(3, 1)]);
}

#[test]
fn a_segment_that_was_left_for_one_that_was_given_up_is_read_on() {
    let dir = log::folder();
    let clock = Hand::at(1_507_500_000);
    let small = WriterOptions { segment_bytes: 1, ..options(&clock) };
    let mut writer = Writer::open(dir.path(), small).unwrap();
    write(&mut writer, 1, 1).unwrap();
    writer.line(b"_table\tz\t_xid\t2\t_action\tinsert\tid\t1").unwrap();
    writer.flush().unwrap();
    let mut reader = Reader::open(dir.path(), Start::Begin, ReaderOptions::default()).unwrap();
    assert_eq!(log::rest(&mut reader).unwrap(), [(1, 1)]);
    // The next writer has larger segments: it goes on in the one that the reader has left.
    writer.abandon().unwrap();
    drop(writer);
    let mut writer = Writer::open(dir.path(), options(&clock)).unwrap();
    write(&mut writer, 3, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(log::rest(&mut reader).unwrap(), [(3, 1)]);
    clock.set(clock.seconds() + 86_400);
    write(&mut writer, 4, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(log::rest(&mut reader).unwrap(), [(4, 1)]);
}

#[test]
fn a_reader_is_taken_up_anywhere_where_another_was() {
    let dir = log::folder();
    let clock = Hand::at(1_507_500_000);
    let small = WriterOptions { segment_bytes: 3000, ..options(&clock) };
    let mut writer = Writer::open(dir.path(), small).unwrap();
    for xid in 1..=20 {
        write(&mut writer, xid, 1 + xid * 7 % 40).unwrap();
    }
    writer.sync().unwrap();
    // A buffer in which not every transaction has room.
    let narrow = || ReaderOptions { buffer_bytes: 4096, ..ReaderOptions::default() };
    let all = log::lines(dir.path()).0;
    let mut reader = Reader::open(dir.path(), Start::Begin, narrow()).unwrap();
    let mut seen = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        seen.push(entry.change.line().to_vec());
        let position = reader.position();
        let mark = reader.bookmark().unwrap();
        reader = Reader::resume(dir.path(), mark, narrow()).unwrap();
        assert_eq!(reader.position(), position);
    }
    assert_eq!(seen, all);
    let end = reader.bookmark().unwrap();
    let mut reader = Reader::open(dir.path(), Start::Begin, narrow()).unwrap();
    let between = reader.bookmark().unwrap();
    reader.next().unwrap();
    let within = reader.bookmark().unwrap();
    // What was removed in the meantime is told.
    let keep = Keep { days: None, bytes: Some(1) };
    retain(dir.path(), keep, 0, &Storage::default()).unwrap();
    let resume = |mark| {
        let mut reader = Reader::resume(dir.path(), mark, narrow())?;
        reader.next().map(|entry| entry.map(|entry| entry.change.xid))
    };
    assert_eq!(reason(&resume(within).unwrap_err()), "GAP");
    assert_eq!(reason(&resume(between).unwrap_err()), "GAP");
    write(&mut writer, 21, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(resume(end).unwrap(), Some(Some(21)));
}
