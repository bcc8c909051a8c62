//! Rows from a source into a table, by one `INSERT INTO t(...) SELECT * FROM source`.
//!
//! The source is a virtual table that exists for the duration of one insert. SQLite pulls each row
//! from it inside its byte-code loop, which is a third faster than binding and stepping a prepared
//! insert for each row.

use std::any::Any;

use super::vtab::{Module, Shared};
use super::{Db, Error, Value, quote_identifier};

/// Where rows come from.
///
/// A source converts in [`RowSource::advance`], where it may fail, and then only hands out cells.
pub trait RowSource {
    /// Why a source can fail; handed through SQLite unchanged.
    type Error;

    /// Goes to the next row (the first call to the first one); `false` at the end, and then it is
    /// not called again.
    ///
    /// # Errors
    /// Whatever the source reports; it ends the insert.
    fn advance(&mut self) -> Result<bool, Self::Error>;

    /// Cell `column` of the current row, the first being 0. Called at most once for each cell, in
    /// any order.
    fn value(&self, column: usize) -> Value<'_>;
}

/// The target of an insert.
#[derive(Debug, Clone)]
pub struct Insert<'a> {
    /// Name of the database: `main`, `temp`, or an attached one's. `None`: where SQLite finds the
    /// table.
    pub schema: Option<&'a str>,
    /// The table's name, unquoted.
    pub table: &'a str,
    /// Names of the columns to fill, unquoted, in the order of the source's.
    pub columns: &'a [&'a str],
    /// Replace rows with the same key (`INSERT OR REPLACE`).
    pub or_replace: bool,
}

/// Why an insert failed.
#[derive(Debug, thiserror::Error)]
pub enum InsertError<E> {
    /// The source failed.
    #[error("the source of rows failed")]
    Source(E),
    /// SQLite failed.
    #[error(transparent)]
    Sqlite(#[from] Error),
}

pub(super) enum Failure<E> {
    Source(E),
    Panic(Box<dyn Any + Send>),
}

impl Insert<'_> {
    /// Inserts every row of `source`; returns how many. One statement, which is undone as a whole
    /// when it fails; but into a table with triggers one for each row: run it inside of
    /// [`Db::atomically`].
    ///
    /// # Errors
    /// The source's own error, exactly as it reported it, or SQLite's. A panic in the source goes
    /// on in the caller after SQLite has cleaned up.
    pub fn run<S: RowSource>(&self, db: &Db, source: &mut S) -> Result<u64, InsertError<S::Error>> {
        // With triggers SQLite would gather all rows in a temporary table before the first insert.
        if self.has_triggers(db).unwrap_or(true) {
            return self.run_each(db, source);
        }
        let shared = Shared::new(source, self.columns.len());
        let result = self.insert(db, &shared);
        match shared.into_failure() {
            Some(Failure::Panic(payload)) => std::panic::resume_unwind(payload),
            Some(Failure::Source(error)) => Err(InsertError::Source(error)),
            None => Ok(result?),
        }
    }

    /// Drops statement and module before it returns, in this order.
    fn insert<S: RowSource>(&self, db: &Db, shared: &Shared<'_, S>) -> Result<u64, Error> {
        let module = Module::register(db, shared)?;
        db.prepare(&self.sql(&format!("SELECT * FROM {}", module.name())))?.execute(&[])?;
        Ok(shared.rows())
    }

    fn run_each<S: RowSource>(
        &self,
        db: &Db,
        source: &mut S,
    ) -> Result<u64, InsertError<S::Error>> {
        let marks = vec!["?"; self.columns.len()].join(", ");
        let mut stmt = db.prepare(&self.sql(&format!("VALUES ({marks})")))?;
        let mut rows: u64 = 0;
        while source.advance().map_err(InsertError::Source)? {
            let cells: Vec<Value<'_>> =
                (0..self.columns.len()).map(|column| source.value(column)).collect();
            stmt.execute(&cells)?;
            rows = rows.saturating_add(1);
        }
        Ok(rows)
    }

    fn sql(&self, rows: &str) -> String {
        let verb = if self.or_replace { "INSERT OR REPLACE" } else { "INSERT" };
        let columns: Vec<String> = self.columns.iter().map(|name| quote_identifier(name)).collect();
        let schema = self.schema.map(|name| quote_identifier(name) + ".").unwrap_or_default();
        let table = quote_identifier(self.table);
        format!("{verb} INTO {schema}{table} ({}) {rows}", columns.join(", "))
    }

    /// Has any table of this name a trigger, in any database of the connection?
    fn has_triggers(&self, db: &Db) -> Result<bool, Error> {
        for name in db.databases()? {
            let sql = format!(
                "SELECT 1 FROM {}.sqlite_schema WHERE type = 'trigger' \
                 AND tbl_name = ?1 COLLATE NOCASE LIMIT 1",
                quote_identifier(&name)
            );
            if db.query_int(&sql, &[self.table.into()])?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
