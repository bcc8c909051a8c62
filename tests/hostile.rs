//! Databases in which others made what they like: nothing of theirs runs in a statement of ours.

mod mirror;
mod support;

use mirror::live::Road;
use pgsqlite::deltastream::{self, Plugin, SetupOptions, drop_slot, status_of};
use pgsqlite::libpq::{Conn, Conninfo, guarded};
use pgsqlite::pg_sqlite::{Columns, Import, PgTable, Source, TableName, Target};
use pgsqlite::schema::saved;
use pgsqlite::sqlite;
use support::Cluster;

/// What a hostile role made, in a schema of its own.
const HOSTILE: &str = include_str!("hostile.sql");

const TABLES: &str = "create type public.mood as enum ('sad', 'ok');
    create table public.t (id int primary key, m public.mood default 'ok', r pg_catalog.regclass);
    create table public.keyless (a int, b text); alter table public.keyless replica identity full;
    create table public.parted (id int primary key, v text) partition by range (id);
    create table public.parted_1 partition of public.parted for values from (0) to (1000);
    insert into public.t select g from pg_catalog.generate_series(1, 20) g;
    insert into public.parted select g, 'v' from pg_catalog.generate_series(1, 20) g";

/// Whether anything hostile ran since the last look.
fn caught(client: &mut postgres::Client) -> bool {
    let row = client.query_one("select is_called from evil.caught", &[]).expect("sequence");
    client.batch_execute("alter sequence evil.caught restart").expect("restart");
    row.get(0)
}

/// Puts the hostile schema first, in the database and for the role in it.
fn poison(client: &mut postgres::Client, database: &str) {
    client.batch_execute(HOSTILE).expect("hostile objects");
    let path = "evil, pg_catalog, public";
    client
        .batch_execute(&format!(
            "alter database {database} set search_path = {path};
             alter role postgres in database {database} set search_path = {path};
             alter database {database} set quote_all_identifiers = on;
             alter database {database} set transform_null_equals = on;
             alter database {database} set statement_timeout = '60s';
             alter database {database} set datestyle = 'SQL, DMY'"
        ))
        .expect("settings");
    // The trap works: an ordinary statement under these settings is caught.
    let mut victim = Cluster::shared().client(database);
    victim.batch_execute("select relname || '.' || relname from pg_class limit 1").expect("query");
    assert!(caught(client), "the hostile objects are not found by an ordinary statement");
}

#[test]
fn no_command_of_a_stream_or_a_mirror_runs_what_others_made() {
    let name = "hostile_road";
    let cluster = Cluster::shared();
    let mut client = cluster.database(name);
    client.batch_execute(TABLES).expect("tables");
    poison(&mut client, name);
    // The whole road: setup with a table named in every way, capture, heartbeats, init, compare.
    let tables = ["t", "public.keyless", "\"parted\""];
    let road = Road::in_database(name, &tables);
    assert!(!caught(&mut client), "setup or capture");
    road.init("m.db", &[]).expect("init");
    assert!(!caught(&mut client), "init");
    let follower = road.follow("m.db");
    road.sql(
        "insert into public.t values (100, 'sad', 'public.t'); \
         insert into public.keyless values (1, 'x'), (1, 'x'); \
         update public.keyless set b = 'y'; delete from public.t where id = 3",
    );
    // The statements of the test itself are ordinary ones.
    caught(&mut client);
    road.assert_equal("m.db");
    follower.stop();
    let values = mirror::rows(&road.db("m.db"), "select r, m from t where id = 100");
    assert_eq!(values, ["'public.t' 'sad'"], "names are printed whole, whatever the path");
    caught(&mut client);
    let options = SetupOptions {
        conninfo: road.conninfo(),
        slot: name.to_owned(),
        stream: Some(road.stream()),
        tables: vec!["T".to_owned(), "keyless".to_owned()],
        publication: None,
        plugin: Plugin::Pgoutput,
        announce: pgsqlite::deltastream::Announce::Nothing,
    };
    deltastream::setup(&options).expect("again");
    status_of(&road.conninfo(), name, Some(&road.stream()), None).expect("status");
    let compared = road.compare("m.db");
    assert!(compared.is_equal(), "{compared:?}");
    road.stop_capture();
    drop_slot(&road.conninfo(), name, None).expect("drop");
    assert!(!caught(&mut client), "setup, status, compare or drop");
}

#[test]
fn no_command_on_a_users_connection_runs_what_others_made() {
    sqlite::testing::load().expect("sqlite");
    let name = "hostile_user";
    let cluster = Cluster::shared();
    let mut client = cluster.database(name);
    client.batch_execute(TABLES).expect("tables");
    poison(&mut client, name);
    let info = Conninfo::parse(&cluster.conninfo(name)).expect("conninfo");
    let conn = Conn::connect(&info).expect("connect");
    for in_transaction in [false, true] {
        if in_transaction {
            conn.query("begin").expect("begin");
        }
        let first = saved::capture(&conn, &["t".to_owned()], "pgsqlite").expect("capture");
        let second = saved::capture(&conn, &[], "pgsqlite").expect("capture");
        saved::versions(&conn, "pgsqlite").expect("versions");
        saved::difference(&conn, first, second, "pgsqlite").expect("difference");
        let table = PgTable::parse("t").expect("name");
        let db = sqlite::testing::memory().expect("sqlite");
        let mut import = Import::new(Target::Create(TableName::new("t")), Columns::Auto);
        if !in_transaction {
            let source = Source::Parallel { conn: &conn, table: &table, readers: 2 };
            assert_eq!(import.run(&db, source).expect("parallel").rows, 20);
        } else {
            import.progress_every = 0;
        }
        assert!(!caught(&mut client), "a command (in a transaction: {in_transaction})");
        // What the user set is as it was: in his transaction and behind it.
        let shown = |name: &str| conn.query(&format!("show {name}")).unwrap().text(0, 0).unwrap();
        let settings = [shown("search_path"), shown("datestyle"), shown("quote_all_identifiers")];
        assert_eq!(settings, ["evil, pg_catalog, public", "SQL, DMY", "on"]);
        if in_transaction {
            conn.query("commit").expect("commit");
            assert_eq!(shown("search_path"), "evil, pg_catalog, public");
        }
    }
}

#[test]
fn a_setting_of_a_users_transaction_is_put_back() {
    let cluster = Cluster::shared();
    let mut client = cluster.database("hostile_back");
    client.batch_execute("create table t (a int)").expect("table");
    let info = Conninfo::parse(&cluster.conninfo("hostile_back")).expect("conninfo");
    let conn = Conn::connect(&info).expect("connect");
    let shown = || conn.query("show search_path").unwrap().text(0, 0).unwrap();
    let ask = || {
        guarded(&conn, |conn| {
            let path = conn.query("show search_path")?.text(0, 0).unwrap();
            assert_eq!(path, "\"\"");
            Ok::<_, pgsqlite::libpq::Error>(())
        })
        .expect("guarded");
    };
    conn.query("begin; set search_path = pg_temp; set local datestyle = 'German'").expect("begin");
    ask();
    assert_eq!(shown(), "pg_temp");
    conn.query("savepoint s").expect("savepoint");
    ask();
    conn.query("rollback to s").expect("rollback");
    assert_eq!(shown(), "pg_temp");
    conn.query("commit").expect("commit");
    assert_eq!(shown(), "pg_temp", "set for the session inside of the transaction");
    ask();
    assert_eq!(shown(), "pg_temp");
}
