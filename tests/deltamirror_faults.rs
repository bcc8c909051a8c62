//! A written stream that cannot be applied: what is said, and that nothing is lost.

mod mirror;
mod support;

use mirror::*;
use pgsqlite::daystream::Identity;
use pgsqlite::daystream::{Keep, Storage, WriterOptions, retain};
use pgsqlite::deltamirror::{Error, Event, Follower, Options, apply, status};
use pgsqlite::error::{Class, Coded};
use pgsqlite::sqlite::{Access, Db};
use std::sync::atomic::AtomicBool;

#[test]
fn the_first_bad_transaction_stops_and_all_before_it_stay() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    for n in 1..=3u32 {
        bed.transaction(n, &[&format!("_table|t|_action|insert|id|{n}")]);
    }
    let bad = bed.transaction(
        4,
        &[
            "_table|t|_action|insert|id|4",
            "_table|t|_action|update|id|77|a|nobody",
            "_table|t|_action|insert|id|5",
        ],
    );
    bed.transaction(6, &["_table|t|_action|insert|id|6"]);
    for _ in 0..2 {
        let error = bed.apply(&db).expect_err("no such row");
        assert_eq!((reason(&error), error.class()), ("NOROW", Class::Poison));
        let Error::Row(row) = &error else { panic!("{error}") };
        assert_eq!((row.table.as_str(), row.key.as_str()), ("t", "id=77"));
        assert_eq!(row.place.position.seq + 2, bad.seq);
        assert_eq!(rows(&db, "select id from t"), ["1", "2", "3"]);
        assert!(!db.in_transaction());
    }
    let done = bed.apply_keeping(&db).expect("keep");
    assert_eq!((done.counts.errors, done.counts.changes), (1, 3));
    assert_eq!(rows(&db, "select id from t"), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(
        rows(&db, "select table_name, key, reason, line like '%nobody' from _deltamirror_error"),
        ["'t' 'id=77' 'NOROW' 1"]
    );
}

#[test]
fn every_row_that_does_not_fit_has_its_reason() {
    let line = |line: &str| {
        let mut bed = Bed::new();
        let db = bed.db();
        prepare(&db);
        keyed(&db);
        full(&db);
        bed.transaction(1, &["_table|t|_action|insert|id|1|a|one"]);
        let lines: Vec<&str> = line.split('/').collect();
        bed.transaction(2, &lines);
        let error = bed.apply(&db).expect_err(line);
        assert_eq!(rows(&db, "select * from t"), ["1 'one' NULL"], "{line}");
        let kept = bed.apply_keeping(&db).map(|done| done.counts.errors);
        (reason(&error).to_owned(), kept.ok())
    };
    let kept = |reason: &str| (reason.to_owned(), Some(1));
    assert_eq!(line("_table|t|_action|insert|id|1"), kept("CONFLICT"));
    assert_eq!(line("_table|t|_action|insert|id|one"), kept("VALUE"));
    assert_eq!(line("_table|t|_action|insert|id|99999999999999999999"), kept("VALUE"));
    assert_eq!(line("_table|t|_action|delete|id|5"), kept("NOROW"));
    assert_eq!(line("_table|t|_action|delete|a|one"), kept("ORDER"));
    assert_eq!(line("_table|t|_action|update|a|one"), kept("ORDER"));
    assert_eq!(line("_table|t|_action|insert|id|3|id|4"), kept("ORDER"));
    assert_eq!(line("_table|f|_action|update|x|1"), kept("ORDER"));
    assert_eq!(line("_table|t|_action|replace|id|1"), kept("ORDER"));
    assert_eq!(line("_table|t|_action|replace|id|1/_table|f|_action|insert|x|1"), kept("ORDER"));
    assert_eq!(line("_table|t|_unchanged|{|_action|update|id|1"), kept("ORDER"));
    // An old row that cannot be read takes its update with it.
    let two = (String::from("VALUE"), Some(2));
    assert_eq!(line("_table|t|_action|replace|id|x/_table|t|_action|update|id|1|a|wrong"), two);
    let stops = |reason: &str| (reason.to_owned(), None);
    assert_eq!(line("_table|t|_action|insert|id|3|zz|4"), stops("DRIFT"));
    assert_eq!(line("_table|t|_unchanged|zz|_action|update|id|1"), stops("DRIFT"));
    assert_eq!(line("_table|t|_action|insert|id|3|a"), stops("BADLINE"));
}

