//! The import: options, and how it runs.

use super::check::Changed;
use super::convert::Converter;
use super::feed::{Feed, Progress};
use super::journal::{Primed, without_wal};
use super::lines::LineRows;
use super::parallel::Readers;
use super::pump::{Batches, Here, read_ahead, read_ahead_by};
use super::raw_lines::LineConverter;
use super::source::{CopyRows, ResultRows, Source, StreamRows, first_result, give_up};
use super::{Column, Columns, Error, KeyPart, LineForm, Max, Result, TableName, columns, table};
use crate::libpq::{Conn, PgResult, Status};
use crate::schema::value::Kind;
use crate::sqlite::{Db, InsertError, Reason, RowSource, Value};
use std::sync::atomic::AtomicBool;

/// Where the rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A table to make; it is gone again when the import fails.
    Create(TableName),
    /// A table that is there.
    Into(TableName),
    /// A statement with one parameter for each column, run for each row.
    Statement(String),
}

/// What to import, where to, and how. [`Import::new`] has the defaults.
pub struct Import<'a> {
    /// Where the rows go.
    pub target: Target,
    /// Their columns.
    pub columns: Columns,
    /// The primary key of a table to make; empty for none.
    pub key: Vec<KeyPart>,
    /// Replace rows of the same key.
    pub or_replace: bool,
    /// The text that means NULL, beside NULL itself.
    pub null: Option<Vec<u8>>,
    /// A value that does not fit its type is an error (else it is converted as far as it goes).
    pub strict: bool,
    /// Call [`Import::progress`] every so many rows; 0 for never.
    pub progress_every: u64,
    /// Hears the number of rows so far; `false` stops the import with [`Error::Stopped`]. Runs on
    /// the calling thread, between two rows; it may use the connection, but not end the
    /// transaction.
    pub progress: Option<&'a mut dyn FnMut(u64) -> bool>,
    /// Looked at before each row and before the commit: set, it stops the import with
    /// [`Error::Stopped`].
    pub stop: Option<&'a AtomicBool>,
    /// Leave rows alone that the table holds already with the same values; others of the same key
    /// are replaced. Needs the key.
    pub skip_identical: bool,
    /// The column whose greatest value is wanted.
    pub max_column: Option<String>,
    /// Commit every so many rows, which is refused inside the caller's transaction; `None`: all or
    /// nothing.
    pub commit_every: Option<u64>,
    /// Indexes to make once the rows are in, each by its columns; one that the table has already
    /// stays as it is.
    pub indexes: Vec<Vec<KeyPart>>,
    /// Gather SQLite's statistics of the table (`ANALYZE`) at the end.
    pub analyze: bool,
    /// Lock a database that has a WAL and give it a rollback journal meanwhile, which writes each
    /// page once in place of twice: others get BUSY until the import has ended. `None`: when the
    /// database holds no table yet. In vain, without an error, inside of a transaction, or while
    /// another connection has the database open. A process that is killed in the middle leaves the
    /// database with its rollback journal: the WAL is to be asked for again.
    pub exclusive: Option<bool>,
}

/// What was imported.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Imported {
    /// Rows written.
    pub rows: u64,
    /// Rows left alone, since the table held them already.
    pub identical: u64,
    /// The greatest value of [`Import::max_column`] among all rows; `None` when there is none but
    /// NULL.
    pub max: Option<Max>,
}

/// The outcome of SQLite's side, with the number of the row it was at.
pub(super) fn at_row<B: Batches>(
    db: &Db,
    columns: &[Column],
    feed: &Feed<'_, B>,
    error: InsertError<Error>,
) -> Error {
    let row = feed.rows();
    match error {
        InsertError::Source(error) => error,
        // Before the first row, or after the last one, where foreign keys are looked at.
        InsertError::Sqlite(error) if row == 0 || feed.is_between_rows() => Error::Sqlite(error),
        InsertError::Sqlite(error) if error.reason() == Reason::TooBig => {
            let (column, bytes) = feed.longest();
            Error::TooBig {
                table: String::new(),
                column: columns.get(column).map(|c| c.name.clone()).unwrap_or_default(),
                row,
                bytes: bytes as u64,
                limit: db.length_limit(),
            }
        }
        InsertError::Sqlite(source) => Error::Row { row, source },
    }
}

