//! The versions of the mirror's own tables, and the way from each to the next.
//!
//! `_deltamirror_meta` holds the version of a file. A file without that table is of version 1, or
//! of version 0 when the stream's row has no `made`. Whoever opens a file to write brings it up to
//! [`VERSION`], step by step, in one transaction; who only looks at it reads what is there. A file
//! of a later version is refused by name.

use super::Error;
use super::busy::{Patience, roll_back};
use crate::sqlite::{Db, Value};

/// A step from a version to the next.
type Step = fn(&Db) -> Result<(), Error>;

/// The steps, in order: the first leads from version 0 to 1.
const STEPS: [Step; 9] = [to_1, to_2, to_3, to_4, to_5, to_6, to_7, to_8, to_9];

/// The version that this library writes.
pub const VERSION: i64 = STEPS.len() as i64;

/// Version 0: what every later one is made from.
const CREATE: &str = "
CREATE TABLE IF NOT EXISTS main._deltamirror_stream (
  stream TEXT PRIMARY KEY NOT NULL, system_id TEXT NOT NULL, database TEXT NOT NULL,
  clock INTEGER NOT NULL, seq INTEGER NOT NULL, lsn TEXT NOT NULL, commit_time INTEGER NOT NULL,
  transactions INTEGER NOT NULL, changes INTEGER NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS main._deltamirror_table (
  name TEXT PRIMARY KEY NOT NULL, source_schema TEXT NOT NULL, source_table TEXT NOT NULL,
  state TEXT NOT NULL, definition TEXT NOT NULL, base_types TEXT NOT NULL,
  primary_key TEXT NOT NULL, row_filter TEXT,
  xmin INTEGER NOT NULL, xmax INTEGER NOT NULL, xip TEXT NOT NULL, lsn TEXT NOT NULL,
  taken_at INTEGER NOT NULL, rows INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS main._deltamirror_error (
  id INTEGER PRIMARY KEY, clock INTEGER NOT NULL, seq INTEGER NOT NULL, lsn TEXT,
  table_name TEXT NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL,
  line TEXT NOT NULL);
";

/// When the stream was made: tells it from another one by the same name.
fn to_1(db: &Db) -> Result<(), Error> {
    let sql = "ALTER TABLE main._deltamirror_stream ADD COLUMN made INTEGER NOT NULL DEFAULT 0";
    Ok(db.exec(sql)?)
}

/// The version itself; the stream's running sum at a position, which counts only where that
/// position is still the mirror's (a program of version 1 moves the mirror and leaves the sum);
/// the tables that are wanted and not filled yet.
fn to_2(db: &Db) -> Result<(), Error> {
    Ok(db.exec(
        "ALTER TABLE main._deltamirror_stream ADD COLUMN chain INTEGER;
         ALTER TABLE main._deltamirror_stream ADD COLUMN chain_clock INTEGER;
         ALTER TABLE main._deltamirror_stream ADD COLUMN chain_seq INTEGER;
         CREATE TABLE main._deltamirror_wanted (
           source_schema TEXT NOT NULL, source_table TEXT NOT NULL,
           PRIMARY KEY (source_schema, source_table));
         CREATE TABLE main._deltamirror_meta (version INTEGER NOT NULL);",
    )?)
}

/// What the stream has to bring before a copied table counts ([`super::snapshot::Barrier`]).
fn to_3(db: &Db) -> Result<(), Error> {
    Ok(db.exec("ALTER TABLE main._deltamirror_table ADD COLUMN barrier TEXT")?)
}

/// What changed in each table; what is asked of a mirror by others; tables that stand still, and
/// those that were taken out; what a kept row needs to be applied again.
fn to_4(db: &Db) -> Result<(), Error> {
    Ok(db.exec(
        "ALTER TABLE main._deltamirror_table ADD COLUMN touched INTEGER NOT NULL DEFAULT 1;
         ALTER TABLE main._deltamirror_table ADD COLUMN inserts INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE main._deltamirror_table ADD COLUMN updates INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE main._deltamirror_table ADD COLUMN deletes INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE main._deltamirror_table ADD COLUMN truncates INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE main._deltamirror_table ADD COLUMN changed_clock INTEGER;
         ALTER TABLE main._deltamirror_table ADD COLUMN changed_seq INTEGER;
         ALTER TABLE main._deltamirror_error ADD COLUMN before TEXT;
         ALTER TABLE main._deltamirror_error ADD COLUMN whole INTEGER;
         CREATE TABLE main._deltamirror_suspended (
           name TEXT PRIMARY KEY NOT NULL, clock INTEGER NOT NULL, seq INTEGER NOT NULL,
           lsn TEXT NOT NULL, chain INTEGER, since INTEGER NOT NULL, reason TEXT NOT NULL,
           message TEXT NOT NULL);
         CREATE TABLE main._deltamirror_removed (
           source_schema TEXT NOT NULL, source_table TEXT NOT NULL,
           PRIMARY KEY (source_schema, source_table));
         CREATE TABLE main._deltamirror_paused (since INTEGER NOT NULL);
         CREATE TABLE main._deltamirror_request (
           id INTEGER PRIMARY KEY, verb TEXT NOT NULL, table_name TEXT, arguments TEXT NOT NULL,
           asked_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, answer TEXT,
           answered_at INTEGER);",
    )?)
}

/// The tables that are to be reloaded.
fn to_5(db: &Db) -> Result<(), Error> {
    Ok(db.exec(super::reload::due::CREATE)?)
}

/// What a table does when its source is altered, columns that were dropped and could not be.
fn to_6(db: &Db) -> Result<(), Error> {
    Ok(db.exec(
        "ALTER TABLE main._deltamirror_table ADD COLUMN ddl TEXT NOT NULL DEFAULT 'follow';
         ALTER TABLE main._deltamirror_table ADD COLUMN kept TEXT NOT NULL DEFAULT '';",
    )?)
}

/// Which of the source's indexes a table is to have.
fn to_7(db: &Db) -> Result<(), Error> {
    Ok(db.exec(super::indexes::CREATE)?)
}

/// How the rows of a reload are to come into the table.
fn to_8(db: &Db) -> Result<(), Error> {
    Ok(db.exec("ALTER TABLE main._deltamirror_reload ADD COLUMN fill TEXT")?)
}

/// The tables that are in the stream no more.
fn to_9(db: &Db) -> Result<(), Error> {
    Ok(db.exec(super::gone::CREATE)?)
}

/// Makes the mirror's tables in a file that has none.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn create(db: &Db) -> Result<(), Error> {
    db.exec(CREATE)?;
    take_steps(db, 0)
}

/// Brings the tables up to [`VERSION`], if they are older. Outside of a transaction; a file without
/// a mirror is left as it is.
///
/// # Errors
/// [`Error::Format`], [`Error::Sqlite`], [`Error::Busy`].
pub(super) fn upgrade(db: &Db, patience: Patience<'_>) -> Result<(), Error> {
    if patience.retry(|| version(db))?.is_none_or(|version| version == VERSION) {
        return Ok(());
    }
    patience.begin(db)?;
    upgrade_in_transaction(db).inspect_err(|_| roll_back(db))?;
    patience.commit(db)
}

/// As [`upgrade`], in a transaction that writes.
///
/// # Errors
/// [`Error::Format`], [`Error::Sqlite`].
pub(super) fn upgrade_in_transaction(db: &Db) -> Result<(), Error> {
    match version(db)? {
        Some(from) => take_steps(db, from),
        None => Ok(()),
    }
}

fn take_steps(db: &Db, from: i64) -> Result<(), Error> {
    for (step, to) in STEPS.iter().zip(1..).skip_while(|(_, to)| *to <= from) {
        step(db)?;
        if to >= 2 {
            db.exec("DELETE FROM main._deltamirror_meta")?;
            let sql = "INSERT INTO main._deltamirror_meta (version) VALUES (?1)";
            db.execute(sql, &[Value::Int(to)])?;
        }
    }
    Ok(())
}

/// The version of the mirror in a file; `None` where there is no mirror.
///
/// # Errors
/// [`Error::Format`] for a later one than [`VERSION`], [`Error::State`], [`Error::Sqlite`].
pub fn version(db: &Db) -> Result<Option<i64>, Error> {
    if !has_table(db, "_deltamirror_stream")? {
        return Ok(None);
    }
    if has_table(db, "_deltamirror_meta")? {
        let found = db.query_int("SELECT version FROM main._deltamirror_meta", &[])?;
        return match found {
            Some(found) if found > VERSION => Err(Error::Format { found, known: VERSION }),
            Some(found) => Ok(Some(found)),
            None => Err(Error::State { what: "its version is not there".to_owned() }),
        };
    }
    let mut columns = db.prepare("PRAGMA main.table_info('_deltamirror_stream')")?;
    while columns.step()? {
        if columns.column(1).as_str() == Some("made") {
            return Ok(Some(1));
        }
    }
    Ok(Some(0))
}

/// Whether the file has a table of this name.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn has_table(db: &Db, name: &str) -> Result<bool, Error> {
    let sql = "SELECT count(*) FROM main.sqlite_master WHERE type = 'table' AND name = ?1";
    Ok(db.query_int(sql, &[name.into()])? == Some(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    fn memory() -> Db {
        crate::sqlite::testing::load().unwrap();
        Db::open_in_memory().unwrap()
    }

    /// The text of every table, without what ALTER TABLE leaves of its layout.
    fn schema(db: &Db) -> Vec<String> {
        let mut stmt = db.prepare("SELECT sql FROM main.sqlite_master ORDER BY name").unwrap();
        let mut list = Vec::new();
        while stmt.step().unwrap() {
            list.push(stmt.column(0).as_str().unwrap_or_default().replace(char::is_whitespace, ""));
        }
        list
    }

    #[test]
    fn every_version_comes_to_the_last_one() {
        let stop = AtomicBool::new(false);
        let patience = Patience { budget: Duration::ZERO, stop: &stop };
        let new = memory();
        create(&new).unwrap();
        assert_eq!(version(&new).unwrap(), Some(VERSION));
        for begin in 0..=VERSION {
            let db = memory();
            upgrade(&db, patience).unwrap();
            assert_eq!(version(&db).unwrap(), None);
            db.exec(CREATE).unwrap();
            for (step, _) in STEPS.iter().zip(0..begin) {
                step(&db).unwrap();
            }
            if begin >= 2 {
                db.exec(&format!("INSERT INTO _deltamirror_meta VALUES ({begin})")).unwrap();
            }
            assert_eq!(version(&db).unwrap(), Some(begin));
            upgrade(&db, patience).unwrap();
            assert_eq!(version(&db).unwrap(), Some(VERSION));
            assert_eq!(schema(&db), schema(&new));
        }
    }

    #[test]
    fn a_later_version_is_refused() {
        let db = memory();
        create(&db).unwrap();
        db.exec(&format!("UPDATE _deltamirror_meta SET version = {}", VERSION + 1)).unwrap();
        let error = version(&db).unwrap_err();
        assert!(matches!(error, Error::Format { found, known } if found == known + 1));
        db.exec("DELETE FROM _deltamirror_meta").unwrap();
        assert!(matches!(version(&db), Err(Error::State { .. })));
    }
}