#[test]
fn a_value_beyond_sqlites_limit_is_named_and_the_beginning_of_its_line_kept() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    db.set_length_limit(100_000);
    for (xid, odd) in [(1, ""), (2, "x")] {
        let long = format!("{odd}{}", "\u{fc}".repeat(60_000));
        bed.transaction(xid, &[&format!("_table|t|_action|insert|id|{xid}|a|{long}")]);
    }
    // Each fits, but not together.
    let half = "y".repeat(60_000);
    bed.transaction(3, &[&format!("_table|t|_action|insert|id|3|a|{half}|b|{half}")]);
    bed.transaction(4, &["_table|t|_action|insert|id|4|a|short"]);
    let error = bed.apply(&db).expect_err("too big");
    assert_eq!((reason(&error), error.class()), ("TOOBIG", Class::Poison));
    let Error::Row(row) = &error else { panic!("{error}") };
    assert_eq!((row.table.as_str(), row.key.as_str()), ("t", "id=1"));
    let done = bed.apply_keeping(&db).expect("keep");
    assert_eq!((done.counts.errors, done.counts.changes), (3, 1));
    assert_eq!(rows(&db, "select id, a from t"), ["4 'short'"]);
    let kept = "select reason, length(cast(line as blob)) between 33332 and 33333, \
        length(line) * 2 - length(cast(line as blob)) < 100, message like '%(the first % bytes)' \
        from _deltamirror_error where line like '%insert%' order by id";
    assert_eq!(rows(&db, kept), ["'TOOBIG' 1 1 1", "'TOOBIG' 1 1 1", "'TOOBIG' 1 0 1"]);
}

#[test]
fn a_row_that_sqlite_does_not_store_is_too_big() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    let big = "x".repeat(100_000);
    bed.transaction(1, &[&format!("_table|t|_action|insert|id|1|a|{big}")]);
    bed.transaction(2, &["_table|t|_action|insert|id|2"]);
    db.set_length_limit(50_000);
    let error = bed.apply(&db).expect_err("too big");
    assert_eq!((reason(&error), error.class()), ("TOOBIG", Class::Poison));
    db.set_length_limit(1_000_000);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select id, length(a) from t"), ["1 100000", "2 NULL"]);
}

#[test]
fn a_changed_definition_stops_before_any_wrong_row() {
    let columns = "id|integer|a|text|b|text";
    for (schema, what) in [
        ("id|integer|a|text", "column \"b\" is no longer there"),
        ("id|bigint|a|text|b|text", "column \"id\" was integer and is bigint"),
        ("id|integer|a|text|c|text", "column \"b\" is no longer there"),
        ("id|integer|a|text|b|text|c|text", "column \"c\" text is new"),
        ("id|integer|b|text|a|text", "column \"a\" was dropped and made again, or changed names"),
    ] {
        let mut bed = Bed::new();
        let db = bed.db();
        prepare(&db);
        keyed(&db);
        bed.transaction(
            1,
            &[
                &format!("_table|t|_key|id|_action|schema|{columns}"),
                "_table|t|_action|insert|id|1",
            ],
        );
        bed.transaction(
            2,
            &[
                "_table|t|_action|insert|id|2",
                &format!("_table|t|_key|id|_action|schema|{schema}"),
                "_table|t|_action|insert|id|3",
            ],
        );
        for error in [bed.apply(&db), bed.apply_keeping(&db)].map(|r| r.expect_err("drift")) {
            assert_eq!((reason(&error), error.class()), ("DRIFT", Class::Drift));
            assert!(error.to_string().contains(what), "{error}");
            assert_eq!(rows(&db, "select id from t"), ["1"]);
        }
    }
}

#[test]
fn a_stream_of_another_server_or_database_is_refused() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    bed.transaction(1, &["_table|t|_action|insert|id|1"]);
    bed.writer.save_identity(&identity(8)).expect("identity");
    let error = bed.apply(&db).expect_err("another system");
    assert_eq!((reason(&error), error.class()), ("OTHERSERVER", Class::Drift));
    let mut other = identity(7);
    other.database = "e".into();
    bed.writer.save_identity(&other).expect("identity");
    assert_eq!(reason(&bed.apply(&db).expect_err("another database")), "OTHERSERVER");
    assert_eq!(rows(&db, "select count(*) from t"), ["0"]);
    bed.writer.save_identity(&identity(7)).expect("identity");
    bed.apply(&db).expect("apply");
}

