//! A database with a slot, and the stream that is written from it.

use super::Cluster;
use deltaflood::{Details, Lsn, Verb};
use pgsqlite::daystream::{Reader, ReaderOptions, Start, heartbeat};
use pgsqlite::deltastream::{
    Capture, Error, Options, Plugin, SetupOptions, State, Status, run, setup,
};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A database of a cluster, with publication, slot and stream of the same name.
pub struct Source {
    pub cluster: Arc<Cluster>,
    pub client: postgres::Client,
    pub name: String,
    dir: tempfile::TempDir,
}

impl Source {
    /// Makes a database and runs `sql` in it; nothing is captured yet.
    pub fn new(cluster: Arc<Cluster>, name: &str, sql: &str) -> Source {
        let mut client = cluster.database(name);
        client.batch_execute(sql).expect("tables");
        let dir = tempfile::tempdir().expect("folder");
        Source { cluster, client, name: name.to_owned(), dir }
    }

    /// As [`Source::new`], with everything set up for all tables.
    pub fn set_up(cluster: Arc<Cluster>, name: &str, sql: &str) -> Source {
        let source = Source::new(cluster, name, sql);
        setup(&source.setup_options()).expect("setup");
        source
    }

    /// A database with table t captured and table other not.
    pub fn set_up_t(cluster: Arc<Cluster>, name: &str) -> Source {
        let tables = "create table t(a int primary key, b text); create table other(a int)";
        let source = Source::new(cluster, name, tables);
        let tables = vec!["t".to_owned()];
        setup(&SetupOptions { tables, ..source.setup_options() }).expect("setup");
        source
    }

    /// Inserts rows of t with the keys `from` to `to` in one transaction.
    pub fn insert(&mut self, from: u32, to: u32) {
        self.execute(&format!("insert into t select g from generate_series({from}, {to}) g"));
    }

    /// Sees that the stream has the rows 1 to `last` of table t, each once, in order.
    pub fn assert_complete(&self, last: u32) {
        let rows: Vec<u32> = self
            .of_verb(Verb::Insert)
            .iter()
            .map(|line| line.split('|').nth(5).and_then(|a| a.parse().ok()).expect("a row of t"))
            .collect();
        let wrong = rows.iter().zip(1..).find(|(row, wanted)| *row != wanted);
        assert_eq!((wrong, rows.len()), (None, last as usize));
    }

