//! A rollback journal in place of a WAL, for as long as a bulk load runs.
//!
//! What goes through a WAL is written twice, and summed up on the way: once into the WAL and once,
//! by the checkpoint, into the file. A transaction with a rollback journal writes a page that is
//! new to the file once, and the journal holds only pages that were there before: of an empty
//! database, one. It is as safe against a crash; whoever opens the file next rolls back. Meanwhile
//! nobody else can use the database: they get BUSY.

use super::writeback::Writeback;
use super::{Db, Result, quote_identifier};

/// `PRAGMA synchronous` as a number.
const NORMAL: i64 = 1;

/// A database that has a rollback journal in place of its WAL, and is locked, until this is dropped
/// or finished.
#[derive(Debug)]
pub struct WithoutWal<'db> {
    db: &'db Db,
    schema: String,
    finished: bool,
    /// It had `synchronous = NORMAL`, which is enough for a WAL only.
    raised: bool,
    writeback: Option<Writeback>,
}

impl<'db> WithoutWal<'db> {
    /// Takes the WAL away from a database (`main`, an attached one) and locks it. `None`, and
    /// everything is as it was, when that cannot be: it has no WAL, a transaction or a statement is
    /// open on this connection, another connection has it open, its owner has locked it himself or
    /// refuses the pragmas.
    pub fn begin(db: &'db Db, schema: &str) -> Option<WithoutWal<'db>> {
        if db.in_transaction() {
            return None;
        }
        let (name, schema) = (schema, quote_identifier(schema));
        // NOTE: asking for the journal mode opens the WAL, if there is one. That must come before
        // the lock: one that is opened under the lock cannot be shared again.
        if pragma(db, &schema, "journal_mode").ok()? != "wal"
            || pragma(db, &schema, "locking_mode").ok()? != "normal"
        {
            return None;
        }
        // From here on dropping it brings back what was. The lock is kept through all changes, so
        // that nobody gets between two of them and keeps us from the last one.
        let mut guard = WithoutWal { db, schema, finished: false, raised: false, writeback: None };
        pragma(db, &guard.schema, "locking_mode = EXCLUSIVE").ok()?;
        // DURABILITY: with a rollback journal, NORMAL may leave a damaged file after a power
        // loss. Who has chosen OFF has chosen that.
        if number(db, &guard.schema, "synchronous").ok()? == Some(NORMAL) {
            guard.raised = true;
            pragma(db, &guard.schema, "synchronous = FULL").ok()?;
        }
        let mode = pragma(db, &guard.schema, "journal_mode = DELETE").ok()?;
        guard.writeback = Writeback::of(db, name);
        (mode == "delete").then_some(guard)
    }

    /// To be called now and then while rows go in: has what has reached the file written to disk,
    /// for which the commit would wait. Does not wait itself, unless the disk is far behind.
    pub fn go_on(&self) {
        if let Some(writeback) = &self.writeback {
            writeback.go_on();
        }
    }

    /// Gives the database its WAL and its users back.
    ///
    /// # Errors
    /// SQLite's: IOERR, FULL. The database keeps its rollback journal then, and works.
    pub fn finish(mut self) -> Result<()> {
        self.finished = true;
        self.restore()
    }

    fn restore(&self) -> Result<()> {
        pragma(self.db, &self.schema, "locking_mode = NORMAL")?;
        // Still under the lock: it goes with the end of the transaction that this is.
        let restored = pragma(self.db, &self.schema, "journal_mode = WAL").map(drop);
        if self.raised && restored.is_ok() {
            pragma(self.db, &self.schema, "synchronous = NORMAL")?;
        }
        restored
    }
}

impl Drop for WithoutWal<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // The error that brought us here is the one to report.
            let _ = self.restore();
        }
    }
}

/// Runs a pragma on a database; returns its answer.
fn pragma(db: &Db, schema: &str, words: &str) -> Result<String> {
    Ok(db.query_text(&format!("PRAGMA {schema}.{words}"), &[])?.unwrap_or_default())
}

