//! What the mirror keeps in the SQLite file, beside the data and in the same transactions.
//!
//! ```text
//! _deltamirror_meta     the version of these tables
//! _deltamirror_stream   one row: the stream, how far it is applied, whose rows these are
//! _deltamirror_table    one row per table: where it comes from, its definition, its snapshot
//! _deltamirror_wanted   tables that are wanted and not filled yet
//! _deltamirror_beat     the last heartbeat that was noted; one row, or no table
//! _deltamirror_work     what the last follower said of itself; one row, or no table
//! _deltamirror_error    rows that could not be applied (only with -on_error keep)
//! _deltamirror_suspended  tables that stand still (only with -on_error suspend), and where
//! _deltamirror_gone     tables that are in the stream no more
//! _deltamirror_removed  tables that were taken out: a fill of all tables leaves them out
//! _deltamirror_paused   a row while nothing is to be applied
//! _deltamirror_request  what other processes wait for
//! _deltamirror_indexes  which of the source's indexes a table is to have
//! _deltamirror_reload   tables that are to be copied again, or added
//! _deltamirror_moving   the stream to which the mirror goes over; there until all tables are of it
//! _deltamirror_filling  the journal that the file had; there until the first fill is over
//! ```
//! These tables are a format (`doc/deltamirror.n`) with versions ([`super::format`]). LSNs are text
//! in PostgreSQL's form, lists are those of the change line.

use deltaflood::{Lsn, list};

use super::definition::Definition;
use super::heart::Passed;
use super::snapshot::{Barrier, Snapshot};
use super::{Error, Policy, format};
use crate::daystream::heartbeat::Beat;
use crate::daystream::{Mark, Position, Transaction};
use crate::schema::TableName;
use crate::sqlite::{Db, Stmt, Value};

/// The row of `_deltamirror_stream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// Folder or URL of the stream.
    pub stream: String,
    /// When the stream was made ([`Identity::made`]); 0 when it did not tell.
    ///
    /// [`Identity::made`]: crate::daystream::Identity::made
    pub made: u64,
    /// Identifier of the PostgreSQL system; empty when the stream does not tell.
    pub system_id: String,
    /// Its database; empty when the stream does not tell.
    pub database: String,
    /// Everything up to and including this position is applied.
    pub position: Position,
    /// End of the last applied commit record; 0/0 before the first.
    pub lsn: Lsn,
    /// The stream's chain behind that transaction; `None` when it is not known, as in a file of an
    /// earlier format.
    pub chain: Option<u32>,
    /// Commit time of the last applied transaction, microseconds since the Unix epoch.
    pub commit_time: i64,
    /// Transactions applied since the mirror was made.
    pub transactions: i64,
    /// Row changes applied since the mirror was made.
    pub changes: i64,
    /// Raised whenever tables were added or filled anew, so that a follower looks again.
    pub generation: i64,
}

impl StreamState {
    /// Where the stream is read on.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let lsn = Some(self.lsn).filter(|lsn| lsn.0 > 0);
        Mark { position: self.position, lsn, chain: self.chain }
    }

    /// Whether the transaction is applied: by its LSN, since a stream whose machine went down may
    /// have got it again at another position; by its position where there is no LSN.
    pub(super) fn has(&self, transaction: &Transaction) -> bool {
        match transaction.lsn {
            Some(lsn) => lsn <= self.lsn,
            None => transaction.last <= self.position,
        }
    }

    /// Whether all that the mirror has comes up to `mark`: by LSN where both are known.
    pub(super) fn is_up_to(&self, mark: Mark) -> bool {
        match mark.lsn {
            Some(lsn) if self.lsn.0 > 0 => self.lsn <= lsn,
            _ => self.position <= mark.position,
        }
    }

    /// The mirror has what comes up to `mark`.
    pub(super) fn move_to(&mut self, mark: Mark) {
        self.position = mark.position;
        self.lsn = mark.lsn.unwrap_or(Lsn(0));
        self.chain = mark.chain;
    }
}

