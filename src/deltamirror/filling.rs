//! What a fill is asked for, and what it tells.

use std::time::Duration;

use super::Policy;
use super::swap::Mode;
use crate::limits;
use crate::schema::secondary::{Indexes, LeftOut};

/// What to fill, and how long to wait for others.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Tables as users write them; none means all that are in the stream's publication.
    pub tables: Vec<String>,
    /// Fill these tables anew also when they are there.
    pub resync: bool,
    /// How rows come into a table that is there; `None`: by difference where it has triggers.
    pub fill: Option<Mode>,
    /// Which of the source's secondary indexes these tables get; `None`: as before, or all.
    pub indexes: Option<Indexes>,
    /// How long to wait for a locked SQLite database.
    pub busy: Duration,
    /// How long to wait for transactions that wrote to the tables before.
    pub writers: Duration,
    /// What the tables do when their sources are altered; `None` leaves it as it is, and is
    /// [`Policy::Follow`] of a new table.
    pub policy: Option<Policy>,
}

impl Default for InitOptions {
    fn default() -> InitOptions {
        InitOptions {
            tables: Vec::new(),
            resync: false,
            fill: None,
            indexes: None,
            busy: Duration::from_millis(limits::MIRROR_BUSY_MS),
            writers: Duration::from_millis(limits::MIRROR_WRITERS_MS),
            policy: None,
        }
    }
}

/// What goes on during an init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Transactions that wrote to the tables before must end first.
    WaitingForWriters {
        /// How many.
        transactions: usize,
    },
    /// Rows of a table so far; every [`limits::MIRROR_PROGRESS_ROWS`].
    Rows {
        /// The table's name in SQLite.
        table: &'a str,
        /// Rows so far.
        rows: u64,
    },
    /// A table that is ready has taken the place of one with triggers, which have not fired.
    Unfired {
        /// The table's name in SQLite.
        table: &'a str,
        /// The triggers, by name.
        triggers: &'a [String],
    },
    /// Indexes of the source that the table does not have in SQLite.
    LeftOut {
        /// The table's name in SQLite.
        table: &'a str,
        /// The indexes, and why.
        indexes: &'a [LeftOut],
    },
    /// A table is ready.
    Ready {
        /// The table's name in SQLite.
        table: &'a str,
        /// Its rows.
        rows: u64,
    },
}

/// A table that was filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// Its name in SQLite.
    pub table: String,
    /// Rows copied.
    pub rows: u64,
    /// Rows of the table that were other ones, where only those were written.
    pub changed: Option<u64>,
}
