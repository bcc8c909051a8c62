//! Every error of the PostgreSQL side: its code, and that the stream keeps its position.

mod support;

use deltaflood::Verb;
use pgsqlite::daystream::{Identity, Writer, WriterOptions};
use pgsqlite::deltamirror::Snapshot;
use pgsqlite::deltastream::{
    Capture, Error, Plugin, SetupOptions, drop_slot, run, setup, status_of,
};
use pgsqlite::error::{Class, Coded};
use pgsqlite::libpq::{Conninfo, Guarded};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use support::stream::{Source, wait_streaming};
use support::{Cluster, Stop};

const TABLE: &str = "create table t(a int primary key)";

/// The code of an error as a script would see it, without its details.
fn code<T>(result: Result<T, Error>) -> String {
    let error = result.err().expect("an error");
    assert!(!error.report().contains("secret"), "{}", error.report());
    let code = error.code();
    format!("{} {}", code.stage, code.reason)
}

/// Runs a capture that is expected to end by itself.
fn run_code(source: &Source) -> String {
    let mut options = source.options();
    options.conninfo.push_str(" password=secret");
    (options.slot_wait_ms, options.until_idle_ms) = (200, Some(50));
    code(run(options, Box::new(|_| {})))
}

fn change_identity(source: &Source, change: impl FnOnce(&mut Identity)) {
    let mut identity = Identity::load(&source.stream()).expect("state").expect("identity");
    change(&mut identity);
    let writer = Writer::open(source.stream(), WriterOptions::default()).expect("writer");
    writer.save_identity(&identity).expect("saved");
}

/// A stream of a slot that does not exist.
fn make_stream(source: &mut Source) {
    let system = "select system_identifier::text from pg_control_system()";
    let identity = Identity {
        system_id: source.text(system).parse().expect("a number"),
        database: source.name.clone(),
        slot: source.name.clone(),
        plugin: "pgoutput".to_owned(),
        publication: source.name.clone(),
        timeline: 1,
        made: 1,
        confirmed: Some(deltaflood::Lsn(1)),
        ..Identity::default()
    };
    let writer = Writer::open(source.stream(), WriterOptions::default()).expect("writer");
    writer.save_identity(&identity).expect("saved");
}

#[test]
fn a_slot_that_does_not_fit_is_refused_by_its_own_code() {
    let cluster = Cluster::shared();
    let mut source = Source::new(Arc::clone(&cluster), "slots", TABLE);
    assert_eq!(run_code(&source), "STREAM NOSTREAM");
    make_stream(&mut source);
    assert_eq!(run_code(&source), "STREAM SLOTMISSING");
    assert_eq!(code(status_of(&source.conninfo(), "slots", None, None)), "STREAM SLOTMISSING");
    // Nothing to drop is no error.
    let nothing = drop_slot(&source.conninfo(), "slots", None).expect("nothing to drop");
    assert!(!nothing.slot && !nothing.publication);

    source.execute("select pg_create_physical_replication_slot('slots')");
    assert_eq!(run_code(&source), "STREAM NOTLOGICAL");
    assert_eq!(code(setup(&source.setup_options())), "STREAM NOTLOGICAL");
    source.execute("select pg_drop_replication_slot('slots')");

    source.execute("select pg_create_logical_replication_slot('slots', 'test_decoding')");
    assert_eq!(run_code(&source), "STREAM WRONGPLUGIN");
    assert_eq!(code(setup(&source.setup_options())), "STREAM WRONGPLUGIN");
    source.execute("select pg_drop_replication_slot('slots')");

    cluster.database("slots_b");
    let mut other = source.setup_options();
    (other.conninfo, other.stream) = (cluster.conninfo("slots_b"), None);
    setup(&other).expect("setup");
    assert_eq!(run_code(&source), "STREAM WRONGDATABASE");
    assert_eq!(code(setup(&source.setup_options())), "STREAM WRONGDATABASE");
    drop_slot(&other.conninfo, "slots", None).expect("drop");

    std::fs::remove_dir_all(source.stream()).expect("removed");
    setup(&source.setup_options()).expect("setup");
    let capture = source.start();
    assert_eq!(run_code(&source), "DAYSTREAM LOCKED");
    let folder = tempfile::tempdir().expect("folder");
    let mut options = source.options();
    (options.stream, options.slot_wait_ms) = (folder.path().to_owned(), 200);
    std::fs::copy(source.stream().join("stream.tsv"), folder.path().join("stream.tsv")).unwrap();
    assert_eq!(code(run(options, Box::new(|_| {}))), "STREAM SLOTINUSE");
    assert_eq!(code(drop_slot(&source.conninfo(), "slots", None)), "STREAM SLOTINUSE");
    capture.stop();
    capture.join().expect("capture");
}

