//! Tables that are copied again while the mirror goes on.

mod mirror;
mod support;

use mirror::live::Road;
use mirror::{Bed, keyed, prepare, reason, rows};
use pgsqlite::deltamirror::{Event, Follower, Options, Reloading, request_reload};
use pgsqlite::error::Coded;
use pgsqlite::libpq::Conninfo;
use pgsqlite::schema::TableName;
use pgsqlite::sqlite::Db;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use support::wait_until;

/// Asks for a reload as the follower does that finds a reason in the stream.
fn ask(db: &Db, table: &str) {
    let sql = "INSERT INTO _deltamirror_reload (source_schema, source_table, reason, asked_at, \
               stale) VALUES ('public', ?1, 'a test wants it', 1, 1)";
    db.execute(sql, &[table.into()]).expect("asked");
}

/// The table is about to be replaced: what it cannot take stops nobody, and is counted.
#[test]
fn what_a_table_that_is_due_cannot_take_is_passed_over() {
    let mut bed = Bed::new();
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    db.exec("INSERT INTO t VALUES (1, 'x', 'y')").expect("row");
    ask(&db, "t");
    bed.transaction(
        7,
        &[
            "_table|t|_action|schema|id|integer|a|bigint|c|text",
            "_table|t|_action|insert|id|2|a|5|c|new",
            "_table|t|_action|update|id|9|a|6|c|not there",
            "_table|t|_unchanged|a|_action|update|id|1|c|now",
            "_table|t|_action|insert|id|2|a|7",
        ],
    );
    // One who cannot reload would go on beside it.
    let refused = bed.apply(&db).expect_err("due");
    assert_eq!(reason(&refused), "RELOAD");
    let done = bed.apply_with(&db, Options { reloads: true, ..Options::default() }).expect("due");
    assert_eq!((done.counts.passed_over, done.counts.errors), (2, 0));
    assert_eq!(rows(&db, "SELECT * FROM t"), ["1 'x' NULL", "2 '5' NULL"]);
    let noted = rows(&db, "SELECT passed_over, stale FROM _deltamirror_reload");
    assert_eq!(noted, ["2 1"]);
}

/// A follower that reloads, and what it says of that.
fn follow(road: &Road, conninfo: &Conninfo) -> (Follower, Receiver<String>) {
    let (say, heard) = channel();
    let on_event = move |event| {
        let said = match event {
            Event::Reloading { table, .. } => format!("reloading {table}"),
            Event::Reloaded { table, rows, unfired, .. } => {
                format!("reloaded {table} {rows}{}", unfired.join(" "))
            }
            Event::ReloadWaits { table, error, .. } => {
                let code = error.code();
                format!("waits {table} {} {}: {error}", code.stage, code.reason)
            }
            Event::Ended { error: Some(error) } => format!("ended {error}"),
            _ => return,
        };
        let _ = say.send(said);
    };
    let with = Reloading { conninfo: conninfo.clone(), fill: None };
    let (file, options) = (road.file("m.db"), Options::default());
    let follower =
        Follower::start_with(file, road.source(), options, Some(with), Box::new(on_event));
    (follower.expect("follow"), heard)
}

/// What is said next; what begins like this.
fn hear(heard: &Receiver<String>, begin: &str) -> String {
    let said = heard.recv_timeout(Duration::from_secs(60)).expect(begin);
    assert!(said.starts_with(begin), "{said}");
    said
}

fn request(road: &Road, table: &str) {
    let table = TableName::parse(table).expect("name");
    let db = road.db("m.db");
    db.busy_timeout(Duration::from_secs(60));
    request_reload(&db, &table, "a test wants it").expect("requested");
    // Whoever waits at the end of the stream looks again.
    road.sql("select pg_logical_emit_message(true, 'test', 'look')");
}

