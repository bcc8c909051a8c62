//! The whole road in one process: a database, its slot, a capture, a mirror.

use crate::support::{Cluster, wait_for};
use pgsqlite::deltamirror::{
    CompareOptions, Comparison, Error, Event, Filled, FollowStatus, Follower, InitOptions, Options,
    StreamSource, compare, connection, init, state, status,
};
use pgsqlite::deltastream::{self, Capture, Plugin, SetupOptions};
use pgsqlite::libpq::Conninfo;
use pgsqlite::sqlite::{self, Db};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::rows;

/// A database with a slot and a running capture, and a folder for mirrors.
pub struct Road {
    pub cluster: Arc<Cluster>,
    client: Mutex<postgres::Client>,
    pub database: String,
    pub dir: tempfile::TempDir,
    capture: Mutex<Option<Capture>>,
}

impl Road {
    /// Runs `sql` in a new database, publishes `tables` (none: all) and captures.
    pub fn new(database: &str, sql: &str, tables: &[&str]) -> Road {
        Road::published(database, sql, tables, None)
    }

    /// As [`Road::new`], with a publication that `sql` has made.
    pub fn published(
        database: &str,
        sql: &str,
        tables: &[&str],
        publication: Option<&str>,
    ) -> Road {
        let cluster = Cluster::shared();
        cluster.database(database).batch_execute(sql).expect("setup");
        Road::begin(cluster, database, tables, publication)
    }

    /// As [`Road::new`], in a cluster of the test's own.
    pub fn in_cluster(cluster: Arc<Cluster>, database: &str, sql: &str, tables: &[&str]) -> Road {
        cluster.database(database).batch_execute(sql).expect("setup");
        Road::begin(cluster, database, tables, None)
    }

    /// As [`Road::new`], in a database that is there.
    pub fn in_database(database: &str, tables: &[&str]) -> Road {
        Road::begin(Cluster::shared(), database, tables, None)
    }

    fn begin(
        cluster: Arc<Cluster>,
        database: &str,
        tables: &[&str],
        publication: Option<&str>,
    ) -> Road {
        sqlite::testing::load().expect("sqlite");
        let client = cluster.client(database);
        let dir = tempfile::tempdir().expect("folder");
        let client = Mutex::new(client);
        let capture = Mutex::new(None);
        let road = Road { cluster, client, database: database.into(), dir, capture };
        let setup = SetupOptions {
            conninfo: road.conninfo(),
            slot: database.to_owned(),
            stream: Some(road.stream()),
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            publication: publication.map(str::to_owned),
            plugin: Plugin::Pgoutput,
            announce: pgsqlite::deltastream::Announce::Nothing,
        };
        deltastream::setup(&setup).expect("slot");
        road.capture();
        road
    }

    /// Starts the capture again.
    pub fn capture(&self) {
        let options = deltastream::Options::new(&self.conninfo(), &self.database, self.stream());
        let capture = Capture::start(options, Box::new(|_| {})).expect("capture");
        *self.capture.lock().expect("lock") = Some(capture);
    }

    /// Ends the capture.
    pub fn stop_capture(&self) {
        if let Some(capture) = self.capture.lock().expect("lock").take() {
            capture.stop();
            capture.join().expect("capture");
        }
    }

    pub fn conninfo(&self) -> String {
        self.cluster.conninfo(&self.database)
    }

    pub fn info(&self) -> Conninfo {
        Conninfo::parse(&self.conninfo()).expect("conninfo")
    }

    pub fn stream(&self) -> PathBuf {
        self.dir.path().join("stream")
    }

    pub fn source(&self) -> StreamSource {
        StreamSource::open(&self.stream()).expect("stream")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn db(&self, name: &str) -> Db {
        connection::open(&self.file(name)).expect("open")
    }

    pub fn client(&self) -> MutexGuard<'_, postgres::Client> {
        self.client.lock().expect("lock")
    }

    pub fn sql(&self, sql: &str) {
        self.client().batch_execute(sql).expect(sql);
    }

