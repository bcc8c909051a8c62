//! From PostgreSQL to SQLite and on, with a real server and a real slot.

mod mirror;
mod support;

use mirror::live::{Road, wait_status};
use mirror::{reason, rows};
use pgsqlite::deltamirror::{Event, FollowState, status};
use std::sync::mpsc;
use std::time::Duration;
use support::wait_for;

/// A table with a column of every type.
const TYPES: &str = include_str!("mirror/everything.sql");
/// Rows for it, with `@0` to `@7` for their keys.
const TYPED_ROWS: &str = include_str!("mirror/everything_rows.sql");

fn typed_rows(from: i64) -> String {
    (0..8).fold(TYPED_ROWS.to_owned(), |sql, n| {
        sql.replace(&format!("@{n}"), &(from + n).to_string())
    })
}

#[test]
fn every_type_is_the_same_copied_and_streamed() {
    let road = Road::new("live_types", TYPES, &["everything"]);
    road.sql(&typed_rows(100));
    let filled = road.init("m.db", &[]).expect("init");
    assert_eq!((filled.len(), filled[0].rows), (1, 8));
    let _follower = road.follow("m.db");
    road.sql(&typed_rows(200));
    road.sql("update everything set t = t || '!', i = null where id in (101, 202)");
    road.sql("update everything set id = id + 1000 where id in (103, 104, 203)");
    road.sql("delete from everything where id in (105, 205)");
    road.sql(
        "insert into everything (id, t) \
         select 10000 + i, repeat(md5(i::text), 500) from generate_series(1, 20) i",
    );
    road.sql("update everything set i = 7 where id > 10000");
    road.assert_equal("m.db");
    let db = road.db("m.db");
    let sql = "select typeof(n), n, typeof(d), b, tz, ba, m from everything where id = 101";
    assert_eq!(
        rows(&db, sql),
        ["'real' 1.5 'real' 1 '2026-11-20 19:53:36.912962Z' x[00, ff] 'sad'"]
    );
    let copied_and_streamed = "select count(*) from everything where id in (102, 202) \
        and t like '%quote%' and r = -9e999";
    assert_eq!(rows(&db, copied_and_streamed), ["2"]);
    let sql = "select strftime('%Y', tz), typeof(r), r from everything where id = 1203 or id = 101";
    assert_eq!(rows(&db, sql), ["'2026' 'real' 1.5", "NULL 'text' 'NaN'"]);
}

#[test]
fn unchanged_null_and_new_values_under_every_identity() {
    let mut setup = String::new();
    for (name, identity) in [
        ("d", "default"),
        ("f", "full"),
        ("i", "using index i_u"),
        ("n", "default"),
        ("fn", "full"),
    ] {
        let key = if name == "fn" { "" } else { "primary key" };
        setup.push_str(&format!(
            "create table {name} (id int {key}, u text not null, big text, big2 text, small int);
             alter table {name} alter big set storage external, alter big2 set storage external;
             create unique index {name}_u on {name} (u);
             alter table {name} replica identity {identity};
             insert into {name} select i, 'u' || i, repeat('x', 5000), repeat('y', 5000), i
               from generate_series(1, 12) i;"
        ));
    }
    let road = Road::new("live_identity", &setup, &[]);
    road.sql("alter table n replica identity nothing");
    road.init("m.db", &[]).expect("init");
    let _follower = road.follow("m.db");
    for name in ["d", "f", "i", "fn"] {
        road.sql(&format!(
            "update {name} set small = 100 where id = 1;
             update {name} set big = null where id = 2;
             update {name} set big = 'short' where id = 3;
             update {name} set big = repeat('z', 6000) where id = 4;
             update {name} set id = 50, small = null where id = 5;
             update {name} set u = 'other' where id = 6;
             update {name} set u = 'both', id = 70, big2 = null where id = 7;
             delete from {name} where id = 8;
             update {name} set big = null where id = 2;
             update {name} set big = repeat('w', 6000) where id = 2;
             begin; update {name} set id = -9, u = 'tmp' where id = 9;
               update {name} set id = 9, u = 'u9' where id = 10;
               update {name} set id = 10, u = 'u10' where id = -9; commit;
             insert into {name} values (20, 'new', null, null, null);
             insert into {name} values (21, 'new2', repeat('n', 5000), '', 0);"
        ));
    }
    road.sql("insert into n values (20, 'new', null, repeat('q', 5000), 1)");
    road.assert_equal("m.db");
    let db = road.db("m.db");
    for name in ["d", "f", "i", "fn"] {
        let sql = format!(
            "select id, u, length(big), length(big2), small from \"{name}\" \
             where id in (1, 2, 50, 70) or u in ('other', 'u9') order by id"
        );
        assert_eq!(
            rows(&db, &sql),
            [
                "1 'u1' 5000 5000 100",
                "2 'u2' 6000 5000 2",
                "6 'other' 5000 5000 6",
                "9 'u9' 5000 5000 10",
                "50 'u5' 5000 5000 NULL",
                "70 'both' 5000 NULL 7"
            ],
            "{name}"
        );
    }
    let refused = road.client().batch_execute("update n set small = 1 where id = 1");
    assert!(refused.is_err(), "PostgreSQL itself refuses an update without an identity");
}

