//! What the mirror's tests share: a stream written line by line, and a mirror made by hand.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod dice;
pub mod live;

use deltaflood::Lsn;
use pgsqlite::daystream::{Commit, Identity, Position, Writer, WriterOptions};
use pgsqlite::deltamirror::state::{self, StreamState, TableState, TableStatus};
use pgsqlite::deltamirror::{
    Applied, Definition, Error, OnError, Options, Policy, Snapshot, StreamSource, apply, format,
};
use pgsqlite::error::Coded;
use pgsqlite::schema::TableName;
use pgsqlite::sqlite::{self, Access, Db, Value, quote_identifier};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A folder with a stream and a file to mirror into.
pub struct Bed {
    pub dir: tempfile::TempDir,
    pub writer: Writer,
    lsn: u64,
}

impl Bed {
    pub fn new() -> Bed {
        Bed::with(WriterOptions::default())
    }

    pub fn with(options: WriterOptions) -> Bed {
        sqlite::testing::load().expect("sqlite");
        let dir = tempfile::tempdir().expect("folder");
        let mut writer = Writer::open(dir.path().join("stream"), options).expect("writer");
        writer.save_identity(&identity(7)).expect("identity");
        writer.flush().expect("flush");
        Bed { dir, writer, lsn: 0x1000 }
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("mirror.db")
    }

    pub fn db(&self) -> Db {
        let db = Db::open(&self.file(), Access::Create).expect("open");
        db.exec("PRAGMA synchronous = OFF").expect("no crash is played here");
        db
    }

    pub fn source(&self) -> StreamSource {
        StreamSource::open(&self.dir.path().join("stream")).expect("stream")
    }

    /// Writes a transaction: each line without `_xid`, TABs written as `|`.
    pub fn transaction(&mut self, xid: u32, lines: &[&str]) -> Position {
        self.writer.begin().expect("begin");
        for line in lines {
            let line = line.replacen("_action|", &format!("_xid|{xid}|_action|"), 1);
            self.writer.line(line.replace('|', "\t").as_bytes()).expect(&line);
        }
        self.lsn += 0x100;
        let commit = Commit {
            xid: Some(xid),
            lsn: Some(Lsn(self.lsn)),
            time_us: Some(1_500_000_000_000_000),
        };
        let position = self.writer.commit(commit).expect("commit").expect("lines");
        self.writer.flush().expect("flush");
        position
    }

    /// LSN of the last transaction.
    pub fn lsn(&self) -> Lsn {
        Lsn(self.lsn)
    }

    pub fn apply(&self, db: &Db) -> Result<Applied, Error> {
        self.apply_with(db, Options::default())
    }

    pub fn apply_keeping(&self, db: &Db) -> Result<Applied, Error> {
        self.apply_with(db, Options { on_error: OnError::Keep, ..Options::default() })
    }

    pub fn apply_with(&self, db: &Db, options: Options) -> Result<Applied, Error> {
        apply(db, &self.source(), None, options, &AtomicBool::new(false))
    }
}

pub fn identity(system_id: u64) -> Identity {
    Identity {
        system_id,
        database: "d".into(),
        slot: "s".into(),
        plugin: "pgoutput".into(),
        publication: "p".into(),
        timeline: 1,
        ..Identity::default()
    }
}

/// Makes the mirror's tables, at the stream's beginning.
pub fn prepare(db: &Db) {
    format::create(db).expect("state");
    let stream = StreamState {
        stream: "stream".into(),
        made: 0,
        system_id: "7".into(),
        database: "d".into(),
        position: Position::MIN,
        lsn: Lsn(0),
        chain: None,
        commit_time: 0,
        transactions: 0,
        changes: 0,
        generation: 1,
    };
    state::write_stream(db, &stream).expect("stream");
}