/// How far a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableStatus {
    /// Copied; transactions that its snapshot holds are still to be left out.
    Ready,
    /// The stream has passed the snapshot.
    Live,
}

/// A row of `_deltamirror_table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// Name in SQLite.
    pub name: String,
    /// Name in PostgreSQL.
    pub source: TableName,
    /// How far it is.
    pub status: TableStatus,
    /// What it was made from, with the identity that the stream uses now.
    pub definition: Definition,
    /// Object id of the base type of each column, in the order of the definition.
    pub base_types: Vec<u32>,
    /// Columns of the primary key in SQLite; empty without one.
    pub primary_key: Vec<String>,
    /// The publication's row filter at the time of the copy.
    pub row_filter: Option<String>,
    /// What the copy holds.
    pub snapshot: Snapshot,
    /// Rows copied.
    pub rows: i64,
    /// What it does when its source is altered.
    pub policy: Policy,
    /// Columns that its source has no more, and that stay in the file since an index, a view or a
    /// trigger of the user's names them; nothing is in them.
    pub kept: Vec<String>,
}

/// The mirror's stream; `None` when there is no mirror.
///
/// # Errors
/// [`Error::Format`], [`Error::State`], [`Error::Sqlite`].
pub fn stream(db: &Db) -> Result<Option<StreamState>, Error> {
    let Some(version) = format::version(db)? else { return Ok(None) };
    let made = if version < 1 { "0" } else { "made" };
    let chain = match version {
        0 | 1 => "NULL",
        _ => "CASE WHEN chain_clock = clock AND chain_seq = seq THEN chain END",
    };
    let mut stmt = db.prepare(&format!(
        "SELECT stream, system_id, database, clock, seq, lsn, commit_time, transactions, \
         changes, generation, {made}, {chain} FROM main._deltamirror_stream"
    ))?;
    if !stmt.step()? {
        return Ok(None);
    }
    Ok(Some(StreamState {
        stream: text(&stmt, 0)?,
        system_id: text(&stmt, 1)?,
        database: text(&stmt, 2)?,
        position: Position { clock: int(&stmt, 3)?, seq: unsigned(&stmt, 4)? },
        lsn: lsn(&text(&stmt, 5)?)?,
        commit_time: int(&stmt, 6)?,
        transactions: int(&stmt, 7)?,
        changes: int(&stmt, 8)?,
        generation: int(&stmt, 9)?,
        made: unsigned(&stmt, 10)?,
        chain: stmt.column(11).as_int().and_then(|chain| u32::try_from(chain).ok()),
    }))
}

/// Writes the row of the stream, in place of any before.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn write_stream(db: &Db, state: &StreamState) -> Result<(), Error> {
    db.exec("DELETE FROM main._deltamirror_stream")?;
    db.execute(
        "INSERT INTO main._deltamirror_stream (stream, system_id, database, clock, seq, lsn, \
         commit_time, transactions, changes, generation, made, chain, chain_clock, chain_seq) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?4,?5)",
        &[
            state.stream.as_str().into(),
            state.system_id.as_str().into(),
            state.database.as_str().into(),
            state.position.clock.into(),
            Value::Int(state.position.seq as i64),
            state.lsn.to_string().as_str().into(),
            state.commit_time.into(),
            state.transactions.into(),
            state.changes.into(),
            state.generation.into(),
            Value::Int(state.made as i64),
            chain_value(state.chain),
        ],
    )?;
    Ok(())
}

/// A chain as it is stored.
pub(super) fn chain_value(chain: Option<u32>) -> Value<'static> {
    chain.map_or(Value::Null, |chain| Value::Int(chain.into()))
}

/// Raises the generation: the set of tables, or what is in them, is another one.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn raise_generation(db: &Db) -> Result<(), Error> {
    Ok(db.exec("UPDATE main._deltamirror_stream SET generation = generation + 1")?)
}

