//! All or nothing: a transaction, or a savepoint in the caller's transaction.

use super::{Db, Error, Result};

/// Undoes the work unless it was finished: also when the body panics.
struct Undo<'db> {
    db: &'db Db,
    nested: bool,
    finished: bool,
}

impl Undo<'_> {
    fn finish(mut self) -> Result<()> {
        self.db.exec(if self.nested { "RELEASE pgsqlite" } else { "COMMIT" })?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        // SQLite itself rolls back after some errors (FULL, IOERR, NOMEM); then there is nothing
        // left to undo.
        if self.finished || !self.db.in_transaction() {
            return;
        }
        // A failure here leaves the transaction to its owner; the error that brought us here is the
        // one to report.
        let _ = self.db.exec(if self.nested {
            "ROLLBACK TO pgsqlite; RELEASE pgsqlite"
        } else {
            "ROLLBACK"
        });
    }
}

impl Db {
    /// Runs `body` so that all of its changes are kept, or none: in a transaction of its own
    /// (`BEGIN IMMEDIATE`, so that a lock is missed at the start, not in the middle), or in a
    /// savepoint when the caller has one open, which leaves committing to the caller.
    ///
    /// # Errors
    /// The body's; BUSY when the transaction cannot begin or commit.
    pub fn atomically<T, E: From<Error>>(
        &self,
        body: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let nested = self.in_transaction();
        self.exec(if nested { "SAVEPOINT pgsqlite" } else { "BEGIN IMMEDIATE" })?;
        let undo = Undo { db: self, nested, finished: false };
        let result = body()?;
        undo.finish()?;
        Ok(result)
    }
}