/// Money goes from one table to the other all the time: whoever sees one table ahead of the other,
/// or a table that is not there, sees another sum.
#[test]
fn a_reader_in_a_loop_sees_whole_transactions_only() {
    let road = Road::new(
        "reload_reader",
        "create table t (id int primary key, a int, b text);
         create table u (id int primary key, a int);
         create index on t (b);
         insert into t select i, 1, md5(i::text) from generate_series(1, 20000) i;
         insert into u select i, 1 from generate_series(1, 100) i",
        &[],
    );
    road.init("m.db", &[]).expect("init");
    road.db("m.db")
        .exec("create index own on t (b); create view v as select a from t")
        .expect("own");
    let (mut follower, heard) = follow(&road, &road.info());
    let (over, reads, writes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let db = road.db("m.db");
            while !over.load(Ordering::Relaxed) {
                let sql = "select (select sum(a) from v) + (select sum(a) from u)";
                assert_eq!(rows(&db, sql), ["20100"]);
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            let mut client = road.cluster.client(&road.database);
            let mut at = 0;
            while !over.load(Ordering::Relaxed) {
                at = (at + 7919) % 20_000 + 1;
                let one = at % 100 + 1;
                client
                    .batch_execute(&format!(
                        "begin; update t set a = a - 1, b = b || 'x' where id = {at};
                         update u set a = a + 1 where id = {one}; commit;
                         begin; delete from t where id = {at}; insert into t values ({at}, 0, 'n');
                         update u set a = a + (select 20100 - (select sum(a) from t) -
                         (select sum(a) from u)) where id = {one}; commit"
                    ))
                    .expect("written");
                writes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for table in ["t", "u", "t"] {
                let before = writes.load(Ordering::Relaxed);
                wait_until("somebody writes", || writes.load(Ordering::Relaxed) > before);
                request(&road, table);
                hear(&heard, &format!("reloading {table}"));
                let rows = if table == "t" { 20000 } else { 100 };
                hear(&heard, &format!("reloaded {table} {rows}"));
            }
            let before = reads.load(Ordering::Relaxed);
            wait_until("somebody reads", || reads.load(Ordering::Relaxed) > before);
        }));
        over.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    road.settle("m.db");
    follower.stop();
    follower.join();
    let (_follower, _) = follow(&road, &road.info());
    road.assert_equal("m.db");
    let left = "select name from sqlite_master where name like '%deltamirror_old%' \
                or name like '%deltamirror_new%'";
    wait_until("what is left is removed", || rows(&road.db("m.db"), left).is_empty());
}

/// What the stream does not tell is copied; the other tables go on.
#[test]
fn a_change_of_definition_is_followed_by_a_reload() {
    let road = Road::new(
        "reload_ddl",
        "create table t (id int primary key, a int, b text); create table o (id int primary key);
         create table whole (x int, y text); alter table whole replica identity full;
         insert into t select i, i, 'b' from generate_series(1, 1000) i;
         insert into whole values (1, 'x'), (1, 'x'), (2, null)",
        &[],
    );
    road.init("m.db", &[]).expect("init");
    let (_follower, heard) = follow(&road, &road.info());
    road.sql(
        "alter table t alter column a type text using 'n' || a, add column c float default random();
         insert into t values (1001, 'new', 'row', 0.5); insert into o values (1);
         update t set b = b || '!' where id < 10; delete from t where id = 500",
    );
    hear(&heard, "reloading t");
    hear(&heard, "reloaded t 1000");
    road.sql("insert into t values (1002, 'later', 'row', 0.25)");
    road.assert_equal("m.db");
    road.sql(
        "alter table whole drop column y, add column z timestamptz default clock_timestamp();
         insert into whole (x) values (2), (3)",
    );
    hear(&heard, "reloading whole");
    hear(&heard, "reloaded whole 5");
    road.assert_equal("m.db");
}

/// The details of a `schema` line are read from the catalog when the line is written: in the middle
/// of what a copy holds may stand what became of the table after it, and no line says it again.
#[test]
fn what_a_line_before_the_copy_tells_of_later_is_not_lost() {
    let road = Road::new(
        "reload_held",
        "create type mood as enum ('sad', 'glad'); create table t (id int primary key, m mood);
         create table o (id int primary key); insert into t values (1, 'sad'), (2, 'glad')",
        &[],
    );
    road.stop_capture();
    road.sql("insert into t values (3, 'sad')");
    road.init("m.db", &[]).expect("init");
    road.sql("alter type mood rename value 'sad' to 'blue'");
    road.capture();
    let (_follower, heard) = follow(&road, &road.info());
    road.sql("insert into o values (1)");
    hear(&heard, "reloading t");
    hear(&heard, "reloaded t 3");
    road.assert_equal("m.db");
    assert_eq!(rows(&road.db("m.db"), "select count(*) from t where m = 'blue'"), ["2"]);
}