#[test]
fn a_stream_that_was_made_anew_is_refused() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    let made = |bed: &mut Bed, made| {
        let identity = Identity { made, ..identity(7) };
        bed.writer.save_identity(&identity).expect("identity");
    };
    // A file and a stream from before streams told.
    to_version_0(&db);
    bed.transaction(1, &["_table|t|_action|insert|id|1"]);
    bed.apply(&db).expect("apply");
    // The stream tells now.
    made(&mut bed, 5);
    bed.transaction(2, &["_table|t|_action|insert|id|2"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select made from _deltamirror_stream"), ["5"]);
    bed.transaction(3, &["_table|t|_action|insert|id|3"]);
    made(&mut bed, 6);
    let error = bed.apply(&db).expect_err("another stream");
    assert_eq!((reason(&error), error.class()), ("OTHERSTREAM", Class::Drift));
    assert_eq!(reason(&status(&db, Some(&bed.source())).expect_err("status")), "OTHERSTREAM");
    assert_eq!(rows(&db, "select id from t"), ["1", "2"]);
    made(&mut bed, 5);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select id from t"), ["1", "2", "3"]);
}

#[test]
fn what_retention_removed_before_the_first_run_is_a_gap() {
    let mut bed = Bed::with(WriterOptions { segment_bytes: 1, ..WriterOptions::default() });
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    for n in 1..=3u32 {
        bed.transaction(n, &[&format!("_table|t|_action|insert|id|{n}")]);
    }
    let keep = Keep { bytes: Some(0), ..Keep::default() };
    let removed = retain(&bed.dir.path().join("stream"), keep, 0, &Storage::default());
    assert_eq!(removed.expect("retain").segments, 2);
    let error = bed.apply(&db).expect_err("a gap");
    assert_eq!(
        (error.code().stage, reason(&error), error.class()),
        ("DAYSTREAM", "GAP", Class::Drift)
    );
    assert_eq!(rows(&db, "select count(*) from t"), ["0"]);
}

#[test]
fn a_locked_database_is_waited_for_and_then_said() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    bed.transaction(1, &["_table|t|_action|insert|id|1"]);
    let other = Db::open(&bed.file(), Access::Write).expect("open");
    other.exec("BEGIN IMMEDIATE").expect("lock");
    let short = Options { busy: ms(50), ..Options::default() };
    let error = bed.apply_with(&db, short).expect_err("locked");
    assert_eq!((error.code().stage, error.code().reason), ("SQLITE", "BUSY"));
    assert_eq!(error.class(), Class::Retry);
    // A reader in a database without a WAL holds up the commit.
    other.exec("ROLLBACK; BEGIN; SELECT count(*) FROM t").expect("read");
    assert_eq!(reason(&bed.apply_with(&db, short).expect_err("read")), "BUSY");
    assert!(!db.in_transaction());
    other.exec("COMMIT").expect("end");
    assert_eq!(bed.apply_with(&db, short).expect("apply").counts.changes, 1);
    // A lock that goes away within the time is no error.
    bed.transaction(2, &["_table|t|_action|insert|id|2"]);
    other.exec("BEGIN IMMEDIATE").expect("lock");
    let (file, source) = (bed.file(), bed.source());
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel();
        let applying = scope.spawn(move || {
            let db = Db::open(&file, Access::Write).expect("open");
            send.send(()).expect("send");
            let stop = AtomicBool::new(false);
            let done = apply(&db, &source, None, Options::default(), &stop);
            done.expect("apply").counts.changes
        });
        receive.recv().expect("started");
        // Not COMMIT: without a WAL that would have to wait for a reader, which the other may be.
        other.exec("ROLLBACK").expect("unlock");
        assert_eq!(applying.join().expect("thread"), 1);
    });
}