/// The tables, by name.
///
/// # Errors
/// [`Error::State`], [`Error::Sqlite`].
pub fn tables(db: &Db) -> Result<Vec<TableState>, Error> {
    let version = format::version(db)?;
    let barrier = if version < Some(3) { "NULL" } else { "barrier" };
    let altered = if version < Some(6) { "'follow', ''" } else { "ddl, kept" };
    let mut stmt = db.prepare(&format!(
        "SELECT name, source_schema, source_table, state, definition, base_types, primary_key, \
         row_filter, xmin, xmax, xip, lsn, taken_at, rows, {barrier}, {altered} \
         FROM main._deltamirror_table ORDER BY name"
    ))?;
    let mut tables = Vec::new();
    while stmt.step()? {
        tables.push(table(&stmt)?);
    }
    Ok(tables)
}

fn table(stmt: &Stmt<'_>) -> Result<TableState, Error> {
    let name = text(stmt, 0)?;
    let odd = |what: &str| Error::State { what: format!("{what} of table {name}") };
    let status = match text(stmt, 3)?.as_str() {
        "ready" => TableStatus::Ready,
        "live" => TableStatus::Live,
        _ => return Err(odd("state")),
    };
    let definition = text(stmt, 4)?;
    let definition = Definition::parse(&definition).ok_or_else(|| odd("definition"))?;
    let base_types: Option<Vec<u32>> =
        text(stmt, 5)?.split_whitespace().map(|oid| oid.parse().ok()).collect();
    let base_types = base_types.filter(|types| types.len() == definition.columns.len());
    let snapshot = format!("{}:{}:{}", unsigned(stmt, 8)?, unsigned(stmt, 9)?, text(stmt, 10)?);
    let snapshot = Snapshot::parse(&snapshot, &text(stmt, 11)?, &int(stmt, 12)?.to_string());
    let mut snapshot = snapshot.ok_or_else(|| odd("snapshot"))?;
    if let Some(text) = stmt.column(14).as_str() {
        snapshot.barrier = Some(Barrier::parse(text).ok_or_else(|| odd("barrier"))?);
    }
    Ok(TableState {
        source: TableName::new(text(stmt, 1)?, text(stmt, 2)?),
        status,
        base_types: base_types.ok_or_else(|| odd("base types"))?,
        primary_key: names(&text(stmt, 6)?).ok_or_else(|| odd("primary key"))?,
        row_filter: stmt.column(7).as_str().map(str::to_owned),
        snapshot,
        rows: int(stmt, 13)?,
        policy: Policy::from_word(&text(stmt, 15)?).ok_or_else(|| odd("policy"))?,
        kept: names(&text(stmt, 16)?).ok_or_else(|| odd("kept columns"))?,
        definition,
        name,
    })
}

/// Writes the row of a table, in place of one before, whose counts of changes go on.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn write_table(db: &Db, table: &TableState) -> Result<(), Error> {
    let xip = table.snapshot.xip.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let types = table.base_types.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let key = encoded(&table.primary_key);
    let definition = table.definition.line(&table.source.schema, &table.source.table);
    let status = if table.status == TableStatus::Ready { "ready" } else { "live" };
    let barrier = table.snapshot.barrier.as_ref().map(Barrier::text);
    db.execute(
        "INSERT INTO main._deltamirror_table (name, source_schema, source_table, \
         state, definition, base_types, primary_key, row_filter, xmin, xmax, xip, lsn, taken_at, \
         rows, barrier, ddl, kept) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17) \
         ON CONFLICT (name) DO UPDATE SET source_schema = ?2, source_table = ?3, state = ?4, \
         definition = ?5, base_types = ?6, primary_key = ?7, row_filter = ?8, xmin = ?9, \
         xmax = ?10, xip = ?11, lsn = ?12, taken_at = ?13, rows = ?14, barrier = ?15, ddl = ?16, \
         kept = ?17",
        &[
            table.name.as_str().into(),
            table.source.schema.as_str().into(),
            table.source.table.as_str().into(),
            status.into(),
            definition.as_str().into(),
            types.as_str().into(),
            Value::Text(&key),
            table.row_filter.as_deref().map_or(Value::Null, Value::from),
            Value::Int(table.snapshot.xmin as i64),
            Value::Int(table.snapshot.xmax as i64),
            xip.as_str().into(),
            table.snapshot.lsn.to_string().as_str().into(),
            table.snapshot.taken_at.into(),
            table.rows.into(),
            barrier.as_deref().map_or(Value::Null, Value::from),
            table.policy.word().into(),
            Value::Text(&encoded(&table.kept)),
        ],
    )?;
    Ok(())
}

