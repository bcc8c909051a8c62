//! What a table in the SQLite file is like now: its users may change it at any time.

use super::Error;
use super::state::TableState;
use crate::advice::filling;
use crate::sqlite::{Db, quote_identifier, quote_text};

/// Compares the names of the columns with those that the mirror made; others may have been added
/// by the user, as long as a row can be inserted without them. Returns a name of the row number
/// that no column of the file hides, whoever made it; `None` when columns hide all three.
///
/// # Errors
/// [`Error::State`] when the table or a column is gone.
pub(super) fn columns(db: &Db, state: &TableState) -> Result<Option<&'static str>, Error> {
    let there = names(db, &state.name)?;
    let table = &state.name;
    if there.is_empty() {
        let what =
            format!("table \"{table}\" is gone from the file: fill it again by {}", filling(table));
        return Err(Error::State { what });
    }
    let missing = state.definition.columns.iter().find(|(name, _)| !there.contains(name));
    match missing {
        None => Ok(rowid(&there)),
        Some((name, _)) => {
            let what = format!(
                "column \"{name}\" of table \"{table}\" is gone: fill it again by {}",
                filling(table)
            );
            Err(Error::State { what })
        }
    }
}

/// The names of a table's columns in the file, no matter who made them; none when it is not there.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn names(db: &Db, table: &str) -> Result<Vec<String>, Error> {
    // NOTE: a statement, not the function of that name, which a table can hide; xinfo tells of
    // generated columns as well.
    let sql = format!("PRAGMA main.table_xinfo({})", quote_identifier(table));
    let mut stmt = db.prepare(&sql)?;
    let mut there = Vec::new();
    while stmt.step()? {
        there.push(stmt.column(1).as_str().unwrap_or_default().to_owned());
    }
    Ok(there)
}

/// A name of the row number that no column of a table hides; `None` when columns hide all three.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn rowid_of(db: &Db, table: &str) -> Result<Option<&'static str>, Error> {
    Ok(rowid(&names(db, table)?))
}

fn rowid(columns: &[String]) -> Option<&'static str> {
    let hidden = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| !hidden(name))
}

/// The unique index that is not the mirror's and that SQLite's words of a refused row mean.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn own_unique(db: &Db, table: &str, refused: &str) -> Result<Option<String>, Error> {
    // What follows: names of columns, or of an index by expressions, and then the statement.
    let Some((_, what)) = refused.split_once("constraint failed: ") else { return Ok(None) };
    let mut stmt = db.prepare(
        "SELECT name FROM main.sqlite_master WHERE type = 'index' AND tbl_name = ?1 COLLATE NOCASE \
           AND sql IS NOT NULL AND name NOT LIKE '\\_deltamirror\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    stmt.bind(1, table.into())?;
    while stmt.step()? {
        let name = stmt.column(0).as_str().unwrap_or_default().to_owned();
        let mut columns = Vec::new();
        let sql = format!("PRAGMA main.index_info({})", quote_identifier(&name));
        let mut info = db.prepare(&sql)?;
        while info.step()? {
            columns.push(format!("{table}.{}", info.column(2).as_str().unwrap_or_default()));
        }
        let means = [columns.join(", "), format!("index {}", quote_text(&name))];
        let is_it = |words: &String| {
            what.strip_prefix(words.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(", in: "))
        };
        if means.iter().any(is_it) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Changes whenever a table, an index or a trigger of the file does, whoever made the change.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn schema_version(db: &Db) -> Result<i64, Error> {
    Ok(db.query_int("PRAGMA main.schema_version", &[])?.unwrap_or(0))
}
