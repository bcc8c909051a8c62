//! Copies under a snapshot, their continuation, and comparing both sides, with a real server.

mod mirror;
mod support;

use mirror::live::Road;
use mirror::{reason, rows};
use pgsqlite::deltamirror::{
    CompareOptions, DifferenceKind, Event, FollowState, Follower, InitOptions, compare, init,
};
use pgsqlite::deltastream::{self, Plugin, SetupOptions};
use pgsqlite::error::{Class, Coded};
use pgsqlite::libpq::Conninfo;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use support::wait_for;

/// Writers that run until told to stop: short and long transactions, some undone, on both tables.
fn hammer(road: &Road, stop: &AtomicBool, count: &AtomicU64, number: u32) {
    let mut client = road.cluster.client(&road.database);
    let mut n = 0u32;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let id = number * 1_000_000 + n;
        let other = number * 1_000_000 + n.wrapping_mul(7919) % n.max(1);
        let end = if n.is_multiple_of(7) { "rollback" } else { "commit" };
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
fn changes_of_definition_are_followed_or_stop_the_table_and_resync_goes_on() {
    let setup = "create table t (id int primary key, a text, b int);
        create table u (id int primary key)";
    let road = Road::new("live_drift", setup, &[]);
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    for (n, ddl) in [
        "alter table t add column c int default 5",
        "alter table t rename column a to aa",
        "alter table t drop column c",
        "alter table t drop column aa; alter table t add column aa text default 'other'",
        "alter table t alter aa type varchar; alter table t alter aa type text",
    ]
    .into_iter()
    .enumerate()
    {
        let id = i32::try_from(n).expect("small") * 10 + 1000;
        road.sql(&format!("insert into t (id) values ({id}); insert into u values ({id})"));
        road.settle("m.db");
        road.sql(ddl);
        road.sql(&format!("insert into t (id) values ({})", id + 1));
        road.assert_equal("m.db");
        assert_eq!(follower.status().last_error, None, "{ddl}");
    }
    drop(follower);
    for (n, ddl) in [
        "alter table t alter b type bigint",
        "alter table t add column r float default random()",
        "alter table t drop column r; alter table t alter b type bigint using b + 1",
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
    let follower = road.follow("m.db");
    road.sql("delete from t");
    // The capture is to ask for the details before they are others.
    road.settle("m.db");
    road.sql("alter table t alter aa set not null");
    road.sql("alter table t drop constraint t_pkey; alter table t add primary key (aa)");
    road.sql("insert into t (id, aa, b) values (1, 'one', 1), (2, 'two', 2)");
    road.sql("update t set b = 10 where aa = 'one'; delete from t where aa = 'two'");
    road.settle("m.db");
    assert_eq!(rows(&road.db("m.db"), "select id, aa, b from t"), ["1 'one' 10"]);
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

/// A slot was lost, or the server restored from a backup: what an operator does, and that a mirror
/// that was forgotten does not go on with a gap.
#[test]
fn a_stream_made_anew_is_taken_only_with_all_tables() {
    let setup = "create table t (id int primary key); create table u (id int primary key);
        insert into t values (1); insert into u values (1)";
    let road = Road::new("live_anew", setup, &[]);
    road.init("m.db", &[]).expect("init");
    let follower = road.follow("m.db");
    road.sql("insert into t values (2)");
    road.assert_equal("m.db");
    drop(follower);
    // One that follows all the while notices, too.
    road.init("while.db", &[]).expect("init");
    let (send, receive) = mpsc::channel();
    let on_event = move |event| {
        if let Event::Ended { error } = event {
            let _ = send.send(error);
        }
    };
    let _follower = road.follow_with("while.db", Box::new(on_event));
    road.stop_capture();
    deltastream::drop_slot(&road.conninfo(), "live_anew", None).expect("drop");
    std::fs::remove_dir_all(road.stream()).expect("remove");
    road.sql("insert into t values (3); insert into u values (3); delete from t where id = 1");
    deltastream::setup(&SetupOptions {
        conninfo: road.conninfo(),
        slot: "live_anew".to_owned(),
        stream: Some(road.stream()),
        tables: Vec::new(),
        publication: None,
        plugin: Plugin::Pgoutput,
        announce: pgsqlite::deltastream::Announce::Nothing,
    })
    .expect("setup");
    road.capture();
    road.sql("insert into t values (10)");
    let ended = receive.recv_timeout(Duration::from_secs(20)).expect("ends").expect("error");
    assert_eq!(reason(&ended), "OTHERSTREAM", "{ended}");
    let start = |road: &Road| {
        let options = pgsqlite::deltamirror::Options::default();
        Follower::start(road.file("m.db"), road.source(), options, Box::new(|_| {}))
    };
    assert_eq!(reason(&start(&road).expect_err("a gap")), "OTHERSTREAM");
    assert_eq!(reason(&road.init("m.db", &[]).expect_err("a gap")), "OTHERSTREAM");
    // What is missing can be seen all the same.
    let short = CompareOptions { wait: mirror::ms(100), ..CompareOptions::default() };
    let comparison = road.compare_with("m.db", &short).expect("compare");
    assert_eq!(comparison.tables.iter().map(|table| table.different).collect::<Vec<_>>(), [3, 1]);
    let resync = |tables: &[&str]| {
        let tables = tables.iter().map(|table| (*table).to_owned()).collect();
        let options = InitOptions { resync: true, tables, ..InitOptions::default() };
        road.init_with("m.db", &options)
    };
    assert_eq!(reason(&resync(&["t"]).expect_err("half of it")), "OTHERSTREAM");
    // LSNs of a server that was restored are lower than those that the mirror has seen.
    road.db("m.db").exec("update _deltamirror_stream set lsn = 'FFFF/0'").expect("LSN");
    assert_eq!(resync(&["t", "u"]).expect("all of it").len(), 2);
    let _follower = start(&road).expect("follow");
    road.sql("insert into t values (4); insert into u values (4)");
    road.assert_equal("m.db");
    assert_eq!(rows(&road.db("m.db"), "select id from t"), ["2", "3", "4", "10"]);
}

#[test]
fn what_the_user_made_on_a_table_is_there_after_it_was_filled_anew() {
    let setup = "create table t (id int primary key, a text, b int, c int unique);
        alter table t replica identity full; insert into t values (1, 'x', 1, 1)";
    let road = Road::new("live_own", setup, &[]);
    road.init("m.db", &[]).expect("init");
    let db = road.db("m.db");
    db.exec(
        "create index own on t (a); create table log (id);
         create trigger tells after insert on t begin insert into log values (new.id); end",
    )
    .expect("own");
    let made = "select name from sqlite_master where type in ('index', 'trigger') order by 1";
    let before = rows(&db, made);
    let resync = InitOptions { resync: true, tables: vec!["t".into()], ..InitOptions::default() };
    road.sql("alter table t drop column b; insert into t values (2, 'y', 2)");
    road.init_with("m.db", &resync).expect("resync");
    assert_eq!(rows(&db, made), before);
    assert_eq!(rows(&db, "select count(*) from log"), ["0"]);
    let follower = road.follow("m.db");
    road.sql("insert into t values (3, 'z', 3)");
    road.settle("m.db");
    assert_eq!(rows(&db, "select id from log"), ["3"]);
    drop(follower);
    // One that cannot be made again is said, and the table stays as it is.
    road.sql("alter table t drop column a; insert into t values (4, 4)");
    let error = road.init_with("m.db", &resync).expect_err("its index");
    assert_eq!(reason(&error), "OWN");
    assert!(error.to_string().contains("index \"own\" of table t"), "{error}");
    assert_eq!(rows(&db, "select id, a from t"), ["1 'x'", "2 'y'", "3 'z'"]);
    db.exec("drop index own").expect("drop");
    road.init_with("m.db", &resync).expect("resync");
    let _follower = road.follow("m.db");
    road.assert_equal("m.db");
}

#[test]
fn what_cannot_be_mirrored_is_said_before_anything_is_made() {
    let setup = "create table t (id int primary key); create table other (id int primary key);
        create table \"T\" (id int primary key); create view v as select 1 as one;
        create table bare ()";
    let road = Road::new("live_refused", setup, &["t"]);
    let code =
        |road: &Road, tables: &[&str]| reason(&road.init("m.db", tables).expect_err("refused"));
    assert_eq!(code(&road, &["other"]), "NOTPUBLISHED");
    assert_eq!(code(&road, &["nope"]), "NOTABLE");
    assert_eq!(code(&road, &["v"]), "NOTABLE");
    assert_eq!(code(&road, &["bare"]), "NOCOLUMNS");
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
    let one = InitOptions { tables: vec!["t".into()], ..InitOptions::default() };
    let stopped = init(&db, &road.info(), &source, &one, &stop, &mut |_| {});
    assert_eq!(reason(&stopped.expect_err("stopped")), "STOPPED");
    road.sql("drop publication live_refused; create publication live_refused");
    assert_eq!(code(&road, &[]), "NOTABLES");
    road.sql("drop publication live_refused");
    assert_eq!(code(&road, &["t"]), "NOPUBLICATION");
}

#[test]
fn rows_that_a_policy_hides_are_not_left_out_in_silence() {
    let setup = "create table t (id int primary key); insert into t values (1), (2);
        alter table t enable row level security;
        create policy one on t for select using (id = 1);
        create role live_hidden login; grant select on t to live_hidden";
    let road = Road::new("live_hidden", setup, &["t"]);
    let info = road.conninfo().replace("user=postgres", "user=live_hidden");
    let info = Conninfo::parse(&info).expect("conninfo");
    let fill = || {
        let (db, source, stop) = (road.db("m.db"), road.source(), AtomicBool::new(false));
        init(&db, &info, &source, &InitOptions::default(), &stop, &mut |_| {})
    };
    let error = fill().expect_err("a policy");
    assert!(error.report().contains("row-level security"), "{}", error.report());
    road.sql("alter role live_hidden bypassrls");
    assert_eq!(fill().expect("all rows")[0].rows, 2);
    let hidden = "alter role live_hidden nobypassrls";
    road.sql(hidden);
    let stop = AtomicBool::new(false);
    let compared = compare(&info, &road.db("m.db"), None, &CompareOptions::default(), &stop);
    assert!(compared.expect_err("a policy").report().contains("row-level security"));
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
fn compare_finds_what_differs_and_only_that() {
    let setup = "create table t (id int primary key, v text, n numeric);
        create table f (a int, _side text); alter table f replica identity full;
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
            "f missing a=5 _side=NULL",
            "f extra a=77 _side=x",
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