/// As [`pragma`], of one that answers with a number.
fn number(db: &Db, schema: &str, words: &str) -> Result<Option<i64>> {
    db.query_int(&format!("PRAGMA {schema}.{words}"), &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{Access, testing};
    use std::path::Path;

    fn open(file: &Path) -> Db {
        testing::load().unwrap();
        let db = Db::open(file, Access::Create).unwrap();
        db.exec("PRAGMA journal_mode = WAL").unwrap();
        db
    }

    fn modes(db: &Db) -> (String, String) {
        (pragma(db, "main", "journal_mode").unwrap(), pragma(db, "main", "locking_mode").unwrap())
    }

    #[test]
    fn the_wal_comes_back_with_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.db");
        let db = open(&file);
        let before = modes(&db);
        let without = WithoutWal::begin(&db, "main").expect("nobody else is there");
        assert_eq!(modes(&db), ("delete".to_owned(), "exclusive".to_owned()));
        let other = Db::open(&file, Access::Write).unwrap();
        db.exec("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
        assert!(other.query_int("SELECT a FROM t", &[]).is_err(), "locked");
        without.finish().unwrap();
        assert_eq!(modes(&db), before);
        assert_eq!(other.query_int("SELECT a FROM t", &[]).unwrap(), Some(1));
        other.exec("INSERT INTO t VALUES (2)").unwrap();
        assert_eq!(db.query_int("SELECT sum(a) FROM t", &[]).unwrap(), Some(3));
        assert_eq!(modes(&other).0, "wal");
        assert!(!folder.path().join("x.db-journal").exists());
    }

    #[test]
    fn normal_is_not_enough_for_a_rollback_journal() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder.path().join("x.db"));
        for (before, meanwhile) in [(0, 0), (1, 2), (2, 2), (3, 3)] {
            db.exec(&format!("PRAGMA synchronous = {before}")).unwrap();
            let without = WithoutWal::begin(&db, "main").expect("nobody else is there");
            assert_eq!(number(&db, "main", "synchronous").unwrap(), Some(meanwhile));
            without.finish().unwrap();
            assert_eq!(number(&db, "main", "synchronous").unwrap(), Some(before));
        }
    }

    #[test]
    fn dropped_in_the_middle_it_comes_back_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.db");
        let db = open(&file);
        let before = modes(&db);
        {
            let _without = WithoutWal::begin(&db, "main").expect("nobody else is there");
            let failed: Result<()> = db.atomically(|| {
                db.exec("CREATE TABLE t (a)")?;
                db.exec("INSERT INTO nowhere VALUES (1)")
            });
            assert!(failed.is_err());
        }
        assert_eq!(modes(&db), before);
        assert_eq!(db.query_int("SELECT count(*) FROM sqlite_schema", &[]).unwrap(), Some(0));
    }

    #[test]
    fn where_it_cannot_be_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.db");
        let db = open(&file);
        let before = modes(&db);
        let other = open(&file);
        other.exec("CREATE TABLE t (a)").unwrap();
        assert!(WithoutWal::begin(&db, "main").is_none(), "another connection is there");
        assert_eq!(modes(&db), before);
        other.exec("INSERT INTO t VALUES (1)").unwrap();
        drop(other);
        db.exec("BEGIN").unwrap();
        assert!(WithoutWal::begin(&db, "main").is_none(), "a transaction is open");
        db.exec("COMMIT").unwrap();
        {
            let mut reading = db.prepare("SELECT a FROM t").unwrap();
            assert!(reading.step().unwrap());
            assert!(WithoutWal::begin(&db, "main").is_none(), "a statement is running");
        }
        assert_eq!(modes(&db), before);
        assert!(WithoutWal::begin(&db, "main").is_some());
        let memory = testing::memory().unwrap();
        assert!(WithoutWal::begin(&memory, "main").is_none(), "no WAL");
    }
}
