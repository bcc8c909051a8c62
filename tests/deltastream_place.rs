//! A capture goes on only with the server and the folder that its stream is of.

mod support;

use deltaflood::Lsn;
use pgsqlite::daystream::{Clock, Commit, Identity, SystemClock, Writer, WriterOptions};
use pgsqlite::deltastream::{Capture, Error, Event, run, setup, status_of};
use pgsqlite::error::Coded;
use std::sync::{Arc, Mutex};
use support::stream::{Source, child_options, wait_streaming};
use support::{Cluster, Stop, wait_until};

/// Not a test by itself: the capture that runs in a process of its own, to be killed.
#[test]
fn capture_of_a_child_process() {
    if let Some(options) = child_options() {
        let _ = run(options, Box::new(|_| {}));
    }
}

fn reason(error: &Error) -> &'static str {
    error.code().reason
}

/// A cluster with a stream that has one row of `t`, and a copy of it, both stopped.
fn with_copy(name: &str) -> (Source, Cluster) {
    let cluster = Arc::new(Cluster::start_with(""));
    let mut source = Source::new(cluster, name, "create table t(a int primary key)");
    setup(&source.setup_options()).expect("setup");
    source.insert(1, 1);
    source.catch_up().expect("capture");
    source.cluster.stop(Stop::Fast);
    let copy = Cluster::copy_of(&source.cluster);
    (source, copy)
}

fn confirmed(client: &mut postgres::Client) -> String {
    let sql = "select confirmed_flush_lsn::text from pg_replication_slots";
    client.query_one(sql, &[]).expect("slot").get(0)
}

#[test]
fn a_copy_of_the_server_is_not_taken_for_the_server() {
    let name = "other";
    let (mut source, copy) = with_copy(name);
    source.cluster.start();
    source.client = source.cluster.client(name);
    for row in 2..=6 {
        source.insert(row, row);
    }
    source.catch_up().expect("capture");
    let before = source.entries();
    let have = source.wal_lsn();
    source.cluster.stop(Stop::Fast);
    copy.start();
    let mut client = copy.client(name);
    let rows = "insert into t select g from generate_series(100, 40000) g";
    client.batch_execute(rows).expect("rows of the copy");
    let wal = "select pg_current_wal_lsn()::text";
    let end: Lsn = client.query_one(wal, &[]).expect("LSN").get::<_, String>(0).parse().unwrap();
    assert!(end > have, "the copy's WAL is the longer one");
    let slot = confirmed(&mut client);
    let mut options = source.options();
    (options.conninfo, options.until_idle_ms) = (copy.conninfo(name), Some(50));
    let error = run(options, Box::new(|_| {})).expect_err("another server");
    assert_eq!(reason(&error), "REWOUND", "{error}");
    assert_eq!(source.entries(), before);
    assert_eq!(confirmed(&mut client), slot, "nothing is confirmed to the copy");
    copy.stop(Stop::Fast);
    source.cluster.start();
    source.client = source.cluster.client(name);
    source.insert(7, 7);
    source.catch_up().expect("the stream's own server");
    source.assert_complete(7);
}

/// The server changes into its copy while the capture runs, and tries to connect again.
#[test]
fn a_running_capture_does_not_go_on_with_a_copy_of_the_server() {
    let (mut source, copy) = with_copy("changed");
    source.cluster.start();
    source.client = source.cluster.client("changed");
    let capture = source.start();
    source.insert(2, 2);
    let end = source.wal_lsn();
    wait_until("the row", || capture.status().durable >= end);
    source.cluster.stop(Stop::Immediate);
    source.cluster.take_files_of(&copy);
    source.cluster.start();
    let mut client = source.cluster.client("changed");
    client.batch_execute("insert into t select g from generate_series(100, 40000) g").unwrap();
    let error = capture.join().expect_err("another server");
    assert_eq!(reason(&error), "REWOUND", "{error}");
    source.assert_complete(2);
}

/// A killed capture that had not confirmed everything: what is sent again is what the stream has.
#[test]
fn what_the_stream_has_is_sent_again_and_is_proof() {
    let mut source = Source::set_up_t(Cluster::shared(), "again");
    for (round, failpoint) in
        ["stream_sync_after:2", "stream_commit:3", "stream_ack_before:4"].into_iter().enumerate()
    {
        let mut child = source.spawn(&[("PGSQLITE_FAILPOINT", failpoint)]);
        let first = round as u32 * 40 + 1;
        for row in first..first + 40 {
            source.insert(row, row);
        }
        if cfg!(feature = "failpoints") {
            wait_until("the kill", || child.0.try_wait().expect("child").is_some());
        }
        drop(child);
    }
    source.catch_up().expect("capture");
    source.assert_complete(120);
    source.catch_up().expect("capture, with nothing to compare");
}

