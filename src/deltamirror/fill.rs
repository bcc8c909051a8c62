//! The PostgreSQL side of a copy: one session, one snapshot for all tables.
//!
//! Why a transaction that wrote to a table before the table came into the publication must end
//! first: its changes are decoded with the publication of their time, and so never come through the
//! stream, while a snapshot taken before its end does not see them either. So the copy waits for
//! those who hold a writer's lock on the tables, looked at after the publication was read.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deltaflood::Lsn;

use super::snapshot::{BARRIER_PREFIX, Barrier, Snapshot};
use super::source::StreamSource;
use super::state::StreamState;
use super::{Error, Progress};
use crate::deltastream::catalog::{answer, question};
use crate::libpq::{Conninfo, Guarded, system_id};
use crate::limits;
use crate::pg_sqlite::pieces::{self, Piece};
use crate::pg_sqlite::{self, Columns, Import, Source, Target};
use crate::schema::catalog::{self, Selection};
use crate::schema::ddl;
use crate::schema::publication::{self, Published};
use crate::schema::value::Kind;
use crate::schema::{self, Generated, Partition, Table, TableName};
use crate::sqlite::{Db, quote_identifier};

/// Locks that writers hold until their transaction ends. One that is prepared is known by the lock
/// on its id: its virtual id has the number that it had in its session, which others may have, too.
const WRITERS: &str = "SELECT DISTINCT l.virtualtransaction, COALESCE( \
      'process ' OPERATOR(pg_catalog.||) l.pid::pg_catalog.text, \
      'prepared transaction ' OPERATOR(pg_catalog.||) (SELECT pg_catalog.string_agg( \
        pg_catalog.quote_literal(p.gid), ', ' ORDER BY p.gid) \
        FROM pg_catalog.pg_locks x JOIN pg_catalog.pg_prepared_xacts p \
        ON p.transaction OPERATOR(pg_catalog.=) x.transactionid \
        WHERE x.locktype = 'transactionid' AND x.pid IS NULL \
          AND x.virtualtransaction OPERATOR(pg_catalog.=) l.virtualtransaction), \
      'a prepared transaction') \
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database \
    WHERE l.locktype = 'relation' AND d.datname = pg_catalog.current_database() AND l.granted \
      AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
      AND l.relation IN (SELECT t.relid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS o(id), \
        LATERAL (SELECT o.id UNION SELECT p.relid FROM pg_catalog.pg_partition_tree(o.id) p) \
        AS t(relid)) \
      AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', \
        'AccessExclusiveLock')";

/// Transactions in progress; one that is prepared counts from then on.
const BEGUN: &str = "SELECT backend_xid::pg_catalog.text, \
      pg_catalog.floor(EXTRACT(epoch FROM xact_start))::pg_catalog.int8 \
      FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND xact_start IS NOT NULL \
    UNION ALL SELECT transaction::pg_catalog.text, \
      pg_catalog.floor(EXTRACT(epoch FROM prepared))::pg_catalog.int8 \
      FROM pg_catalog.pg_prepared_xacts";

/// Longest pause between two looks at the writers.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A session that copies.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) conn: Guarded<'static>,
    publication: Option<String>,
    selection: Option<Vec<String>>,
}

impl Session {
    /// Connects, and makes sure that this is the server and database that the stream comes from.
    ///
    /// # Errors
    /// [`Error::OtherServer`], [`Error::NoPublication`], [`Error::Postgres`].
    pub(super) fn open(conninfo: &Conninfo, source: &StreamSource) -> Result<Session, Error> {
        let (conn, system_id, database) = connect(conninfo)?;
        source.check("system", &source.system_id(), &system_id)?;
        source.check("database", &source.database(), &database)?;
        let publication = source.publication();
        if let Some(publication) = &publication
            && !publication::exists(&conn, publication)?
        {
            return Err(Error::NoPublication { publication: publication.clone() });
        }
        Ok(Session { conn, publication, selection: source.selection() })
    }