#[test]
fn a_stream_that_does_not_fit_is_refused_and_keeps_its_position() {
    let mut source = Source::set_up(Cluster::shared(), "streams", TABLE);
    source.execute("insert into t values (1)");
    source.catch_up().expect("capture");
    let good = Identity::load(&source.stream()).expect("state").expect("identity");
    let back = |source: &Source| change_identity(source, |identity| *identity = good.clone());

    change_identity(&source, |identity| identity.system_id += 1);
    assert_eq!(run_code(&source), "STREAM WRONGSYSTEM");
    back(&source);
    change_identity(&source, |identity| identity.database.push('x'));
    assert_eq!(run_code(&source), "STREAM WRONGDATABASE");
    back(&source);
    change_identity(&source, |identity| identity.slot.push('x'));
    assert_eq!(run_code(&source), "STREAM WRONGSLOT");
    assert_eq!(code(setup(&source.setup_options())), "STREAM WRONGSLOT");
    back(&source);
    change_identity(&source, |identity| identity.timeline = 99);
    assert_eq!(run_code(&source), "STREAM TIMELINE");
    back(&source);
    assert_eq!(Identity::load(&source.stream()).expect("state"), Some(good.clone()));

    source.execute("insert into t values (2); select pg_switch_wal()");
    source.execute("select pg_replication_slot_advance('streams', pg_current_wal_lsn())");
    assert_eq!(run_code(&source), "STREAM AHEAD");
    assert_eq!(Identity::load(&source.stream()).expect("state"), Some(good));

    // A slot that was dropped is not made again for a stream that has changes.
    source.execute("select pg_drop_replication_slot('streams')");
    assert_eq!(code(setup(&source.setup_options())), "STREAM SLOTMISSING");
    assert_eq!(run_code(&source), "STREAM SLOTMISSING");
    let (state, aside) = (source.stream().join("stream.tsv"), source.stream().join("aside"));
    std::fs::rename(&state, &aside).expect("without state");
    assert_eq!(code(setup(&source.setup_options())), "STREAM SLOTMISSING");
    std::fs::rename(&aside, &state).expect("with state");
    source.execute("select pg_create_logical_replication_slot('streams', 'pgoutput')");
    assert_eq!(run_code(&source), "STREAM AHEAD");
    assert_eq!(source.changes(), ["_table|t|_action|insert|a|1"]);
}