    /// Runs a capture in a process of its own: this program again, with the one test
    /// `capture_of_a_child_process`, which runs [`child_options`].
    pub fn spawn(&self, environment: &[(&str, &str)]) -> Killed {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "capture_of_a_child_process", "--quiet"])
            .env("PGSQLITE_TEST_CONNINFO", self.conninfo())
            .env("PGSQLITE_TEST_SLOT", &self.name)
            .env("PGSQLITE_TEST_STREAM", self.stream())
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Killed(child.expect("child"))
    }

    pub fn stream(&self) -> PathBuf {
        self.dir.path().join("stream")
    }

    pub fn conninfo(&self) -> String {
        self.cluster.conninfo(&self.name)
    }

    pub fn setup_options(&self) -> SetupOptions {
        SetupOptions {
            conninfo: self.conninfo(),
            slot: self.name.clone(),
            stream: Some(self.stream()),
            tables: Vec::new(),
            publication: None,
            plugin: Plugin::Pgoutput,
            announce: pgsqlite::deltastream::Announce::Nothing,
        }
    }

    pub fn options(&self) -> Options {
        Options::new(&self.conninfo(), &self.name, self.stream())
    }

    pub fn execute(&mut self, sql: &str) {
        self.client.batch_execute(sql).expect(sql);
    }

    /// One text from the server.
    pub fn text(&mut self, sql: &str) -> String {
        self.client.query_one(sql, &[]).expect(sql).get(0)
    }

    pub fn wal_lsn(&mut self) -> Lsn {
        self.text("select pg_current_wal_lsn()::text").parse().expect("LSN")
    }

    /// What the server was told for this slot.
    pub fn confirmed(&mut self) -> Lsn {
        let sql = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1";
        let row = self.client.query_one(sql, &[&self.name]).expect("slot");
        row.get::<_, String>(0).parse().expect("LSN")
    }

    /// Captures everything committed so far and ends.
    pub fn catch_up(&mut self) -> Result<Status, Error> {
        let mut options = self.options();
        options.until_lsn = Some(self.wal_lsn());
        run(options, Box::new(|_| {}))
    }

    /// Starts a capture that runs until it is stopped.
    pub fn start(&self) -> Capture {
        let capture = Capture::start(self.options(), Box::new(|_| {})).expect("start");
        wait_streaming(&capture);
        capture
    }

    /// The lines of the stream with their verbs, without stamps, transaction and object ids, and
    /// details, with `|` for TAB. Commit lines are cut to their verb.
    pub fn entries(&self) -> Vec<(Verb, String)> {
        let mut lines = Vec::new();
        let options = ReaderOptions::default();
        let mut reader = Reader::open(self.stream(), Start::Begin, options).expect("reader");
        while let Some(entry) = reader.next().expect("line") {
            let change = entry.change;
            change.validate().expect("valid");
            let line = std::str::from_utf8(change.line()).expect("UTF-8");
            let line = line.splitn(5, '\t').nth(4).expect("a line after its stamp");
            let xid = format!("_xid\t{}\t", change.xid.expect("a transaction"));
            let mut line = line.replacen(&xid, "", 1);
            if let Some(oid) = change.oid {
                line = line.replacen(&format!("_oid\t{oid}\t"), "", 1);
            }
            if change.details().expect("details").is_some() {
                let from = line.find("_primary\t").or_else(|| line.find("_natts\t"));
                let from = from.expect("details");
                let to = from + line[from..].find("_action\tschema").expect("a verb");
                line.replace_range(from..to, "");
            }
            line = line.replace('\t', "|");
            if change.verb == Verb::Commit {
                line = "commit".to_owned();
            }
            lines.push((change.verb, line));
        }
        lines
    }

    /// The changes and messages of the stream: [`Source::entries`] without commit and schema lines,
    /// and without heartbeats: how many of those came is up to the machine.
    pub fn changes(&self) -> Vec<String> {
        let other = |verb: Verb, line: &str| match verb {
            Verb::Schema | Verb::Commit => false,
            Verb::Message => !line.contains(heartbeat::PREFIX),
            _ => true,
        };
        let lines = self.entries().into_iter().filter(|(verb, line)| other(*verb, line));
        lines.map(|(_, line)| line).collect()
    }

    /// Of each `schema` line the table's name and its details.
    pub fn details(&self) -> Vec<(String, Option<Details>)> {
        let mut found = Vec::new();
        let options = ReaderOptions::default();
        let mut reader = Reader::open(self.stream(), Start::Begin, options).expect("reader");
        while let Some(entry) = reader.next().expect("line") {
            if entry.change.verb == Verb::Schema {
                let name = entry.change.table.expect("a table").decode();
                let name = String::from_utf8(name.into_owned()).expect("UTF-8");
                found.push((name, entry.change.details().expect("details")));
            }
        }
        found
    }

    /// The lines of one verb.
    pub fn of_verb(&self, wanted: Verb) -> Vec<String> {
        let entries = self.entries().into_iter();
        entries.filter(|(verb, _)| *verb == wanted).map(|(_, line)| line).collect()
    }
}

/// A process that does not outlive the test, also when that fails.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process started by [`Source::spawn`] is to capture; `None` in any other process.
pub fn child_options() -> Option<Options> {
    let conninfo = std::env::var("PGSQLITE_TEST_CONNINFO").ok()?;
    let slot = std::env::var("PGSQLITE_TEST_SLOT").ok()?;
    Some(Options::new(&conninfo, &slot, std::env::var("PGSQLITE_TEST_STREAM").ok()?))
}

/// Waits until a capture receives.
pub fn wait_streaming(capture: &Capture) {
    super::wait_for("the capture to stream", Duration::from_secs(20), || {
        let status = capture.status();
        assert!(status.state != State::Failed, "the capture failed: {}", status.error);
        (status.state == State::Streaming).then_some(())
    });
}
