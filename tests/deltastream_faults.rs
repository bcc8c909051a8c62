//! What must hold when things break: kills, restarts, lost connections, and who is told what when.

mod support;

use deltaflood::Lsn;
use pgsqlite::daystream::Identity;
use pgsqlite::deltastream::{Capture, Event, run};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::stream::{Source, child_options, wait_streaming};
use support::{Cluster, Stop, wait_until};

/// Not a test by itself: the capture that runs in a process of its own, to be killed.
#[test]
fn capture_of_a_child_process() {
    if let Some(options) = child_options() {
        let _ = run(options, Box::new(|_| {}));
    }
}

#[test]
fn a_killed_capture_goes_on_without_a_gap_and_without_a_repeat() {
    let mut source = Source::set_up_t(Cluster::shared(), "killed");
    let mut last = 0;
    for round in 0..8 {
        let child = source.spawn(&[]);
        let goal = last + 300;
        let wait = Instant::now();
        while last < goal || wait.elapsed() < Duration::from_millis(50 * round) {
            source.insert(last + 1, last + 10);
            last += 10;
        }
        drop(child);
    }
    source.catch_up().expect("capture");
    source.assert_complete(last);
}

#[test]
fn a_capture_goes_on_when_its_walsender_is_terminated() {
    let mut source = Source::set_up_t(Cluster::shared(), "terminated");
    let capture = source.start();
    let terminate = "select count(pg_terminate_backend(active_pid))::text from \
    pg_replication_slots \
                     where slot_name = 'terminated' and active_pid is not null";
    let mut last = 0;
    for round in 0..10 {
        source.insert(last + 1, last + 5000);
        last += 5000;
        if round % 2 == 0 {
            source.text(terminate);
        }
    }
    let big = format!(
        "insert into t select g, repeat('x', 30) from generate_series({}, {}) g",
        last + 1,
        last + 200_000
    );
    source.execute(&big);
    last += 200_000;
    for _ in 0..4 {
        let connections = capture.status().connections;
        wait_until("the walsender to be terminated", || source.text(terminate) != "0");
        wait_until("another connection", || capture.status().connections > connections);
    }
    let end = source.wal_lsn();
    wait_until("all of it", || capture.status().durable >= end);
    assert!(capture.status().connections > 4);
    capture.stop();
    capture.join().expect("capture");
    source.assert_complete(last);
}

#[test]
fn a_capture_goes_on_over_restarts_and_a_promotion() {
    let cluster = Arc::new(Cluster::start_with(""));
    let mut source = Source::set_up_t(Arc::clone(&cluster), "restarted");
    let timelines = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&timelines);
    let listener = move |event: &Event<'_>| {
        if let Event::Timeline { from, to } = event {
            heard.lock().expect("heard").push((*from, *to));
        }
    };
    let capture = Capture::start(source.options(), Box::new(listener)).expect("start");
    wait_streaming(&capture);
    let mut last = 0;
    for (round, how) in [Stop::Immediate, Stop::Fast, Stop::Immediate].into_iter().enumerate() {
        source.insert(last + 1, last + 1000);
        last += 1000;
        cluster.stop(how);
        if round == 2 {
            let signal = cluster.data().join("standby.signal");
            std::fs::write(&signal, "").expect("standby.signal");
            cluster.start();
            source.client = cluster.client("restarted");
            wait_until("promotion", || source.text("select pg_promote()::text") == "true");
        } else {
            cluster.start();
            source.client = cluster.client("restarted");
        }
    }
    source.execute(&format!("insert into t values ({})", last + 1));
    let end = source.wal_lsn();
    wait_until("all of it", || capture.status().durable >= end);
    capture.stop();
    capture.join().expect("capture");
    source.assert_complete(last + 1);
    assert_eq!(*timelines.lock().expect("heard"), [(1, 2)]);
    let identity = Identity::load(&source.stream()).expect("state").expect("identity");
    assert_eq!(identity.timeline, 2);
}

#[test]
fn a_fast_shutdown_of_the_server_does_not_wait_for_an_idle_capture() {
    let cluster = Arc::new(Cluster::start_with(""));
    let mut source = Source::set_up_t(Arc::clone(&cluster), "shutdown");
    let capture = source.start();
    source.execute("insert into t values (1); insert into other values (1)");
    let started = Instant::now();
    cluster.stop(Stop::Fast);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(capture);
}

