//! From PostgreSQL to SQLite and on, with a real server and a real slot.

mod mirror;
mod support;

use mirror::live::{Road, wait_status};
use mirror::rows;
use pgsqlite::deltamirror::{
    CompareOptions, DifferenceKind, Error, Event, FollowState, InitOptions, status,
};
use pgsqlite::error::{Class, Coded};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use support::wait_for;

fn reason(error: &Error) -> &'static str {
    error.code().reason
}

const TYPES: &str = r#"
create type mood as enum ('sad', 'it''s ok');
create type pair as (a int, b text);
create domain cents as numeric(12,2);
create table everything (
  id bigint primary key, si smallint, i integer, o oid, r real, d double precision, b boolean,
  n numeric, n2 numeric(20,5), c cents, t text, v varchar(20), ch char(5), nm name, m mood,
  u uuid, ba bytea, tz timestamptz, ts timestamp, da date, ti time, ttz timetz, iv interval,
  js json, jb jsonb, ia int[], ta text[], rg int4range, cp pair, pt point, bt bit(4), vb varbit,
  ip inet, mac macaddr, x xml, mo money, tsv tsvector, pgl pg_lsn);
"#;

/// Rows with ordinary, extreme and odd values, from key `$1` on.
const TYPED_ROWS: &str = r#"
insert into everything (id) values (@0);
insert into everything values (@1, 1, 2, 3, 1.5, 2.25, true, 1.50, 2.5, 3.10, 'text', 'var', 'ch',
  'name', 'sad', '6b8fb5ee-9d5c-4d1f-9d0a-0d3c3d2f1a11', '\x00ff', '2026-11-20 21:53:36.912962+02',
  '2026-11-20 21:53:36', '2026-11-20', '21:53', '21:53+02', '1 year 2 days 03:04:05.6', '{"a": 1}',
  '{"a": [1, null]}', '{1,NULL,3}', '{"a b",NULL,"c\\d","{}"}', '[1,5)', '(1,"x y")', '(1,2)', '1010',
  '10101', '10.0.0.1/8', '08:00:2b:01:02:03', '<a>b</a>', '12.34', 'a fat cat', '16/B374D848');
insert into everything (id, si, i, o, r, d, b, n, n2, t, ba, tz, ts, da, iv, ia, ta) values
 (@2, -32768, -2147483648, 4294967295, '-Infinity', '-0', false, '-12345678901234567890.123456789',
  '-999999999999999.99999', e'tab\tnl\ncr\rbs\\ nul? quote'' "dq" \u00e9 \U0001F600', '', '-infinity',
  'infinity', '0044-03-15 BC', '-1 mons', '{}', '{""}'),
 (@3, 32767, 2147483647, 0, 'NaN', 'NaN', null, 'NaN', 0, '', '\x', 'infinity', '294276-12-31 23:59:59.999999',
  '5874897-12-31', '178000000 years', '{{1,2},{3,4}}', null),
 (@4, 0, 0, null, 3.4028235e38, 1.7976931348623157e308, null, 9223372036854775807, null, '\N', '\x5c',
  '0001-01-01 00:00:00+00 BC', '4713-01-01 00:00:00 BC', 'infinity', '0', null, null),
 (@5, null, null, null, 1e-45, 5e-324, null, 0.1, 100, 'NULL', '\x0a0d09', '2026-01-01 00:00:00+00', null,
  null, '-00:00:00.000001', null, null),
 (@6, null, null, null, 0.1, 0.1, null, 1e300, null, '   ', null, '1970-01-01 00:00:00.5+00', null, null,
  null, null, null),
 (@7, null, null, null, 16777217, 9007199254740993, null, 100.00, null, '123', null, null, null, null,
  null, null, null);
"#;

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
    road.sql("insert into everything (id, t) select 10000 + i, repeat(md5(i::text), 500) from generate_series(1, 20) i");
    road.sql("update everything set i = 7 where id > 10000");
    road.assert_equal("m.db");
    let db = road.db("m.db");
    let sql = "select typeof(n), n, typeof(d), b, tz, ba, m from everything where id = 101";
    assert_eq!(
        rows(&db, sql),
        ["'real' 1.5 'real' 1 '2026-11-20 19:53:36.912962Z' x[00, ff] 'sad'"]
    );
    let copied_and_streamed = "select count(*) from (select * from everything where id in (102, 202)) \
        where t like '%quote%' and r = -9e999";
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
            "select id, u, length(big), length(big2), small from \"{name}\" where id in (1, 2, 50, 70) \
             or u in ('other', 'u9') order by id"
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

