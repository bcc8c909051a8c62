//! Tables that are in the stream no more: dropped at their source, or taken out of what is sent.

mod mirror;
mod support;

use mirror::live::{Road, wait_status};
use mirror::{Bed, INT, TEXT, add_table, prepare, reason, rows};
use pgsqlite::deltamirror::{
    CompareOptions, FollowState, Follower, InitOptions, OnError, Options, Patience, Reloading,
    verbs,
};
use pgsqlite::sqlite::Db;
use std::sync::atomic::AtomicBool;
use support::wait_until;

/// A mirror of table t, of object id 7, that the stream has told of.
fn told() -> (Bed, Db) {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    let columns = [("id", INT.0, INT.1), ("v", TEXT.0, TEXT.1)];
    add_table(&db, ("public", "t"), &columns, &["id"], &["id"], None);
    bed.transaction(5, &[DEFINED, "_table|t|_action|insert|id|1|v|x"]);
    bed.apply(&db).expect("applied");
    (bed, db)
}

const DEFINED: &str = "_table|t|_oid|7|_key|id|_action|schema|id|integer|v|text";
const DROPPED: &str = "_table|t|_oid|7|_gone|dropped|_action|schema";
const UNPUBLISHED: &str = "_table|t|_oid|7|_gone|unpublished|_action|schema";

fn gone(db: &Db) -> Vec<String> {
    rows(db, "select name, why, oid, xid from _deltamirror_gone order by name")
}

#[test]
fn what_is_gone_is_noted_and_its_rows_stay_until_it_is_removed() {
    let (mut bed, db) = told();
    // Another table of the name is not this one.
    bed.transaction(6, &["_table|t|_oid|8|_gone|dropped|_action|schema"]);
    bed.transaction(7, &["_table|other|_oid|9|_gone|dropped|_action|schema"]);
    bed.apply(&db).expect("applied");
    assert_eq!(gone(&db), [""; 0]);
    bed.transaction(8, &[DROPPED]);
    bed.apply(&db).expect("applied");
    assert_eq!(gone(&db), ["'t' 'dropped' 7 8"]);
    assert_eq!(rows(&db, "select * from t"), ["1 'x'"]);
    let listed = verbs::tables(&db, &[]).expect("tables").remove(0);
    let noted = listed.gone.expect("gone");
    assert_eq!((noted.why.as_str(), noted.lsn), ("dropped", Some(bed.lsn())));
    assert!(noted.since_us > 1_000_000_000_000_000);
    let status = pgsqlite::deltamirror::status(&db, None).expect("status");
    assert_eq!(status.gone.len(), 1);
    let stop = AtomicBool::new(false);
    let patience = Patience { budget: mirror::ms(1000), stop: &stop };
    verbs::remove(&db, &["t".to_owned()], false, patience).expect("removed");
    assert_eq!(gone(&db), [""; 0]);
    assert_eq!(bed.apply(&db).expect("goes on").counts.errors, 0);
}

#[test]
fn a_table_that_was_renamed_before_is_known_by_its_object_id() {
    let (mut bed, db) = told();
    bed.transaction(6, &["_table|before|_oid|7|_gone|unpublished|_action|schema"]);
    bed.apply(&db).expect("applied");
    assert_eq!(gone(&db), ["'t' 'unpublished' 7 6"]);
    // It comes back under yet another name.
    bed.transaction(7, &["_table|u|_oid|7|_key|id|_action|schema|id|integer|v|text"]);
    assert_eq!(reason(&bed.apply(&db).expect_err("back")), "DRIFT");
    bed.apply_with(&db, Options { reloads: true, ..Options::default() }).expect("asked for");
    assert_eq!(gone(&db), [""; 0]);
    assert_eq!(rows(&db, "select source_table, stale from _deltamirror_reload"), ["'u' 1"]);
}