#[test]
fn partitions_columns_and_rows_are_those_that_are_published() {
    let setup = "create table part (d int, v text, primary key (d)) partition by range (d);
        create table part_low partition of part for values from (0) to (100);
        create table part_high partition of part for values from (100) to (200);
        create table leaf (d int primary key, v text) partition by range (d);
        create table leaf_1 partition of leaf for values from (0) to (100);
        create table gen (id int primary key, w int generated always as (id * 2) stored, v text);
        insert into part select i, 'v' || i from generate_series(50, 150) i;
        insert into gen (id, v) values (1, 'x')";
    let check = |road: Road, tables: &[&str]| {
        let filled = road.init("m.db", &[]).expect("init");
        let names: Vec<&str> = filled.iter().map(|f| f.table.as_str()).collect();
        assert_eq!(names, tables);
        let _follower = road.follow("m.db");
        road.sql("update part set d = d + 110 where d < 60; insert into leaf values (1, 'a')");
        road.sql("insert into gen (id, v) values (2, 'y'); update gen set id = 5 where id = 1");
        road.sql("truncate part; insert into part values (7, 'x')");
        road.assert_equal("m.db");
        assert_eq!(rows(&road.db("m.db"), "select * from gen"), ["2 'y'", "5 'x'"]);
    };
    check(Road::new("live_parts", setup, &["gen", "part", "leaf"]), &["gen", "leaf", "part"]);
    let leaves = format!("{setup}; create publication leaves for table gen, part, leaf");
    let road = Road::published("live_leaves", &leaves, &[], Some("leaves"));
    check(road, &["gen", "leaf_1", "part_high", "part_low"]);
}

#[test]
fn a_row_filter_of_the_publication_is_the_mirrors_too() {
    let setup = "create table t (id int primary key, keep boolean);
        insert into t select i, i % 2 = 0 from generate_series(1, 100) i";
    let road = Road::new("live_filter", setup, &["t"]);
    let version = road.client().query_one("show server_version_num", &[]).expect("version");
    if version.get::<_, String>(0).parse::<u32>().expect("number") < 150_000 {
        return;
    }
    road.sql("alter table t replica identity full");
    road.sql("alter publication live_filter set table t where (keep)");
    assert_eq!(road.init("m.db", &[]).expect("init")[0].rows, 50);
    let _follower = road.follow("m.db");
    road.sql("insert into t values (200, true), (201, false)");
    road.sql("update t set keep = not keep where id <= 10");
    road.assert_equal("m.db");
    assert_eq!(rows(&road.db("m.db"), "select count(*), sum(id % 2) from t"), ["51 5"]);
}

#[test]
fn a_follower_applies_at_once_and_tells_how_it_is() {
    let road = Road::new("live_follow", "create table t (id int primary key)", &["t"]);
    road.init("m.db", &[]).expect("init");
    let (send, receive) = mpsc::channel();
    let on_event = move |event| {
        let _ = send.send(event);
    };
    let mut follower = road.follow_with("m.db", Box::new(on_event));
    wait_status(&follower, "waiting", |s| s.state == FollowState::Waiting);
    for id in 0..50 {
        road.sql(&format!("insert into t values ({id})"));
        let applied = || {
            let event = receive.recv_timeout(Duration::from_secs(20)).expect("event");
            let Event::Applied { changes, transactions, .. } = event else { panic!("{event:?}") };
            (changes, transactions)
        };
        // What was written after the copy's snapshot comes first, and changes nothing.
        let first = applied();
        assert_eq!(if first == (0, 1) { applied() } else { first }, (1, 1));
    }
    let status = wait_status(&follower, "idle", |s| s.state == FollowState::Waiting);
    assert_eq!((status.counts.changes, status.lag_ms, status.tables), (50, 0, 1));
    let [median, _] = status.latency_us.expect("measured");
    assert!(median < 1_000_000, "{median} us");
    let from_file = pgsqlite::deltamirror::status(&road.db("m.db"), Some(&road.source()));
    let from_file = from_file.expect("status");
    assert_eq!((from_file.stream.lsn, from_file.lag_ms), (status.lsn, Some(0)));
    // A lock is reported and waited for.
    let db = road.db("m.db");
    db.exec("BEGIN IMMEDIATE").expect("lock");
    drop(follower);
    let _ = receive.recv_timeout(Duration::from_secs(20)).expect("ended");
    road.sql("insert into t values (100)");
    let short = pgsqlite::deltamirror::Options { busy: mirror::ms(20), ..Default::default() };
    let (send, receive) = mpsc::channel();
    let on_event = move |event| {
        let _ = send.send(event);
    };
    let file = road.file("m.db");
    follower =
        pgsqlite::deltamirror::Follower::start(file, road.source(), short, Box::new(on_event))
            .expect("starts although it is locked");
    let event = receive.recv_timeout(Duration::from_secs(20)).expect("event");
    let Event::Retrying { error, .. } = event else { panic!("{event:?}") };
    assert_eq!(reason(&error), "BUSY");
    assert_eq!(follower.status().state, FollowState::Retrying);
    db.exec("COMMIT").expect("unlock");
    wait_status(&follower, "the row", |s| s.counts.changes == 1);
    follower.stop();
    follower.join();
    assert_eq!(follower.status().state, FollowState::Stopped);
    let lagging = status_of_stopped(&road);
    assert!(lagging.is_some_and(|lag| lag > 0), "{lagging:?}");
}