/// Forgets a table, and what is known of it.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn forget_table(db: &Db, name: &str) -> Result<(), Error> {
    for of in ["table name", "suspended name", "gone name", "error table_name"] {
        let (of, column) = of.split_once(' ').unwrap_or((of, "name"));
        let sql = format!("DELETE FROM main._deltamirror_{of} WHERE {column} = ?1");
        db.execute(&sql, &[name.into()])?;
    }
    Ok(())
}

/// The rows of a table are others now, all of them and up to where the mirror is: what was kept of
/// it as not applied is in them, and it stands still no longer.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn has_new_rows(db: &Db, name: &str) -> Result<(), Error> {
    for sql in [
        "UPDATE main._deltamirror_table SET touched = touched + 1 WHERE name = ?1",
        "DELETE FROM main._deltamirror_suspended WHERE name = ?1",
        "DELETE FROM main._deltamirror_error WHERE table_name = ?1",
    ] {
        db.execute(sql, &[name.into()])?;
    }
    super::gone::copied(db, name)
}

/// A table is live from now on: the stream has passed its snapshot.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn mark_live(db: &Db, name: &str) -> Result<(), Error> {
    let sql = "UPDATE main._deltamirror_table SET state = 'live' WHERE name = ?1";
    db.execute(sql, &[name.into()])?;
    Ok(())
}

/// The stream has brought what the copy of a table waits for.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn forget_barrier(db: &Db, name: &str) -> Result<(), Error> {
    let sql = "UPDATE main._deltamirror_table SET barrier = NULL WHERE name = ?1";
    db.execute(sql, &[name.into()])?;
    Ok(())
}

/// Notes what the stream has made of a table: definition, types, key, columns that stay.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn write_shape(db: &Db, table: &TableState) -> Result<(), Error> {
    let definition = table.definition.line(&table.source.schema, &table.source.table);
    let types = table.base_types.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    db.execute(
        "UPDATE main._deltamirror_table SET definition = ?2, base_types = ?3, primary_key = ?4, \
         kept = ?5 WHERE name = ?1",
        &[
            table.name.as_str().into(),
            definition.as_str().into(),
            types.as_str().into(),
            Value::Text(&encoded(&table.primary_key)),
            Value::Text(&encoded(&table.kept)),
        ],
    )?;
    Ok(())
}

/// A table that was called `old` has the names of `table` now.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn rename_table(db: &Db, old: &str, table: &TableState) -> Result<(), Error> {
    let TableName { schema, table: source } = &table.source;
    // What goes by the name at the source; a reload that goes on begins again.
    for set in ["indexes SET", "reload SET maker = NULL, rows = 0,"] {
        let sql = format!(
            "UPDATE OR REPLACE main._deltamirror_{set} source_schema = ?2, source_table = ?3 \
             WHERE (source_schema, source_table) = (SELECT source_schema, source_table \
             FROM main._deltamirror_table WHERE name = ?1)"
        );
        db.execute(&sql, &[old.into(), schema.as_str().into(), source.as_str().into()])?;
    }
    db.execute(
        "UPDATE main._deltamirror_table SET name = ?2, source_schema = ?3, source_table = ?4 \
         WHERE name = ?1",
        &[old.into(), table.name.as_str().into(), schema.as_str().into(), source.as_str().into()],
    )?;
    for of in ["suspended name", "gone name", "error table_name", "request table_name"] {
        let (of, column) = of.split_once(' ').unwrap_or((of, "name"));
        let sql = format!("UPDATE main._deltamirror_{of} SET {column} = ?2 WHERE {column} = ?1");
        db.execute(&sql, &[old.into(), table.name.as_str().into()])?;
    }
    write_shape(db, table)
}