#[test]
fn what_is_back_is_reloaded_or_stops_and_what_was_under_way_is_neither() {
    let (mut bed, db) = told();
    bed.transaction(20, &[UNPUBLISHED]);
    // It has written before, and ended later.
    bed.transaction(19, &[DEFINED, "_table|t|_action|insert|id|2|v|late"]);
    bed.apply(&db).expect("applied");
    assert_eq!(gone(&db), ["'t' 'unpublished' 7 20"]);
    assert_eq!(rows(&db, "select count(*) from t"), ["2"]);
    bed.transaction(21, &[DEFINED, "_table|t|_action|insert|id|3|v|back"]);
    let error = bed.apply(&db).expect_err("back");
    assert_eq!(reason(&error), "DRIFT");
    let text = error.to_string();
    assert!(text.contains("`deltamirror resync -tables t "), "{text}");
    // Nothing of it is noted, so that the next one finds it again.
    assert_eq!(gone(&db), ["'t' 'unpublished' 7 20"]);
    assert_eq!(reason(&bed.apply(&db).expect_err("still")), "DRIFT");
    let suspending = Options { on_error: OnError::Suspend, ..Options::default() };
    bed.apply_with(&db, suspending).expect("the others go on");
    assert_eq!(rows(&db, "select name, reason from _deltamirror_suspended"), ["'t' 'DRIFT'"]);
}

#[test]
fn a_reload_begins_again_when_a_table_is_back() {
    let (mut bed, db) = told();
    bed.transaction(20, &[UNPUBLISHED]);
    bed.transaction(21, &[DEFINED, "_table|t|_action|insert|id|3|v|back"]);
    db.exec(
        "INSERT INTO _deltamirror_reload (source_schema, source_table, reason, asked_at, stale, \
         maker) VALUES ('public', 't', 'a test wants it', 1, 0, 'm')",
    )
    .expect("asked");
    bed.apply_with(&db, Options { reloads: true, ..Options::default() }).expect("applied");
    let due = rows(&db, "select stale, maker from _deltamirror_reload");
    assert_eq!(due, ["1 NULL"]);
    assert_eq!(gone(&db), [""; 0]);
}

/// Asks the capture for a look.
fn look(road: &Road) {
    road.sql("select pg_logical_emit_message(true, 'pgsqlite.schema', '')");
}

/// The capture has seen the catalogs once.
fn wait_for_first_look(road: &Road) {
    let file = road.stream().join("catalog.tsv");
    wait_until("the first look", || file.exists());
}

fn wait_for_gone(road: &Road, wanted: &[&str]) {
    let db = road.db("m.db");
    let found = "select name || ' ' || why from _deltamirror_gone order by name";
    let wanted: Vec<String> = wanted.iter().map(|one| format!("'{one}'")).collect();
    wait_until("the note", || rows(&db, found) == wanted);
}

const TABLES: &str = "create table t (id int primary key, v text);
    create table u (id int primary key, v text);
    create table w (id int primary key);
    insert into t values (1, 'a'); insert into u values (1, 'a'), (2, 'b')";

#[test]
fn the_others_are_compared_and_it_is_said_which_are_gone() {
    let road = Road::new("gone_compare", TABLES, &["t", "u", "w"]);
    wait_for_first_look(&road);
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql("drop table w; alter publication gone_compare drop table u");
    look(&road);
    wait_for_gone(&road, &["u unpublished", "w dropped"]);
    road.sql("insert into t values (2, 'b')");
    road.settle("m.db");
    let comparison = road.compare("m.db");
    assert!(comparison.is_equal(), "{comparison:?}");
    let gone: Vec<String> =
        comparison.gone.iter().map(|of| format!("{} {}", of.table, of.why.as_str())).collect();
    assert_eq!(gone, ["u unpublished", "w dropped"]);
    assert_eq!(comparison.tables.len(), 1);
    // Who names one wants it compared.
    let named = CompareOptions { tables: vec!["w".to_owned()], ..CompareOptions::default() };
    assert_eq!(reason(&road.compare_with("m.db", &named).expect_err("gone")), "DRIFT");
    // Also where nothing is sent any more, and nobody told.
    drop(follower);
    road.stop_capture();
    road.sql("alter publication gone_compare set table t; drop table t");
    let soon = CompareOptions { wait: mirror::ms(300), ..CompareOptions::default() };
    let compared = || road.compare_with("m.db", &soon).expect("compared");
    assert_eq!((compared().tables.len(), compared().gone.len()), (0, 3));
    let stop = AtomicBool::new(false);
    let patience = Patience { budget: mirror::ms(5000), stop: &stop };
    let db = road.db("m.db");
    let names = ["u".to_owned(), "w".to_owned()];
    assert_eq!(verbs::remove(&db, &names, true, patience).expect("removed"), names);
    assert_eq!(compared().gone.len(), 1);
    assert_eq!(rows(&db, "select count(*) from u"), ["2"]);
}