#[test]
fn a_reader_that_stays_does_not_make_the_wal_grow_for_ever() {
    let mut bed = Bed::new();
    let db = bed.db();
    db.exec("PRAGMA journal_mode = WAL").expect("WAL");
    prepare(&db);
    keyed(&db);
    let reader = Db::open(&bed.file(), Access::Read).expect("open");
    reader.exec("BEGIN; SELECT count(*) FROM t").expect("read");
    let wal = bed.dir.path().join("mirror.db-wal");
    let size = || wal.metadata().expect("a WAL").len();
    let cap = 400_000;
    let options =
        Options { batch_changes: 1, busy: ms(50), wal_bytes_max: cap, ..Options::default() };
    for n in 1..=20u32 {
        let big = "x".repeat(100_000);
        bed.transaction(n, &[&format!("_table|t|_action|insert|id|{n}|a|{big}")]);
    }
    for _ in 0..2 {
        let error = bed.apply_with(&db, options).expect_err("a reader");
        assert_eq!((reason(&error), error.class()), ("BUSY", Class::Retry));
        assert!(error.report().contains("a reader's open transaction"), "{}", error.report());
        assert!((cap..cap + 200_000).contains(&size()), "{}", size());
    }
    assert_eq!(rows(&reader, "select count(*) from t"), ["0"]);
    reader.exec("COMMIT").expect("end");
    bed.apply_with(&db, options).expect("apply");
    assert_eq!(rows(&db, "select count(*) from t"), ["20"]);
    assert!(size() < cap + 200_000, "{}", size());
}

#[test]
fn a_read_only_file_and_an_open_transaction_are_refused() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    bed.transaction(1, &["_table|t|_action|insert|id|1"]);
    let read = Db::open(&bed.file(), Access::Read).expect("open");
    assert_eq!(reason(&bed.apply(&read).expect_err("read only")), "READONLY");
    db.exec("BEGIN").expect("begin");
    assert_eq!(reason(&bed.apply(&db).expect_err("open")), "INTRANSACTION");
    db.exec("COMMIT").expect("commit");
    let empty = Db::open_in_memory().expect("memory");
    assert_eq!(reason(&bed.apply(&empty).expect_err("no mirror")), "NOTINITIALISED");
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    let big = "x".repeat(100_000);
    for n in 1..=20u32 {
        bed.transaction(n, &[&format!("_table|t|_action|insert|id|{n}|a|{big}")]);
    }
    db.exec("PRAGMA max_page_count = 200").expect("cap");
    let one = Options { batch_changes: 1, ..Options::default() };
    let error = bed.apply_with(&db, one).expect_err("full");
    assert_eq!((reason(&error), error.class()), ("FULL", Class::Retry));
    let count = rows(&db, "select count(*) from t")[0].parse::<u64>().expect("number");
    assert!((1..20).contains(&count) && !db.in_transaction(), "{count}");
    db.exec("PRAGMA max_page_count = 100000").expect("space");
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select count(*), min(id), max(id) from t"), ["20 1 20"]);
}

#[test]
fn a_commit_that_fails_takes_back_rows_and_position() {
    for batch_changes in [1, 1000] {
        let mut bed = Bed::new();
        let db = bed.db();
        prepare(&db);
        keyed(&db);
        bed.transaction(1, &["_table|t|_action|insert|id|1"]);
        bed.apply(&db).expect("apply");
        // What the user's own table wants of ours is looked at by SQLite when it commits.
        db.exec(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE note (t REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED);
             INSERT INTO note VALUES (1)",
        )
        .expect("a note on a row");
        bed.transaction(2, &["_table|t|_action|delete|id|1", "_table|t|_action|insert|id|2"]);
        let options = Options { batch_changes, ..Options::default() };
        let position = "select clock, seq, lsn, changes from _deltamirror_stream";
        let before = rows(&db, position);
        for _ in 0..2 {
            let error = bed.apply_with(&db, options).expect_err("the note");
            assert_eq!((error.code().stage, reason(&error)), ("SQLITE", "CONSTRAINT"));
            assert_eq!(rows(&db, "select id from t"), ["1"]);
            assert_eq!(rows(&db, position), before);
            assert!(!db.in_transaction());
        }
        db.exec("DELETE FROM note").expect("no note any more");
        assert_eq!(bed.apply_with(&db, options).expect("apply").counts.changes, 2);
        assert_eq!(rows(&db, "select id from t"), ["2"]);
    }
}