/// A table does this from now on when its source is altered.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn write_policy(db: &Db, name: &str, policy: Policy) -> Result<(), Error> {
    let sql = "UPDATE main._deltamirror_table SET ddl = ?2 WHERE name = ?1";
    db.execute(sql, &[name.into(), policy.word().into()])?;
    Ok(())
}

const CREATE_BEAT: &str = "CREATE TABLE IF NOT EXISTS main._deltamirror_beat (
  clock INTEGER NOT NULL, seq INTEGER NOT NULL, every_ms INTEGER NOT NULL,
  commit_us INTEGER NOT NULL, received_us INTEGER NOT NULL, offset_us INTEGER NOT NULL,
  applied_us INTEGER NOT NULL)";

/// Notes a heartbeat, in place of the one before.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn write_beat(db: &Db, passed: &Passed) -> Result<(), Error> {
    db.exec(CREATE_BEAT)?;
    db.exec("DELETE FROM main._deltamirror_beat")?;
    let Passed { beat, applied_us } = passed;
    db.execute(
        "INSERT INTO main._deltamirror_beat VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &[
            beat.position.clock.into(),
            Value::Int(beat.position.seq as i64),
            Value::Int(beat.every_ms as i64),
            beat.commit_us.into(),
            beat.received_us.into(),
            beat.offset_us.into(),
            (*applied_us).into(),
        ],
    )?;
    Ok(())
}

/// The heartbeat noted last; `None` where there never was one.
///
/// # Errors
/// [`Error::State`], [`Error::Sqlite`].
pub fn beat(db: &Db) -> Result<Option<Passed>, Error> {
    if !format::has_table(db, "_deltamirror_beat")? {
        return Ok(None);
    }
    let mut stmt = db.prepare(
        "SELECT clock, seq, every_ms, commit_us, received_us, offset_us, applied_us \
         FROM main._deltamirror_beat",
    )?;
    if !stmt.step()? {
        return Ok(None);
    }
    let beat = Beat {
        position: Position { clock: int(&stmt, 0)?, seq: unsigned(&stmt, 1)? },
        every_ms: unsigned(&stmt, 2)?,
        commit_us: int(&stmt, 3)?,
        received_us: int(&stmt, 4)?,
        offset_us: int(&stmt, 5)?,
    };
    Ok(Some(Passed { beat, applied_us: int(&stmt, 6)? }))
}

fn encoded(names: &[String]) -> Vec<u8> {
    list::encode(names.iter().map(String::as_bytes))
}

fn names(text: &str) -> Option<Vec<String>> {
    let names = list::decode(text.as_bytes()).ok()?;
    names.iter().map(|name| std::str::from_utf8(name).ok().map(str::to_owned)).collect()
}

fn lsn(text: &str) -> Result<Lsn, Error> {
    text.parse().map_err(|_| Error::State { what: format!("LSN \"{text}\"") })
}

fn text(stmt: &Stmt<'_>, column: usize) -> Result<String, Error> {
    let value = stmt.column(column).as_str().map(str::to_owned);
    value.ok_or_else(|| Error::State { what: format!("{} is no text", stmt.column_name(column)) })
}

fn int(stmt: &Stmt<'_>, column: usize) -> Result<i64, Error> {
    let value = stmt.column(column).as_int();
    value.ok_or_else(|| Error::State { what: format!("{} is no number", stmt.column_name(column)) })
}

fn unsigned(stmt: &Stmt<'_>, column: usize) -> Result<u64, Error> {
    u64::try_from(int(stmt, column)?)
        .map_err(|_| Error::State { what: format!("{} is negative", stmt.column_name(column)) })
}