/// A table of the mirror: `columns` are name, type and base type; `identity` names old rows.
pub fn add_table(
    db: &Db,
    source: (&str, &str),
    columns: &[(&str, &str, u32)],
    key: &[&str],
    identity: &[&str],
    snapshot: Option<Snapshot>,
) {
    let strings = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let source = TableName::new(source.0, source.1);
    let name = pgsqlite::schema::ddl::sqlite_name(&source);
    let kind = |oid| pgsqlite::schema::value::Kind::from_oid(oid).sqlite_decl();
    let mut parts: Vec<String> =
        columns.iter().map(|c| format!("{} {}", quote_identifier(c.0), kind(c.2))).collect();
    if !key.is_empty() {
        let names: Vec<String> = key.iter().map(|name| quote_identifier(name)).collect();
        parts.push(format!("PRIMARY KEY ({})", names.join(", ")));
    }
    db.exec(&format!("CREATE TABLE {} ({})", quote_identifier(&name), parts.join(", ")))
        .expect("table");
    let columns_of = columns.iter().map(|c| (c.0.to_owned(), c.1.to_owned()));
    let table = TableState {
        name,
        source,
        status: if snapshot.is_some() { TableStatus::Ready } else { TableStatus::Live },
        definition: Definition {
            columns: columns_of.collect(),
            key: strings(identity),
            ..Definition::default()
        },
        base_types: columns.iter().map(|c| c.2).collect(),
        primary_key: strings(key),
        row_filter: None,
        snapshot: snapshot.unwrap_or_else(|| Snapshot::parse("1:1:", "0/0", "0").expect("parse")),
        rows: 0,
        policy: Policy::Follow,
        kept: Vec::new(),
    };
    state::write_table(db, &table).expect("state");
    state::raise_generation(db).expect("generation");
}

pub const INT: (&str, u32) = ("integer", 23);
pub const TEXT: (&str, u32) = ("text", 25);

/// Takes out of the mirror's tables what later versions have put in.
pub fn to_version_0(db: &Db) {
    let dropped = [
        (
            "table",
            "barrier touched inserts updates deletes truncates changed_clock changed_seq ddl kept",
        ),
        ("error", "before whole"),
        ("stream", "chain chain_clock chain_seq made"),
    ];
    for (table, columns) in dropped {
        for column in columns.split(' ') {
            let sql = format!("ALTER TABLE _deltamirror_{table} DROP COLUMN {column}");
            db.exec(&sql).expect(column);
        }
    }
    let later = "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB '_deltamirror_*' \
                 AND substr(name, 14) NOT IN ('stream', 'table', 'error')";
    for table in rows(db, later) {
        db.exec(&format!("DROP TABLE {}", table.replace('\'', "\""))).expect(&table);
    }
}

/// All rows of a query, one line each, cells as SQL literals.
pub fn rows(db: &Db, sql: &str) -> Vec<String> {
    let mut stmt = db.prepare(sql).expect(sql);
    let mut rows = Vec::new();
    while stmt.step().expect("step") {
        let cells: Vec<String> = (0..stmt.column_count()).map(|c| cell(stmt.column(c))).collect();
        rows.push(cells.join(" "));
    }
    rows
}

fn cell(value: Value<'_>) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Int(int) => int.to_string(),
        Value::Real(real) => format!("{real:?}"),
        Value::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
        Value::Blob(blob) => format!("x{blob:02x?}"),
    }
}

/// A number of milliseconds.
pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A table `t(id, a, b)` with key `id`.
pub fn keyed(db: &Db) {
    let columns = [("id", INT.0, INT.1), ("a", TEXT.0, TEXT.1), ("b", TEXT.0, TEXT.1)];
    add_table(db, ("public", "t"), &columns, &["id"], &["id"], None);
}

/// A table `f(x, y)` known by whole rows.
pub fn full(db: &Db) {
    let columns = [("x", INT.0, INT.1), ("y", TEXT.0, TEXT.1)];
    add_table(db, ("public", "f"), &columns, &[], &["x", "y"], None);
}

/// The reason word of an error.
pub fn reason(error: &Error) -> &'static str {
    error.code().reason
}