/// Writers that run until told to stop: short and long transactions, some undone, on both tables.
fn hammer(road: &Road, stop: &AtomicBool, count: &AtomicU64, number: u32) {
    let mut client = road.cluster.client(&road.database);
    let mut n = 0u32;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let id = number * 1_000_000 + n;
        let other = number * 1_000_000 + n.wrapping_mul(7919) % n.max(1);
        let end = if n % 7 == 0 { "rollback" } else { "commit" };
        client
            .batch_execute(&format!(
                "begin; insert into a values ({id}, 'x', {n}) on conflict do nothing;
                 savepoint s; insert into b (k, v) values ('k{id}', {n}); rollback to s;
                 update a set n = n + 1 where id = {other};
                 insert into b (k, v) values ('r{id}', {n});
                 delete from b where k = 'r{other}' and v % 3 = 0;
                 update a set id = -{other} where id = {other} and n % 5 = 0; {end}"
            ))
            .expect("write");
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_copy_taken_under_writers_is_continued_exactly() {
    let setup = "create table a (id int primary key, t text, n int);
        create schema ops; create table ops.b (k text, v int);
        alter table ops.b replica identity full;
        alter database live_handoff set search_path = public, ops;
        insert into a select -1000000 - i, 'old', i from generate_series(1, 3000) i";
    let road = Road::new("live_handoff", setup, &["a", "ops.b"]);
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let shared = &road;
    let followers = std::thread::scope(|scope| {
        for number in 1..=3 {
            let (stop, count) = (&stop, &count);
            scope.spawn(move || hammer(shared, stop, count, number));
        }
        let more = |by: u64| {
            let wanted = count.load(Ordering::Relaxed) + by;
            wait_for("writers", Duration::from_secs(30), || {
                (count.load(Ordering::Relaxed) >= wanted).then_some(())
            });
        };
        more(20);
        // One mirror with both tables at once, copied three times; one that gets the second table
        // when the first is live; one filled anew while it is live.
        let mut followers = Vec::new();
        for name in ["1.db", "2.db", "3.db"] {
            shared.init(name, &[]).expect("init");
            more(10);
            followers.push(shared.follow(name));
        }
        shared.init("late.db", &["a"]).expect("init");
        followers.push(shared.follow("late.db"));
        more(30);
        shared.init("late.db", &["ops.b"]).expect("add a table");
        more(30);
        let resync =
            InitOptions { resync: true, tables: vec!["a".into()], ..InitOptions::default() };
        shared.init_with("1.db", &resync).expect("resync");
        let comparison = shared.compare("2.db");
        assert!(comparison.is_equal(), "{comparison:?}");
        more(30);
        stop.store(true, Ordering::Relaxed);
        followers
    });
    for name in ["1.db", "2.db", "3.db", "late.db"] {
        road.assert_equal(name);
    }
    assert!(followers.iter().all(|f| f.status().errors == 0));
    let live = "select distinct state from _deltamirror_table";
    assert_eq!(rows(&road.db("late.db"), live), ["'live'"]);
}

#[test]
fn a_copy_waits_for_those_who_wrote_before() {
    let road = Road::new("live_writers", "create table a (id int primary key)", &["a"]);
    let mut writer = road.cluster.client(&road.database);
    writer.batch_execute("begin; insert into a values (1)").expect("write");
    let short = InitOptions { writers: mirror::ms(30), ..InitOptions::default() };
    let error = road.init_with("m.db", &short).expect_err("a writer");
    assert_eq!((reason(&error), error.class()), ("WRITERS", Class::Retry));
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        let road = &road;
        let copy = scope.spawn(move || {
            let stop = AtomicBool::new(false);
            let db = road.db("m.db");
            let mut tell = |progress: &pgsqlite::deltamirror::Progress<'_>| {
                let _ = send.send(format!("{progress:?}"));
            };
            let options = InitOptions::default();
            pgsqlite::deltamirror::init(
                &db,
                &road.info(),
                &road.source(),
                &options,
                &stop,
                &mut tell,
            )
        });
        let first = receive.recv_timeout(Duration::from_secs(20)).expect("progress");
        assert_eq!(first, "WaitingForWriters { transactions: 1 }");
        writer.batch_execute("commit").expect("commit");
        assert_eq!(copy.join().expect("thread").expect("init")[0].rows, 1);
    });
    let _follower = road.follow("m.db");
    road.sql("insert into a values (2)");
    road.assert_equal("m.db");
}

