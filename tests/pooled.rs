//! Through a pool that gives a server to another client at the end of each transaction, or session:
//! our commands work, and leave nothing behind that another client would meet.

mod support;

use pgsqlite::deltamirror::{CompareOptions, InitOptions, StreamSource, compare, connection, init};
use pgsqlite::deltastream::{Keeper, drop_slot, setup, status_of};
use pgsqlite::libpq::{Conn, Conninfo};
use pgsqlite::pg_sqlite::{Columns, Import, PgQuery, PgTable, Source as Rows, TableName, Target};
use pgsqlite::schema::saved;
use pgsqlite::sqlite;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::pool::Pool;
use support::stream::Source;
use support::{Cluster, wait_until};

/// What another client must find as the server has it.
const SEEN: &str = "select string_agg(name || '=' || setting, ' ' order by name) from pg_settings
    where source = 'session' and name not in ('application_name', 'client_encoding')";

/// Another client, over and over: an unqualified name, and the session's settings. The number of
/// times that it found something of ours.
fn other(conninfo: &str, stop: &AtomicBool, asked: &AtomicUsize) -> usize {
    let mut found = 0;
    let mut client = postgres::Client::connect(conninfo, postgres::NoTls).expect("connect");
    while !stop.load(Ordering::Relaxed) {
        let rows = client.simple_query("select count(*) from t");
        let seen = client.simple_query(SEEN).expect("settings");
        let set = seen.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        found += usize::from(rows.is_err() || set.is_some());
        asked.fetch_add(1, Ordering::Relaxed);
    }
    found
}

/// Every command, through the pool.
fn commands(source: &Source, pooled: &str) {
    let stream = StreamSource::open(source.stream().as_path()).expect("stream");
    let info = Conninfo::parse(pooled).expect("conninfo");
    let folder = tempfile::tempdir().expect("folder");
    let db = connection::open(&folder.path().join("m.db")).expect("open");
    let stop = AtomicBool::new(false);
    let tables = || vec!["t".to_owned()];
    let options = InitOptions { tables: tables(), ..InitOptions::default() };
    init(&db, &info, &stream, &options, &stop, &mut |_| {}).expect("init");
    status_of(pooled, &source.name, Some(&source.stream()), None).expect("status");
    let compared = compare(&info, &db, None, &CompareOptions::default(), &stop).expect("compare");
    assert!(compared.is_equal(), "{compared:?}");
    let mut conn = Conn::connect(&info).expect("connect");
    saved::capture(&conn, &tables(), "pgsqlite").expect("capture");
    saved::versions(&conn, "pgsqlite").expect("versions");
    saved::show(&conn, 1, "pgsqlite").expect("show");
    let memory = sqlite::testing::memory().expect("sqlite");
    let target = |name: &str| Target::Create(TableName::new(name));
    let table = PgTable::parse("t").expect("name");
    let parallel = Rows::Parallel { conn: &conn, table: &table, readers: 2 };
    let import = Import::new(target("a"), Columns::Auto);
    assert_eq!(import.run(&memory, parallel).expect("parallel").rows, 300);
    let query = PgQuery::new("select a from t where a < 10");
    let import = Import::new(target("b"), Columns::Auto);
    let rows = import.run(&memory, Rows::Query { conn: &mut conn, query: &query }).expect("copy");
    assert_eq!(rows.rows, 9);
}

fn beside_others(mode: &str) {
    sqlite::testing::load().expect("sqlite");
    let name = format!("pooled_{mode}");
    let tables = "create table t(a int primary key, b text)";
    let mut source = Source::new(Cluster::shared(), &name, tables);
    source.insert(1, 300);
    let pool = Pool::start(&source.cluster, &name, mode);
    let pooled = pool.conninfo(&name);
    let options =
        pgsqlite::deltastream::SetupOptions { conninfo: pooled.clone(), ..source.setup_options() };
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let others: Vec<_> =
            (0..2).map(|_| scope.spawn(|| other(&pooled, &stop, &asked))).collect();
        setup(&options).expect("setup");
        source.catch_up().expect("capture");
        commands(&source, &pooled);
        Keeper::open(&pooled, &name).expect("keeper");
        drop_slot(&pooled, &name, None).expect("drop");
        let enough = asked.load(Ordering::Relaxed) + 40;
        wait_until("the others", || asked.load(Ordering::Relaxed) > enough);
        stop.store(true, Ordering::Relaxed);
        for other in others {
            assert_eq!(other.join().expect("a client"), 0, "met something of ours");
        }
    });
}

#[test]
fn a_pool_by_transactions_is_left_as_it_was() {
    beside_others("transaction");
}

#[test]
fn a_pool_by_sessions_is_left_as_it_was() {
    beside_others("session");
}