#[test]
fn publications_and_tables_that_do_not_fit_are_refused() {
    let cluster = Cluster::shared();
    let tables = "create table t(a int primary key); create table nokey(a int); \
                  create table nothing(a int primary key); alter table nothing replica identity \
                  nothing; \
                  create view v as select 1 as a";
    let mut source = Source::new(cluster, "pubs", tables);
    let options = source.setup_options();
    let with = |tables: &[&str]| SetupOptions {
        tables: tables.iter().map(|&t| t.to_owned()).collect(),
        ..options.clone()
    };
    for table in ["nosuch", "pubs.t", "a b", "v", "\"", "t; drop table t"] {
        assert_eq!(code(setup(&with(&["t", table]))), "STREAM NOTABLE", "{table}");
    }
    for table in ["nokey", "nothing"] {
        let error = setup(&with(&["t", table])).expect_err("no identity");
        assert_eq!(error.code().details, [("tables", table.to_owned())]);
    }
    assert_eq!(code(setup(&with(&[]))), "STREAM NOIDENTITY");
    setup(&with(&["t"])).expect("setup");
    assert_eq!(code(setup(&with(&["t", "nokey"]))), "STREAM NOIDENTITY");

    let mut options = source.options();
    options.tables = vec!["nokey".to_owned()];
    assert_eq!(code(run(options, Box::new(|_| {}))), "STREAM NOTPUBLISHED");
    let capture = source.start();
    source.execute("insert into t values (1); drop publication pubs; insert into t values (2)");
    assert_eq!(code(capture.join()), "STREAM LATEPUBLICATION");
    assert_eq!(run_code(&source), "STREAM NOPUBLICATION");
    // Made again it is there, and still not where the slot stands: not "make it by setup" again.
    setup(&with(&["t"])).expect("setup");
    let error = run(source.options(), Box::new(|_| {})).expect_err("a later publication");
    assert_eq!(error.code().reason, "LATEPUBLICATION");
    assert!(error.to_string().contains("`deltastream drop -conninfo ... -slot pubs`"), "{error}");
}

#[test]
fn connections_that_cannot_be_made_are_told_apart() {
    let cluster = Cluster::shared();
    let mut source = Source::set_up(Arc::clone(&cluster), "conns", TABLE);
    let with = |conninfo: &str| {
        let mut options = source.options();
        options.conninfo = conninfo.to_owned();
        run(options, Box::new(|_| {}))
    };
    assert_eq!(code(with("host=/tmp nosuch=1")), "POSTGRES CONNINFO");
    let away = with("host=/nonexistent password=secret").expect_err("nobody there");
    assert_eq!((away.code().reason, away.class()), ("CONNECT", Class::Retry));
    let wrong = with(&cluster.conninfo("nosuch")).expect_err("no database");
    assert_eq!(wrong.code().details, [("sqlstate", "3D000".to_owned())]);
    assert_eq!(wrong.class(), Class::Usage);
    source.execute("create role humble login");
    let humble = source.conninfo().replace("user=postgres", "user=humble");
    let options = SetupOptions { conninfo: humble, ..source.setup_options() };
    assert_eq!(code(setup(&options)), "STREAM NOREPLICATION");
    let uri = format!(
        "postgresql://postgres@/conns?host={}&port=5432",
        cluster.data().parent().expect("folder").display().to_string().replace('/', "%2F")
    );
    let mut options = source.options();
    (options.conninfo, options.until_idle_ms) = (uri, Some(50));
    run(options, Box::new(|_| {})).expect("a URI");
}

#[test]
fn a_slot_whose_wal_is_gone_is_lost() {
    let cluster = Arc::new(Cluster::start_with("max_slot_wal_keep_size = '1MB'\n"));
    let mut source = Source::set_up(cluster, "lost", TABLE);
    source.execute("insert into t values (1)");
    source.catch_up().expect("capture");
    let status = status_of(&source.conninfo(), "lost", None, None).expect("status");
    assert!(status.slot.safe_wal_bytes.is_some() && status.slot.lost.is_none());
    support::wait_until("the slot to be lost", || {
        source.execute("insert into t select max(a) + 1 from t");
        source.execute("select pg_switch_wal()");
        source.execute("checkpoint");
        status_of(&source.conninfo(), "lost", None, None).expect("status").state == "lost"
    });
    assert_eq!(run_code(&source), "STREAM SLOTLOST");
    assert_eq!(code(setup(&source.setup_options())), "STREAM SLOTLOST");
    assert_eq!(source.changes().len(), 1);
}