#[test]
fn a_table_that_is_back_in_its_publication_is_copied_again() {
    let road = Road::new("gone_back", TABLES, &["t", "u", "w"]);
    wait_for_first_look(&road);
    road.init("m.db", &[]).expect("init");
    road.init("plain.db", &[]).expect("init");
    let reloading = Reloading { conninfo: road.info(), fill: None };
    let (file, options) = (road.file("m.db"), Options::default());
    let follower =
        Follower::start_with(file, road.source(), options, Some(reloading), Box::new(|_| {}));
    let _follower = follower.expect("follow");
    let plain = road.follow("plain.db");
    road.sql("alter publication gone_back drop table u");
    look(&road);
    wait_for_gone(&road, &["u unpublished"]);
    road.sql("update u set v = 'unseen'; alter publication gone_back add table u");
    look(&road);
    wait_for_gone(&road, &[]);
    wait_status(&plain, "the end", |status| status.state == FollowState::Failed);
    assert!(plain.status().last_error.is_some_and(|error| error.contains("resync -tables u")));
    let db = road.db("m.db");
    wait_until("the copy", || rows(&db, "select v from u order by id") == ["'unseen'"; 2]);
    road.sql("insert into u values (3, 'c')");
    road.assert_equal("m.db");
    drop(plain);
    let again =
        InitOptions { resync: true, tables: vec!["u".to_owned()], ..InitOptions::default() };
    road.init_with("plain.db", &again).expect("what the message says");
    let _plain = road.follow("plain.db");
    road.assert_equal("plain.db");
    assert_eq!(rows(&road.db("plain.db"), "select count(*) from _deltamirror_gone"), ["0"]);
}

#[test]
fn a_table_made_anew_under_a_name_takes_the_place_of_the_one_that_is_gone() {
    let road = Road::new("gone_anew", TABLES, &[]);
    wait_for_first_look(&road);
    road.init("m.db", &[]).expect("init");
    let reloading = Reloading { conninfo: road.info(), fill: None };
    let (file, options) = (road.file("m.db"), Options::default());
    let follower =
        Follower::start_with(file, road.source(), options, Some(reloading), Box::new(|_| {}));
    let _follower = follower.expect("follow");
    let db = road.db("m.db");
    // Both between two looks, and one after the other.
    road.sql("drop table u; create table u (id int primary key, v text)");
    road.sql("insert into u values (5, 'new')");
    look(&road);
    wait_until("the copy", || rows(&db, "select * from u") == ["5 'new'"]);
    road.sql("drop table w");
    look(&road);
    wait_for_gone(&road, &["w dropped"]);
    road.sql("create table w (id int primary key); insert into w values (1)");
    look(&road);
    wait_for_gone(&road, &[]);
    wait_until("the copy", || rows(&db, "select * from w") == ["1"]);
    road.assert_equal("m.db");
}

#[test]
fn a_table_that_is_gone_while_its_new_copy_waits_stays_noted() {
    let (mut bed, db) = told();
    bed.transaction(20, &[DROPPED]);
    bed.apply(&db).expect("applied");
    // A copy of before that came in later does not hold what was told then.
    db.exec("UPDATE _deltamirror_table SET lsn = '0/1000'").expect("the copy's snapshot");
    pgsqlite::deltamirror::state::has_new_rows(&db, "t").expect("rows");
    assert_eq!(gone(&db), ["'t' 'dropped' 7 20"]);
    db.exec("UPDATE _deltamirror_table SET lsn = '0/2000'").expect("the copy's snapshot");
    pgsqlite::deltamirror::state::has_new_rows(&db, "t").expect("rows");
    assert_eq!(gone(&db), [""; 0]);
}
