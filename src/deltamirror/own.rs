//! Temporary triggers that the user made on a mirrored table: the connection's own, and lost when
//! the table is another one.

use super::Error;
use crate::sqlite::Db;

/// Refuses a table with one.
///
/// # Errors
/// [`Error::InTheWay`], [`Error::Sqlite`].
pub(super) fn check_temporary(db: &Db, table: &str) -> Result<(), Error> {
    let mut stmt = db.prepare(
        "SELECT name FROM temp.sqlite_master WHERE type = 'trigger' \
         AND tbl_name = ?1 COLLATE NOCASE",
    )?;
    stmt.bind(1, table.into())?;
    if stmt.step()? {
        let trigger = stmt.column(0).as_str().unwrap_or_default().to_owned();
        return Err(Error::InTheWay { table: table.to_owned(), trigger });
    }
    Ok(())
}
