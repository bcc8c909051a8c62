//! A copy counts once the stream has brought what was written after its snapshot.

mod mirror;
mod support;

use deltaflood::Lsn;
use mirror::{reason, rows};
use pgsqlite::daystream::{Commit, Writer, WriterOptions};
use pgsqlite::deltamirror::{
    Applied, Error, InitOptions, Options, StreamSource, apply, connection, init, state,
};
use pgsqlite::libpq::Conninfo;
use pgsqlite::sqlite::{self, Db};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use support::stream::Source;
use support::{Cluster, Stop};

/// A mirror of the source's tables in a file beside its stream.
fn mirror_of(source: &Source) -> Db {
    sqlite::testing::load().expect("sqlite");
    let db = connection::open(&source.stream().with_extension("db")).expect("file");
    fill(source, &db, &InitOptions::default());
    db
}

fn fill(source: &Source, db: &Db, options: &InitOptions) {
    let conninfo = Conninfo::parse(&source.conninfo()).expect("conninfo");
    let stream = StreamSource::open(source.stream().as_path()).expect("stream");
    init(db, &conninfo, &stream, options, &AtomicBool::new(false), &mut |_| {}).expect("init");
}

fn apply_all(source: &Source, db: &Db) -> Result<Applied, Error> {
    let stream = StreamSource::open(source.stream().as_path()).expect("stream");
    apply(db, &stream, None, Options::default(), &AtomicBool::new(false))
}

/// Of each table: its state, and whether it waits for its barrier.
fn states(db: &Db) -> Vec<String> {
    rows(db, "select state, barrier is not null from _deltamirror_table")
}

#[test]
fn a_copied_table_waits_for_its_barrier() {
    let mut source = Source::set_up_t(Cluster::shared(), "barrier");
    source.insert(1, 3);
    let db = mirror_of(&source);
    assert_eq!(states(&db), ["'ready' 1"]);
    // Nothing is captured yet, and that is no fault.
    apply_all(&source, &db).expect("an empty stream");
    assert_eq!(states(&db), ["'ready' 1"]);
    source.catch_up().expect("capture");
    apply_all(&source, &db).expect("apply");
    assert_eq!(states(&db), ["'live' 0"]);
    source.insert(4, 4);
    source.catch_up().expect("capture");
    apply_all(&source, &db).expect("apply");
    assert_eq!(rows(&db, "select count(*), max(a) from t"), ["4 4"]);
    // Filled again while it is live: what the mirror has passed is read again for this table.
    let again =
        InitOptions { resync: true, tables: vec!["t".to_owned()], ..InitOptions::default() };
    fill(&source, &db, &again);
    source.catch_up().expect("capture");
    apply_all(&source, &db).expect("apply");
    assert_eq!(states(&db), ["'live' 0"]);
}

/// With `synchronous_commit = off` a crash loses commits that a snapshot has seen.
#[test]
fn what_a_copy_has_seen_is_on_the_servers_disk() {
    let settings = "synchronous_commit = off\nwal_writer_delay = 10s\n";
    let cluster = Arc::new(Cluster::start_with(settings));
    let mut source = Source::set_up_t(Arc::clone(&cluster), "lost");
    for row in 1..=100 {
        source.insert(row, row);
    }
    let db = mirror_of(&source);
    assert_eq!(rows(&db, "select count(*) from t"), ["100"]);
    cluster.stop(Stop::Immediate);
    cluster.start();
    source.client = cluster.client("lost");
    assert_eq!(source.text("select count(*)::text from t"), "100");
    source.insert(101, 110);
    source.catch_up().expect("capture");
    apply_all(&source, &db).expect("apply");
    assert_eq!(rows(&db, "select count(*), max(a) from t"), ["110 110"]);
    assert_eq!(states(&db), ["'live' 0"]);
}

/// The copy of a server whose history is not the stream's: a clone's, or one that a failover has
/// cut off.
#[test]
fn a_stream_that_goes_on_without_the_barrier_is_of_another_history() {
    let mut source = Source::set_up_t(Cluster::shared(), "history");
    source.insert(1, 1);
    let db = mirror_of(&source);
    let table = state::tables(&db).expect("tables").remove(0);
    let barrier = table.snapshot.barrier.expect("a barrier");
    let mut writer =
        Writer::open(source.stream(), WriterOptions::default()).expect("the stream's writer");
    let mut write = |row: u32, lsn: u64| {
        let line = format!("_table\tt\t_xid\t9{row}\t_action\tinsert\ta\t{row}");
        writer.line(line.as_bytes()).expect("line");
        let commit = Commit { xid: None, lsn: Some(Lsn(lsn)), time_us: Some(7) };
        writer.commit(commit).expect("commit");
        writer.sync().expect("sync");
    };
    // Up to there it may still come.
    write(2, barrier.lsn.0);
    apply_all(&source, &db).expect("apply");
    assert_eq!(states(&db), ["'ready' 1"]);
    write(3, barrier.lsn.0 + 1);
    let error = apply_all(&source, &db).expect_err("another history");
    assert_eq!(reason(&error), "UNPROVEN", "{error}");
    assert_eq!(states(&db), ["'ready' 1"]);
    assert_eq!(rows(&db, "select a from t"), ["1", "2"]);
}
