//! Mirrors of earlier formats: `tests/formats` keeps a file as each of them was, beside a stream
//! that goes on behind it.

mod mirror;
mod support;

use mirror::{Bed, keyed, prepare, reason, rows};
use pgsqlite::daystream::{Clock, Writer, WriterOptions};
use pgsqlite::deltamirror::{
    Options, StreamSource, TableStatus, apply, connection, format, state, status,
};
use pgsqlite::error::Coded;
use pgsqlite::sqlite::{self, Db};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A copy of a kept mirror and its stream.
struct Kept {
    dir: tempfile::TempDir,
}

impl Kept {
    fn new(name: &str) -> Kept {
        sqlite::testing::load().expect("sqlite");
        let dir = tempfile::tempdir().expect("folder");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name);
        copy(&from, dir.path());
        Kept { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("mirror.db")
    }

    fn db(&self) -> Db {
        connection::open_existing(&self.file()).expect("open")
    }

    fn source(&self) -> StreamSource {
        StreamSource::open(self.dir.path().join("stream").as_path()).expect("stream")
    }
}

/// Copies a folder's files, with the rights of new ones.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("folder") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            std::fs::create_dir(&target).expect("folder");
            copy(&entry.path(), &target);
        } else {
            std::fs::write(&target, std::fs::read(entry.path()).expect("read")).expect("write");
        }
    }
}

#[test]
fn a_mirror_of_format_8_goes_on_and_notes_what_is_gone() {
    let kept = Kept::new("mirror8");
    let looked = connection::open_read_only(&kept.file()).expect("open");
    assert_eq!(format::version(&looked).expect("version"), Some(8));
    let found = status(&looked, Some(&kept.source())).expect("status");
    assert_eq!((found.tables.len(), found.gone.len()), (2, 0));
    drop(looked);
    let db = kept.db();
    let stop = AtomicBool::new(false);
    apply(&db, &kept.source(), None, Options::default(), &stop).expect("apply");
    assert_eq!(format::version(&db).expect("version"), Some(format::VERSION));
    assert_eq!(rows(&db, "select * from a"), ["1 'one'", "2 'two'", "3 'three'", "4 'four'"]);
    assert_eq!(rows(&db, "select * from b"), ["1"]);
    assert_eq!(rows(&db, "select name, why from _deltamirror_gone"), ["'b' 'dropped'"]);
}

#[test]
fn a_mirror_of_format_1_goes_on() {
    let kept = Kept::new("mirror1");
    // Who only looks leaves it as it is.
    let looked = connection::open_read_only(&kept.file()).expect("open");
    let found = status(&looked, Some(&kept.source())).expect("status");
    assert_eq!((found.stream.transactions, found.stream.changes, found.errors), (4, 2, 1));
    assert_eq!(found.tables.len(), 3);
    assert_eq!(format::version(&looked).expect("version"), Some(1));
    drop(looked);
    let db = kept.db();
    let ready = |db: &Db| {
        let tables = state::tables(db).expect("tables");
        let ready = tables.into_iter().filter(|table| table.status == TableStatus::Ready);
        ready.map(|table| table.name).collect::<Vec<_>>()
    };
    assert_eq!(ready(&db), ["ops.late"]);
    let stop = AtomicBool::new(false);
    let done = apply(&db, &kept.source(), None, Options::default(), &stop).expect("apply");
    assert_eq!((done.counts.transactions, done.counts.changes, done.counts.held), (2, 5, 0));
    assert_eq!(format::version(&db).expect("version"), Some(format::VERSION));
    assert_eq!(ready(&db), [""; 0]);
    assert_eq!(
        rows(&db, "select * from a order by id"),
        ["1 'a1' 1.5", "2 'a2' 3.0", "4 'a4' 6.0", "5 'a5' 7.5", "6 'six' 60.25", "7 NULL 7"]
    );
    assert_eq!(rows(&db, "select * from f order by x"), ["1 'one'", "2 'two'"]);
    assert_eq!(
        rows(&db, "select * from \"ops.late\" order by id"),
        ["2 'before the copy'", "3 'behind the copy'"]
    );
    assert_eq!(rows(&db, "select key, reason from _deltamirror_error"), ["'id=3' 'NOROW'"]);
    let again = apply(&db, &kept.source(), None, Options::default(), &stop).expect("apply");
    assert_eq!(again.counts.transactions, 0);
    // The stream's sum is kept from here on; not where a program of format 1 moved the mirror.
    assert!(again.stream.chain.is_some());
    db.exec("update _deltamirror_stream set seq = seq - 1").expect("moved");
    assert_eq!(state::stream(&db).expect("state").expect("there").chain, None);
}

/// A clock that stands.
struct Still;

impl Clock for Still {
    fn now(&self) -> i64 {
        1_500_000_000
    }
}

fn still() -> WriterOptions {
    WriterOptions { clock: Box::new(Still), ..WriterOptions::default() }
}

#[test]
fn what_stands_at_the_mirrors_position_after_a_lost_end_is_applied() {
    let mut bed = Bed::with(still());
    let db = bed.db();
    prepare(&db);
    keyed(&db);
    bed.transaction(1, &["_table|t|_action|insert|id|1"]);
    let stream = bed.dir.path().join("stream");
    let segment = pgsqlite::daystream::segments(&stream).expect("list")[0].path(&stream);
    let kept = std::fs::metadata(&segment).expect("segment").len();
    let lost = bed.transaction(2, &["_table|t|_action|insert|id|2"]);
    bed.apply(&db).expect("apply");
    // The stream's machine went down before its end was durable; what comes then gets its places.
    let other = Writer::open(bed.dir.path().join("other"), still()).expect("writer");
    drop(std::mem::replace(&mut bed.writer, other));
    let file = std::fs::File::options().write(true).open(&segment).expect("segment");
    file.set_len(kept).expect("cut");
    bed.writer = Writer::open(bed.dir.path().join("stream"), still()).expect("writer");
    assert_eq!(bed.transaction(3, &["_table|t|_action|insert|id|3"]), lost);
    bed.transaction(4, &["_table|t|_action|insert|id|4"]);
    bed.apply(&db).expect("apply");
    assert_eq!(rows(&db, "select id from t order by id"), ["1", "2", "3", "4"]);
}

#[test]
fn a_mirror_of_a_later_format_is_refused() {
    let kept = Kept::new("mirror1");
    let db = kept.db();
    let next = format::VERSION + 1;
    db.exec("create table _deltamirror_meta (version integer not null)").expect("table");
    db.exec(&format!("insert into _deltamirror_meta values ({next})")).expect("version");
    let stop = AtomicBool::new(false);
    let error = apply(&db, &kept.source(), None, Options::default(), &stop).expect_err("later");
    assert_eq!((error.code().stage, reason(&error)), ("MIRROR", "FORMAT"));
    assert!(error.to_string().contains(&format!("format {next}")), "{error}");
    assert_eq!(reason(&status(&db, None).expect_err("later")), "FORMAT");
    assert_eq!(rows(&db, "select count(*) from a"), ["5"]);
}
