//! What a follower tells of itself.

use std::sync::Arc;

use deltaflood::Lsn;

use crate::daystream::Position;
use crate::deltamirror::Error;
use crate::deltamirror::reload::Told;
use crate::deltamirror::tally::Touched;
#[allow(unused_imports, reason = "a link in the text")]
use crate::limits;

/// What a follower tells.
#[derive(Debug)]
pub enum Event {
    /// Transactions became visible in SQLite.
    Applied {
        /// Where the mirror is now.
        position: Position,
        /// End of the last commit.
        lsn: Lsn,
        /// Transactions since the last such event.
        transactions: u64,
        /// Changes since the last such event.
        changes: u64,
        /// Rows kept as not applied since the last such event.
        errors: u64,
        /// The tables that were changed, and how.
        tables: Vec<Touched>,
    },
    /// A failure that may pass; it is tried again after a pause.
    Retrying {
        /// The failure.
        error: Error,
        /// The pause, in milliseconds.
        pause_ms: u64,
    },
    /// After [`Event::Retrying`], it goes on.
    Resumed {
        /// Where the mirror is now.
        position: Position,
        /// End of the last commit.
        lsn: Lsn,
    },
    /// A table stands still from now on, the others go on.
    Suspended {
        /// Its name in SQLite.
        table: String,
        /// Why.
        error: Arc<Error>,
    },
    /// Something that the user should know of; it goes on.
    Warning {
        /// In words.
        message: String,
    },
    /// A table is copied again, or for the first time, while the mirror goes on.
    Reloading {
        /// Its name in SQLite.
        table: String,
        /// Why, in words.
        reason: String,
    },
    /// Rows of it so far; about every [`limits::MIRROR_PROGRESS_ROWS`].
    Copying {
        /// Its name in SQLite.
        table: String,
        /// Rows.
        rows: u64,
    },
    /// The new copy is in place.
    Reloaded {
        /// Its name in SQLite.
        table: String,
        /// Rows copied.
        rows: u64,
        /// Triggers of the table that have not fired for what is different now.
        unfired: Vec<String>,
        /// Rows that were other ones, where only those were written.
        changed: Option<u64>,
    },
    /// Something hinders it; it is tried again after a pause, and the mirror goes on.
    ReloadWaits {
        /// The table's name in SQLite.
        table: String,
        /// What hinders it.
        error: Error,
        /// The pause, in milliseconds.
        pause_ms: u64,
    },
    /// The thread has ended: stopped when asked to, or by an error.
    Ended {
        /// The error.
        error: Option<Error>,
    },
}

/// Hears events, on the follower's thread: it must be quick.
pub type OnEvent = Box<dyn Fn(Event) + Send>;

impl From<Told<'_>> for Event {
    fn from(told: Told<'_>) -> Event {
        let own = str::to_owned;
        match told {
            Told::Begun { table, reason } => {
                Event::Reloading { table: own(table), reason: own(reason) }
            }
            Told::Rows { table, rows } => Event::Copying { table: own(table), rows },
            Told::Done { table, rows, put } => Event::Reloaded {
                table: own(table),
                rows,
                unfired: put.unfired.clone(),
                changed: put.changed,
            },
            Told::Hindered { table, error, pause } => Event::ReloadWaits {
                table: own(table),
                error,
                pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            },
        }
    }
}
