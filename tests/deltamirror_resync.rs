//! Tables that are copied again because somebody asks for it, by who follows and at once.

mod mirror;
mod support;

use mirror::live::Road;
use mirror::{reason, rows};
use pgsqlite::deltamirror::verbs::{self, Awaited, Maker, Purpose};
use pgsqlite::deltamirror::{Event, Follower, Mode, OnError, Options, Patience, Reloading};
use pgsqlite::deltastream::{self, Capture};
use pgsqlite::sqlite::Db;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use support::wait_until;

static NEVER: AtomicBool = AtomicBool::new(false);

fn patience() -> Patience<'static> {
    Patience { budget: Duration::from_secs(60), stop: &NEVER }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const TABLES: &str = "create table t (id int primary key, a text);
    create table u (id int primary key);
    insert into t select i, 'row ' || i from generate_series(1, 100) i";

fn follow(road: &Road, reloads: bool, on_error: OnError) -> Follower {
    let options = Options { on_error, ..Options::default() };
    let with = reloads.then(|| Reloading { conninfo: road.info(), fill: None });
    let (file, source) = (road.file("m.db"), road.source());
    let heard = Box::new(|event| {
        if let Event::Ended { error: Some(error) } = event {
            eprintln!("ended: {error}");
        }
    });
    Follower::start_with(file, source, options, with, heard).expect("follow")
}

fn open(road: &Road) -> Db {
    let db = road.db("m.db");
    db.busy_timeout(Duration::from_secs(60));
    db
}

fn wait_for_table(db: &Db, table: &str) {
    let timeout = Some(Duration::from_secs(60));
    let awaited = Awaited { table: Some(table.to_owned()), timeout, ..Awaited::default() };
    let waited = verbs::wait(db, &awaited, &NEVER);
    let due = "select source_table, maker, message from _deltamirror_reload union all
               select name, state, lsn || coalesce(barrier, '') from _deltamirror_table";
    waited.unwrap_or_else(|error| panic!("{error}: {:?}", rows(db, due)));
}

#[test]
fn who_follows_copies_again_and_nothing_is_left_of_what_stood_still() {
    let road = Road::new("resync_live", TABLES, &[]);
    road.init("m.db", &[]).expect("init");
    let db = open(&road);
    let follower = follow(&road, true, OnError::Suspend);
    road.settle("m.db");
    db.exec("delete from t where id in (5, 6); update t set a = 'mine' where id = 7").expect("own");
    road.sql("update t set a = 'changed' where id = 5; insert into u values (1)");
    wait_until("it stands still", || rows(&db, "select id from u") == ["1"]);
    assert_eq!(rows(&db, "select name from _deltamirror_suspended"), ["'t'"]);
    db.exec(
        "insert into _deltamirror_error (clock, seq, table_name, key, reason, message, line)
         values (1, 1, 't', 'id=6', 'NOROW', '', '')",
    )
    .expect("kept");
    let asked = verbs::resync(&db, Purpose::Resync, &names(&["t"]), None, patience()).expect("ask");
    assert_eq!((asked.tables, asked.maker, &*asked.message), (names(&["t"]), Maker::Follower, ""));
    // From the moment when it was asked for it is not live until its copy is there.
    wait_until("the copy", || rows(&db, "select * from _deltamirror_reload").is_empty());
    wait_for_table(&db, "t");
    assert_eq!(
        rows(&db, "select a from t where id in (5, 6, 7)"),
        ["'changed'", "'row 6'", "'row 7'"]
    );
    let left = "select count(*) from _deltamirror_suspended union all
                select count(*) from _deltamirror_error";
    assert_eq!(rows(&db, left), ["0", "0"]);
    road.sql("update t set a = 'on' where id = 6");
    road.assert_equal("m.db");
    drop(follower);
}

#[test]
fn all_tables_wait_for_one_who_can_copy_and_are_followed_meanwhile() {
    let road = Road::new("resync_later", TABLES, &[]);
    road.init("m.db", &[]).expect("init");
    let db = open(&road);
    let first = follow(&road, false, OnError::Stop);
    let asked = verbs::resync(&db, Purpose::Resync, &[], None, patience()).expect("ask");
    assert_eq!((asked.tables, asked.maker), (names(&["t", "u"]), Maker::Nobody));
    assert!(asked.message.contains("`deltamirror run -conninfo ... -db "), "{}", asked.message);
    road.sql("update t set a = 'on' where id = 6; insert into u values (1)");
    wait_until("followed", || rows(&db, "select id from u") == ["1"]);
    assert_eq!(rows(&db, "select source_table from _deltamirror_reload"), ["'t'", "'u'"]);
    let timeout = Some(Duration::from_millis(50));
    let awaited = Awaited { table: Some("t".to_owned()), timeout, ..Awaited::default() };
    assert_eq!(reason(&verbs::wait(&db, &awaited, &NEVER).expect_err("due")), "LATE");
    // One beside it that can copy does.
    let second = follow(&road, true, OnError::Stop);
    wait_for_table(&db, "t");
    wait_for_table(&db, "u");
    road.assert_equal("m.db");
    drop((first, second));
}

