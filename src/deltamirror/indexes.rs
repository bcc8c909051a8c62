//! Which of the source's secondary indexes each table of a mirror is to have: asked for when it is
//! filled, and kept, so that whatever makes the table again makes them again.

use super::{Error, format};
use crate::schema::TableName;
use crate::schema::secondary::{Indexes, LeftOut};
use crate::sqlite::Db;

/// The table as the format's step makes it.
pub(super) const CREATE: &str = "CREATE TABLE main._deltamirror_indexes (
  source_schema TEXT NOT NULL, source_table TEXT NOT NULL, wanted TEXT NOT NULL,
  PRIMARY KEY (source_schema, source_table))";

/// Notes what was asked for.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn note(db: &Db, table: &TableName, wanted: Indexes) -> Result<(), Error> {
    db.execute(
        "INSERT OR REPLACE INTO main._deltamirror_indexes (source_schema, source_table, wanted) \
         VALUES (?1, ?2, ?3)",
        &[table.schema.as_str().into(), table.table.as_str().into(), wanted.word().into()],
    )?;
    Ok(())
}

/// What the table is to have; all, unless something else was asked for.
///
/// # Errors
/// [`Error::Format`], [`Error::Sqlite`].
pub(super) fn wanted(db: &Db, table: &TableName) -> Result<Indexes, Error> {
    if format::version(db)? < Some(7) {
        return Ok(Indexes::default());
    }
    let sql = "SELECT wanted FROM main._deltamirror_indexes \
               WHERE source_schema = ?1 AND source_table = ?2";
    let word = db.query_text(sql, &[table.schema.as_str().into(), table.table.as_str().into()])?;
    Ok(word.as_deref().and_then(Indexes::parse).unwrap_or_default())
}

/// Forgets what was asked for: the table leaves the mirror.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn forget(db: &Db, table: &TableName) -> Result<(), Error> {
    db.execute(
        "DELETE FROM main._deltamirror_indexes WHERE source_schema = ?1 AND source_table = ?2",
        &[table.schema.as_str().into(), table.table.as_str().into()],
    )?;
    Ok(())
}

/// What is said of indexes that SQLite cannot have.
#[must_use]
pub(super) fn left_out(table: &str, indexes: &[LeftOut]) -> String {
    let each: Vec<String> =
        indexes.iter().map(|LeftOut { index, why }| format!("\"{index}\": {why}")).collect();
    format!("indexes of table {table} that the mirror does not have: {}", each.join("; "))
}