impl<'a> Import<'a> {
    /// An import with the defaults: strict, all or nothing, no key, nothing means NULL but NULL.
    #[must_use]
    pub fn new(target: Target, columns: Columns) -> Import<'a> {
        Import {
            target,
            columns,
            key: Vec::new(),
            or_replace: false,
            null: None,
            strict: true,
            progress_every: 0,
            progress: None,
            stop: None,
            skip_identical: false,
            max_column: None,
            commit_every: None,
            indexes: Vec::new(),
            analyze: false,
            exclusive: None,
        }
    }

    /// Runs it on the calling thread (the one that `db` belongs to) until all rows are in.
    ///
    /// A connection that was streaming is ready for the next command afterwards, also after a
    /// failure.
    ///
    /// # Errors
    /// See [`Error`]. Nothing of a failed import is left in the database.
    pub fn run(self, db: &Db, source: Source<'_>) -> Result<Imported> {
        let target = match &self.target {
            Target::Create(name) | Target::Into(name) => name.table.clone(),
            Target::Statement(_) => String::new(),
        };
        self.run_from(db, source).map_err(|error| match error {
            Error::TooBig { column, row, bytes, limit, .. } => {
                Error::TooBig { table: target, column, row, bytes, limit }
            }
            other => other,
        })
    }

    fn run_from(mut self, db: &Db, source: Source<'_>) -> Result<Imported> {
        let limit = db.length_limit();
        self.target = match self.target {
            Target::Create(name) => Target::Create(name.to_make()),
            Target::Into(name) => Target::Into(name.found(db)?),
            statement @ Target::Statement(_) => statement,
        };
        match source {
            Source::Result(result) => {
                let result = described(result)?;
                let columns = self.columns.resolve(Some(result))?;
                let converter = self.converter(&columns, limit);
                let reader = ResultRows { result, converter, row: 0 };
                self.write(db, &columns, &mut Here::new(reader))
            }
            Source::StreamHere(conn) => {
                let first = first_result(conn)?;
                let columns = self.columns.resolve(Some(&first));
                let columns = columns.inspect_err(|_| give_up(conn))?;
                let reader = StreamRows::new(conn, first, self.converter(&columns, limit));
                self.write(db, &columns, &mut Here::new(reader))
            }
            Source::Stream(conn) => {
                let first = first_result(conn)?;
                let columns = self.columns.resolve(Some(&first));
                let columns = columns.inspect_err(|_| give_up(conn))?;
                let converter = self.converter(&columns, limit);
                let cancel = conn.cancel_handle().ok();
                let make = move || Ok(StreamRows::new(conn, first, converter));
                read_ahead(make, cancel, None, |ahead| self.write(db, &columns, ahead))
            }
            Source::Parallel { conn, table, readers } => {
                let mut readers = Readers::open(conn, table, readers)?;
                let columns = self.columns.resolve(Some(&readers.description))?;
                let cancels: Vec<_> =
                    readers.conns.iter().map(|c| c.cancel_handle().ok()).collect();
                let converter = LineConverter::new(self.converter(&columns, limit));
                let makers = readers.makers(&converter).into_iter().zip(cancels).collect();
                read_ahead_by(makers, Some(converter), |ahead| self.write(db, &columns, ahead))
            }
            Source::Lines(lines) => {
                let mut columns = match (&self.columns, &self.target) {
                    // One text for each parameter.
                    (Columns::Auto, Target::Statement(sql)) => {
                        let parameters = db.prepare(sql)?.parameter_count();
                        vec![Column::new("", Kind::Text); parameters]
                    }
                    (columns, _) => columns.resolve(None)?,
                };
                if let LineForm::Keys { unknown: Some(name) } = &lines.form
                    && !columns.iter().any(|column| column.name == *name)
                {
                    columns.push(Column::new(name, Kind::Text));
                }
                let converter = Converter::new(columns.clone(), None, self.strict, limit);
                let reader = LineRows::new(lines, self.null.as_deref(), converter)?;
                self.write(db, &columns, &mut Here::new(reader))
            }
            Source::Copy { conn, sql } => {
                let columns = self.columns.resolve(None)?;
                self.run_copy(db, conn, sql, &columns)
            }
            Source::Query { conn, query } => {
                let columns = self.columns.resolve(Some(&conn.describe(query.sql())?))?;
                self.run_copy(db, conn, &query.copy_sql(), &columns)
            }
            Source::QueryHere { conn, query } => {
                let columns = self.columns.resolve(Some(&conn.describe(query.sql())?))?;
                let converter = LineConverter::new(self.converter(&columns, limit));
                let reader = CopyRows::begin(conn, &query.copy_sql(), converter)?;
                self.write(db, &columns, &mut Here::new(reader))
            }
        }
    }

    /// Reads by a COPY on a thread of its own.
    fn run_copy(
        mut self,
        db: &Db,
        conn: &mut Conn,
        sql: &str,
        columns: &[Column],
    ) -> Result<Imported> {
        let converter = LineConverter::new(self.converter(columns, db.length_limit()));
        let cancel = conn.cancel_handle().ok();
        let here = Some(converter.clone());
        let make = move || CopyRows::begin(conn, sql, converter);
        read_ahead(make, cancel, here, |ahead| self.write(db, columns, ahead))
    }

    fn converter(&self, columns: &[Column], length_limit: u64) -> Converter {
        Converter::new(columns.to_vec(), self.null.as_deref(), self.strict, length_limit)
    }

    /// Makes the table where asked, and writes the rows: in one piece, or in parts.
    fn write<B: Batches>(
        &mut self,
        db: &Db,
        columns: &[Column],
        batches: &mut B,
    ) -> Result<Imported> {
        if !matches!(self.target, Target::Statement(_)) {
            columns::differ(columns)?;
        }
        let every = self.progress_every;
        let progress = self.progress.take().map(|call| Progress { every, call });
        let mut batches = Primed::new(batches);
        let without_wal = without_wal(self, db, &mut batches);
        let mut feed = Feed::new(&mut batches, columns.len(), progress);
        feed.set_stop(self.stop);
        feed.set_without_wal(without_wal.as_ref());
        let part = self.commit_every.filter(|rows| *rows > 0);
        if part.is_some() && db.in_transaction() {
            return Err(Error::InTransaction);
        }
        if let Some(name) = &self.max_column {
            let position = columns.iter().position(|column| column.name == *name);
            feed.watch(position.ok_or_else(|| Error::UnknownMax { column: name.clone() })?);
        }
        let mut made = false;
        let mut identical: u64 = 0;
        while !feed.ended() {
            if let Some(rows) = part {
                feed.pause_after(rows);
            }
            let skipped = db.atomically(|| {
                if let (Target::Create(name), false) = (&self.target, made) {
                    table::create(db, name, columns, &self.key)?;
                }
                let skipped = self.insert(db, columns, &mut feed)?;
                if feed.ended() {
                    self.finish(db)?;
                }
                feed.go_on()?;
                Ok::<u64, Error>(skipped)
            })?;
            made = true;
            identical = identical.saturating_add(skipped);
        }
        let (rows, max) = (feed.rows(), feed.max());
        if let Some(without_wal) = without_wal {
            without_wal.finish().map_err(|source| Error::Wal { rows, source })?;
        }
        Ok(Imported { rows: rows.saturating_sub(identical), identical, max })
    }

    /// What is to be done when all rows are in.
    fn finish(&self, db: &Db) -> Result<()> {
        match &self.target {
            Target::Create(table) | Target::Into(table) => {
                for index in &self.indexes {
                    table::index(db, table, index)?;
                }
                if self.analyze {
                    db.exec(&format!("ANALYZE {}", table.quoted()))?;
                }
            }
            Target::Statement(_) => {}
        }
        Ok(())
    }

    /// Inserts what the feed gives; returns the rows left alone.
    fn insert<B: Batches>(
        &self,
        db: &Db,
        columns: &[Column],
        feed: &mut Feed<'_, B>,
    ) -> Result<u64> {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let _cache = match &self.target {
            Target::Create(name) | Target::Into(name) => table::cache(db, name),
            Target::Statement(_) => None,
        };
        match &self.target {
            Target::Create(name) | Target::Into(name) if self.skip_identical => {
                let mut changed = Changed::new(db, name, columns, &self.key, feed)?;
                let inserted = table::insert(name, &names, true).run(db, &mut changed);
                let skipped = changed.skipped();
                drop(changed);
                inserted.map(|_| skipped).map_err(|error| at_row(db, columns, feed, error))
            }
            Target::Create(name) | Target::Into(name) => {
                let inserted = table::insert(name, &names, self.or_replace).run(db, feed);
                inserted.map(|_| 0).map_err(|error| at_row(db, columns, feed, error))
            }
            Target::Statement(sql) => {
                run_for_each_row(db, sql, columns.len(), feed)?;
                Ok(0)
            }
        }
    }
}

/// Runs the caller's statement once for each row.
fn run_for_each_row<B: Batches>(
    db: &Db,
    sql: &str,
    columns: usize,
    feed: &mut Feed<'_, B>,
) -> Result<()> {
    let mut stmt = db.prepare(sql)?;
    if stmt.parameter_count() != columns {
        return Err(Error::ColumnCount { expected: stmt.parameter_count(), found: columns });
    }
    while feed.advance()? {
        let cells: Vec<Value<'_>> = (0..columns).map(|column| feed.value(column)).collect();
        stmt.execute(&cells).map_err(|source| Error::Row { row: feed.rows(), source })?;
    }
    Ok(())
}

/// A result that has rows, possibly none of them.
fn described(result: &PgResult) -> Result<&PgResult> {
    match result.status() {
        Status::TuplesOk | Status::SingleTuple if result.is_binary() => Err(Error::BinaryRows),
        Status::TuplesOk | Status::SingleTuple => Ok(result),
        other => Err(Error::NoRows { status: other.name() }),
    }
}