/// Rules 1 and 3: nothing is confirmed that is not fsynced, whatever keepalives say meanwhile.
#[test]
fn what_is_written_but_not_durable_is_not_confirmed() {
    let mut source = Source::set_up_t(Cluster::shared(), "unsynced");
    source.execute("insert into t values (1)");
    let mut options = source.options();
    (options.sync_interval_ms, options.idle_confirm_ms) = (3_600_000, 1);
    let capture = Capture::start(options, Box::new(|_| {})).expect("start");
    // The first transaction is made durable at once; the next would be in an hour.
    wait_until("the first transaction", || capture.status().transactions == 1);
    source.execute("insert into t values (2)");
    wait_until("the second transaction in the file", || source.changes().len() == 2);
    let before = source.confirmed();
    let bound = capture.status().durable;
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        source.execute(
            "insert into other values (1); select pg_logical_emit_message(true, 'x', 'y')",
        );
        assert!(source.confirmed() <= bound, "confirmed {} beyond {bound}", source.confirmed());
    }
    assert_eq!((source.confirmed(), capture.status().durable), (before.max(bound), bound));
    capture.stop();
    capture.join().expect("capture");
    assert!(source.confirmed() > bound);
}

#[test]
fn the_confirmed_position_is_never_beyond_the_last_commit_of_the_stream() {
    let mut source = Source::set_up_t(Cluster::shared(), "sampled");
    let capture = source.start();
    for n in 1..=60 {
        source.execute(&format!(
            "insert into t values ({n}, repeat('x', 1000)); insert into other values (1)"
        ));
        let confirmed = source.confirmed();
        let state = Identity::load(&source.stream()).expect("state").and_then(|i| i.confirmed);
        let have = last_commit(&source).max(state).expect("a position");
        assert!(confirmed <= have, "confirmed {confirmed}, the stream has {have}");
    }
    drop(capture);
    source.catch_up().expect("capture");
    source.assert_complete(60);
}

fn last_commit(source: &Source) -> Option<Lsn> {
    use pgsqlite::daystream::{Reader, ReaderOptions, Start};
    let options = ReaderOptions::default();
    let mut reader = Reader::open(source.stream(), Start::Begin, options).ok()?;
    let mut last = None;
    while let Some(entry) = reader.next().expect("line") {
        last = last.max(entry.transaction.lsn);
    }
    last
}

/// Rule 2: an idle stream lets the server forget WAL of other tables.
#[test]
fn idle_progress_is_confirmed_after_it_is_saved() {
    let mut source = Source::set_up_t(Cluster::shared(), "idle");
    let mut options = source.options();
    options.idle_confirm_ms = 50;
    let capture = Capture::start(options, Box::new(|_| {})).expect("start");
    wait_streaming(&capture);
    for _ in 0..3 {
        source.execute("insert into other select generate_series(1, 10000)");
        let end = source.wal_lsn();
        wait_until("idle progress", || source.confirmed() >= end);
        let state = Identity::load(&source.stream()).expect("state").expect("identity");
        assert!(state.confirmed >= Some(end));
    }
    capture.stop();
    let status = capture.join().expect("capture");
    assert_eq!((status.transactions, source.entries().len()), (0, 0));
    source.execute("insert into t values (1)");
    source.catch_up().expect("capture");
    source.assert_complete(1);
}

/// Rule 4: a slow disk (here a listener that blocks) does not cost the connection.
#[test]
fn keepalives_are_answered_while_the_disk_is_slow() {
    let mut source = Source::set_up_t(Cluster::shared(), "slow");
    let mut options = source.options();
    options.conninfo.push_str(" options='-c wal_sender_timeout=800ms'");
    options.queue_bytes = 1000;
    let released = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&released);
    let listener = move |event: &Event<'_>| {
        let block = matches!(event, Event::Transactions { .. });
        while block && !gate.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let capture = Capture::start(options, Box::new(listener)).expect("start");
    wait_streaming(&capture);
    source.execute("insert into t values (1)");
    source.execute("insert into t select g, repeat('x', 1000) from generate_series(2, 20000) g");
    let pid = "select coalesce(max(active_pid), 0)::text from pg_replication_slots where slot_name = 'slow'";
    let walsender = source.text(pid);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_eq!(source.text(pid), walsender, "the server gave the connection up");
        std::thread::sleep(Duration::from_millis(50));
    }
    released.store(true, Ordering::SeqCst);
    let end = source.wal_lsn();
    wait_until("all of it", || capture.status().durable >= end);
    assert_eq!(capture.status().connections, 1);
    capture.stop();
    capture.join().expect("capture");
    source.assert_complete(20_000);
}

#[test]
fn run_ends_at_a_position_or_when_idle() {
    let mut source = Source::set_up_t(Cluster::shared(), "ends");
    source.execute("insert into t values (1)");
    let status = source.catch_up().expect("until a position");
    assert_eq!((status.transactions, status.lines), (1, 2));
    assert!(source.confirmed() >= status.durable);
    source.execute("insert into t values (2)");
    let mut options = source.options();
    options.until_idle_ms = Some(50);
    let status = run(options, Box::new(|_| {})).expect("until idle");
    assert_eq!(status.transactions, 1);
    source.assert_complete(2);
}