/// A table that is not in the mirror yet comes by the same road.
#[test]
fn a_table_is_added_while_the_mirror_goes_on() {
    let road = Road::new(
        "reload_add",
        "create table t (id int primary key); create schema s;
         create table s.u (a text primary key, n numeric);
         insert into s.u select i, i from generate_series(1, 100) i",
        &[],
    );
    road.init("m.db", &["t"]).expect("init");
    let (_follower, heard) = follow(&road, &road.info());
    request(&road, "s.u");
    hear(&heard, "reloading s.u");
    hear(&heard, "reloaded s.u 100");
    road.sql("insert into s.u values ('later', 1.50)");
    road.assert_equal("m.db");
    assert_eq!(rows(&road.db("m.db"), "select count(*) from \"s.u\""), ["101"]);
    // One that is not there, and one that is somebody else's.
    let db = road.db("m.db");
    db.busy_timeout(Duration::from_secs(60));
    db.exec("create table mine (x)").expect("mine");
    road.sql("create table mine (id int primary key)");
    request(&road, "mine");
    hear(&heard, "reloading mine");
    let said = hear(&heard, "waits mine");
    assert!(said.contains("MIRROR TABLEEXISTS") || said.contains("NOTPUBLISHED"), "{said}");
    road.sql("insert into t values (1)");
    road.settle("m.db");
    assert_eq!(rows(&road.db("m.db"), "select x from mine"), [""; 0]);
}

/// What hinders a reload is told by name, and when it is out of the way the reload is made. The
/// mirror goes on meanwhile.
#[test]
fn what_hinders_a_reload_hinders_nothing_else() {
    let road = Road::new(
        "reload_hindered",
        "create table t (id int primary key, a text); create table o (id int primary key);
         insert into t values (1, 'x'), (2, 'y')",
        &[],
    );
    road.init("m.db", &[]).expect("init");
    let db = road.db("m.db");
    db.exec("create view v as select a from t").expect("view");
    // Nobody is there who could be asked.
    let nowhere = Conninfo::parse("host=/nowhere dbname=none").expect("conninfo");
    let (mut follower, heard) = follow(&road, &nowhere);
    road.sql(
        "alter table t drop column a, add column r float default random();
         insert into t values (3); insert into o values (1)",
    );
    hear(&heard, "reloading t");
    hear(&heard, "waits t POSTGRES");
    road.settle("m.db");
    assert_eq!(rows(&db, "select id from o"), ["1"]);
    assert_eq!(rows(&db, "select count(*) from v"), ["3"]);
    let code = "select code from _deltamirror_reload";
    assert!(rows(&db, code)[0].contains("POSTGRES"), "{:?}", rows(&db, code));
    follower.stop();
    follower.join();
    let (_follower, heard) = follow(&road, &road.info());
    hear(&heard, "reloading t");
    let said = hear(&heard, "waits t MIRROR OWN");
    assert!(said.contains("the view \"v\" that names table t"), "{said}");
    road.sql("insert into t values (4); insert into o values (2)");
    road.settle("m.db");
    assert_eq!(rows(&db, "select id from o"), ["1", "2"]);
    assert_eq!(rows(&db, "select count(*) from v"), ["4"]);
    db.busy_timeout(Duration::from_secs(60));
    db.exec("drop view v").expect("drop");
    let mut said = String::new();
    while !said.starts_with("reloaded") {
        said = hear(&heard, "re");
    }
    assert_eq!(said, "reloaded t 4");
    road.assert_equal("m.db");
}

/// What triggers keep beside a table stays right.
#[test]
fn triggers_hear_of_what_a_reload_changes() {
    let road = Road::new(
        "reload_triggers",
        "create table t (id int primary key, a text);
         insert into t select i, 'word' || i from generate_series(1, 500) i",
        &[],
    );
    road.init("m.db", &[]).expect("init");
    let db = road.db("m.db");
    db.busy_timeout(Duration::from_secs(60));
    db.exec(
        "create virtual table f using fts5(a, content='t', content_rowid='id');
         insert into f (f) values ('rebuild');
         create trigger fi after insert on t begin
           insert into f (rowid, a) values (new.id, new.a); end;
         create trigger fd after delete on t begin
           insert into f (f, rowid, a) values ('delete', old.id, old.a); end;
         create trigger fu after update on t begin
           insert into f (f, rowid, a) values ('delete', old.id, old.a);
           insert into f (rowid, a) values (new.id, new.a); end;
         update t set a = 'spoilt' where id = 7; delete from t where id = 8;
         insert into t values (900, 'extra')",
    )
    .expect("full text");
    let (_follower, heard) = follow(&road, &road.info());
    request(&road, "t");
    hear(&heard, "reloading t");
    assert_eq!(hear(&heard, "reloaded t"), "reloaded t 500");
    road.assert_equal("m.db");
    db.exec("insert into f (f, rank) values ('integrity-check', 1)").expect("the index is right");
    let found = |word: &str| rows(&db, &format!("select rowid from f where f match '{word}'"));
    assert_eq!((found("word7"), found("word8")), (vec!["7".to_owned()], vec!["8".to_owned()]));
    assert_eq!((found("spoilt").len(), found("extra").len()), (0, 0));
}
