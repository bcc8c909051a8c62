//! What changed in each table: counted in memory, and written once for each SQLite transaction, in
//! the transaction that makes the changes.
//!
//! Readers of the file compare `touched`: it is another number when any row may be.

use std::sync::Arc;

use deltaflood::Verb;

use super::Error;
use crate::daystream::Position;
use crate::sqlite::{Db, Stmt, Value};

/// Changes of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Rows inserted.
    pub inserts: u64,
    /// Rows updated.
    pub updates: u64,
    /// Rows deleted, but for those of a truncate.
    pub deletes: u64,
    /// How often it was emptied as a whole.
    pub truncates: u64,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Tally) {
        self.inserts += other.inserts;
        self.updates += other.updates;
        self.deletes += other.deletes;
        self.truncates += other.truncates;
    }
}

/// A table and what changed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The table's name in SQLite.
    pub table: Arc<str>,
    /// The changes.
    pub tally: Tally,
}

/// Changes of one table that are not committed yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pending {
    pub(super) tally: Tally,
    /// Where the last of them stands.
    pub(super) last: Option<Position>,
}

impl Pending {
    /// Counts a change at a position.
    #[inline]
    pub(super) fn count(&mut self, verb: Verb, at: Position) {
        let counted = match verb {
            Verb::Insert => &mut self.tally.inserts,
            Verb::Update => &mut self.tally.updates,
            Verb::Delete => &mut self.tally.deletes,
            Verb::Truncate => &mut self.tally.truncates,
            Verb::Replace | Verb::Schema | Verb::Commit | Verb::Message => return,
        };
        *counted += 1;
        self.last = Some(at);
    }
}

/// Writes counts down, in a transaction that others have begun.
#[derive(Debug, Default)]
pub(super) struct Counter<'db> {
    update: Option<Stmt<'db>>,
}

impl<'db> Counter<'db> {
    /// Adds to the counts of a table in the file.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub(super) fn add(&mut self, db: &'db Db, table: &str, pending: &Pending) -> Result<(), Error> {
        let update = match &mut self.update {
            Some(update) => update,
            slot => slot.insert(db.prepare(
                "UPDATE main._deltamirror_table SET touched = touched + 1, \
                 inserts = inserts + ?2, updates = updates + ?3, deletes = deletes + ?4, \
                 truncates = truncates + ?5, changed_clock = coalesce(?6, changed_clock), \
                 changed_seq = coalesce(?7, changed_seq) WHERE name = ?1",
            )?),
        };
        let Pending { tally, last } = pending;
        update.execute(&[
            table.into(),
            Value::Int(tally.inserts as i64),
            Value::Int(tally.updates as i64),
            Value::Int(tally.deletes as i64),
            Value::Int(tally.truncates as i64),
            last.map_or(Value::Null, |last| last.clock.into()),
            last.map_or(Value::Null, |last| Value::Int(last.seq as i64)),
        ])?;
        Ok(())
    }
}