#[test]
fn a_server_without_logical_wal_is_refused_and_a_lost_server_is_waited_for() {
    let cluster = Arc::new(Cluster::start_with("wal_level = replica\n"));
    let source = Source::new(Arc::clone(&cluster), "walless", TABLE);
    assert_eq!(code(setup(&source.setup_options())), "STREAM WALLEVEL");
    let options = SetupOptions { plugin: Plugin::Deltaflood, ..source.setup_options() };
    assert_eq!(code(setup(&options)), "STREAM WALLEVEL");

    let conf = cluster.data().join("postgresql.auto.conf");
    std::fs::write(conf, "wal_level = logical\n").expect("setting");
    cluster.stop(Stop::Fast);
    cluster.start();
    setup(&source.setup_options()).expect("setup");
    let capture = Capture::start(source.options(), Box::new(|_| {})).expect("start");
    wait_streaming(&capture);
    cluster.stop(Stop::Immediate);
    support::wait_until("the loss to be noticed", || capture.status().state.word() == "waiting");
    assert!(!capture.status().error.is_empty() && !capture.is_finished());
    cluster.start();
    wait_streaming(&capture);
    drop(capture);
    cluster.stop(Stop::Fast);
    std::fs::write(cluster.data().join("standby.signal"), "").expect("standby.signal");
    cluster.start();
    assert_eq!(run_code(&source), "STREAM STANDBY");
    // A copy is not taken from one, either: its snapshots do not tell what is in progress.
    let conninfo = Conninfo::parse(&source.conninfo()).expect("conninfo");
    let conn = Guarded::connect(&conninfo).expect("connect");
    let error = Snapshot::take(&conn).expect_err("a standby");
    let code = error.code();
    assert_eq!((code.stage, code.reason), ("MIRROR", "STANDBY"));
}

#[test]
fn a_server_put_back_to_an_older_state_of_its_files_is_refused() {
    let cluster = Arc::new(Cluster::start_with(""));
    let mut source = Source::set_up(Arc::clone(&cluster), "rewound", TABLE);
    source.execute("insert into t values (1)");
    source.catch_up().expect("capture");
    let copy = |from: &Path, to: &Path| {
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(done.is_ok_and(|status| status.success()), "cp");
    };
    let (data, aside) = (cluster.data(), cluster.data().with_extension("aside"));
    cluster.stop(Stop::Fast);
    copy(&data, &aside);
    cluster.start();
    source.client = cluster.client("rewound");
    source.execute("insert into t select generate_series(2, 2000)");
    source.catch_up().expect("capture");
    cluster.stop(Stop::Fast);
    std::fs::remove_dir_all(&data).expect("remove");
    copy(&aside, &data);
    cluster.start();
    source.client = cluster.client("rewound");
    source.execute("insert into t values (5000)");
    assert_eq!(run_code(&source), "STREAM REWOUND");
    let rows = source.of_verb(Verb::Insert).len();
    assert_eq!(rows, 2000);
}

/// Each level of a composite type doubles the quotes in its text.
#[test]
fn a_small_value_with_a_huge_text_is_said_and_what_to_do() {
    let mut sql = "create type n0 as (t text);".to_owned();
    let mut value = "row(repeat('\"', 20000))::n0".to_owned();
    for level in 1..=17 {
        sql.push_str(&format!("create type n{level} as (v n{});", level - 1));
        value = format!("row({value})::n{level}");
    }
    sql.push_str("create table t(a int primary key, v n17); create table other(a int primary key)");
    let mut source = Source::set_up(Cluster::shared(), "nested", &sql);
    // Both tables are known before the transaction that has the value.
    source.execute("insert into t values (1)");
    source.execute("insert into other values (1)");
    source.execute(&format!("insert into t values (2, {value})"));
    let mut options = source.options();
    (options.slot_wait_ms, options.until_idle_ms) = (200, Some(50));
    let error = run(options, Box::new(|_| {})).expect_err("no reader gets past it");
    assert_eq!(error.code().reason, "TOOLONG");
    let table = error.code().details.into_iter().find(|(key, _)| *key == "table");
    assert_eq!(table.expect("the table").1, "t", "{error}");
    let rows = ["_table|t|_action|insert|a|1", "_table|other|_action|insert|a|1"];
    assert_eq!(source.changes(), rows);
}
