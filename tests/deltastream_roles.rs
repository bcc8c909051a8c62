//! What other roles of a database can have a capture do, and what a capture with few rights can.

mod support;

use deltaflood::Verb;
use pgsqlite::daystream::{Reader, ReaderOptions, Start};
use pgsqlite::deltastream::Capture;
use std::sync::atomic::{AtomicBool, Ordering};
use support::Cluster;
use support::stream::{Source, wait_streaming};

fn start(source: &Source, conninfo: &str) -> Capture {
    let mut options = source.options();
    conninfo.clone_into(&mut options.conninfo);
    options.heartbeat_ms = 100;
    let capture = Capture::start(options, Box::new(|_| {})).expect("start");
    wait_streaming(&capture);
    capture
}

/// Whether the server's clock is one of a date: under libfaketime its `lock_timeout` never comes.
fn waits_for_ever() -> bool {
    std::env::var_os("FAKETIME").is_some()
}

/// Two more heartbeats have come: what was there before the first was looked at.
fn wait_for_beats(capture: &Capture) {
    for _ in 0..2 {
        let last = capture.status().pulse.last;
        support::wait_until("a heartbeat", || {
            let status = capture.status();
            assert!(status.error.is_empty(), "{}", status.error);
            status.pulse.last != last
        });
    }
}

/// The `schema` lines: names of the table and of its columns.
fn schemas(source: &Source) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let options = ReaderOptions::default();
    let mut reader = Reader::open(source.stream(), Start::Begin, options).expect("reader");
    while let Some(entry) = reader.next().expect("line") {
        let text = |text: deltaflood::Text<'_>| {
            String::from_utf8(text.decode().into_owned()).expect("UTF-8")
        };
        if entry.change.verb == Verb::Schema {
            let table = text(entry.change.table.expect("a table"));
            let columns = entry.change.columns().map(|column| text(column.expect("column").0));
            found.push(std::iter::once(table).chain(columns).collect());
        }
    }
    found
}

#[test]
fn who_asks_for_looks_without_end_stops_no_heartbeat() {
    let source =
        Source::set_up(Cluster::shared(), "many_looks", "create table t(a int primary key)");
    let capture = start(&source, &source.conninfo());
    wait_for_beats(&capture);
    let (over, asked) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let mut client = source.cluster.client("many_looks");
        let (over, asked) = (&over, &asked);
        scope.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let sql = "select pg_logical_emit_message(true, 'pgsqlite.schema', '')";
                client.batch_execute(sql).expect("asked");
                asked.store(true, Ordering::SeqCst);
            }
        });
        support::wait_until("the first", || asked.load(Ordering::SeqCst));
        let beats = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                wait_for_beats(&capture);
            }
        }));
        over.store(true, Ordering::SeqCst);
        beats.expect("heartbeats");
    });
}

#[test]
fn who_reads_a_stream_cannot_speak_for_its_capture() {
    let mut source =
        Source::set_up(Cluster::shared(), "speaker", "create table t(a int primary key)");
    let capture = start(&source, &source.conninfo());
    wait_for_beats(&capture);
    let beat = source.of_verb(Verb::Message).pop().expect("a heartbeat");
    let id = beat.split_once(" id ").and_then(|(_, rest)| rest.split(' ').next());
    let id = id.expect("its id").to_owned();
    let forged = "_table\tt\t_oid\t7\t_action\tschema\tz\ttext";
    for words in [format!("id {id} "), format!("id {id} key {id} "), format!("key {id} ")] {
        let sql = "select pg_logical_emit_message(true, 'pgsqlite.schema', $1)::text";
        source.client.query(sql, &[&format!("{words}slot speaker\n{forged}")]).expect("sent");
    }
    wait_for_beats(&capture);
    assert_eq!(schemas(&source), [[""; 0]; 0]);
    source.execute("alter table t add b int");
    support::wait_until("the true one", || schemas(&source) == [["t", "a", "b"]]);
}

