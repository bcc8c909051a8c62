//! Tables that are wanted and not filled yet: what a fill that failed, or was killed, still owes.
//!
//! A mirror that goes over to another stream owes all of its tables, from the first that is filled
//! from there to the last: meanwhile they are of two streams, and neither may be applied.

use super::error::Error;
use super::{first_fill, format, state};
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

/// The table is filled, or wanted no longer; one that was taken out is in the mirror again.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn filled(db: &Db, table: &TableName) -> Result<(), Error> {
    for of in ["wanted", "removed"] {
        let sql = format!(
            "DELETE FROM main._deltamirror_{of} WHERE source_schema = ?1 AND source_table = ?2"
        );
        db.execute(&sql, &[table.schema.as_str().into(), table.table.as_str().into()])?;
    }
    Ok(())
}

/// The table was taken out of the mirror: a fill of all tables leaves it out, until one names it.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn removed(db: &Db, table: &TableName) -> Result<(), Error> {
    filled(db, table)?;
    db.execute(
        "INSERT INTO main._deltamirror_removed (source_schema, source_table) VALUES (?1, ?2)",
        &[table.schema.as_str().into(), table.table.as_str().into()],
    )?;
    Ok(())
}

/// The tables that were taken out.
///
/// # Errors
/// [`Error::Format`], [`Error::Sqlite`].
pub(super) fn removed_ones(db: &Db) -> Result<Vec<TableName>, Error> {
    if format::version(db)? < Some(4) {
        return Ok(Vec::new());
    }
    names(db, "SELECT source_schema, source_table FROM main._deltamirror_removed")
}

/// The tables that a query tells.
fn names(db: &Db, sql: &str) -> Result<Vec<TableName>, Error> {
    let mut stmt = db.prepare(sql)?;
    let mut tables = Vec::new();
    while stmt.step()? {
        let text = |column| stmt.column(column).as_str().unwrap_or_default().to_owned();
        tables.push(TableName::new(text(0), text(1)));
    }
    Ok(tables)
}

/// The first table is filled from `stream`, to which the mirror goes over.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn go_over(db: &Db, stream: &str) -> Result<(), Error> {
    gone_over(db)?;
    db.exec("CREATE TABLE main._deltamirror_moving (stream TEXT NOT NULL)")?;
    let sql = "INSERT INTO main._deltamirror_moving (stream) VALUES (?1)";
    db.execute(sql, &[stream.into()])?;
    Ok(())
}

/// All tables are filled from one stream.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn gone_over(db: &Db) -> Result<(), Error> {
    Ok(db.exec("DROP TABLE IF EXISTS main._deltamirror_moving")?)
}

/// The stream to which the mirror goes over.
fn goes_over(db: &Db) -> Result<Option<String>, Error> {
    if !format::has_table(db, "_deltamirror_moving")? {
        return Ok(None);
    }
    Ok(db.query_text("SELECT stream FROM main._deltamirror_moving", &[])?)
}

/// The tables, by name; none where the file is of a format that does not tell.
///
/// # Errors
/// [`Error::Format`], [`Error::Sqlite`].
pub(super) fn missing(db: &Db) -> Result<Vec<TableName>, Error> {
    if format::version(db)?.is_none_or(|version| version < 2) {
        return Ok(Vec::new());
    }
    if goes_over(db)?.is_some() {
        return Ok(state::tables(db)?.into_iter().map(|table| table.source).collect());
    }
    names(
        db,
        "SELECT source_schema, source_table FROM main._deltamirror_wanted \
         ORDER BY source_schema, source_table",
    )
}

/// Refuses a mirror whose first fill is not over, or that goes over to another stream: what it has
/// is not what was asked for.
///
/// # Errors
/// [`Error::NotFilled`].
pub(super) fn check(db: &Db, stream: &str) -> Result<(), Error> {
    let (stream, resync) = match goes_over(db)? {
        Some(new) => (new, "-resync 1 "),
        None if first_fill::goes_on(db)? => (stream.to_owned(), ""),
        None => return Ok(()),
    };
    let file = db.file().unwrap_or_default().display().to_string();
    Err(Error::NotFilled { file, stream, tables: missing(db)?, resync })
}
