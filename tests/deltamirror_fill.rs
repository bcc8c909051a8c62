//! A first fill that does not come to its end, or is not alone: nothing of it looks finished. And
//! compare where the stream cannot be read.

mod mirror;
mod support;

use mirror::live::Road;
use mirror::{reason, rows};
use pgsqlite::daystream::{Keep, Storage, retain};
use pgsqlite::deltamirror::{
    CompareOptions, Error, Follower, InitOptions, Options, Progress, apply, connection, init,
    status,
};
use pgsqlite::deltastream::{self, Capture};
use pgsqlite::error::Coded;
use pgsqlite::sqlite::{Access, Db};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{wait_for, wait_until};

#[test]
fn a_mirror_whose_first_fill_is_not_over_says_what_is_missing() {
    let setup = "create table a (id int primary key); create schema ops;
        create table ops.\"b b\" (id int primary key); insert into a values (1);
        insert into ops.\"b b\" values (1)";
    let road = Road::new("fill_part", setup, &[]);
    let refused = |name: &str| {
        let options = Options::default();
        let started = Follower::start(road.file(name), road.source(), options, Box::new(|_| {}));
        let Err(error) = started else { panic!("it was followed") };
        let stop = AtomicBool::new(false);
        let applied = apply(&road.db(name), &road.source(), None, options, &stop);
        let compared = road.compare_with(name, &CompareOptions::default());
        let errors = [error, applied.expect_err("apply"), compared.expect_err("compare")];
        assert_eq!(errors.each_ref().map(reason), ["NOTFILLED"; 3]);
        let known = status(&road.db(name), None).expect("status");
        assert_eq!((known.filled, known.lag_ms), (false, None));
        (errors[0].to_string(), known.missing)
    };
    // It ends before the first table, and behind it.
    let stopped = |name: &str, when: fn(&Progress<'_>) -> bool, stop: bool| {
        let (db, source) = (road.db(name), road.source());
        let stop = AtomicBool::new(stop);
        let mut tell = |progress: &Progress<'_>| {
            if when(progress) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let options = InitOptions::default();
        let done = init(&db, &road.info(), &source, &options, &stop, &mut tell);
        assert_eq!(reason(&done.expect_err("stopped")), "STOPPED");
    };
    stopped("none.db", |_| false, true);
    let (text, missing) = refused("none.db");
    assert_eq!(missing, ["ops.b b", "public.a"]);
    assert!(text.contains("tables ops.b b, public.a are missing"), "{text}");
    stopped("one.db", |progress| matches!(progress, Progress::Ready { .. }), false);
    let (text, missing) = refused("one.db");
    assert_eq!(missing.len(), 1);
    let command = format!("deltamirror init -conninfo ... -db {}", road.file("one.db").display());
    assert!(text.contains(&command), "{text}");
    for name in ["none.db", "one.db"] {
        road.init(name, &[]).expect("the rest");
        let known = status(&road.db(name), None).expect("status");
        assert_eq!((known.filled, known.missing.len()), (true, 0));
        let _follower = road.follow(name);
        road.assert_equal(name);
    }
}

#[test]
fn a_table_that_could_not_be_added_is_missing_and_the_others_are_followed() {
    let setup = "create table a (id int primary key); create table b (id int primary key)";
    let road = Road::new("fill_more", setup, &[]);
    road.init("m.db", &["a"]).expect("init");
    let _follower = road.follow("m.db");
    // A writer that does not end.
    let mut writer = road.cluster.client(&road.database);
    writer.batch_execute("begin; insert into b values (1)").expect("write");
    let short = InitOptions { writers: mirror::ms(30), ..InitOptions::default() };
    assert_eq!(reason(&road.init_with("m.db", &short).expect_err("a writer")), "WRITERS");
    road.sql("insert into a values (1)");
    road.settle("m.db");
    let known = status(&road.db("m.db"), None).expect("status");
    assert_eq!((known.filled, known.missing.as_slice()), (true, &["public.b".to_owned()][..]));
    assert_eq!(rows(&road.db("m.db"), "select id from a"), ["1"]);
    let error = road.compare_with("m.db", &CompareOptions::default()).expect_err("not all");
    assert_eq!(reason(&error), "NOTFILLED");
    let a = CompareOptions { tables: vec!["a".into()], ..CompareOptions::default() };
    assert!(road.compare_with("m.db", &a).expect("compare").is_equal());
    writer.batch_execute("commit").expect("commit");
    road.init("m.db", &[]).expect("init");
    road.assert_equal("m.db");
}

