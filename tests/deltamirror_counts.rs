//! What changed in each table: in the file, in the transaction that changes it, and in the event.

mod mirror;
mod support;

use mirror::live::Road;
use mirror::*;
use pgsqlite::deltamirror::{Event, Follower, InitOptions, OnError, Options, Tally};
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

const COUNTS: &str = "select name, inserts, updates, deletes, truncates \
    from _deltamirror_table order by name";
const TOUCHED: &str = "select name, touched from _deltamirror_table order by name";

/// A bed with the tables `t` and `f`, and a transaction of each kind of change.
fn changed() -> Bed {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    full(&db);
    bed.transaction(
        1,
        &[
            "_table|t|_action|insert|id|1|a|one",
            "_table|t|_action|insert|id|2|a|two",
            "_table|f|_action|insert|x|1|y|one",
            "_table|other|_action|insert|x|1",
        ],
    );
    bed.transaction(
        2,
        &[
            "_table|t|_action|update|id|1|a|eins|b|",
            "_table|t|_action|replace|id|2",
            "_table|t|_action|update|id|3|a|drei|b|",
            "_table|t|_action|delete|id|1",
        ],
    );
    bed
}

#[test]
fn changes_are_counted_by_table_with_the_place_of_the_last() {
    let mut bed = changed();
    let db = bed.db();
    let before = rows(&db, TOUCHED);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, COUNTS), ["'f' 1 0 0 0", "'t' 2 2 1 0"]);
    assert_eq!(before, ["'f' 1", "'t' 1"]);
    assert_eq!(rows(&db, TOUCHED), ["'f' 2", "'t' 2"]);
    let place = "select changed_clock = clock, changed_seq < seq, changed_seq > seq - 4 \
        from _deltamirror_table, (select clock, seq from _deltamirror_stream) where name = 't'";
    assert_eq!(rows(&db, place), ["1 1 1"]);
    bed.transaction(3, &["_table|t|_action|truncate"]);
    bed.transaction(4, &["_table|other|_action|insert|x|2"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, COUNTS), ["'f' 1 0 0 0", "'t' 2 2 1 1"]);
    // Only what was changed is another one.
    assert_eq!(rows(&db, TOUCHED), ["'f' 2", "'t' 3"]);
}

#[test]
fn what_is_taken_back_is_not_counted() {
    let mut bed = changed();
    let db = bed.db();
    bed.transaction(
        3,
        &["_table|f|_action|insert|x|2|y|two", "_table|t|_action|update|id|77|a|none|b|"],
    );
    bed.apply(&db).expect_err("no such row");
    assert_eq!(rows(&db, COUNTS), ["'f' 1 0 0 0", "'t' 2 2 1 0"]);
    let keep = Options { on_error: OnError::Keep, ..Options::default() };
    bed.apply_with(&db, keep).expect("keep");
    assert_eq!(rows(&db, COUNTS), ["'f' 2 0 0 0", "'t' 2 2 1 0"]);
}

#[test]
fn the_event_tells_the_tables() {
    let mut bed = changed();
    let db = bed.db();
    let (sender, heard) = mpsc::channel();
    let on_event = Box::new(move |event| {
        if let Event::Applied { tables, .. } = event {
            let _ = sender.send(tables);
        }
    });
    let _follower =
        Follower::start(bed.file(), bed.source(), Options::default(), on_event).expect("follow");
    let mut sums: BTreeMap<String, Tally> = BTreeMap::new();
    let wait = |sums: &mut BTreeMap<String, Tally>, table: &str, inserts: u64| {
        while sums.get(table).is_none_or(|tally| tally.inserts < inserts) {
            let told = heard.recv_timeout(Duration::from_secs(30)).expect("event");
            for touched in told {
                sums.entry(touched.table.to_string()).or_default().add(&touched.tally);
            }
        }
    };
    wait(&mut sums, "t", 2);
    bed.transaction(3, &["_table|f|_action|insert|x|2|y|two"]);
    wait(&mut sums, "f", 2);
    let [f, t] = [sums["f"], sums["t"]];
    assert_eq!((f.inserts, f.updates, f.deletes, f.truncates), (2, 0, 0, 0));
    assert_eq!((t.inserts, t.updates, t.deletes, t.truncates), (2, 2, 1, 0));
    assert_eq!(rows(&db, COUNTS), ["'f' 2 0 0 0", "'t' 2 2 1 0"]);
}

#[test]
fn a_table_that_is_filled_again_is_touched_and_its_counts_go_on() {
    let road = Road::new(
        "counts_filled",
        "create table t (id int primary key); insert into t values (1), (2)",
        &[],
    );
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql("insert into t values (3)");
    road.settle("m.db");
    drop(follower);
    let db = road.db("m.db");
    let touched = |db| rows(db, "select touched from _deltamirror_table")[0].clone();
    let before: i64 = touched(&db).parse().expect("number");
    let tables = vec!["t".to_owned()];
    let options = InitOptions { tables, resync: true, ..InitOptions::default() };
    road.init_with("m.db", &options).expect("resync");
    let after: i64 = touched(&db).parse().expect("number");
    assert!(after > before, "{before} {after}");
    assert_eq!(rows(&db, COUNTS), ["'t' 1 0 0 0"]);
}
