//! What a mirror is told to do while it is followed, and while nobody follows.

mod mirror;
mod support;

use mirror::live::{Road, wait_status};
use mirror::*;
use pgsqlite::daystream::{Reader, ReaderOptions, Source, Start};
use pgsqlite::deltamirror::verbs::{self, Awaited, Which};
use pgsqlite::deltamirror::{
    Error, Event, FollowState, Follower, InitOptions, Options, Patience, StreamSource, status,
};
use pgsqlite::sqlite::{Access, Db};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use support::{wait_for, wait_until};

static NEVER: AtomicBool = AtomicBool::new(false);

fn patience() -> Patience<'static> {
    Patience { budget: Duration::from_secs(60), stop: &NEVER }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A bed with the tables `t` and `f`, each with a row.
fn bed() -> (Bed, Db) {
    let mut bed = Bed::new();
    let db = bed.db();
    db.exec("pragma journal_mode = wal").expect("wal");
    prepare(&db);
    keyed(&db);
    full(&db);
    bed.transaction(
        1,
        &["_table|t|_action|insert|id|1|a|one", "_table|f|_action|insert|x|1|y|one"],
    );
    (bed, db)
}

fn quiet(bed: &Bed) -> Follower {
    let options = Options::default();
    Follower::start(bed.file(), bed.source(), options, Box::new(|_| {})).expect("follow")
}

#[test]
fn a_table_that_is_removed_stays_or_goes_and_the_others_go_on() {
    let (mut bed, db) = bed();
    let follower = quiet(&bed);
    wait_until("the first row", || rows(&db, "select x from f") == ["1"]);
    db.exec("create index _deltamirror_index0_t on t (a); create index mine on t (b)").expect("i");
    assert_eq!(verbs::remove(&db, &names(&["public.t"]), true, patience()).expect("remove"), ["t"]);
    bed.transaction(
        2,
        &["_table|t|_action|insert|id|2|a|two", "_table|f|_action|insert|x|2|y|two"],
    );
    wait_until("the others", || rows(&db, "select count(*) from f") == ["2"]);
    assert_eq!(rows(&db, "select id from t"), ["1"]);
    // An index of the mirror's would be in the way of a table of the name that comes later.
    let indexes = "select name from sqlite_master where tbl_name = 't' and sql like '%INDEX%'";
    assert_eq!(rows(&db, indexes), ["'mine'"]);
    verbs::remove(&db, &names(&["f"]), false, patience()).expect("remove");
    assert_eq!(rows(&db, "select count(*) from sqlite_master where name = 'f'"), ["0"]);
    let last = bed.transaction(3, &["_table|f|_action|insert|x|3|y|three"]);
    wait_status(&follower, "the end", |status| status.position == last);
    assert_eq!(rows(&db, "select count(*) from _deltamirror_table"), ["0"]);
    let error = verbs::remove(&db, &names(&["t"]), true, patience()).expect_err("gone");
    assert_eq!(reason(&error), "NOTMIRRORED");
}

#[test]
fn a_table_that_goes_takes_no_rows_of_others_with_it() {
    let (bed, db) = bed();
    bed.apply(&db).expect("apply");
    db.exec(
        "pragma foreign_keys = on;
         create table mine (t references t (id) on delete cascade); insert into mine values (1)",
    )
    .expect("mine");
    verbs::remove(&db, &names(&["t"]), false, patience()).expect("remove");
    assert_eq!(rows(&db, "select t from mine"), ["1"]);
    assert_eq!(rows(&db, "pragma foreign_keys"), ["1"]);
}

#[test]
fn what_could_not_be_filled_is_removed_and_the_mirror_is_complete() {
    let (bed, db) = bed();
    db.exec(
        "insert into _deltamirror_wanted values ('gone', 'g');
         create table _deltamirror_filling (journal text)",
    )
    .expect("wanted");
    assert_eq!(reason(&bed.apply(&db).expect_err("not filled")), "NOTFILLED");
    assert_eq!(verbs::missing(&db).expect("missing"), ["gone.g"]);
    // Of several names that are not all known none is taken out.
    let error = verbs::remove(&db, &names(&["gone.g", "nothing"]), true, patience());
    assert_eq!(reason(&error.expect_err("nothing")), "NOTMIRRORED");
    assert_eq!(verbs::missing(&db).expect("missing"), ["gone.g"]);
    assert_eq!(
        verbs::remove(&db, &names(&["gone.g"]), true, patience()).expect("remove"),
        ["gone.g"]
    );
    bed.apply(&db).expect("complete");
    assert_eq!(rows(&db, "select x from f"), ["1"]);
}

