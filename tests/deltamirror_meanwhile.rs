//! What others do to the file and the stream while tables are filled.

mod mirror;
mod support;

use mirror::live::Road;
use mirror::{reason, rows};
use pgsqlite::daystream::{Reader, ReaderOptions, Start};
use pgsqlite::deltamirror::{Error, InitOptions, Options, Progress, StreamSource, apply, init};
use pgsqlite::deltastream::{self, Capture, Plugin, SetupOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use support::wait_until;

/// Fills `tables`, and does `then` once, when the first of them is ready.
fn init_and(road: &Road, options: &InitOptions, then: &dyn Fn()) -> Result<(), Error> {
    let mut done = false;
    let mut tell = |progress: &Progress<'_>| {
        if matches!(progress, Progress::Ready { .. }) && !std::mem::replace(&mut done, true) {
            then();
        }
    };
    let (db, stop) = (road.db("m.db"), AtomicBool::new(false));
    init(&db, &road.info(), &road.source(), options, &stop, &mut tell).map(drop)
}

fn tables(names: &[&str]) -> InitOptions {
    let tables = names.iter().map(|name| (*name).to_owned()).collect();
    InitOptions { tables, ..InitOptions::default() }
}

#[test]
fn a_table_that_somebody_makes_meanwhile_is_not_dropped() {
    let road = Road::new(
        "meanwhile_made",
        "create table a (id int primary key); create table b (id int primary key);
         insert into a values (1); insert into b values (1)",
        &[],
    );
    let make = || {
        let db = road.db("m.db");
        db.exec("CREATE TABLE b (own TEXT); INSERT INTO b VALUES ('mine')").expect("b");
    };
    let filled = init_and(&road, &tables(&["a", "b"]), &make);
    assert_eq!(rows(&road.db("m.db"), "SELECT own FROM b"), ["'mine'"]);
    assert_eq!(reason(&filled.expect_err("b is there")), "TABLEEXISTS");
}

/// A mirror that has read beyond the end of a stream whose machine went down with its clock far
/// ahead: positions do not say what it has.
#[test]
fn a_table_that_is_added_is_brought_up_to_what_the_mirror_has_and_no_further() {
    let road = Road::new(
        "meanwhile_ahead",
        "create table a (id int primary key); create table b (id int primary key);
         create table c (id int); alter table c replica identity full; insert into a values (1)",
        &[],
    );
    road.init("m.db", &["a"]).expect("init");
    let mut follower = road.follow("m.db");
    road.settle("m.db");
    follower.stop();
    follower.join();
    let ahead = "UPDATE _deltamirror_stream SET clock = clock + 40000000, \
                 chain_clock = chain_clock + 40000000, chain = 7";
    road.db("m.db").exec(ahead).expect("a position that the stream does not have");
    let write = || {
        road.sql("insert into c values (1)");
        wait_until("the stream has it", || {
            let options = ReaderOptions::default();
            let mut reader = Reader::open(road.stream(), Start::Begin, options).expect("stream");
            let mut found = false;
            while let Some(entry) = reader.next().expect("line") {
                found |= entry.change.line().ends_with(b"\t_action\tinsert\tid\t1")
                    && entry.change.table.is_some_and(|table| table.raw() == b"c");
            }
            found
        });
    };
    init_and(&road, &tables(&["b", "c"]), &write).expect("init");
    let stop = AtomicBool::new(false);
    apply(&road.db("m.db"), &road.source(), None, Options::default(), &stop).expect("apply");
    assert_eq!(rows(&road.db("m.db"), "SELECT id FROM c"), ["1"]);
}

