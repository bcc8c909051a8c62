//! Rows that are in the table already, with the same values, are left alone: the file grows by what
//! changed.

use super::feed::Feed;
use super::pump::Batches;
use super::{Column, Error, KeyPart, Result, TableName};
use crate::sqlite::{Db, RowSource, Stmt, Value, quote_identifier};

/// A feed without the rows that the table holds already.
pub(super) struct Changed<'f, 'a, B> {
    feed: &'f mut Feed<'a, B>,
    same: Stmt<'f>,
    columns: usize,
    skipped: u64,
}

impl<'f, 'a, B: Batches> Changed<'f, 'a, B> {
    /// # Errors
    /// [`Error::CheckWithoutKey`]; SQLite's, as when there is no such column.
    pub(super) fn new(
        db: &'f Db,
        table: &TableName,
        columns: &[Column],
        key: &[KeyPart],
        feed: &'f mut Feed<'a, B>,
    ) -> Result<Self> {
        let same = db.prepare(&same_sql(table, columns, key)?)?;
        Ok(Changed { feed, same, columns: columns.len(), skipped: 0 })
    }

    /// Rows left out.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Finds a row with this key and these values. SQLite compares, so that a value equals what it
/// becomes in its column, and NULL equals NULL; text is compared by its bytes, whatever the
/// column's collation.
fn same_sql(table: &TableName, columns: &[Column], key: &[KeyPart]) -> Result<String> {
    if key.is_empty() {
        return Err(Error::CheckWithoutKey);
    }
    let position = |part: &KeyPart| {
        columns.iter().position(|column| column.name.eq_ignore_ascii_case(&part.column))
    };
    let mut terms = Vec::new();
    for part in key {
        let Some(at) = position(part) else {
            return Err(Error::UnknownKey { column: part.column.clone() });
        };
        // By the key's own collation, which is that of its index.
        terms.push(format!("{} IS ?{}", quote_identifier(&part.column), at.saturating_add(1)));
    }
    for (at, column) in columns.iter().enumerate() {
        let name = quote_identifier(&column.name);
        terms.push(format!("{name} IS ?{} COLLATE BINARY", at.saturating_add(1)));
    }
    Ok(format!("SELECT 1 FROM {} WHERE {}", table.quoted(), terms.join(" AND ")))
}

impl<B: Batches> RowSource for Changed<'_, '_, B> {
    type Error = Error;

    fn advance(&mut self) -> Result<bool> {
        while self.feed.advance()? {
            let row: Vec<Value<'_>> = (0..self.columns).map(|at| self.feed.value(at)).collect();
            let same = self.same.exists(&row);
            if !same.map_err(|source| Error::Row { row: self.feed.rows(), source })? {
                return Ok(true);
            }
            self.skipped = self.skipped.saturating_add(1);
        }
        Ok(false)
    }

    fn value(&self, column: usize) -> Value<'_> {
        self.feed.value(column)
    }
}