#[test]
fn a_removed_table_comes_back_only_when_it_is_named() {
    let sql = "create table a (id int primary key); create table b (id int primary key)";
    let road = Road::new("verbs_removed", sql, &[]);
    road.init("m.db", &[]).expect("init");
    let db = road.db("m.db");
    // The table is gone at the source, and so is the slot, for all that remove knows.
    verbs::remove(&db, &names(&["a"]), false, patience()).expect("remove");
    assert!(road.init("m.db", &[]).expect("init").is_empty());
    assert_eq!(road.init("m.db", &["a"]).expect("init").len(), 1);
    let _follower = road.follow("m.db");
    road.sql("insert into a values (1); insert into b values (2)");
    road.assert_equal("m.db");
    let options = InitOptions { tables: names(&["a"]), resync: true, ..InitOptions::default() };
    road.init_with("m.db", &options).expect("named again");
}

#[test]
fn paused_nothing_is_applied_and_resumed_everything_is() {
    let (mut bed, db) = bed();
    let follower = quiet(&bed);
    wait_status(&follower, "the start", |status| status.state == FollowState::Waiting);
    assert!(verbs::pause(&db, patience()).expect("pause"));
    assert!(!verbs::pause(&db, patience()).expect("again"));
    // Seen without anything to apply.
    wait_status(&follower, "the pause", |status| status.state == FollowState::Paused);
    let last = bed.transaction(2, &["_table|f|_action|insert|x|2|y|two"]);
    let error = bed.apply(&db).expect_err("paused");
    assert_eq!(reason(&error), "PAUSED");
    assert!(status(&db, None).expect("status").paused);
    let awaited = Awaited { position: Some(last), timeout: Some(ms(50)), ..Awaited::default() };
    assert_eq!(reason(&verbs::wait(&db, &awaited, &NEVER).expect_err("paused")), "PAUSED");
    assert_eq!(rows(&db, "select count(*) from f"), ["1"]);
    assert!(verbs::resume(&db, patience()).expect("resume"));
    assert!(!verbs::resume(&db, patience()).expect("again"));
    let awaited = Awaited { position: Some(last), ..Awaited::default() };
    verbs::wait(&db, &awaited, &NEVER).expect("there");
    assert_eq!(rows(&db, "select count(*) from f"), ["2"]);
    drop(follower);
}

#[test]
fn a_verb_gets_its_turn_beside_a_follower_that_is_far_behind() {
    let (mut bed, db) = bed();
    let mut last = None;
    for n in 2..=4000 {
        let line = format!("_table|t|_action|insert|id|{n}|a|x");
        last = Some(bed.transaction(n, &[&line]));
    }
    let options = Options { batch_changes: 50, ..Options::default() };
    let follower =
        Follower::start(bed.file(), bed.source(), options, Box::new(|_| {})).expect("follow");
    verbs::pause(&db, patience()).expect("pause");
    let paused = wait_status(&follower, "the pause", |s| s.state == FollowState::Paused);
    assert!(Some(paused.position) < last, "{paused:?}");
    verbs::resume(&db, patience()).expect("resume");
    wait_status(&follower, "the end", |status| Some(status.position) == last);
}

#[test]
fn what_was_written_is_read_as_soon_as_the_mirror_has_it() {
    let road = Road::new("verbs_wait", "create table t (id int primary key)", &[]);
    road.init("m.db", &[]).expect("init");
    let _follower = road.follow("m.db");
    let db = road.db("m.db");
    for n in 1..=20 {
        // What is returned may lie behind the commit; a message brings what comes next.
        let sql = format!("insert into t values ({n})");
        road.sql(&sql);
        let sql = "select pg_current_wal_insert_lsn()::text";
        let lsn: String = road.client().query_one(sql, &[]).expect("lsn").get(0);
        road.sql("select pg_logical_emit_message(true, 'test', 'more')");
        let awaited = Awaited { lsn: Some(lsn.parse().expect("lsn")), ..Awaited::default() };
        verbs::wait(&db, &awaited, &NEVER).expect("wait");
        assert_eq!(rows(&db, &format!("select id from t where id = {n}")), [n.to_string()]);
    }
    road.sql("insert into t values (100)");
    let lsn = Some(verbs::written(&road.info()).expect("written"));
    verbs::wait(&db, &Awaited { lsn, ..Awaited::default() }, &NEVER).expect("wait");
    assert_eq!(rows(&db, "select id from t where id = 100"), ["100"]);
    let table = Some("public.t".to_owned());
    verbs::wait(&db, &Awaited { table, ..Awaited::default() }, &NEVER).expect("live");
    let far = Awaited { lsn: Some("FFFF/0".parse().expect("lsn")), ..Awaited::default() };
    let late = Awaited { timeout: Some(ms(300)), ..far };
    assert_eq!(reason(&verbs::wait(&db, &late, &NEVER).expect_err("late")), "LATE");
    // Nothing of it is left.
    assert_eq!(rows(&db, "select count(*) from _deltamirror_request"), ["0"]);
    let stop = AtomicBool::new(true);
    assert!(matches!(verbs::wait(&db, &late, &stop), Err(Error::Stopped)));
}

