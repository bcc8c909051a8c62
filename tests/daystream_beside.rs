//! Readers, retention and registration beside a writer at work, and beside other users.

mod log;

use std::path::Path;
use std::time::Duration;

use log::{Hand, reason, rest};
use pgsqlite::daystream::{
    Identity, Keep, Mark, Position, Reader, ReaderOptions, Registration, Start, Storage, Woken,
    Writer, WriterOptions, forget, registered, registered_seen, retain, segments, verify,
};
use pgsqlite::error::Coded;

const CLOCK: i64 = 1_507_507_200;

fn writer(dir: &Path, clock: &Hand, segment_bytes: u64) -> Writer {
    Writer::open(dir, WriterOptions { segment_bytes, ..log::options(clock) }).unwrap()
}

fn begin(dir: &Path) -> Reader {
    Reader::open(dir, Start::Begin, ReaderOptions::default()).unwrap()
}

/// Lines of a transaction that is given up: their lengths differ from one time to the next.
fn give_up(writer: &mut Writer, xid: u32, lines: u32, width: usize, reader: &mut Reader) {
    for n in 0..lines {
        let value = "x".repeat(width + n as usize % 7);
        let line = format!("_table\tz\t_xid\t{xid}\t_action\tinsert\tid\t{n}\tv\t{value}");
        writer.line(line.as_bytes()).unwrap();
    }
    writer.flush().unwrap();
    // It has begun to look at the transaction.
    assert!(reader.next().unwrap().is_none());
    writer.abandon().unwrap();
}

#[test]
fn a_transaction_given_up_twice_beside_a_reader_is_no_damage() {
    let dir = log::folder();
    let clock = Hand::at(CLOCK);
    let mut writer = writer(dir.path(), &clock, 64 << 20);
    log::write(&mut writer, 1, 2).unwrap();
    writer.flush().unwrap();
    let mut reader = begin(dir.path());
    assert_eq!(rest(&mut reader).unwrap(), [(1, 2)]);
    for round in 0..20 {
        // The reader sleeps while the next ones are written, and wakes within each of them.
        give_up(&mut writer, 2, 40, 10 + round * 3, &mut reader);
    }
    log::write(&mut writer, 2, 60).unwrap();
    writer.flush().unwrap();
    assert_eq!(rest(&mut reader).unwrap(), [(2, 60)]);
}

#[test]
fn damage_beside_a_writer_at_work_is_told() {
    let dir = log::folder();
    let clock = Hand::at(CLOCK);
    let mut writer = writer(dir.path(), &clock, 64 << 20);
    log::write(&mut writer, 1, 2).unwrap();
    log::write(&mut writer, 2, 5).unwrap();
    writer.flush().unwrap();
    let path = segments(dir.path()).unwrap()[0].path(dir.path());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("fox2", "fix2", 1)).unwrap();
    let mut reader = begin(dir.path());
    let error = rest(&mut reader).unwrap_err();
    assert_eq!(error.code().details[2], ("damage", "CRC".to_owned()));
}

#[test]
fn retention_keeps_the_last_segment_in_which_a_transaction_ends() {
    let dir = log::folder();
    let clock = Hand::at(CLOCK);
    let mut first = writer(dir.path(), &clock, 1);
    for xid in 1..=3 {
        log::write(&mut first, xid, 2).unwrap();
    }
    let last = first.last_mark();
    first.line(b"_table\tz\t_xid\t4\t_action\tinsert\tid\t1").unwrap();
    first.sync().unwrap();
    assert_eq!(segments(dir.path()).unwrap().len(), 4);
    let keep = Keep { days: Some(0), bytes: Some(1) };
    let removed = retain(dir.path(), keep, i64::MAX, &Storage::default()).unwrap();
    assert_eq!((removed.segments, segments(dir.path()).unwrap().len()), (2, 2));
    // Its writer is killed.
    drop(first);
    let again = writer(dir.path(), &clock, 1);
    assert_eq!((again.last_mark(), again.last_lsn().map(|lsn| lsn.0)), (last, Some(300)));
    assert!(verify(dir.path()).unwrap().1.is_none());
}

