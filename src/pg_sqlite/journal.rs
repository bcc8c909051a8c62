//! When an import takes the WAL away from the database for its while: see
//! [`crate::sqlite::WithoutWal`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::pump::Batches;
use super::{Import, Result, Target, table};
use crate::limits::{IMPORT_WAL_BATCHES, IMPORT_WAL_BATCHES_MS};
use crate::sqlite::{Db, WithoutWal, quote_identifier};

/// Batches of which the first ones may have been read already.
pub(super) struct Primed<'b, B> {
    batches: &'b mut B,
    /// What `batches` gave before it was asked for.
    waiting: VecDeque<Result<Option<Batch>>>,
}

impl<'b, B: Batches> Primed<'b, B> {
    pub(super) fn new(batches: &'b mut B) -> Self {
        Primed { batches, waiting: VecDeque::new() }
    }

    /// Are there `count` batches, and soon? Reads until it is known; whatever comes, the batches
    /// before it are handed out first.
    fn has(&mut self, count: usize) -> bool {
        let started = Instant::now();
        while self.waiting.len() < count {
            // A source as slow as this is not held up by the WAL, and its rows should be seen.
            if started.elapsed() > Duration::from_millis(IMPORT_WAL_BATCHES_MS) {
                return false;
            }
            let next = self.batches.next(Batch::default());
            let more = matches!(next, Ok(Some(_)));
            self.waiting.push_back(next);
            if !more {
                return false;
            }
        }
        true
    }
}

impl<B: Batches> Batches for Primed<'_, B> {
    fn next(&mut self, spent: Batch) -> Result<Option<Batch>> {
        match self.waiting.pop_front() {
            Some(next) => next,
            None => self.batches.next(spent),
        }
    }
}

/// Locks the database and takes its WAL away, if that is asked for. Unless told, it is done where
/// it pays and where nobody can miss the database: for more than a few batches, into one that holds
/// nothing yet and that nobody else has open. Where it cannot be done the import goes on with the
/// WAL.
pub(super) fn without_wal<'db, B: Batches>(
    import: &Import<'_>,
    db: &'db Db,
    batches: &mut Primed<'_, B>,
) -> Option<WithoutWal<'db>> {
    let schema = match &import.target {
        Target::Create(name) => name.schema.clone().unwrap_or_else(|| "main".to_owned()),
        Target::Into(name) => table::schema_of(db, name).ok()?,
        Target::Statement(_) => return None,
    };
    match import.exclusive {
        Some(false) => None,
        Some(true) => WithoutWal::begin(db, &schema),
        // Who commits parts wants others to see them.
        None if import.commit_every.is_some() => None,
        None => {
            let holds_nothing = || is_empty(db, &schema).unwrap_or(false);
            if db.in_transaction() || !holds_nothing() || !batches.has(IMPORT_WAL_BATCHES) {
                return None;
            }
            // Asked again under the lock.
            WithoutWal::begin(db, &schema).filter(|_| holds_nothing())
        }
    }
}

fn is_empty(db: &Db, schema: &str) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {}.sqlite_schema LIMIT 1", quote_identifier(schema));
    Ok(db.query_int(&sql, &[])?.is_none())
}