/// A change that does not fit a table is its error, though a copy is asked for: who follows cannot
/// make it, and would leave rows that nobody sees to be wrong.
#[test]
fn who_cannot_copy_passes_nothing_over_for_what_was_asked() {
    let road = Road::new("resync_blind", TABLES, &[]);
    road.init("m.db", &[]).expect("init");
    let db = open(&road);
    verbs::resync(&db, Purpose::Resync, &names(&["t"]), None, patience()).expect("ask");
    let follower = follow(&road, false, OnError::Stop);
    db.exec("delete from t where id = 5").expect("own");
    road.sql("update t set a = 'changed' where id = 5");
    wait_until("its end", || follower.status().has_ended());
    assert!(follower.status().last_code.contains("NOROW"), "{}", follower.status().last_code);
    drop(follower);
    // The one who can goes on from there.
    let follower = follow(&road, true, OnError::Stop);
    wait_for_table(&db, "t");
    road.assert_equal("m.db");
    drop(follower);
}

#[test]
fn rows_come_by_difference_where_that_is_asked_for() {
    let road = Road::new("resync_difference", TABLES, &[]);
    road.init("m.db", &[]).expect("init");
    let db = open(&road);
    db.exec(
        "delete from t where id = 5; insert into t values (1000, 'x'); update t set a = 'y'
         where id = 7;
         create table heard (id, what);
         create trigger a after insert on t begin insert into heard values (new.id, 'i'); end;
         create trigger b after update on t begin insert into heard values (new.id, 'u'); end;
         create trigger c after delete on t begin insert into heard values (old.id, 'd'); end",
    )
    .expect("own");
    let follower = follow(&road, true, OnError::Stop);
    let tables = names(&["t"]);
    let fill = Some(Mode::Replace);
    verbs::resync(&db, Purpose::Resync, &tables, fill, patience()).expect("ask");
    wait_for_table(&db, "t");
    assert_eq!(rows(&db, "select * from heard"), [""; 0]);
    // NOTE: the follower stands at the end of the stream: nothing writes to the table meanwhile.
    db.exec("delete from t where id = 5; update t set a = 'y' where id = 7; delete from heard")
        .expect("own");
    let fill = Some(Mode::Difference);
    verbs::resync(&db, Purpose::Resync, &tables, fill, patience()).expect("ask");
    wait_for_table(&db, "t");
    assert_eq!(rows(&db, "select * from heard order by id"), ["5 'i'", "7 'u'"]);
    road.assert_equal("m.db");
    drop(follower);
}

/// Who looks while the mirror is repaired sees whole transactions, and nothing is written that
/// is right already.
#[test]
fn a_repair_writes_what_differs_while_others_write() {
    let road = Road::new("resync_repair", TABLES, &[]);
    road.init("m.db", &[]).expect("init");
    let db = open(&road);
    let follower = follow(&road, true, OnError::Stop);
    road.settle("m.db");
    db.exec(
        "create table heard (id); create trigger h after update on t when old.a is not new.a
         begin insert into heard values (new.id); end;
         begin; delete from t where id = 5; update t set a = 'y' where id = 7;
         insert into t values (1000, 'x'); delete from heard; commit",
    )
    .expect("own");
    let fill = Some(Mode::Replace);
    let asked = verbs::resync(&db, Purpose::Repair, &[], fill, patience()).expect("ask");
    assert_eq!((asked.tables, asked.maker), (names(&["t", "u"]), Maker::Follower));
    for id in 0..50 {
        road.sql(&format!("insert into t values (2000 + {id}, 'n'); delete from t where id = 50"));
    }
    wait_for_table(&db, "t");
    wait_for_table(&db, "u");
    assert_eq!(rows(&db, "select id from heard"), ["7"]);
    road.assert_equal("m.db");
    drop(follower);
}

/// The place of a heartbeat that follows nothing is written down once in a minute: one who waits
/// for a table does not wait for that.
#[test]
fn a_table_is_live_for_one_who_waits_with_the_next_heartbeat() {
    let road = Road::new("resync_beat", TABLES, &[]);
    road.init("m.db", &[]).expect("init");
    road.stop_capture();
    let mut options = deltastream::Options::new(&road.conninfo(), &road.database, road.stream());
    options.heartbeat_ms = 100;
    let capture = Capture::start(options, Box::new(|_| {})).expect("capture");
    let db = open(&road);
    let follower = follow(&road, false, OnError::Stop);
    let beats = "select count(*) from sqlite_master where name = '_deltamirror_beat'";
    wait_until("a heartbeat is written down", || rows(&db, beats) == ["1"]);
    wait_for_table(&db, "t");
    db.exec(
        "begin; update _deltamirror_table set state = 'ready' where name = 't';
         update _deltamirror_stream set generation = generation + 1; commit",
    )
    .expect("as after a copy");
    let timeout = Some(Duration::from_secs(20));
    let awaited = Awaited { table: Some("t".to_owned()), timeout, ..Awaited::default() };
    verbs::wait(&db, &awaited, &NEVER).expect("live");
    capture.stop();
    capture.join().expect("capture");
    drop(follower);
}

#[test]
fn nothing_is_asked_for_where_one_name_is_none_or_the_first_fill_is_not_over() {
    let road = Road::new("resync_refused", TABLES, &[]);
    road.init("m.db", &[]).expect("init");
    let db = open(&road);
    let asked = verbs::resync(&db, Purpose::Resync, &names(&["t", "no"]), None, patience());
    assert_eq!(reason(&asked.expect_err("no")), "NOTMIRRORED");
    assert!(rows(&db, "select * from _deltamirror_reload").is_empty());
    db.exec("create table _deltamirror_filling (journal text)").expect("filling");
    let asked = verbs::resync(&db, Purpose::Resync, &names(&["t"]), None, patience());
    assert_eq!(reason(&asked.expect_err("filling")), "NOTFILLED");
}