    /// As [`Session::open`], for the stream that a mirror names, be it readable from here or not.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub(super) fn open_for(
        conninfo: &Conninfo,
        source: Option<&StreamSource>,
        stream: &StreamState,
    ) -> Result<Session, Error> {
        if let Some(source) = source {
            source.check_same_stream(stream)?;
            return Session::open(conninfo, source);
        }
        let (conn, system_id, database) = connect(conninfo)?;
        for (what, wanted, got) in
            [("system", &stream.system_id, system_id), ("database", &stream.database, database)]
        {
            if !wanted.is_empty() && *wanted != got {
                let (stream, wanted) = (stream.stream.clone(), wanted.clone());
                return Err(Error::OtherServer { stream, what, wanted, got });
            }
        }
        Ok(Session { conn, publication: None, selection: None })
    }

    /// Whether it is known what the stream sends, from its own state.
    pub(super) fn knows_stream(&self) -> bool {
        self.publication.is_some() || self.selection.is_some()
    }

    /// Transactions that are in progress now, and when they began, in seconds since the Unix epoch:
    /// those that this role may see (all, for a member of `pg_monitor`). One that waits for a
    /// synchronous standby is among them, though its commit is in the stream.
    ///
    /// # Errors
    /// [`Error::Postgres`].
    pub(super) fn begun(&self) -> Result<Vec<(u32, i64)>, Error> {
        let result = self.conn.query(BEGUN)?;
        let number = |row, column| result.text(row, column).and_then(|text| text.parse().ok());
        let pair = |row| Some((u32::try_from(number(row, 0)?).ok()?, number(row, 1)?));
        Ok((0..result.ntuples()).filter_map(pair).collect())
    }

    /// Writes a message into the WAL, and so into the stream; its transaction ends beyond the LSN
    /// returned.
    ///
    /// # Errors
    /// [`Error::Postgres`].
    pub(super) fn barrier(conninfo: &Conninfo) -> Result<Lsn, Error> {
        let (conn, _, _) = connect(conninfo)?;
        let sql = "SELECT pg_catalog.pg_logical_emit_message(true, 'deltamirror', 'compare')";
        let lsn = conn.query(sql)?.text(0, 0).unwrap_or_default();
        lsn.parse().map_err(|_| Error::Defect { what: format!("LSN {lsn}") })
    }

    /// Writes what the stream has to bring before a copy counts, and waits for the server's disk:
    /// what the snapshot shows is then not lost by a crash. `None` where the stream has no messages
    /// (pgoutput before PostgreSQL 14), or does not tell where it comes from.
    ///
    /// # Errors
    /// [`Error::Postgres`].
    pub(super) fn prove(
        conninfo: &Conninfo,
        source: &StreamSource,
    ) -> Result<Option<Barrier>, Error> {
        let (conn, _, _) = connect(conninfo)?;
        let token = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        // One message, and so one transaction, whose end waits for the disk.
        conn.query(&format!(
            "SET LOCAL synchronous_commit = local; \
             SELECT pg_catalog.pg_logical_emit_message(true, '{BARRIER_PREFIX}', '{token}')"
        ))?;
        let lsn = conn.query("SELECT pg_catalog.pg_current_wal_insert_lsn()")?;
        let lsn = lsn.text(0, 0).unwrap_or_default();
        let lsn = lsn.parse().map_err(|_| Error::Defect { what: format!("LSN {lsn}") })?;
        let brings = source.brings_messages(conn.server_version());
        Ok(brings.then_some(Barrier { token, lsn }))
    }

    /// The tables the user means (all that are published when none is named), as the stream sends
    /// them.
    ///
    /// # Errors
    /// [`Error::NotPublished`], [`Error::PartsPublished`], [`Error::KeyNotSent`],
    /// [`Error::NoTables`], [`Error::Schema`].
    pub(super) fn tables(&self, names: &[String]) -> Result<Vec<Published>, Error> {
        let mut tables = self.sent(names)?;
        tables.iter().try_for_each(|published| check_key(&published.table))?;
        self.describe(&mut tables)?;
        Ok(tables)
    }

    fn sent(&self, names: &[String]) -> Result<Vec<Published>, Error> {
        let Some(publication) = &self.publication else { return self.selected(names) };
        let published = publication::tables(&self.conn, publication)?;
        if published.is_empty() {
            return Err(Error::NoTables { publication: publication.clone() });
        }
        if names.is_empty() {
            return Ok(published);
        }
        let wanted = catalog::read(&self.conn, Selection::Named(names))?;
        // Publications do not list them.
        if let Some(table) = wanted.iter().find(|table| table.columns.is_empty()) {
            return Err(schema::Error::NoColumns { table: table.name.to_string() }.into());
        }
        let wanted: Vec<TableName> = wanted.into_iter().map(|table| table.name).collect();
        for name in &wanted {
            if !published.iter().any(|p| p.table.name == *name) {
                let (table, publication) = (name.to_string(), publication.clone());
                let of = Partition::Of(name.clone());
                if let Some(part) = published.iter().find(|p| p.table.partition == of) {
                    let part = part.table.name.to_string();
                    return Err(Error::PartsPublished { table, part, publication });
                }
                return Err(Error::NotPublished { table, publication });
            }
        }
        Ok(published.into_iter().filter(|p| wanted.contains(&p.table.name)).collect())
    }

    /// As [`Session::tables`], where no publication says what the stream has.
    fn selected(&self, names: &[String]) -> Result<Vec<Published>, Error> {
        let all = Selection::AllExcept("pgsqlite");
        let mut tables = match &self.selection {
            None if names.is_empty() => catalog::read(&self.conn, all)?,
            None => catalog::read(&self.conn, Selection::Named(names))?,
            Some(sent) if sent.is_empty() => self.in_one_piece(catalog::read(&self.conn, all)?)?,
            // One that was dropped since is sent no more.
            Some(sent) if names.is_empty() => {
                catalog::read(&self.conn, Selection::Named(&self.there(sent)?))?
            }
            Some(sent) => catalog::read(&self.conn, Selection::Named(sent))?,
        };
        if self.selection.is_some() && !names.is_empty() {
            let wanted = catalog::read(&self.conn, Selection::Named(names))?;
            if let Some(table) = wanted.iter().find(|w| tables.iter().all(|t| t.name != w.name)) {
                return Err(Error::NotSelected { table: table.name.to_string() });
            }
            tables = wanted;
        }
        for table in &mut tables {
            // The plugin's lines are those of pgoutput, which leaves them out.
            table.columns.retain(|column| column.generated == Generated::No);
        }
        Ok(tables.into_iter().map(bare).collect())
    }

    /// Those of these names, quoted and with their schemas, that are tables.
    fn there(&self, names: &[String]) -> Result<Vec<String>, Error> {
        let mut there = Vec::with_capacity(names.len());
        for name in names {
            let quoted = self.conn.escape_literal(name)?;
            let sql = format!("SELECT 1 WHERE pg_catalog.to_regclass({quoted}) IS NOT NULL");
            if self.conn.query(&sql)?.ntuples() > 0 {
                there.push(name.clone());
            }
        }
        Ok(there)
    }

    /// The tables under whose names changes come: not the parts of a partitioned table, whose
    /// changes come under its own, nor those that write no WAL.
    fn in_one_piece(&self, mut tables: Vec<Table>) -> Result<Vec<Table>, Error> {
        let sql = "SELECT oid FROM pg_catalog.pg_class \
                   WHERE relkind IN ('r', 'p') AND (relispartition OR relpersistence <> 'p')";
        let others = self.conn.query(sql)?;
        let others: Vec<String> =
            (0..others.ntuples()).filter_map(|row| others.text(row, 0)).collect();
        tables.retain(|table| !others.contains(&table.oid.to_string()));
        Ok(tables)
    }

    /// Has each of the tables know what a `schema` line would tell of it now.
    ///
    /// # Errors
    /// [`Error::Postgres`].
    fn describe(&self, tables: &mut [Published]) -> Result<(), Error> {
        let oids: Vec<u32> = tables.iter().map(|published| published.table.oid).collect();
        let publication = self.publication.as_deref().map(|name| self.conn.escape_literal(name));
        let publication = publication.transpose()?;
        let sql = question(&oids, publication.as_deref(), None, self.conn.server_version());
        for described in answer(&self.conn.query(&sql)?)? {
            let found = tables.iter_mut().find(|published| published.table.oid == described.oid);
            let Some(published) = found else { continue };
            let ours = published.table.columns.iter().map(|column| (&column.name, column.number));
            let numbers = described.details.attnums.iter().map(|number| i32::from(*number));
            let same = ours.eq(described.columns.iter().map(|column| &column.name).zip(numbers));
            published.details = same.then_some(described.details);
        }
        Ok(())
    }

    /// Waits until every transaction that wrote to these tables before now has ended.
    ///
    /// # Errors
    /// [`Error::Writers`] when the time is over, [`Error::Stopped`].
    pub(super) fn wait_for_writers(
        &self,
        tables: &[Published],
        budget: Duration,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<(), Error> {
        let oids: Vec<String> = tables.iter().map(|p| p.table.oid.to_string()).collect();
        let oids = format!("{{{}}}", oids.join(","));
        let mut waiting = self.writers(&oids)?;
        let started = Instant::now();
        let mut pause = Duration::from_millis(5);
        while !waiting.is_empty() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let waited = started.elapsed();
            if waited >= budget {
                let holders: Vec<&str> = waiting.iter().map(|w| w.1.as_str()).collect();
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                return Err(Error::Writers { waited_ms, holders: holders.join(", ") });
            }
            progress(&Progress::WaitingForWriters { transactions: waiting.len() });
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
            let now = self.writers(&oids)?;
            waiting.retain(|writer| now.contains(writer));
        }
        Ok(())
    }

    /// Those who write to the tables: their virtual transaction ids, and what a person knows them
    /// by, a process or the name of a prepared transaction.
    fn writers(&self, oids: &str) -> Result<Vec<(String, String)>, Error> {
        let result = self.conn.query_params(WRITERS, &[Some(oids.as_bytes())])?;
        let text = |row, column| result.text(row, column).unwrap_or_default();
        Ok((0..result.ntuples()).map(|row| (text(row, 0), text(row, 1))).collect())
    }

    /// How large a table is on the server, its parts and long values included, in bytes.
    ///
    /// # Errors
    /// [`Error::Postgres`].
    pub(super) fn bytes(&self, table: &Table) -> Result<u64, Error> {
        let sql = "SELECT pg_catalog.sum(pg_catalog.pg_table_size(relid))::pg_catalog.int8 FROM ( \
              SELECT $1::pg_catalog.oid::pg_catalog.regclass AS relid \
              UNION SELECT relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid)) part";
        let result = self.conn.query_params(sql, &[Some(table.oid.to_string().as_bytes())])?;
        Ok(result.text(0, 0).and_then(|bytes| bytes.parse().ok()).unwrap_or(0))
    }

    /// Begins the transaction, keeps the definitions of the tables still, and takes the snapshot.
    /// The locks come first: what they wait for is done when the snapshot is taken, and a snapshot
    /// does not protect against TRUNCATE and ALTER TABLE. They are waited for at most
    /// [`limits::MIRROR_LOCK_MS`], since whoever comes after us in the queue waits as well.
    ///
    /// # Errors
    /// [`Error::Standby`], [`Error::Postgres`].
    pub(super) fn snapshot(&self, tables: &[Published]) -> Result<Snapshot, Error> {
        self.conn.begin("ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
        self.conn.query(&format!("SET LOCAL lock_timeout = {}", limits::MIRROR_LOCK_MS))?;
        for published in tables {
            let only = only(published);
            let name = self.quoted(&published.table.name)?;
            self.conn.query(&format!("LOCK TABLE {only}{name} IN ACCESS SHARE MODE"))?;
        }
        Snapshot::take(&self.conn)
    }

    /// Copies a table into one of SQLite that is there, in the caller's transaction; tells
    /// `progress` the number of rows from time to time.
    ///
    /// # Errors
    /// [`Error::Copy`], [`Error::Stopped`].
    pub(super) fn copy(
        &mut self,
        db: &Db,
        published: &Published,
        into: (&str, &str),
        stop: &AtomicBool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, Error> {
        let sql = self.copy_sql(published)?;
        let columns = columns(&published.table);
        let target =
            pg_sqlite::TableName { schema: Some(into.0.to_owned()), table: into.1.to_owned() };
        let columns = Columns::Given(columns);
        let mut import = Import::new(Target::Into(target), columns);
        let mut report = |rows| {
            progress(rows);
            !stop.load(Ordering::Relaxed)
        };
        import.progress_every = limits::MIRROR_PROGRESS_ROWS;
        import.progress = Some(&mut report);
        let lent = || Error::Defect { what: "a copy over a connection that is lent".to_owned() };
        let conn = self.conn.conn_mut().ok_or_else(lent)?;
        match import.run(db, Source::Copy { conn, sql: &sql }) {
            Ok(imported) => Ok(imported.rows),
            Err(pg_sqlite::Error::Stopped { .. }) => Err(Error::Stopped),
            Err(source) => Err(Error::Copy { table: into.1.to_owned(), source }),
        }
    }

    /// Copies a table to the one who takes its rows, piece by piece, as long as `give` wants more;
    /// false when it did not. `limit` is the longest value that is taken, in bytes.
    ///
    /// # Errors
    /// [`Error::Copy`].
    pub(super) fn read(
        &self,
        published: &Published,
        limit: u64,
        give: &mut dyn FnMut(Piece) -> bool,
    ) -> Result<bool, Error> {
        let sql = self.copy_sql(published)?;
        pieces::read(&self.conn, &sql, &columns(&published.table), limit, give).map_err(|source| {
            Error::Copy { table: ddl::sqlite_name(&published.table.name), source }
        })
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// [`Error::Postgres`].
    pub(super) fn end(&self) -> Result<(), Error> {
        Ok(self.conn.commit()?)
    }

    /// The COPY statement that gives what the stream's changes go on from.
    ///
    /// # Errors
    /// [`Error::Postgres`] for a name that this connection cannot quote.
    fn copy_sql(&self, published: &Published) -> Result<String, Error> {
        let name = self.quoted(&published.table.name)?;
        let mut columns = Vec::with_capacity(published.table.columns.len());
        for column in &published.table.columns {
            columns.push(self.conn.escape_identifier(&column.name)?);
        }
        let columns = columns.join(", ");
        let only = only(published);
        // COPY of a table takes no generated columns, which 18 can publish.
        let plain = published.table.columns.iter().all(|c| c.generated == Generated::No);
        Ok(match (&published.row_filter, only) {
            (None, "ONLY ") if plain => format!("COPY {name} ({columns}) TO STDOUT"),
            (None, _) => format!("COPY (SELECT {columns} FROM {only}{name}) TO STDOUT"),
            (Some(filter), _) => {
                format!("COPY (SELECT {columns} FROM {only}{name} WHERE {filter}) TO STDOUT")
            }
        })
    }

    fn quoted(&self, name: &TableName) -> Result<String, Error> {
        let schema = self.conn.escape_identifier(&name.schema)?;
        Ok(format!("{schema}.{}", self.conn.escape_identifier(&name.table)?))
    }
}

/// A name as [`TableName::parse`] reads it back.
pub(super) fn quoted_name(name: &TableName) -> String {
    format!("{}.{}", quote_identifier(&name.schema), quote_identifier(&name.table))
}

/// A connection that prints values as the stream does, the system's identifier, the database.
fn connect(conninfo: &Conninfo) -> Result<(Guarded<'static>, String, String), Error> {
    let mut conninfo = conninfo.clone();
    conninfo.set_default("application_name", "deltamirror");
    let conn = Guarded::connect(&conninfo)?;
    let result = conn.query(
        "SELECT system_identifier, pg_catalog.current_database() \
         FROM pg_catalog.pg_control_system()",
    )?;
    let text = |column| result.text(0, column).unwrap_or_default();
    let odd = || Error::Defect { what: format!("system identifier {}", text(0)) };
    let system = system_id(&text(0)).ok_or_else(odd)?;
    let database = text(1);
    Ok((conn, system.to_string(), database))
}

/// A table that is sent whole.
fn bare(table: Table) -> Published {
    Published { table, row_filter: None, details: None }
}

/// The columns of a copy.
pub(super) fn columns(table: &Table) -> Vec<pg_sqlite::Column> {
    let column = |column: &schema::Column| {
        pg_sqlite::Column::new(column.name.clone(), Kind::from_oid(column.base_oid))
    };
    table.columns.iter().map(column).collect()
}

/// Refuses a table whose old rows the stream names by columns that it does not send.
fn check_key(table: &Table) -> Result<(), Error> {
    let mut key = table.identity_columns();
    key.retain(|name| table.column(name).is_none());
    match key.is_empty() {
        true => Ok(()),
        false => Err(Error::KeyNotSent { table: table.name.to_string(), columns: key.join(", ") }),
    }
}

/// A table's children by inheritance are tables of their own; the parts of a partitioned table that
/// is published as itself are not.
fn only(published: &Published) -> &'static str {
    match published.table.partition {
        Partition::Parent(_) => "",
        Partition::None | Partition::Of(_) => "ONLY ",
    }
}