    pub fn init(&self, name: &str, tables: &[&str]) -> Result<Vec<Filled>, Error> {
        let tables = tables.iter().map(|table| (*table).to_owned()).collect();
        self.init_with(name, &InitOptions { tables, ..InitOptions::default() })
    }

    pub fn init_with(&self, name: &str, options: &InitOptions) -> Result<Vec<Filled>, Error> {
        let stop = AtomicBool::new(false);
        init(&self.db(name), &self.info(), &self.source(), options, &stop, &mut |_| {})
    }

    pub fn follow(&self, name: &str) -> Follower {
        self.follow_with(name, Box::new(|_| {}))
    }

    pub fn follow_with(&self, name: &str, on_event: Box<dyn Fn(Event) + Send>) -> Follower {
        let options = Options::default();
        Follower::start(self.file(name), self.source(), options, on_event).expect("follow")
    }

    /// Waits until the mirror has passed everything that is committed now.
    pub fn settle(&self, name: &str) {
        let row = self.client().query_one(
            "select (pg_logical_emit_message(true, 'test', 'settle') - '0/0')::text",
            &[],
        );
        let wanted: u64 = row.expect("message").get::<_, String>(0).parse().expect("number");
        let db = self.db(name);
        let began = std::time::Instant::now();
        wait_for("the mirror to settle", Duration::from_secs(60), || {
            let stream = state::stream(&db).expect("state").expect("mirror");
            if began.elapsed() > Duration::from_secs(30) {
                panic!("the mirror does not settle: {:?}", status(&db, None).expect("status").work);
            }
            (stream.lsn.0 > wanted).then_some(())
        });
    }

    pub fn compare(&self, name: &str) -> Comparison {
        self.compare_with(name, &CompareOptions::default()).expect("compare")
    }

    pub fn compare_with(&self, name: &str, options: &CompareOptions) -> Result<Comparison, Error> {
        let stop = AtomicBool::new(false);
        compare(&self.info(), &self.db(name), None, options, &stop)
    }

    /// Makes sure that the mirror that followed the stream holds what a fresh copy holds, byte for
    /// byte, and that `compare` says so.
    pub fn assert_equal(&self, name: &str) {
        self.settle(name);
        let comparison = self.compare(name);
        assert!(comparison.is_equal(), "{comparison:?}");
        let fresh = format!("fresh-of-{name}");
        let tables = rows(
            &self.db(name),
            "select source_schema || '.' || source_table, name from _deltamirror_table",
        );
        assert_eq!(comparison.tables.len(), tables.len());
        let _ = std::fs::remove_file(self.file(&fresh));
        let names = rows(
            &self.db(name),
            "select '\"' || source_schema || '\".\"' || replace(source_table, '\"', '\"\"') \
             || '\"' from _deltamirror_table",
        );
        let names: Vec<&str> = names.iter().map(|name| name.trim_matches('\'')).collect();
        self.init(&fresh, &names).expect("fresh copy");
        assert_eq!(dump(&self.db(name)), dump(&self.db(&fresh)));
        assert_eq!(rows(&self.db(name), "pragma integrity_check"), ["'ok'"]);
    }
}

/// Every row of every mirrored table, with types, in a fixed order.
pub fn dump(db: &Db) -> Vec<(String, Vec<String>)> {
    let tables = state::tables(db).expect("tables");
    tables
        .iter()
        .map(|table| {
            let name = sqlite::quote_identifier(&table.name);
            let cells = table.definition.columns.iter().map(|(column, _)| {
                let column = sqlite::quote_identifier(column);
                format!("typeof({column}) || ':' || quote({column})")
            });
            let cells = cells.collect::<Vec<_>>().join(" || ',' || ");
            let sql = format!("select {cells} as row from {name} order by row");
            (table.name.clone(), rows(db, &sql))
        })
        .collect()
}

/// Waits for a follower's status.
pub fn wait_status(
    follower: &Follower,
    what: &str,
    condition: impl Fn(&FollowStatus) -> bool,
) -> FollowStatus {
    wait_for(what, Duration::from_secs(30), || Some(follower.status()).filter(&condition))
}