/// A second slot and stream of the road's server, and its capture.
fn second(road: &Road, slot: &str) -> (PathBuf, Capture, StreamSource) {
    let dir = road.dir.path().join("second");
    let setup = SetupOptions {
        conninfo: road.conninfo(),
        slot: slot.to_owned(),
        stream: Some(dir.clone()),
        tables: Vec::new(),
        publication: None,
        plugin: Plugin::Pgoutput,
        announce: pgsqlite::deltastream::Announce::Nothing,
    };
    deltastream::setup(&setup).expect("second slot");
    let capture = deltastream::Options::new(&road.conninfo(), slot, dir.clone());
    let capture = Capture::start(capture, Box::new(|_| {})).expect("capture");
    wait_until("the second stream is made", || {
        StreamSource::open(&dir).is_ok_and(|source| source.made().is_some())
    });
    let source = StreamSource::open(&dir).expect("second");
    (dir, capture, source)
}

/// The mirror goes over to another stream of the same server, while somebody still follows the old
/// one into it.
#[test]
fn what_the_old_stream_brings_while_the_mirror_goes_over_is_not_there_twice() {
    let road = Road::new(
        "meanwhile_over",
        "create table c (id int); alter table c replica identity full",
        &[],
    );
    road.init("m.db", &[]).expect("init");
    let old = road.source();
    let (dir, capture, new) = second(&road, "meanwhile_second");
    assert_ne!(new.made(), old.made());
    let stop = AtomicBool::new(false);
    let has = |dir: &Path| {
        let mut reader = Reader::open(dir, Start::Begin, ReaderOptions::default()).expect("stream");
        let mut found = false;
        while let Some(entry) = reader.next().expect("line") {
            found |= entry.change.line().ends_with(b"\t_action\tinsert\tid\t1");
        }
        found
    };
    let mut done = false;
    let mut tell = |progress: &Progress<'_>| {
        if matches!(progress, Progress::Ready { .. }) && !std::mem::replace(&mut done, true) {
            road.sql("insert into c values (1)");
            wait_until("both have it", || has(&road.stream()) && has(&dir));
            let applied = apply(&road.db("m.db"), &old, None, Options::default(), &stop);
            assert_eq!(reason(&applied.expect_err("tables of two streams")), "NOTFILLED");
        }
    };
    let options = InitOptions { resync: true, ..InitOptions::default() };
    init(&road.db("m.db"), &road.info(), &new, &options, &stop, &mut tell).expect("over");
    apply(&road.db("m.db"), &new, None, Options::default(), &stop).expect("apply");
    capture.stop();
    capture.join().expect("capture");
    assert_eq!(rows(&road.db("m.db"), "SELECT id FROM c"), ["1"]);
}

/// Some tables are of the new stream and some of the old one: neither is applied, and nobody calls
/// it well.
#[test]
fn a_mirror_that_has_gone_over_halfway_is_not_followed() {
    let tables = "create table a (id int primary key); create table c (id int primary key)";
    let road = Road::new("meanwhile_half", tables, &[]);
    road.init("m.db", &[]).expect("init");
    let (_, capture, new) = second(&road, "meanwhile_halfway");
    let (stop, go_on) = (AtomicBool::new(false), AtomicBool::new(false));
    let options = InitOptions { resync: true, ..InitOptions::default() };
    let mut tell = |progress: &Progress<'_>| {
        if matches!(progress, Progress::Ready { .. }) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let stopped = init(&road.db("m.db"), &road.info(), &new, &options, &stop, &mut tell);
    assert_eq!(reason(&stopped.expect_err("stopped")), "STOPPED");
    for source in [&road.source(), &new] {
        let applied = apply(&road.db("m.db"), source, None, Options::default(), &go_on);
        let error = applied.expect_err("tables of two streams");
        assert_eq!(reason(&error), "NOTFILLED");
        assert!(error.to_string().contains("-resync 1"), "{error}");
    }
    init(&road.db("m.db"), &road.info(), &new, &options, &go_on, &mut |_| {}).expect("again");
    apply(&road.db("m.db"), &new, None, Options::default(), &go_on).expect("apply");
    capture.stop();
    capture.join().expect("capture");
}