#[test]
fn kept_rows_are_applied_again_each_once() {
    let (mut bed, db) = bed();
    bed.transaction(
        2,
        &[
            "_table|t|_action|update|id|7|a|seven|b|",
            "_table|t|_action|replace|id|8",
            "_table|t|_action|update|id|9|a|nine|b|",
            "_table|t|_action|insert|id|1|a|twice",
            "_table|f|_action|delete|x|5|y|five",
        ],
    );
    bed.apply_keeping(&db).expect("keep");
    let kept = verbs::errors(&db, &Which::All, 100).expect("errors");
    let told: Vec<_> = kept.iter().map(|kept| (kept.table.as_str(), kept.key.as_str())).collect();
    assert_eq!(told, [("t", "id=7"), ("t", "id=9"), ("t", "id=1"), ("f", "")]);
    assert!(kept[1].before.contains("replace") && kept.iter().all(|kept| kept.whole));
    // Two of the rows that were missing are there now; 9 is another one, which nothing may touch.
    db.exec("insert into t (id, a) values (7, 'old'), (8, 'eight')").expect("repaired");
    let which = Which::Tables(names(&["t"]));
    let done = verbs::retry(&db, None, &which, patience()).expect("retry");
    assert_eq!((done.applied, done.left), (2, 1));
    assert_eq!(rows(&db, "select id, a from t where id > 1"), ["7 'seven'", "9 'nine'"]);
    let again = verbs::retry(&db, None, &Which::All, patience()).expect("retry");
    assert_eq!((again.applied, again.left), (0, 2));
    assert_eq!(rows(&db, "select id, a from t"), ["1 'one'", "7 'seven'", "9 'nine'"]);
    let left = verbs::errors(&db, &Which::All, 100).expect("errors");
    assert_eq!(left.len(), 2);
    let error = verbs::discard(&db, &Which::Ids(vec![left[0].id, 99]), patience());
    assert_eq!(reason(&error.expect_err("99")), "NOTKEPT");
    assert_eq!(verbs::discard(&db, &Which::Ids(vec![left[0].id]), patience()).expect("one"), 1);
    assert_eq!(verbs::discard(&db, &Which::All, patience()).expect("all"), 1);
    let counts = "select inserts, updates, deletes from _deltamirror_table where name = 't'";
    assert_eq!(rows(&db, counts), ["1 2 0"]);
}

#[test]
fn what_is_not_whole_is_not_applied_again() {
    let (mut bed, db) = bed();
    bed.transaction(2, &["_table|t|_action|update|id|7|a|seven|b|"]);
    bed.apply_keeping(&db).expect("keep");
    db.exec("insert into t (id, a) values (7, 'old')").expect("repaired");
    // As an earlier version has kept it: a line before it may have said which row is meant.
    db.exec("update _deltamirror_error set before = null, whole = null").expect("older");
    let done = verbs::retry(&db, None, &Which::All, patience()).expect("retry");
    assert_eq!((done.applied, done.left), (0, 1));
    assert_eq!(rows(&db, "select a from t where id = 7"), ["'old'"]);
    // The table has another name since.
    db.exec(
        "update _deltamirror_error set before = '', whole = 1;
         update _deltamirror_table set source_table = 'elsewhere'",
    )
    .expect("renamed");
    let done = verbs::retry(&db, None, &Which::All, patience()).expect("retry");
    assert_eq!((done.applied, done.left), (0, 1));
    assert_eq!(rows(&db, "select a from t where id = 7"), ["'old'"]);
}

