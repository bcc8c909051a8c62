//! Whether a table in the SQLite file still is what the mirror made.

use super::Error;
use super::state::TableState;
use crate::sqlite::Db;

/// Compares the names of the columns with those that the mirror made; others may have been added
/// by the user, as long as a row can be inserted without them.
///
/// # Errors
/// [`Error::State`] when the table or a column is gone.
pub(super) fn columns(db: &Db, state: &TableState) -> Result<(), Error> {
    let mut stmt = db.prepare("SELECT name FROM pragma_table_info(?1, 'main')")?;
    stmt.bind(1, state.name.as_str().into())?;
    let mut there = Vec::new();
    while stmt.step()? {
        there.push(stmt.column(0).as_str().unwrap_or_default().to_owned());
    }
    let table = &state.name;
    if there.is_empty() {
        let what = format!("table \"{table}\" is gone from the file: run resync for it");
        return Err(Error::State { what });
    }
    let missing = state.definition.columns.iter().find(|(name, _)| !there.contains(name));
    match missing {
        None => Ok(()),
        Some((name, _)) => {
            let what = format!("column \"{name}\" of table \"{table}\" is gone: run resync for it");
            Err(Error::State { what })
        }
    }
}

/// A name of the row number that none of these columns hides.
pub(super) fn rowid(columns: &[String]) -> Option<&'static str> {
    let hidden = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| !hidden(name))
}