#[test]
fn changes_of_definition_stop_the_table_and_resync_goes_on() {
    let setup = "create table t (id int primary key, a text, b int);
        create table u (id int primary key)";
    let road = Road::new("live_drift", setup, &[]);
    road.init("m.db", &[]).expect("init");
    for (n, ddl) in [
        "alter table t add column c int default 5",
        "alter table t rename column a to aa",
        "alter table t alter b type bigint",
        "alter table t drop column c",
    ]
    .into_iter()
    .enumerate()
    {
        let id = i32::try_from(n).expect("small") * 10;
        road.sql(&format!("insert into t (id) values ({id}); insert into u values ({id})"));
        road.sql(ddl);
        road.sql(&format!("insert into t (id) values ({})", id + 1));
        let (send, receive) = mpsc::channel();
        let on_event = move |event| {
            if let Event::Ended { error } = event {
                let _ = send.send(error);
            }
        };
        let mut follower = road.follow_with("m.db", Box::new(on_event));
        let error = receive.recv_timeout(Duration::from_secs(20)).expect("ends");
        let error = error.expect("an error");
        assert_eq!((reason(&error), error.class()), ("DRIFT", Class::Drift), "{ddl}: {error}");
        follower.join();
        assert_eq!(follower.status().state, FollowState::Failed);
        let sql = format!("select count(*) from t where id in ({id}, {})", id + 1);
        assert_eq!(rows(&road.db("m.db"), &sql), ["1"], "{ddl}");
        let resync =
            InitOptions { resync: true, tables: vec!["t".into()], ..InitOptions::default() };
        road.init_with("m.db", &resync).expect("resync");
        let _follower = road.follow("m.db");
        road.assert_equal("m.db");
    }
    // Another key, the same columns: no drift.
    road.sql("delete from t");
    road.sql("alter table t alter aa set not null");
    road.sql("alter table t drop constraint t_pkey; alter table t add primary key (aa)");
    let follower = road.follow("m.db");
    road.sql("insert into t values (1, 'one', 1), (2, 'two', 2)");
    road.sql("update t set b = 10 where aa = 'one'; delete from t where aa = 'two'");
    road.settle("m.db");
    assert_eq!(rows(&road.db("m.db"), "select * from t"), ["1 'one' 10"]);
    drop(follower);
    // Another table under the name, and the table under another name.
    for ddl in [
        "drop table t; create table t (id int, aa text primary key, b bigint)",
        "alter table t rename to was_t; create table t (id int, aa text primary key, b bigint)",
        "alter table t rename to u_new; alter table u rename to t; alter table u_new rename to u; \
         alter table t add aa text unique, add b bigint",
    ] {
        road.sql(ddl);
        road.sql("insert into t (id, aa) values (99, 'x')");
        let (send, receive) = mpsc::channel();
        let on_event = move |event| {
            if let Event::Ended { error } = event {
                let _ = send.send(error);
            }
        };
        let follower = road.follow_with("m.db", Box::new(on_event));
        let error = receive.recv_timeout(Duration::from_secs(20)).expect("ends").expect("error");
        assert_eq!(reason(&error), "DRIFT", "{ddl}: {error}");
        drop(follower);
        let resync = InitOptions { resync: true, ..InitOptions::default() };
        road.init_with("m.db", &resync).expect("resync");
    }
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
fn what_cannot_be_mirrored_is_said_before_anything_is_made() {
    let setup = "create table t (id int primary key); create table other (id int primary key);
        create table \"T\" (id int primary key); create view v as select 1 as one";
    let road = Road::new("live_refused", setup, &["t"]);
    let code =
        |road: &Road, tables: &[&str]| reason(&road.init("m.db", tables).expect_err("refused"));
    assert_eq!(code(&road, &["other"]), "NOTPUBLISHED");
    assert_eq!(code(&road, &["nope"]), "NOTABLE");
    assert_eq!(code(&road, &["v"]), "NOTABLE");
    road.sql("alter publication live_refused add table \"T\"");
    assert_eq!(code(&road, &[]), "COLLISION");
    road.init("m.db", &["t"]).expect("one of them");
    assert_eq!(code(&road, &["\"T\""]), "COLLISION");
    let db = road.db("taken.db");
    db.exec("create table T (x)").expect("table");
    let error = road.init("taken.db", &["t"]).expect_err("taken");
    assert_eq!(reason(&error), "TABLEEXISTS");
    // Another database of the same server.
    let another = Road::new("live_refused2", "create table t (id int primary key)", &["t"]);
    let stop = AtomicBool::new(false);
    let options = InitOptions::default();
    let wrong = |info| {
        let (db, source) = (road.db("w.db"), road.source());
        pgsqlite::deltamirror::init(&db, info, &source, &options, &stop, &mut |_| {})
    };
    assert_eq!(reason(&wrong(&another.info()).expect_err("other database")), "OTHERSERVER");
    let stop = AtomicBool::new(true);
    let (db, source) = (road.db("s.db"), road.source());
    let stopped =
        pgsqlite::deltamirror::init(&db, &road.info(), &source, &options, &stop, &mut |_| {});
    assert!(stopped.is_err());
}

#[test]
fn ready_tables_are_kept_when_init_is_run_again() {
    let setup = "create table a (id int primary key); create table b (id int primary key);
        insert into a values (1); insert into b values (1)";
    let road = Road::new("live_again", setup, &[]);
    assert_eq!(road.init("m.db", &["a"]).expect("init").len(), 1);
    road.sql("insert into a values (2); insert into b values (2)");
    let filled = road.init("m.db", &[]).expect("init again");
    assert_eq!((filled.len(), filled[0].table.as_str(), filled[0].rows), (1, "b", 2));
    assert_eq!(road.init("m.db", &[]).expect("nothing to do"), []);
    let _follower = road.follow("m.db");
    road.assert_equal("m.db");
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
        let event = receive.recv_timeout(Duration::from_secs(20)).expect("event");
        let Event::Applied { changes, transactions, .. } = event else { panic!("{event:?}") };
        assert_eq!((changes, transactions), (1, 1));
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
fn compare_finds_what_differs_and_only_that() {
    let setup = "create table t (id int primary key, v text, n numeric);
        create table f (a int, b text); alter table f replica identity full;
        insert into t select i, 'v' || i, i / 4.0 from generate_series(1, 200) i;
        insert into f select i % 10, null from generate_series(1, 100) i";
    let road = Road::new("live_compare", setup, &[]);
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql("insert into t values (1000, 'new', 1)");
    road.assert_equal("m.db");
    let db = road.db("m.db");
    db.exec(
        "delete from t where id = 3; insert into t values (5000, 'extra', 1);
         update t set v = 'wrong' where id = 7; update t set n = cast(n as text) where id = 8;
         delete from f where rowid = 5; insert into f values (77, 'x')",
    )
    .expect("damage");
    let comparison = road.compare("m.db");
    let found: Vec<String> = comparison
        .tables
        .iter()
        .flat_map(|t| {
            t.differences.iter().map(|d| format!("{} {} {}", t.table, d.kind.word(), d.key))
        })
        .collect();
    assert_eq!(
        found,
        [
            "f missing a=5 b=NULL",
            "f extra a=77 b=x",
            "t missing id=3",
            "t extra id=5000",
            "t different id=7",
            "t different id=8"
        ]
    );
    assert!(comparison.reached && !comparison.is_equal());
    assert_eq!(comparison.tables[1].rows, 201);
    assert_eq!(comparison.tables[0].differences[0].kind, DifferenceKind::Missing);
    let one = CompareOptions { tables: vec!["f".into()], ..CompareOptions::default() };
    assert_eq!(road.compare_with("m.db", &one).expect("compare").tables.len(), 1);
    let none = CompareOptions { tables: vec!["zzz".into()], ..CompareOptions::default() };
    assert_eq!(reason(&road.compare_with("m.db", &none).expect_err("none")), "NOTMIRRORED");
    // Nobody applies: what is to come is told as different, and that it may be.
    drop(follower);
    road.sql("insert into f values (1, 'late')");
    let short = CompareOptions { wait: mirror::ms(100), ..one };
    let comparison = road.compare_with("m.db", &short).expect("compare");
    assert!(!comparison.reached);
    assert_eq!(comparison.tables[0].different, 3);
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