#[test]
fn a_capture_whose_folder_is_replaced_confirms_nothing_more() {
    for replace in [false, true] {
        let name = if replace { "replaced" } else { "removed" };
        let mut source = Source::set_up_t(Cluster::shared(), name);
        let capture = source.start();
        source.insert(1, 1);
        let end = source.wal_lsn();
        wait_until("the row", || source.confirmed() >= end);
        let aside = source.stream().with_extension("aside");
        std::fs::rename(source.stream(), &aside).expect("moved");
        if replace {
            std::fs::create_dir(source.stream()).expect("another folder");
        }
        let before = source.confirmed();
        source.insert(2, 2);
        let error = capture.join().expect_err("no folder");
        let wanted = if replace { "CHANGED" } else { "NOTFOUND" };
        assert_eq!(reason(&error), wanted, "{error}");
        assert_eq!(source.confirmed(), before);
        if replace {
            std::fs::remove_dir_all(source.stream()).expect("removed");
        }
        std::fs::rename(&aside, source.stream()).expect("put back");
        source.catch_up().expect("capture");
        source.assert_complete(2);
    }
}

#[test]
fn a_missing_or_empty_folder_gets_no_stream() {
    let mut source = Source::set_up_t(Cluster::shared(), "unmounted");
    source.insert(1, 1);
    let aside = source.stream().with_extension("aside");
    std::fs::rename(source.stream(), &aside).expect("moved");
    let before = source.confirmed();
    for there in [false, true] {
        if there {
            std::fs::create_dir(source.stream()).expect("an empty folder");
        }
        let error = source.catch_up().expect_err("no stream");
        assert_eq!(reason(&error), "NOSTREAM", "{error}");
    }
    assert_eq!(std::fs::read_dir(source.stream()).expect("folder").count(), 0);
    assert_eq!(source.confirmed(), before);
    std::fs::remove_dir(source.stream()).expect("removed");
    std::fs::rename(&aside, source.stream()).expect("put back");
    let capture = Capture::start(source.options(), Box::new(|_| {})).expect("start");
    wait_streaming(&capture);
    drop(capture);
    source.catch_up().expect("capture");
    source.assert_complete(1);
    assert!(Identity::load(&source.stream()).expect("state").is_some());
}

/// What is not in the WAL is in no stream.
#[test]
fn a_table_that_goes_out_of_the_wal_ends_the_capture() {
    let tables = "create table t(a int primary key); create unlogged table staging(a int)";
    let mut source = Source::set_up(Cluster::shared(), "unlogged", tables);
    let mut options = source.options();
    options.heartbeat_ms = 100;
    for (sql, word) in [
        ("alter table t set unlogged; insert into t values (1)", "t was made unlogged"),
        ("alter table t set logged", "t was made logged"),
    ] {
        let capture = Capture::start(options.clone(), Box::new(|_| {})).expect("start");
        wait_streaming(&capture);
        wait_until("a heartbeat", || capture.status().pulse.last.is_some());
        // Other tables come and go.
        source.execute("create unlogged table u(a int); truncate staging; drop table u");
        let beats = capture.status().pulse.last;
        wait_until("another heartbeat", || capture.status().pulse.last != beats);
        source.execute(sql);
        let error = capture.join().expect_err("not in the WAL");
        assert_eq!(reason(&error), "UNLOGGED");
        assert!(error.to_string().contains(word), "{error}");
    }
    source.execute("insert into t values (2)");
    source.catch_up().expect("capture");
}

