//! What is missing, and what was exchanged: the chain through the commit lines finds it.

mod log;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use log::{Hand, reason};
use pgsqlite::daystream::{
    Error, Identity, Keep, Mark, Position, Reader, ReaderOptions, Registration, Start, Storage,
    Which, Writer, WriterOptions, compress, retain, segments, verify,
};
use pgsqlite::error::Coded;

const CLOCK: i64 = 1_507_507_200;

/// A writer of small segments.
fn writer(dir: &Path, clock: &Hand) -> Writer {
    Writer::open(dir, WriterOptions { segment_bytes: 500, ..log::options(clock) }).unwrap()
}

/// A stream of 30 transactions in many segments, all of it durable and noted so.
fn stream(dir: &Path) {
    let clock = Hand::at(CLOCK);
    let mut writer = writer(dir, &clock);
    for xid in 1..=30 {
        log::write(&mut writer, xid, 1 + xid % 4).unwrap();
        clock.set(clock.seconds() + 5_000);
    }
    writer.sync().unwrap();
    writer.save_identity(&Identity { slot: "s".into(), ..Identity::default() }).unwrap();
}

/// Every segment's bytes, by its path.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = segments(dir).unwrap();
    all.iter().map(|s| (s.path(dir), std::fs::read(s.path(dir)).unwrap())).collect()
}

/// Where transactions end.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    let mut at = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        at += line.len();
        if line.ends_with(b"\t_action\tcommit\n") {
            ends.push(at);
        }
    }
    ends
}

fn damage(error: &Error) -> String {
    let details = error.code().details;
    details
        .iter()
        .find(|(key, _)| *key == "damage")
        .map(|(_, word)| word.clone())
        .unwrap_or_default()
}

/// Looks at a stream of which something is missing: what `verify`, a reader and a writer say.
fn look(dir: &Path) -> [Option<String>; 3] {
    let verified = verify(dir).map_or_else(Some, |(_, damage)| damage);
    let read = log::lines(dir).1;
    let written = Writer::open(dir, WriterOptions::default()).err();
    [verified, read, written].map(|error| error.map(|error| damage(&error)))
}

