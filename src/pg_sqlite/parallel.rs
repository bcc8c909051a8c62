//! One table read by several connections that share a snapshot, each a range of its pages after the
//! other.
//!
//! The caller's connection holds a lock on the table, against TRUNCATE and changes of its
//! definition, and the transaction whose snapshot the others import. They take that lock, too,
//! while it holds it, so that the table stays as it is when its connection dies; they read. Rows
//! come in no order.
//!
//! Sources: PostgreSQL manual, "Snapshot Synchronization Functions" and SET TRANSACTION; TID range
//! scans are in the release notes of 14.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batch::Batch;
use super::raw_lines::{CopyLines, LineConverter};
use super::source::Reader;
use super::{Error, PgTable, Result};
use crate::libpq::{Conn, PgResult, TransactionStatus, guarded};
use crate::limits::{PARALLEL_RANGE_PAGES, PARALLEL_RANGES_EACH};

/// The first major version that reads a range of pages without reading the whole table.
const SERVER_MIN: i32 = 140_000;

/// What a relation is, and all that it consists of: `$1` is its object id.
const KINDS: &str = "WITH RECURSIVE part(id) AS (SELECT $1::pg_catalog.oid \
      UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN part p ON i.inhparent = p.id) \
    SELECT c.relkind, c.relpersistence, COALESCE(a.amname, 'heap'), \
      CASE c.relkind WHEN 'r' THEN pg_catalog.pg_relation_size(c.oid) / \
        pg_catalog.current_setting('block_size')::pg_catalog.int8 ELSE 0 END \
    FROM part p JOIN pg_catalog.pg_class c ON c.oid = p.id \
      LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam";

/// What the name `$1` means by the session's own path, and whether the policies of that table hide
/// rows from it. Asked under the user's settings: it names all that it calls with its schema.
const NAMED: &str = "SELECT r.oid, pg_catalog.row_security_active(r.oid) \
    FROM (SELECT $1::pg_catalog.regclass::pg_catalog.oid) r(oid)";

/// Calls that give another transaction the settings that this session has made for itself: how
/// values are printed, where tables are found, and whose rights count (last, since they may be
/// fewer). Asked under the user's settings, which are what is asked for: operators have their
/// schema, too.
const SETTINGS: &str = "SELECT pg_catalog.string_agg(pg_catalog.format( \
      'pg_catalog.set_config(%L, %L, true)', name, setting), ', ' ORDER BY rank) FROM ( \
    SELECT 1, name, setting FROM pg_catalog.pg_settings \
      WHERE source OPERATOR(pg_catalog.=) 'session' \
      AND name OPERATOR(pg_catalog.!~) '^transaction_' \
    UNION ALL SELECT 2, 'session_authorization', session_user::pg_catalog.text \
      WHERE session_user OPERATOR(pg_catalog.<>) $1::pg_catalog.name \
    UNION ALL SELECT 3, 'role', pg_catalog.current_setting('role') \
      WHERE pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none') \
    s(rank, name, setting)";

/// The transaction of the caller's connection; rolled back when dropped, if it is ours.
struct Transaction<'c> {
    conn: &'c Conn,
    ours: bool,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.ours {
            // A connection that is lost has no transaction either.
            let _ = self.conn.query("ROLLBACK");
        }
    }
}

/// Connections that read one table under one snapshot.
pub(super) struct Readers<'c> {
    /// One for each reader.
    pub(super) conns: Vec<Conn>,
    ranges: Arc<Ranges>,
    /// Names and types of the table's columns.
    pub(super) description: PgResult,
    /// Ended last: the others have imported its snapshot.
    _transaction: Transaction<'c>,
}

/// The pages of a table, handed out range by range.
struct Ranges {
    select: String,
    pages_each: u64,
    count: u64,
    next: AtomicU64,
}

impl Ranges {
    /// The COPY of a range that nobody reads yet.
    fn next(&self) -> Option<String> {
        let range = self.next.fetch_add(1, Ordering::Relaxed);
        if range >= self.count {
            return None;
        }
        let page = |range: u64| range.saturating_mul(self.pages_each);
        // The table is the user's to name, the range is ours: its operators have their schema.
        let mut sql = format!(
            "COPY ({} WHERE ctid OPERATOR(pg_catalog.>=) '({},0)'",
            self.select,
            page(range)
        );
        // Without an end the last one: rows of the snapshot lie in pages that were there.
        if range + 1 < self.count {
            let end = page(range + 1);
            sql.push_str(&format!(" AND ctid OPERATOR(pg_catalog.<) '({end},0)'"));
        }
        sql.push_str(") TO STDOUT WITH (FORMAT text, ENCODING 'UTF8')");
        Some(sql)
    }
}