#[test]
fn a_table_stands_still_and_the_others_go_on_and_nothing_of_it_is_lost() {
    let (mut bed, db) = bed();
    let (sender, heard) = std::sync::mpsc::channel();
    let on_event = Box::new(move |event| {
        if let Event::Suspended { table, error } = event {
            let _ = sender.send((table, reason(&error)));
        }
    });
    let options =
        Options { on_error: pgsqlite::deltamirror::OnError::Suspend, ..Options::default() };
    let before = bed.transaction(2, &["_table|t|_action|insert|id|2|a|two"]);
    bed.transaction(
        3,
        &[
            "_table|f|_action|insert|x|3|y|three",
            "_table|t|_action|insert|id|3|a|three",
            "_table|t|_action|update|id|77|a|nobody|b|",
        ],
    );
    bed.transaction(
        4,
        &["_table|t|_action|insert|id|4|a|four", "_table|f|_action|insert|x|4|y|four"],
    );
    let follower = Follower::start(bed.file(), bed.source(), options, on_event).expect("follow");
    let told = heard.recv_timeout(Duration::from_secs(30)).expect("event");
    assert_eq!(told, ("t".to_owned(), "NOROW"));
    wait_until("the others", || rows(&db, "select count(*) from f") == ["3"]);
    // The table is as it was before the transaction that failed.
    assert_eq!(rows(&db, "select id from t"), ["1", "2"]);
    let found = status(&db, None).expect("status").suspended;
    assert_eq!((found[0].table.as_str(), found[0].mark.position), ("t", before));
    let awaited = Awaited { table: Some("t".into()), ..Awaited::default() };
    assert_eq!(reason(&verbs::wait(&db, &awaited, &NEVER).expect_err("still")), "SUSPENDED");
    // Not mended: it stands where it stood.
    let source = bed.source();
    let retry = || verbs::retry(&db, Some(&source), &Which::All, patience()).expect("retry");
    let done = retry();
    assert_eq!((done.live.len(), done.suspended[0].mark.position), (0, before));
    assert_eq!(rows(&db, "select id from t"), ["1", "2"]);
    db.exec("insert into t (id) values (77)").expect("mended");
    assert_eq!(retry().live, ["t"]);
    assert_eq!(rows(&db, "select id from t"), ["1", "2", "3", "4", "77"]);
    bed.transaction(5, &["_table|t|_action|insert|id|5|a|five"]);
    wait_until("the table goes on", || rows(&db, "select a from t where id = 5") == ["'five'"]);
    assert!(retry().live.is_empty());
    assert_eq!(rows(&db, "select count(*) from f"), ["3"]);
    assert_eq!(
        rows(&db, "select inserts, updates from _deltamirror_table where name = 't'"),
        ["5 1"]
    );
    drop(follower);
}

#[test]
fn a_table_that_stands_still_comes_as_far_as_it_can() {
    let (mut bed, db) = bed();
    let suspend =
        Options { on_error: pgsqlite::deltamirror::OnError::Suspend, ..Options::default() };
    bed.transaction(2, &["_table|t|_action|delete|id|70"]);
    let mut fine = None;
    for n in 3..=40 {
        fine = Some(bed.transaction(n, &[&format!("_table|t|_action|insert|id|{n}")]));
    }
    bed.transaction(41, &["_table|t|_action|insert|id|41", "_table|t|_action|delete|id|71"]);
    bed.transaction(42, &["_table|t|_action|insert|id|42", "_table|f|_action|insert|x|2|y|b"]);
    bed.apply_with(&db, suspend).expect("apply");
    assert_eq!(rows(&db, "select count(*) from t"), ["1"]);
    db.exec("insert into t (id) values (70)").expect("mended");
    let source = bed.source();
    let done = verbs::retry(&db, Some(&source), &Which::All, patience()).expect("retry");
    assert_eq!(Some(done.suspended[0].mark.position), fine);
    assert_eq!(rows(&db, "select count(*), max(id) from t"), ["39 40"]);
    // What is filled anew needs no retry.
    db.exec("insert into t (id) values (71)").expect("mended");
    let done = verbs::retry(&db, Some(&source), &Which::All, patience()).expect("retry");
    assert_eq!((done.live.len(), done.suspended.len()), (1, 0));
    assert_eq!(rows(&db, "select count(*), max(id) from t"), ["41 42"]);
}