#[test]
fn each_missing_transaction_and_segment_is_found() {
    let dir = log::folder();
    stream(dir.path());
    let state = std::fs::read(dir.path().join("stream.tsv")).unwrap();
    let files = files(dir.path());
    assert!(files.len() > 8, "{}", files.len());
    let last = files.keys().next_back().unwrap();
    let (mut cut, mut removed) = (0, 0);
    for (path, bytes) in &files {
        let ends = ends(bytes);
        for (at, pair) in ends.windows(2).enumerate() {
            let less = [&bytes[..pair[0]], &bytes[pair[1]..]].concat();
            std::fs::write(path, less).unwrap();
            let [verified, read, written] = look(dir.path());
            let what = format!("{path:?}, transaction {at}");
            // The first of a segment is missing by the segment's name.
            let found = if at == 0 && ends.len() > 2 { "NAME" } else { "CHAIN" };
            if path == last && pair[1] == bytes.len() {
                assert_eq!(verified.as_deref(), Some("LOST"), "{what}");
                assert_eq!((read, written.as_deref()), (None, Some("LOST")), "{what}");
            } else if ends.len() > 2 || path != last {
                assert_eq!(verified.as_deref(), Some(found), "{what}");
                assert_eq!(read.as_deref(), Some(found), "{what}");
            }
            cut += 1;
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::remove_file(path).unwrap();
        let [verified, read, written] = look(dir.path());
        if path == last {
            assert_eq!(verified.as_deref(), Some("LOST"), "{path:?}");
            assert_eq!((read, written.as_deref()), (None, Some("LOST")), "{path:?}");
        } else {
            assert_eq!(verified.as_deref(), Some("CHAIN"), "{path:?}");
            assert_eq!(read.as_deref(), Some("CHAIN"), "{path:?}");
        }
        removed += 1;
        std::fs::write(path, bytes).unwrap();
        std::fs::write(dir.path().join("stream.tsv"), &state).unwrap();
    }
    assert_eq!((cut, removed), (30, files.len()));
    assert_eq!(look(dir.path()), [None, None, None]);
}

#[test]
fn a_hole_behind_what_retention_removed_is_found() {
    let dir = log::folder();
    stream(dir.path());
    let storage = Storage::default();
    let keep = Keep { days: None, bytes: Some(4_000) };
    retain(dir.path(), keep, 0, &storage).unwrap();
    let noted = std::fs::read_to_string(dir.path().join("retained.tsv")).unwrap();
    assert!(noted.contains("\tlsn\t0/") && noted.contains("\tchain\t"), "{noted}");
    assert_eq!(look(dir.path()), [None, None, None]);
    let first = segments(dir.path()).unwrap()[0].path(dir.path());
    std::fs::remove_file(first).unwrap();
    let [verified, read, _] = look(dir.path());
    assert_eq!((verified.as_deref(), read.as_deref()), (Some("CHAIN"), Some("CHAIN")));
    // Whoever did that on purpose says so.
    let first = segments(dir.path()).unwrap()[0].first;
    let note = format!("clock\t{}\tseq\t{}\n", first.clock - 1, 0);
    std::fs::write(dir.path().join("retained.tsv"), note).unwrap();
    assert_eq!(look(dir.path()), [None, None, None]);
}

#[test]
fn a_transaction_of_another_stream_is_found() {
    let (dir, other) = (log::folder(), log::folder());
    stream(dir.path());
    let clock = Hand::at(CLOCK);
    let mut foreign = writer(other.path(), &clock);
    for xid in 1..=30 {
        // The same positions and LSNs; one value is another one.
        if xid == 7 {
            let line = "_table\tz\t_xid\t7\t_action\tinsert\tid\t0\tname\tcat7";
            for _ in 0..4 {
                foreign.line(line.as_bytes()).unwrap();
            }
            let lsn = Some(deltaflood::Lsn(700));
            let commit = pgsqlite::daystream::Commit { xid: Some(7), lsn, time_us: Some(7) };
            foreign.commit(commit).unwrap();
        } else {
            log::write(&mut foreign, xid, 1 + xid % 4).unwrap();
        }
        clock.set(clock.seconds() + 5_000);
    }
    foreign.sync().unwrap();
    drop(foreign);
    let (ours, theirs) = (files(dir.path()), files(other.path()));
    let mut found = 0;
    for ((path, bytes), (_, other)) in ours.iter().zip(&theirs) {
        if bytes == other {
            continue;
        }
        std::fs::write(path, other).unwrap();
        let [verified, read, _] = look(dir.path());
        assert_eq!(verified.as_deref(), Some("CHAIN"), "{path:?}");
        assert_eq!(read.as_deref(), Some("CHAIN"), "{path:?}");
        std::fs::write(path, bytes).unwrap();
        found += 1;
    }
    // Everything behind the seventh has another chain.
    assert!(found > 5, "{found}");
}

#[test]
fn a_copy_that_missed_a_segment_while_it_was_compressed_is_found() {
    let (dir, copy) = (log::folder(), log::folder());
    stream(dir.path());
    let before = files(dir.path());
    compress(dir.path(), Which::Closed, &Storage::default(), &|| true).unwrap();
    let after = files(dir.path());
    // Of one segment neither form: it was listed before, and opened after.
    for missing in 0..before.len() - 1 {
        let to = copy.path().join(missing.to_string());
        std::fs::create_dir(&to).unwrap();
        std::fs::copy(dir.path().join("stream.tsv"), to.join("stream.tsv")).unwrap();
        for (at, (path, bytes)) in after.iter().enumerate().filter(|(at, _)| *at != missing) {
            let name = path.strip_prefix(dir.path()).unwrap();
            std::fs::create_dir_all(to.join(name.parent().unwrap())).unwrap();
            std::fs::write(to.join(name), bytes).unwrap();
            assert!(at + 1 == after.len() || path.extension().unwrap() == "zst");
        }
        let error = verify(&to).unwrap().1.unwrap();
        assert_eq!(damage(&error), "CHAIN", "{missing}");
    }
}

/// Transactions behind a place.
fn behind(dir: &Path, mark: Mark) -> Vec<u32> {
    let mut reader = Reader::open(dir, Start::After(mark), ReaderOptions::default()).unwrap();
    log::rest(&mut reader).unwrap().into_iter().map(|(xid, _)| xid).collect()
}

/// A stream of which a power loss took the transactions from `lost` on, and that goes on with the
/// clock set back: its positions now are those of other transactions. What stood there before.
fn set_back(dir: &Path, lost: u32) -> Vec<Mark> {
    let clock = Hand::at(CLOCK);
    let mut first = writer(dir, &clock);
    let mut marks = Vec::new();
    let mut kept = None;
    for xid in 1..=20 {
        if xid == lost {
            first.sync().unwrap();
            kept = Some(files(dir));
        }
        log::write(&mut first, xid, 2).unwrap();
        first.flush().unwrap();
        marks.push(first.last_mark().unwrap());
        clock.set(clock.seconds() + 10);
    }
    drop(first);
    for path in files(dir).keys() {
        std::fs::remove_file(path).unwrap();
    }
    for (path, bytes) in kept.unwrap() {
        std::fs::write(path, bytes).unwrap();
    }
    // The server sends the lost ones again, and others came before them into the same seconds.
    clock.set(CLOCK);
    let mut again = writer(dir, &clock);
    for xid in lost..=40 {
        log::write(&mut again, xid, 1).unwrap();
    }
    again.sync().unwrap();
    marks
}

#[test]
fn after_a_power_loss_and_a_clock_set_back_a_reader_goes_on_by_lsn() {
    let dir = log::folder();
    let marks = set_back(dir.path(), 6);
    for (at, mark) in marks.iter().enumerate() {
        let xid = at as u32 + 1;
        assert_eq!(behind(dir.path(), *mark), (xid + 1..=40).collect::<Vec<_>>(), "{xid}");
        // As a mirror has stored it before there was a chain.
        let old = Mark { chain: None, ..*mark };
        assert_eq!(behind(dir.path(), old), (xid + 1..=40).collect::<Vec<_>>(), "{xid}");
    }
    // Of more than the stream ever had, whatever is beyond.
    let far = Mark { lsn: Some(deltaflood::Lsn(3_500)), ..marks[19] };
    assert_eq!(behind(dir.path(), far), (36..=40).collect::<Vec<_>>());
    let all = Mark { lsn: Some(deltaflood::Lsn(9_900)), ..marks[19] };
    assert_eq!(behind(dir.path(), all), []);
}

#[test]
fn a_mark_without_an_lsn_that_is_another_transactions_is_a_gap() {
    let dir = log::folder();
    let clock = Hand::at(CLOCK);
    let mut writer = writer(dir.path(), &clock);
    log::write(&mut writer, 1, 2).unwrap();
    writer.sync().unwrap();
    let mark = writer.last_mark().unwrap();
    let other = Mark { lsn: None, chain: mark.chain.map(|chain| chain ^ 1), ..mark };
    let opened = Reader::open(dir.path(), Start::After(other), ReaderOptions::default());
    assert_eq!(reason(&opened.unwrap_err()), "GAP");
    assert_eq!(behind(dir.path(), Mark { lsn: None, ..mark }), []);
}

#[test]
fn a_registered_reader_goes_on_by_lsn_and_retention_waits_for_it() {
    let dir = log::folder();
    // It has confirmed what was lost afterwards.
    let clock = Hand::at(CLOCK);
    let mut first = writer(dir.path(), &clock);
    for xid in 1..=8 {
        log::write(&mut first, xid, 2).unwrap();
        clock.set(clock.seconds() + 10);
    }
    first.flush().unwrap();
    let (options, storage) = (ReaderOptions::default(), Storage::default());
    let open = || {
        let options = options.clone();
        Registration::open(dir.path(), "a", Start::Begin, options, storage.clone()).unwrap()
    };
    let (mut reader, mut registration) = open();
    log::rest(&mut reader).unwrap();
    registration.confirm(reader.position().unwrap()).unwrap();
    drop((reader, registration, first));
    let readers = dir.path().join("readers/a.tsv");
    let text = std::fs::read_to_string(&readers).unwrap();
    assert!(text.contains("\tlsn\t0/320\tchain\t"), "{text}");
    for path in files(dir.path()).keys() {
        std::fs::remove_file(path).unwrap();
    }
    clock.set(CLOCK - 100);
    let mut again = writer(dir.path(), &clock);
    for xid in 3..=30 {
        log::write(&mut again, xid, 2).unwrap();
    }
    again.sync().unwrap();
    // All positions are before the one that it has confirmed.
    assert!(again.last_position() < Some(Position { clock: CLOCK, seq: 0 }));
    retain(dir.path(), Keep { days: None, bytes: Some(1) }, 0, &storage).unwrap();
    let (mut reader, _registration) = open();
    let got: Vec<u32> = log::rest(&mut reader).unwrap().iter().map(|(xid, _)| *xid).collect();
    assert_eq!(got, (9..=30).collect::<Vec<_>>());
}