impl<'c> Readers<'c> {
    /// Opens `count` connections of the same sort as `conn`, which has a transaction until this is
    /// dropped: its own, or one that is open already.
    ///
    /// # Errors
    /// [`Error::Parallel`]; PostgreSQL's, as when it has no room for more connections.
    pub(super) fn open(conn: &'c Conn, table: &PgTable, count: usize) -> Result<Readers<'c>> {
        let refuse = |why| Error::Parallel { name: table.quoted().to_owned(), why };
        if conn.server_version() < SERVER_MIN {
            return Err(refuse("needs PostgreSQL 14 or newer"));
        }
        let name = table.quoted();
        look(conn, table)?;
        let ours = conn.transaction_status() == TransactionStatus::Idle;
        let transaction = Transaction { conn, ours };
        if ours {
            conn.query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
        }
        // Before the snapshot: what it waits for is done then.
        conn.query(&format!("LOCK TABLE {name} IN ACCESS SHARE MODE"))?;
        let written = "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL";
        if conn.query(written)?.text(0, 0).as_deref() == Some("t") {
            return Err(refuse(
                "cannot see what the open transaction of this connection has written",
            ));
        }
        let snapshot = conn.query("SELECT pg_catalog.pg_export_snapshot()")?;
        let snapshot = conn.escape_literal(&snapshot.text(0, 0).unwrap_or_default())?;
        // Once more, of what cannot change any more.
        let pages = look(conn, table)?;
        let select = format!("SELECT * FROM {name}");
        let description = conn.describe(&select)?;
        let conns = connect(conn, name, &snapshot, count)?;
        // Had it died before the others had the lock, the table might be another one by now.
        conn.query("SELECT 1")?;
        let wanted = (count as u64).saturating_mul(PARALLEL_RANGES_EACH);
        let pages_each = pages.div_ceil(wanted.max(1)).max(PARALLEL_RANGE_PAGES);
        let count = pages.div_ceil(pages_each).max(1);
        let ranges = Arc::new(Ranges { select, pages_each, count, next: AtomicU64::new(0) });
        Ok(Readers { conns, ranges, description, _transaction: transaction })
    }

    /// What makes the reader of each connection, on the thread that it is called on.
    pub(super) fn makers<'r>(
        &'r mut self,
        converter: &LineConverter,
    ) -> Vec<impl FnOnce() -> Result<RangeRows<'r>> + Send + use<'r>> {
        let ranges = &self.ranges;
        let make = |conn: &'r mut Conn| {
            let (ranges, converter) = (Arc::clone(ranges), converter.clone());
            move || Ok(RangeRows { conn, ranges, current: None, lines: 0, converter })
        };
        self.conns.iter_mut().map(make).collect()
    }
}

/// Looks at the table that the name means now: its pages ([`check`]).
fn look(conn: &Conn, table: &PgTable) -> Result<u64> {
    let refuse = |why| Error::Parallel { name: table.quoted().to_owned(), why };
    let named = conn.query_params(NAMED, &[Some(table.quoted().as_bytes())])?;
    if named.text(0, 1).as_deref() == Some("t") {
        return Err(refuse(
            "cannot read a table whose row security holds for this role: each connection would \
             see the rows that its own settings let it see",
        ));
    }
    let oid = named.text(0, 0).unwrap_or_default();
    let kinds = guarded(conn, |conn| conn.query_params(KINDS, &[Some(oid.as_bytes())]))?;
    check(&kinds).map_err(refuse)
}

/// The pages of the largest of the tables; or why they cannot be read in ranges of pages.
fn check(kinds: &PgResult) -> std::result::Result<u64, &'static str> {
    let mut pages = 0;
    for row in 0..kinds.ntuples() {
        let text = |column| kinds.text(row, column).unwrap_or_default();
        match (text(0).as_str(), text(1).as_str(), text(2).as_str()) {
            ("v", ..) => return Err("reads tables only, not views"),
            ("r" | "p", "t", _) => return Err("cannot read a temporary table"),
            ("r" | "p", _, "heap") => {}
            _ => return Err("reads PostgreSQL's own tables only"),
        }
        pages = pages.max(text(3).parse().unwrap_or(0));
    }
    Ok(pages)
}

/// Connections with the settings of `conn`, in transactions with the snapshot.
fn connect(conn: &Conn, table: &str, snapshot: &str, count: usize) -> Result<Vec<Conn>> {
    let settings = conn.query_params(SETTINGS, &[Some(conn.user().as_bytes())])?.text(0, 0);
    let conninfo = conn.conninfo();
    let mut conns = Vec::with_capacity(count);
    for _ in 0..count {
        let other = Conn::connect(&conninfo)?;
        other.query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
        other.query(&format!("SET TRANSACTION SNAPSHOT {snapshot}"))?;
        // Of this transaction alone: a pool may give the server to somebody else afterwards.
        if let Some(settings) = &settings {
            other.query(&format!("SELECT {settings}"))?;
        }
        // NOTE: behind somebody who waits for the caller's lock this one would wait for ever.
        other.query(&format!("LOCK TABLE {table} IN ACCESS SHARE MODE NOWAIT"))?;
        conns.push(other);
    }
    Ok(conns)
}

/// Rows of range after range.
pub(super) struct RangeRows<'r> {
    conn: &'r Conn,
    ranges: Arc<Ranges>,
    current: Option<CopyLines<'r>>,
    /// Lines of the ranges before.
    lines: u64,
    converter: LineConverter,
}

impl Reader for RangeRows<'_> {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool> {
        loop {
            if let Some(current) = &mut self.current {
                if current.fill(batch, &mut self.converter)? {
                    return Ok(true);
                }
                self.lines = current.lines();
                self.current = None;
                if !batch.is_empty() {
                    return Ok(true);
                }
            }
            let Some(sql) = self.ranges.next() else { return Ok(false) };
            self.current = Some(CopyLines::new(self.conn.copy_out(&sql)?, self.lines));
        }
    }

    fn convert(&mut self, batch: &mut Batch) -> Result<()> {
        self.converter.convert(batch)
    }
}