#[test]
fn a_table_that_cannot_be_held_keeps_no_other_from_being_told() {
    if waits_for_ever() {
        return;
    }
    let mut source = Source::set_up(
        Cluster::shared(),
        "few_rights",
        "create role few_rights login replication; create schema closed; \
         create table closed.t(a int primary key); grant select on closed.t to few_rights; \
         create table u(a int primary key); \
         create type mood as enum ('sad'); create table v(a int primary key, m mood); \
         grant select on u, v to few_rights",
    );
    let capture = start(&source, &format!("{} user=few_rights", source.conninfo()));
    wait_for_beats(&capture);
    let mut other = source.cluster.client("few_rights");
    other.batch_execute("begin; lock table v").expect("locked");
    // It is new, and somebody holds it.
    let rename = "alter type mood rename value 'sad' to 'blue'";
    source.execute(&format!("alter table closed.t add b int; alter table u add b int; {rename}"));
    let is_told = |wanted: &[&str]| schemas(&source).iter().any(|schema| schema == wanted);
    support::wait_until("both", || is_told(&["u", "a", "b"]) && is_told(&["t", "a", "b"]));
    assert!(!is_told(&["v", "a", "m"]));
    other.batch_execute("commit").expect("let go");
    support::wait_until("the third", || is_told(&["v", "a", "m"]));
}

#[test]
fn a_table_that_may_not_be_read_is_held_while_it_is_told() {
    if waits_for_ever() {
        return;
    }
    let mut source = Source::set_up(
        Cluster::shared(),
        "no_rights",
        "create role no_rights login replication; grant usage on schema public to no_rights; \
         create type mood as enum ('sad'); create table t(a int primary key, m mood); \
         create table p(a int primary key) partition by range (a); \
         create table u(a int primary key); alter table u enable row level security",
    );
    let capture = start(&source, &format!("{} user=no_rights", source.conninfo()));
    wait_for_beats(&capture);
    let mut other = source.cluster.client("no_rights");
    other.batch_execute("begin; alter table t add b int").expect("altered");
    // It is new without that, too; what is said of it now may come behind what comes of it.
    let rename = "alter type mood rename value 'sad' to 'blue'";
    source.execute(&format!("{rename}; alter table u add b int; alter table p add b int"));
    let is_told = |wanted: &[&str]| schemas(&source).iter().any(|schema| schema == wanted);
    support::wait_until("the others", || is_told(&["u", "a", "b"]) && is_told(&["p", "a", "b"]));
    wait_for_beats(&capture);
    assert!(!schemas(&source).iter().any(|schema| schema[0] == "t"));
    other.batch_execute("commit").expect("let go");
    support::wait_until("it", || is_told(&["t", "a", "m", "b"]));
    capture.stop();
    capture.join().expect("capture");
}

#[test]
fn who_forges_a_heartbeat_cannot_say_that_none_is_due() {
    let mut source =
        Source::set_up(Cluster::shared(), "forger", "create table t(a int primary key)");
    let capture = start(&source, &source.conninfo());
    wait_for_beats(&capture);
    let beat = source.of_verb(Verb::Message).pop().expect("a heartbeat");
    let id = beat.split_once(" id ").and_then(|(_, rest)| rest.split(' ').next());
    let id = id.expect("its id").to_owned();
    for words in ["999999999", "999999999 id 0", "100  id", "0100"] {
        let sql = "select pg_logical_emit_message(true, 'pgsqlite.heartbeat', $1)::text";
        let content = format!("every_ms {words} id {id} slot forger");
        source.client.query(sql, &[&content]).expect("sent");
    }
    source.execute("insert into t values (1)");
    support::wait_until("the row", || source.of_verb(Verb::Insert).len() == 1);
    let true_one = format!("every_ms 100 id {id} slot forger");
    for line in source.of_verb(Verb::Message) {
        assert!(line.contains(&true_one), "{line}");
    }
    capture.stop();
    capture.join().expect("capture");
}