#[test]
fn a_transaction_that_fails_at_its_very_end_leaves_nothing() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    bed.transaction(1, &["_table|t|_action|insert|id|1"]);
    bed.transaction(2, &["_table|t|_action|insert|id|2", "_table|t|_action|replace|id|1"]);
    for _ in 0..2 {
        assert_eq!(reason(&bed.apply(&db).expect_err("no update")), "ORDER");
        assert_eq!(rows(&db, "select id from t"), ["1"]);
    }
}

#[test]
fn a_rollback_by_the_users_trigger_ends_the_transaction() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    db.exec(
        "CREATE TRIGGER r BEFORE INSERT ON t WHEN new.id = 3
         BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    )
    .expect("trigger");
    bed.transaction(1, &["_table|t|_action|insert|id|1"]);
    let lines = [2, 3, 4].map(|id| format!("_table|t|_action|insert|id|{id}"));
    bed.transaction(2, &lines.each_ref().map(String::as_str));
    for _ in 0..2 {
        assert_eq!(reason(&bed.apply_keeping(&db).expect_err("rolled back")), "CONFLICT");
        assert_eq!(rows(&db, "select id from t"), ["1"]);
        assert_eq!(rows(&db, "select count(*) from _deltamirror_error"), ["0"]);
    }
    db.exec("DROP TRIGGER r").expect("drop");
    bed.apply_keeping(&db).expect("apply");
    assert_eq!(rows(&db, "select id from t"), ["1", "2", "3", "4"]);
}

#[test]
fn a_file_that_is_removed_or_replaced_is_not_written_to_any_more() {
    for replaced in [false, true] {
        let mut bed = Bed::new();
        let db = bed.db();
        prepare(&db);
        keyed(&db);
        let (send, receive) = std::sync::mpsc::channel();
        let on_event = move |event| {
            let _ = send.send(event);
        };
        let follower =
            Follower::start(bed.file(), bed.source(), Options::default(), Box::new(on_event));
        let follower = follower.expect("follow");
        let next = || receive.recv_timeout(ms(20_000)).expect("an event");
        bed.transaction(1, &["_table|t|_action|insert|id|1"]);
        assert!(matches!(next(), Event::Applied { .. }));
        let aside = bed.dir.path().join("aside.db");
        std::fs::rename(bed.file(), &aside).expect("rename");
        if replaced {
            std::fs::copy(&aside, bed.file()).expect("copy");
        }
        bed.transaction(2, &["_table|t|_action|insert|id|2"]);
        let Event::Ended { error: Some(error) } = next() else { panic!("no error") };
        assert_eq!((reason(&error), error.class()), ("REPLACED", Class::Drift));
        drop(follower);
        assert_eq!(rows(&db, "select id from t"), ["1"]);
        if replaced {
            bed.apply(&bed.db()).expect("the file that is there");
            assert_eq!(rows(&bed.db(), "select id from t"), ["1", "2"]);
        }
    }
}

#[test]
fn a_panic_of_the_follower_ends_it_with_an_error() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    let (send, receive) = std::sync::mpsc::channel();
    let on_event = move |event| match event {
        Event::Applied { .. } => panic!("a defect, on purpose"),
        event => drop(send.send(event)),
    };
    let follower =
        Follower::start(bed.file(), bed.source(), Options::default(), Box::new(on_event));
    let follower = follower.expect("follow");
    bed.transaction(1, &["_table|t|_action|insert|id|1"]);
    let event = receive.recv_timeout(ms(20_000)).expect("an event");
    let Event::Ended { error: Some(error) } = event else { panic!("{event:?}") };
    assert_eq!(reason(&error), "DEFECT");
    assert_eq!(follower.status().state.word(), "failed");
}

#[test]
fn what_the_user_did_to_a_table_is_noticed() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    bed.transaction(1, &["_table|t|_action|insert|id|1|a|x"]);
    db.exec("ALTER TABLE t ADD COLUMN note TEXT").expect("own column");
    bed.apply(&db).expect("a column more does not matter");
    db.exec("CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    bed.transaction(2, &["_table|t|_action|insert|id|2|a|x"]);
    assert_eq!(reason(&bed.apply(&db).expect_err("trigger")), "CONFLICT");
    db.exec("DROP TRIGGER r; ALTER TABLE t DROP COLUMN b").expect("drop");
    assert_eq!(reason(&bed.apply(&db).expect_err("column")), "STATE");
    db.exec("DROP TABLE t").expect("drop");
    assert_eq!(reason(&bed.apply(&db).expect_err("table")), "STATE");
}