/// In one transaction nobody sees it unlogged. What else writes a table anew takes no row away.
#[test]
fn a_table_that_was_out_of_the_wal_between_two_heartbeats_ends_the_capture() {
    let tables = "create table t(a int primary key, b text); insert into t values (1, 'x')";
    let mut source = Source::set_up(Cluster::shared(), "unlogged_between", tables);
    let mut options = source.options();
    options.heartbeat_ms = 100;
    let capture = Capture::start(options, Box::new(|_| {})).expect("start");
    let another = || {
        let beats = capture.status().pulse.last;
        wait_until("another heartbeat", || {
            capture.is_finished() || capture.status().pulse.last != beats
        });
    };
    wait_until("a heartbeat", || capture.status().pulse.last.is_some());
    for sql in [
        "vacuum full t",
        "cluster t using t_pkey",
        "truncate t",
        "alter table t alter a type bigint",
        "alter table t add c float default random()",
    ] {
        // The tables are looked at after a heartbeat: the second one is sent after that.
        another();
        another();
        source.execute(sql);
        another();
        another();
        assert!(!capture.is_finished(), "{sql}: {}", capture.status().error);
    }
    source.execute(
        "begin; alter table t set unlogged; insert into t values (2, 'y', 0); \
         alter table t set logged; commit",
    );
    wait_until("the end", || capture.is_finished());
    let error = capture.join().expect_err("not in the WAL");
    assert_eq!(reason(&error), "UNLOGGED");
    assert!(error.to_string().contains("t was made unlogged and logged again"), "{error}");
}

/// Seconds of a stream do not go back: what a clock far ahead has stamped is said at each start.
#[test]
fn a_stream_that_is_stamped_far_ahead_is_warned_of() {
    struct Far;
    impl Clock for Far {
        fn now(&self) -> i64 {
            SystemClock.now() + 1_000_000
        }
    }
    let mut source = Source::set_up_t(Cluster::shared(), "ahead");
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let mut capture = |row| {
        source.insert(row, row);
        let mut options = source.options();
        options.until_lsn = Some(source.wal_lsn());
        let heard = Arc::clone(&warnings);
        let listener = move |event: &Event<'_>| {
            if let Event::Warning { message } = event {
                heard.lock().expect("warnings").push((*message).to_owned());
            }
        };
        run(options, Box::new(listener)).expect("capture");
        let stream = source.options().stream;
        let status = status_of(&source.conninfo(), "ahead", Some(&stream), None);
        (stream, status.expect("status").ahead_s)
    };
    let (stream, ahead) = capture(1);
    assert_eq!((ahead, warnings.lock().expect("warnings").len()), (None, 0));
    let options = WriterOptions { clock: Box::new(Far), ..WriterOptions::default() };
    let mut writer = Writer::open(&stream, options).expect("writer");
    writer.line(b"_xid\t7\t_action\tmessage\tprefix\tp\tcontent\tc").expect("line");
    let lsn = writer.last_lsn();
    writer.commit(Commit { xid: Some(7), lsn, time_us: None }).expect("commit");
    writer.sync().expect("sync");
    drop(writer);
    let ahead = capture(2).1;
    assert!(ahead.is_some_and(|ahead| (900_000..=1_000_000).contains(&ahead)), "{ahead:?}");
    let warnings = warnings.lock().expect("warnings");
    assert!(matches!(&warnings[..], [one] if one.contains("ahead of the server")), "{warnings:?}");
}

/// Nothing of the kind where the publication names its tables: PostgreSQL keeps those logged.
#[test]
fn a_table_that_is_not_captured_may_go_out_of_the_wal() {
    let mut source = Source::set_up_t(Cluster::shared(), "unlogged_other");
    let mut options = source.options();
    options.heartbeat_ms = 100;
    let capture = Capture::start(options, Box::new(|_| {})).expect("start");
    wait_until("a heartbeat", || capture.status().pulse.last.is_some());
    source.execute("alter table other set unlogged");
    let beats = capture.status().pulse.last;
    wait_until("another heartbeat", || capture.status().pulse.last != beats);
    let beats = capture.status().pulse.last;
    wait_until("another heartbeat", || capture.status().pulse.last != beats);
    capture.stop();
    capture.join().expect("capture");
}

/// Tables come and go, and the server never says which are gone.
#[test]
fn a_capture_does_not_know_more_and_more_tables() {
    let mut source = Source::set_up(Cluster::shared(), "many", "create table t(a int primary key)");
    let mut options = source.options();
    options.tables_max = 5;
    let capture = Capture::start(options, Box::new(|_| {})).expect("start");
    wait_streaming(&capture);
    for row in 1..=20 {
        source.execute(&format!("create table x{row}(a int); insert into x{row} values (1)"));
        source.execute(&format!("drop table x{row}"));
        source.insert(row, row);
        // One by one: how many a capture gets to know at once is up to the machine.
        let end = source.wal_lsn();
        wait_until("all of it", || capture.status().durable >= end);
    }
    assert!(capture.status().connections >= 3, "{}", capture.status().connections);
    capture.stop();
    capture.join().expect("capture");
    let rows = source.changes().iter().filter(|line| line.contains("_table|t|")).count();
    assert_eq!((rows, source.changes().len()), (20, 40));
}
