//! The first fill of a mirror, for which the file's WAL is taken away: see
//! [`crate::sqlite::WithoutWal`]. Nobody can read anything from it yet, it takes less time, and no
//! WAL of the size of the largest table lies beside the file.
//!
//! A process that is killed meanwhile leaves the file with a rollback journal. So the table
//! `_deltamirror_filling` says, until all tables of the first fill are ready, which journal the
//! file had; whoever opens it next to fill it or to apply to it gives it back.

use super::Error;
use crate::limits::MIRROR_WAL_TABLE_BYTES;
use crate::sqlite::{Db, WithoutWal};

const THERE: &str = "SELECT count(*) FROM main.sqlite_master \
    WHERE type = 'table' AND name = '_deltamirror_filling'";

/// Tables of others: neither SQLite's own, nor the mirror's, nor mirrored ones.
const OTHERS: &str = "SELECT count(*) FROM main.sqlite_master WHERE type = 'table' \
    AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_deltamirror\\_%' ESCAPE '\\' \
    AND name NOT IN (SELECT name FROM main._deltamirror_table)";

/// Notes that the first fill begins, and the journal that the file has. In a transaction.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn begin(db: &Db) -> Result<(), Error> {
    db.exec(
        "DROP TABLE IF EXISTS main._deltamirror_filling; \
         CREATE TABLE main._deltamirror_filling (journal TEXT NOT NULL)",
    )?;
    let journal = db.query_text("PRAGMA main.journal_mode", &[])?.unwrap_or_default();
    let sql = "INSERT INTO main._deltamirror_filling (journal) VALUES (?1)";
    db.execute(sql, &[journal.as_str().into()])?;
    Ok(())
}

/// Whether the first fill has begun and is not over.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn goes_on(db: &Db) -> Result<bool, Error> {
    Ok(db.query_int(THERE, &[])? == Some(1))
}

/// Notes that the first fill is over, if one was going on.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn end(db: &Db) -> Result<(), Error> {
    Ok(db.exec("DROP TABLE IF EXISTS main._deltamirror_filling")?)
}

/// Gives a file its WAL back that a first fill has taken, and was killed. Outside of a transaction.
///
/// # Errors
/// [`Error::Sqlite`], as when others use the file: it works with its rollback journal, too.
pub(super) fn repair(db: &Db) -> Result<(), Error> {
    if goes_on(db)? {
        let had = db.query_text("SELECT journal FROM main._deltamirror_filling", &[])?;
        if had.as_deref() == Some("wal") {
            db.exec("PRAGMA main.journal_mode = WAL")?;
        }
    }
    Ok(())
}

/// A file without its WAL.
pub(super) struct Unlogged<'db> {
    without_wal: WithoutWal<'db>,
}

impl<'db> Unlogged<'db> {
    /// Takes the WAL away and locks the file, to load a table of so many bytes. `None` when it does
    /// not pay, when this is no first fill, when somebody else has tables in the file or has it
    /// open, and when it has no WAL.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub(super) fn begin(db: &'db Db, bytes: u64) -> Result<Option<Unlogged<'db>>, Error> {
        if bytes < MIRROR_WAL_TABLE_BYTES || !goes_on(db)? {
            return Ok(None);
        }
        if db.query_int(OTHERS, &[])? != Some(0) {
            return Ok(None);
        }
        Ok(WithoutWal::begin(db, "main").map(|without_wal| Unlogged { without_wal }))
    }

    /// To be called now and then while rows go in: see [`WithoutWal::go_on`].
    pub(super) fn go_on(&self) {
        self.without_wal.go_on();
    }

    /// Gives the file its WAL and its users back.
    ///
    /// # Errors
    /// [`Error::Sqlite`]; what was committed stays.
    pub(super) fn finish(self) -> Result<(), Error> {
        Ok(self.without_wal.finish()?)
    }
}
