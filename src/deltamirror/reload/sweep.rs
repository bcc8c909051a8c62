//! What reloads have left: tables that were replaced, and shadows of reloads that did not come to
//! their end. They are removed in parts, so that no change waits for the end of a large table.

use std::time::{Duration, Instant};

use crate::deltamirror::{Error, check};
use crate::limits;
use crate::sqlite::{Db, quote_identifier};

/// Names of such tables: `_deltamirror_new_...`, `_deltamirror_old_...`.
const LEFT: &str = "SELECT name FROM main.sqlite_master WHERE type = 'table' \
    AND (name LIKE '\\_deltamirror\\_new\\_%' ESCAPE '\\' \
      OR name LIKE '\\_deltamirror\\_old\\_%' ESCAPE '\\') LIMIT 1";

/// A table that is to be removed; `None` when there is none.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn left(db: &Db) -> Result<Option<String>, Error> {
    Ok(db.query_text(LEFT, &[])?)
}

/// Removes a part of it: an index, or rows for as long as `budget`, at last the table. In a
/// transaction.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn sweep(db: &Db, table: &str, budget: Duration) -> Result<(), Error> {
    let name = quote_identifier(table);
    let index = "SELECT name FROM main.sqlite_master WHERE type = 'index' AND sql IS NOT NULL \
                 AND tbl_name = ?1 LIMIT 1";
    if let Some(index) = db.query_text(index, &[table.into()])? {
        return Ok(db.exec(&format!("DROP INDEX main.{}", quote_identifier(&index)))?);
    }
    let drop = format!("DROP TABLE main.{name}");
    let Some(rowid) = check::rowid_of(db, table)? else { return Ok(db.exec(&drop)?) };
    let rows = limits::RELOAD_SWEEP_ROWS;
    let delete = format!(
        "DELETE FROM main.{name} WHERE {rowid} IN \
         (SELECT {rowid} FROM main.{name} ORDER BY {rowid} LIMIT {rows})"
    );
    let began = Instant::now();
    while began.elapsed() < budget {
        match db.execute(&delete, &[]) {
            Ok(deleted) if deleted == rows as u64 => {}
            // Nothing more, or a table of the user's form, without row numbers.
            Ok(_) | Err(_) => return Ok(db.exec(&drop)?),
        }
    }
    Ok(())
}