#[test]
fn a_stream_without_a_segment_knows_its_last_lsn() {
    // As retention of an older version left it: the last whole segment was removed.
    let dir = log::folder();
    let clock = Hand::at(CLOCK);
    let mut first = writer(dir.path(), &clock, 1);
    log::write(&mut first, 1, 2).unwrap();
    first.sync().unwrap();
    first.save_identity(&Identity { slot: "s".into(), ..Identity::default() }).unwrap();
    let last = first.last_mark().unwrap();
    drop(first);
    let gone = segments(dir.path()).unwrap()[0].path(dir.path());
    std::fs::remove_file(gone).unwrap();
    let Position { clock: second, seq } = last.position;
    std::fs::write(dir.path().join("retained.tsv"), format!("clock\t{second}\tseq\t{seq}\n"))
        .unwrap();
    clock.set(CLOCK - 500);
    let mut again = writer(dir.path(), &clock, 1);
    assert_eq!(again.last_lsn().map(|lsn| lsn.0), Some(100));
    log::write(&mut again, 2, 2).unwrap();
    again.sync().unwrap();
    assert!(again.last_position() > Some(last.position), "positions rise");
    assert_eq!(log::all(dir.path()), [(2, 2)]);
    // Without the note it is a loss, and said to be.
    drop(again);
    for segment in segments(dir.path()).unwrap() {
        std::fs::remove_file(segment.path(dir.path())).unwrap();
    }
    std::fs::remove_file(dir.path().join("retained.tsv")).unwrap();
    let error = Writer::open(dir.path(), WriterOptions::default()).unwrap_err();
    assert_eq!(error.code().details[0], ("segment", "stream.tsv".to_owned()));
    let (_, damage) = verify(dir.path()).unwrap();
    assert_eq!(damage.map(|damage| reason(&damage)), Some("CORRUPT"));
}

#[test]
fn the_names_of_thousands_of_tables_are_read_again_or_refused() {
    let dir = log::folder();
    let writer = log::open(dir.path());
    let names = |count: usize| (0..count).map(|n| format!("public.a_table_with_a_name_{n}"));
    let identity = Identity { tables: names(12_000).collect(), ..Identity::default() };
    writer.save_identity(&identity).unwrap();
    assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity.clone()));
    let more = Identity { tables: names(60_000).collect(), ..Identity::default() };
    let error = writer.save_identity(&more).unwrap_err();
    assert_eq!(reason(&error), "STATESIZE");
    assert_eq!(error.code().details[0], ("tables", "60000".to_owned()));
    assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity));
    std::fs::write(dir.path().join("stream.tsv"), "x".repeat(2 << 20)).unwrap();
    assert_eq!(reason(&Identity::load(dir.path()).unwrap_err()), "STATE");
}

#[test]
fn a_segment_that_begins_with_a_heartbeat_has_schema_lines_still_to_come() {
    let dir = log::folder();
    let clock = Hand::at(CLOCK);
    let mut writer = writer(dir.path(), &clock, 64 << 20);
    assert!(writer.begin().unwrap().fresh);
    log::write(&mut writer, 1, 1).unwrap();
    assert!(!writer.begin().unwrap().fresh);
    writer.abandon().unwrap();
    log::write(&mut writer, 2, 1).unwrap();
    // The next day begins with a heartbeat and a message.
    clock.set(CLOCK + 86_400);
    for xid in [3, 4] {
        let line = format!("_xid\t{xid}\t_action\tmessage\tprefix\tp\tcontent\tc");
        assert!(writer.begin().unwrap().fresh, "{xid}");
        writer.line(line.as_bytes()).unwrap();
        let lsn = Some(deltaflood::Lsn(u64::from(xid) * 100));
        writer.commit(pgsqlite::daystream::Commit { xid: Some(xid), lsn, time_us: None }).unwrap();
    }
    assert!(writer.begin().unwrap().fresh);
    log::write(&mut writer, 5, 1).unwrap();
    assert!(!writer.begin().unwrap().fresh);
}