/// The lag of a mirror that nobody moves while the stream goes on.
fn status_of_stopped(road: &Road) -> Option<u64> {
    road.sql("insert into t values (200)");
    let db = road.db("m.db");
    wait_for("a lag", Duration::from_secs(20), || {
        let lag = status(&db, None).expect("status").lag_ms;
        (lag != Some(0)).then_some(lag)
    })
}

#[test]
fn a_large_transaction_and_undone_parts_of_one() {
    let road = Road::new("live_large", "create table t (id int primary key, v text)", &["t"]);
    road.init("m.db", &[]).expect("init");
    let _follower = road.follow("m.db");
    road.sql(
        "begin; insert into t select i, 'v' || i from generate_series(1, 100000) i;
         savepoint s; delete from t where id % 2 = 0; rollback to s;
         update t set v = 'changed' where id % 1000 = 0;
         savepoint s2; delete from t where id % 10 = 1; release s2; commit",
    );
    road.settle("m.db");
    let sql = "select count(*), sum(v = 'changed') from t";
    assert_eq!(rows(&road.db("m.db"), sql), ["90000 100"]);
    let comparison = road.compare("m.db");
    assert!(comparison.is_equal(), "{comparison:?}");
}

#[test]
fn a_stream_that_is_away_for_a_while_is_followed_on() {
    let setup = "create table t (id int primary key); insert into t values (1)";
    let road = Road::new("live_away", setup, &[]);
    road.init("m.db", &[]).expect("init");
    let (send, receive) = mpsc::channel();
    let on_event = move |event| {
        let _ = match event {
            Event::Retrying { error, .. } => send.send(reason(&error)),
            Event::Resumed { .. } => send.send("back"),
            _ => Ok(()),
        };
    };
    let follower = road.follow_with("m.db", Box::new(on_event));
    road.sql("insert into t values (2)");
    road.settle("m.db");
    road.stop_capture();
    std::fs::rename(road.stream(), road.file("away")).expect("rename");
    assert_eq!(receive.recv_timeout(Duration::from_secs(20)).as_deref(), Ok("NOTFOUND"));
    std::fs::rename(road.file("away"), road.stream()).expect("rename");
    road.capture();
    road.sql("insert into t values (3)");
    road.assert_equal("m.db");
    assert_eq!(follower.status().state, FollowState::Waiting);
    let told: Vec<&str> = receive.try_iter().skip_while(|what| *what == "NOTFOUND").collect();
    assert_eq!(told, ["back"]);
}

#[test]
fn a_second_follower_into_a_file_is_told() {
    let road = Road::new("live_second", "create table t (id int primary key)", &[]);
    road.init("m.db", &[]).expect("init");
    let follow = || {
        let (send, receive) = mpsc::channel();
        let on_event = move |event| {
            if let Event::Warning { message } = event {
                let _ = send.send(message);
            }
        };
        let follower = road.follow_with("m.db", Box::new(on_event));
        road.sql("insert into t select count(*) from t");
        wait_status(&follower, "the row", |status| status.state == FollowState::Waiting);
        (follower, receive.try_iter().collect::<Vec<String>>())
    };
    let (first, told) = follow();
    assert_eq!(told, [""; 0]);
    let (second, told) = follow();
    assert!(told.len() == 1 && told[0].contains("m.db already"), "{told:?}");
    road.assert_equal("m.db");
    drop((first, second));
    assert_eq!(follow().1, [""; 0]);
}