#[test]
fn of_two_inits_at_once_each_finds_what_the_other_makes() {
    let setup = "create table a (id int primary key); create table b (id int primary key);
        insert into a select generate_series(1, 100); insert into b values (1)";
    let road = Road::new("fill_two", setup, &[]);
    let held = road.db("m.db");
    held.exec("begin immediate").expect("hold");
    std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| road.init("m.db", &[])));
        // Both have seen that there is nothing, and wait for the file.
        wait_until("two at the file", || {
            let sql = "select count(*) from pg_stat_activity where datname = current_database() \
                       and application_name = 'deltamirror' and state = 'idle'";
            road.client().query_one(sql, &[]).is_ok_and(|row| row.get::<_, i64>(0) == 2)
        });
        held.exec("commit").expect("let go");
        let both = both.map(|init| init.join().expect("thread").expect("init"));
        assert!(both.iter().map(Vec::len).sum::<usize>() >= 2, "{both:?}");
    });
    let _follower = road.follow("m.db");
    road.sql("insert into a values (1000)");
    road.assert_equal("m.db");
}

#[test]
fn a_mirror_is_followed_from_a_stream_of_which_everything_old_was_just_removed() {
    let road = Road::new("fill_young", "create table a (id int primary key)", &[]);
    road.stop_capture();
    let mut options = deltastream::Options::new(&road.conninfo(), &road.database, road.stream());
    options.segment_bytes = 1;
    let capture = Capture::start(options, Box::new(|_| {})).expect("capture");
    let keep = || {
        let keep = Keep { bytes: Some(0), ..Keep::default() };
        retain(&road.stream(), keep, 0, &Storage::default()).expect("retain")
    };
    let write = |n: u32| {
        road.sql(&format!("insert into a values ({n})"));
        let lsn: String = {
            let row = road.client().query_one("select pg_current_wal_lsn()::text", &[]);
            row.expect("LSN").get(0)
        };
        let lsn = lsn.parse().expect("LSN");
        wait_for("the capture", Duration::from_secs(20), || {
            (capture.status().durable >= lsn).then_some(())
        });
    };
    for n in 1..=4 {
        write(n);
    }
    assert!(keep().segments > 0, "nothing was removed");
    road.init("m.db", &[]).expect("init");
    {
        let _follower = road.follow("m.db");
        write(5);
        road.assert_equal("m.db");
    }
    // What is removed while a copy goes on is said by the copy.
    let (db, source, stop) = (road.db("late.db"), road.source(), AtomicBool::new(false));
    let mut tell = |progress: &Progress<'_>| {
        if matches!(progress, Progress::Ready { .. }) {
            write(6);
            write(7);
            write(8);
            assert!(keep().segments > 0, "nothing was removed");
        }
    };
    let options = InitOptions::default();
    let error = init(&db, &road.info(), &source, &options, &stop, &mut tell).expect_err("a gap");
    assert_eq!((error.code().stage, reason(&error)), ("DAYSTREAM", "GAP"));
    assert!(error.to_string().contains("init -resync 1 -conninfo"), "{error}");
    capture.stop();
    capture.join().expect("capture");
}