/// A client that tells of another host's stream first as it was once, then as it is.
const LATE: &str = r#"#!/bin/sh
folder=${0%/*}
cat "$folder/hello"
[ ! -e "$folder/asked" ] || cat "$folder/lines"
case "$* " in *"-from $(cat "$folder/from") "*) : > "$folder/asked" ;; esac
printf '_frame\tend\n'
"#;

/// The end of a stream on another host is told at some moment, and the mirror goes on: a table that
/// stood still has not come to where the mirror is when it has come to that end.
#[test]
fn a_table_goes_on_only_where_the_mirror_is() {
    const FOLDER: &str = "PGSQLITE_TEST_LATE";
    let Some(folder) = std::env::var_os(FOLDER).map(std::path::PathBuf::from) else {
        let folder = tempfile::tempdir().expect("folder");
        let fetch = folder.path().join("fetch");
        std::fs::write(&fetch, LATE).expect("client");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&fetch, mode).expect("client");
        let again = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_table_goes_on_only_where_the_mirror_is", "--nocapture"])
            .env("PGSQLITE_FETCH", &fetch)
            .env(FOLDER, folder.path())
            .output()
            .expect("this program");
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
        return;
    };
    let (mut bed, db) = bed();
    let suspend =
        Options { on_error: pgsqlite::deltamirror::OnError::Suspend, ..Options::default() };
    let lines = ["_table|t|_action|insert|id|2|a|two", "_table|t|_action|delete|id|70"];
    let last = bed.transaction(2, &lines);
    bed.apply_with(&db, suspend).expect("apply");
    db.exec("insert into t (id) values (70)").expect("mended");
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect(name);
    let from = rows(&db, "select clock || '.' || seq from _deltamirror_suspended");
    write("from", from[0].trim_matches('\'').to_owned());
    write("hello", "_frame\tstream\tsegments\t1\tcompressed\t0\tbytes\t9\n".to_owned());
    let stream = bed.dir.path().join("stream");
    let mut reader = Reader::open(&stream, Start::Begin, ReaderOptions::default()).expect("reader");
    let (mut all, mut lines) = (String::new(), 0);
    while let Some(entry) = reader.next().expect("line") {
        if entry.transaction.last == last {
            all.push_str(std::str::from_utf8(entry.change.line()).expect("text"));
            all.push('\n');
            lines += 1;
        }
    }
    let end = bed.lsn();
    let begin = format!("_frame\ttransaction\tlast\t{last}\tlsn\t{end}\tlines\t{lines}\n");
    write("lines", begin + &all);
    let source = StreamSource::open(Source::parse("http://127.0.0.1:1/stream")).expect("stream");
    let done = verbs::retry(&db, Some(&source), &Which::All, patience()).expect("retry");
    assert_eq!((done.live.as_slice(), done.suspended.len()), (&["t".to_owned()][..], 0));
    assert_eq!(rows(&db, "select id from t"), ["1", "2"]);
}

/// Whoever follows looks at the tables while others take them out.
#[test]
fn tables_that_go_meanwhile_end_nobody() {
    let (bed, db) = bed();
    bed.apply(&db).expect("apply");
    // Many, so that looking at them takes its time; `t` comes last.
    let columns = [("x", "integer", INT.1)];
    for n in 0..200 {
        add_table(&db, ("public", &format!("a{n}")), &columns, &["x"], &["x"], None);
    }
    let file = bed.file();
    std::thread::scope(|scope| {
        let going = scope.spawn(|| {
            let other = Db::open(&file, Access::Create).expect("open");
            other.busy_timeout(Duration::from_secs(60));
            other.exec("pragma synchronous = off").expect("no crash is played here");
            for _ in 0..600 {
                other.exec("begin immediate").expect("begin");
                other
                    .exec("drop table t; delete from _deltamirror_table where name = 't'")
                    .expect("gone");
                other.exec("commit; begin immediate").expect("gone");
                keyed(&other);
                other.exec("commit").expect("there");
            }
        });
        while !going.is_finished() {
            bed.apply(&db).expect("apply");
        }
    });
}

#[test]
fn a_drift_makes_one_table_stand_still_and_a_fill_lets_it_go_on() {
    let sql = "create table a (id int primary key); create table b (id int primary key)";
    let road = Road::new("verbs_drift", sql, &[]);
    road.init("m.db", &[]).expect("init");
    let options =
        Options { on_error: pgsqlite::deltamirror::OnError::Suspend, ..Options::default() };
    let _follower = Follower::start(road.file("m.db"), road.source(), options, Box::new(|_| {}))
        .expect("follow");
    road.sql("alter table a alter id type text using id::text; insert into a values ('x')");
    road.sql("insert into b values (1)");
    let db = road.db("m.db");
    wait_for("the other table", Duration::from_secs(60), || {
        (rows(&db, "select id from b") == ["1"]).then_some(())
    });
    assert_eq!(rows(&db, "select name, reason from _deltamirror_suspended"), ["'a' 'DRIFT'"]);
    let options = InitOptions { tables: names(&["a"]), resync: true, ..InitOptions::default() };
    road.init_with("m.db", &options).expect("resync");
    road.sql("insert into a values ('y')");
    road.assert_equal("m.db");
    assert_eq!(rows(&db, "select count(*) from _deltamirror_suspended"), ["0"]);
}
