//! Waiting for a locked database, without touching the connection's own busy handler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Error;
use crate::limits::MIRROR_GAP_MS;
use crate::sqlite::{self, Db, Reason};

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// How long to wait for locks, and who may end the wait.
#[derive(Debug, Clone, Copy)]
pub struct Patience<'a> {
    /// How long a locked database is waited for.
    pub budget: Duration,
    /// Raised, it ends the wait.
    pub stop: &'a AtomicBool,
}

impl Patience<'_> {
    /// Runs `action` again and again while the database is locked.
    ///
    /// # Errors
    /// [`Error::Busy`] when the time is over, [`Error::Stopped`], whatever else `action` reports.
    pub(super) fn retry<T>(&self, action: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        self.retry_within(PAUSE_MAX, action)
    }

    fn retry_within<T>(
        &self,
        pause_max: Duration,
        mut action: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let source = match action() {
                Err(Error::Sqlite(error)) if is_busy(&error) => error,
                other => return other,
            };
            let waited = started.elapsed();
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            if waited >= self.budget {
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                return Err(Error::Busy { waited_ms, source });
            }
            std::thread::sleep(pause.min(self.budget.saturating_sub(waited)));
            pause = (pause * 2).min(pause_max);
        }
    }

    /// Begins a transaction that writes.
    ///
    /// # Errors
    /// [`Error::InTransaction`] when one is open already; those of [`Patience::retry`].
    pub(super) fn begin(&self, db: &Db) -> Result<(), Error> {
        if db.in_transaction() {
            return Err(Error::InTransaction);
        }
        self.retry(|| Ok(db.exec("BEGIN IMMEDIATE")?))
    }

    /// As [`Patience::begin`], for a short transaction beside a follower that is behind: it leaves
    /// others a moment between two of its own ([`MIRROR_GAP_MS`]), which must not be slept through.
    ///
    /// # Errors
    /// As [`Patience::begin`].
    pub(super) fn begin_eagerly(&self, db: &Db) -> Result<(), Error> {
        if db.in_transaction() {
            return Err(Error::InTransaction);
        }
        let pause = Duration::from_millis(MIRROR_GAP_MS) / 4;
        self.retry_within(pause, || Ok(db.exec("BEGIN IMMEDIATE")?))
    }

    /// Commits; rolls back when that fails.
    ///
    /// # Errors
    /// Those of [`Patience::retry`].
    pub(super) fn commit(&self, db: &Db) -> Result<(), Error> {
        // Readers of a database without a WAL can hold up a commit: the transaction stays open.
        let result = self.retry(|| Ok(db.exec("COMMIT")?));
        if result.is_err() {
            roll_back(db);
        }
        result
    }
}

fn is_busy(error: &sqlite::Error) -> bool {
    matches!(error.reason(), Reason::Busy | Reason::Locked)
}

/// Ends an open transaction, if SQLite has not done so by itself (full disk, I/O error).
pub(super) fn roll_back(db: &Db) {
    if db.in_transaction() {
        // What fails here fails again, with its own error, at the next BEGIN.
        let _ = db.exec("ROLLBACK");
    }
}