#[test]
fn a_temporary_table_of_the_same_name_is_left_alone() {
    let setup = "create table k (id int primary key, v text); insert into k values (1, 'x')";
    let road = Road::new("fill_temp", setup, &[]);
    let db = road.db("m.db");
    let shadows = "create temp table k (id, v); create temp table log (id);
        create temp table _deltamirror_stream (x); create temp table _deltamirror_filling (x);
        create temp table _deltamirror_table (x); create temp table _deltamirror_wanted (x);
        create temp table _deltamirror_meta (x); create temp table _deltamirror_error (x);
        create temp table pragma_table_info (x); create temp table _deltamirror_beat (x)";
    db.exec(shadows).expect("shadows");
    let stop = AtomicBool::new(false);
    let resync = InitOptions { resync: true, tables: vec!["k".into()], ..InitOptions::default() };
    let fill = |options: &InitOptions| {
        init(&db, &road.info(), &road.source(), options, &stop, &mut |_| {})
    };
    fill(&InitOptions::default()).expect("init");
    db.exec(
        "create index main.own on k (v); create unique index main.own2 on k (id, v);
         create table main.log (id);
         create trigger main.tells after insert on k begin insert into log values (new.id); end",
    )
    .expect("own");
    let made = "select type, name, tbl_name from main.sqlite_master \
                where name in ('own', 'own2', 'tells') order by name";
    let before = rows(&db, made);
    assert_eq!(before.len(), 3);
    fill(&resync).expect("resync");
    assert_eq!(rows(&db, made), before);
    let temporary = "select name from temp.sqlite_master where type in ('index', 'trigger')";
    assert_eq!(rows(&db, temporary), [""; 0]);
    road.sql("insert into k values (2, 'y')");
    let options = Options::default();
    wait_until("the row", || {
        apply(&db, &road.source(), None, options, &stop).expect("apply");
        rows(&db, "select id from main.log") == ["2"]
    });
    assert_eq!(rows(&db, "select count(*) from temp.k"), ["0"]);
    // One on the mirror's table would go with it, in silence.
    db.exec(
        "drop table temp.k;
         create temp trigger mine after insert on main.k begin select 1; end",
    )
    .expect("trigger");
    let error = fill(&resync).expect_err("in the way");
    assert_eq!(reason(&error), "INTHEWAY", "{error}");
    assert!(error.to_string().contains("\"mine\""), "{error}");
    assert_eq!(rows(&db, "select count(*) from main.k"), ["2"]);
}

#[test]
fn compare_knows_rows_and_columns_where_the_stream_cannot_be_read() {
    let setup = "create table t (id int primary key, v text, hidden text);
        insert into t select i, 'v', 'h' from generate_series(1, 20) i;
        create publication fill_filter for table t (id, v) where (id > 10)";
    let road = Road::published("fill_filter", setup, &[], Some("fill_filter"));
    road.init("m.db", &[]).expect("init");
    road.stop_capture();
    std::fs::rename(road.stream(), road.file("away")).expect("away");
    let comparison = road.compare("m.db");
    assert!(comparison.is_equal(), "{comparison:?}");
    assert_eq!(comparison.tables[0].rows, 10);
    road.db("m.db").exec("delete from t where id = 15").expect("damage");
    assert_eq!(road.compare("m.db").tables[0].different, 1);
}

#[test]
fn a_file_that_a_killed_writer_left_is_looked_at() {
    pgsqlite::sqlite::testing::load().expect("sqlite");
    let dir = tempfile::tempdir().expect("folder");
    let (file, left) = (dir.path().join("m.db"), dir.path().join("left.db"));
    let db = Db::open(&file, Access::Create).expect("open");
    mirror::prepare(&db);
    db.exec("pragma cache_size = 5; create table big (x); begin").expect("begin");
    // So much that it is in the file before it is committed.
    db.exec(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
         insert into big select randomblob(1000) from n",
    )
    .expect("rows");
    let journal = |file: &std::path::Path| file.with_extension("db-journal");
    std::fs::copy(&file, &left).expect("copy");
    std::fs::copy(journal(&file), journal(&left)).expect("its journal");
    drop(db);
    let looked = connection::open_read_only(&left).expect("open");
    assert_eq!(rows(&looked, "select count(*) from big"), ["0"]);
    let known = status(&looked, None).expect("status");
    assert!(!known.sqlite.is_empty() && known.tables.is_empty());
    let missing = connection::open_read_only(&dir.path().join("none.db"));
    assert!(matches!(missing, Err(Error::Sqlite(_))));
}
