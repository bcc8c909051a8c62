//! Tables that are wanted and not filled yet: what a fill that failed, or was killed, still owes.

use super::error::Error;
use super::{first_fill, format};
use crate::schema::TableName;
use crate::sqlite::Db;

/// Notes what a fill is to make: it stands in the place of what earlier ones did not.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn set<'a>(
    db: &Db,
    tables: impl IntoIterator<Item = &'a TableName>,
) -> Result<(), Error> {
    db.exec("DELETE FROM main._deltamirror_wanted")?;
    for TableName { schema, table } in tables {
        db.execute(
            "INSERT INTO main._deltamirror_wanted (source_schema, source_table) VALUES (?1, ?2)",
            &[schema.as_str().into(), table.as_str().into()],
        )?;
    }
    Ok(())
}

/// The table is filled.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn filled(db: &Db, table: &TableName) -> Result<(), Error> {
    db.execute(
        "DELETE FROM main._deltamirror_wanted WHERE source_schema = ?1 AND source_table = ?2",
        &[table.schema.as_str().into(), table.table.as_str().into()],
    )?;
    Ok(())
}

/// The tables, by name; none where the file is of a format that does not tell.
///
/// # Errors
/// [`Error::Format`], [`Error::Sqlite`].
pub(super) fn missing(db: &Db) -> Result<Vec<TableName>, Error> {
    if format::version(db)?.is_none_or(|version| version < 2) {
        return Ok(Vec::new());
    }
    let mut stmt = db.prepare(
        "SELECT source_schema, source_table FROM main._deltamirror_wanted \
         ORDER BY source_schema, source_table",
    )?;
    let mut tables = Vec::new();
    while stmt.step()? {
        let text = |column| stmt.column(column).as_str().unwrap_or_default().to_owned();
        tables.push(TableName::new(text(0), text(1)));
    }
    Ok(tables)
}

/// Refuses a mirror whose first fill is not over: what it has is not what was asked for.
///
/// # Errors
/// [`Error::NotFilled`].
pub(super) fn check(db: &Db, stream: &str) -> Result<(), Error> {
    if !first_fill::goes_on(db)? {
        return Ok(());
    }
    let file = db.file().unwrap_or_default().display().to_string();
    Err(Error::NotFilled { file, stream: stream.to_owned(), tables: missing(db)? })
}