#[test]
fn a_follower_that_is_woken_all_the_time_sees_the_next_segment() {
    let dir = log::folder();
    let clock = Hand::at(CLOCK);
    let mut writer = writer(dir.path(), &clock, 1);
    log::write(&mut writer, 1, 1).unwrap();
    writer.flush().unwrap();
    let mut reader = begin(dir.path());
    assert_eq!(rest(&mut reader).unwrap(), [(1, 1)]);
    // Watching begins, and the kernel's reports are lost: a file system that has none.
    while reader.wait(Some(Duration::ZERO), None).unwrap() == Woken::Change {
        assert_eq!(rest(&mut reader).unwrap(), []);
    }
    log::write(&mut writer, 2, 1).unwrap();
    writer.flush().unwrap();
    reader.forget_reports().unwrap();
    let (wake, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &theirs, b"x").unwrap();
    let began = std::time::Instant::now();
    loop {
        let woken = reader
            .wait(Some(Duration::from_millis(20)), Some(std::os::fd::AsFd::as_fd(&wake)))
            .unwrap();
        let got = rest(&mut reader).unwrap();
        if !got.is_empty() {
            assert_eq!(got, [(2, 1)]);
            return;
        }
        assert_eq!(woken, Woken::Wake);
        assert!(began.elapsed() < Duration::from_secs(10), "it never looked");
    }
}

#[test]
fn clocks_beyond_the_last_year_are_places_like_others() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    log::write(&mut writer, 1, 1).unwrap();
    writer.flush().unwrap();
    let far = Position { clock: i64::MAX, seq: u64::MAX };
    for start in [Start::Clock(i64::MAX), Start::At(far)] {
        let mut reader = Reader::open(dir.path(), start, ReaderOptions::default()).unwrap();
        assert_eq!(rest(&mut reader).unwrap(), [], "{start:?}");
        assert_eq!(reader.position(), writer.last_position(), "{start:?}");
        log::write(&mut writer, 2, 1).unwrap();
        writer.flush().unwrap();
        assert_eq!(rest(&mut reader).unwrap(), [], "{start:?}");
    }
    // What is behind a position that is no more is whatever comes.
    let start = Start::After(Mark::at(far));
    let mut reader = Reader::open(dir.path(), start, ReaderOptions::default()).unwrap();
    assert_eq!(rest(&mut reader).unwrap(), []);
    log::write(&mut writer, 9, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(rest(&mut reader).unwrap(), [(9, 1)]);
}

#[test]
fn what_cannot_be_seen_of_readers_is_told() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    log::write(&mut writer, 1, 1).unwrap();
    writer.flush().unwrap();
    let (options, storage) = (ReaderOptions::default(), Storage::default());
    for name in ["a", "b"] {
        let options = options.clone();
        Registration::open(dir.path(), name, Start::Begin, options, storage.clone()).unwrap();
    }
    let file = dir.path().join("readers/a.tsv");
    std::fs::remove_file(&file).unwrap();
    // What nobody may read, root included.
    std::os::unix::fs::symlink("/nowhere", &file).unwrap();
    let (seen, unseen) = registered_seen(dir.path()).unwrap();
    assert_eq!(seen.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!((unseen[0].0.as_str(), reason(&unseen[0].1)), ("a", "REFUSED"));
    assert_eq!(reason(&registered(dir.path()).unwrap_err()), "REFUSED");
    let keep = Keep { days: None, bytes: Some(1) };
    assert_eq!(reason(&retain(dir.path(), keep, 0, &storage).unwrap_err()), "REFUSED");
    assert_eq!(reason(&forget(dir.path(), "c", &storage).unwrap_err()), "NOREADER");
}

#[test]
fn a_reader_registers_in_a_folder_of_its_own_user_only() {
    let dir = log::folder();
    let mut writer = log::open(dir.path());
    log::write(&mut writer, 1, 1).unwrap();
    writer.flush().unwrap();
    let open = || {
        let options = ReaderOptions::default();
        Registration::open(dir.path(), "a", Start::Begin, options, Storage::default())
    };
    use std::os::unix::fs::PermissionsExt;
    let mode =
        |mode| std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).unwrap();
    mode(0o777);
    assert_eq!(reason(&open().map(|_| ()).unwrap_err()), "REFUSED");
    mode(0o750);
    // Only root can give a folder away.
    if std::os::unix::fs::chown(dir.path(), Some(1), None).is_ok() {
        let error = open().map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("do this as that user"), "{error}");
        assert!(!dir.path().join("readers").exists());
        std::os::unix::fs::chown(dir.path(), Some(0), None).unwrap();
    }
    open().unwrap();
}
