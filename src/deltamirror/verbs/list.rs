//! The tables of a mirror: how far each is, and what changed in it.

use super::resync::added;
use super::{choose, mirror};
use crate::daystream::Position;
use crate::deltamirror::state::{self, TableStatus};
use crate::deltamirror::suspended::{self, Suspended};
use crate::deltamirror::{Error, Gone, Policy, Tally, format, gone, wanted};
use crate::sqlite::{Db, Value};

/// A table of the mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name in SQLite.
    pub table: String,
    /// Its name in PostgreSQL.
    pub source: String,
    /// How far its copy is.
    pub status: TableStatus,
    /// Where and why it stands still, if it does.
    pub suspended: Option<Suspended>,
    /// Why, and since when, it is in the stream no more.
    pub gone: Option<Gone>,
    /// What it does when its source is altered.
    pub policy: Policy,
    /// Columns that its source has no more and that something of the user's names.
    pub kept: Vec<String>,
    /// Rows copied.
    pub copied: i64,
    /// Another number whenever any row may be another one.
    pub touched: i64,
    /// Changes applied since the mirror was made.
    pub tally: Tally,
    /// Where the last of them stands.
    pub changed: Option<Position>,
}

/// The tables of the mirror, by name: those that are named, or all.
///
/// # Errors
/// [`Error::NotInitialised`], [`Error::NotMirrored`], [`Error::State`], [`Error::Sqlite`].
pub fn tables(db: &Db, names: &[String]) -> Result<Vec<Listed>, Error> {
    mirror(db)?;
    let (standing, left) = (suspended::list(db)?, gone::list(db)?);
    let counts = match format::version(db)? < Some(4) {
        true => "SELECT 0, 0, 0, 0, 0, NULL, NULL WHERE ?1 IS NOT NULL",
        false => {
            "SELECT touched, inserts, updates, deletes, truncates, changed_clock, changed_seq \
             FROM main._deltamirror_table WHERE name = ?1"
        }
    };
    let mut counts = db.prepare(counts)?;
    let mut list = Vec::new();
    for state in choose(state::tables(db)?, names)? {
        counts.reset();
        counts.bind(1, state.name.as_str().into())?;
        counts.step()?;
        let number = |at| counts.column(at).as_int().unwrap_or_default();
        let count = |at| u64::try_from(number(at)).unwrap_or_default();
        list.push(Listed {
            source: state.source.to_string(),
            status: state.status,
            suspended: standing.iter().find(|s| s.table == state.name).cloned(),
            gone: left.iter().find(|gone| gone.table == state.name).cloned(),
            policy: state.policy,
            kept: state.kept,
            copied: state.rows,
            touched: number(0),
            tally: Tally {
                inserts: count(1),
                updates: count(2),
                deletes: count(3),
                truncates: count(4),
            },
            changed: position(counts.column(5), counts.column(6)),
            table: state.name,
        });
    }
    Ok(list)
}

/// The tables that are wanted, or were added, and are not filled yet, as PostgreSQL calls them.
///
/// # Errors
/// [`Error::NotInitialised`], [`Error::Sqlite`].
pub fn missing(db: &Db) -> Result<Vec<String>, Error> {
    mirror(db)?;
    let mut missing = wanted::missing(db)?;
    missing.extend(added(db)?);
    missing.sort();
    missing.dedup();
    Ok(missing.iter().map(ToString::to_string).collect())
}

/// A position of two columns.
fn position(clock: Value<'_>, seq: Value<'_>) -> Option<Position> {
    Some(Position { clock: clock.as_int()?, seq: u64::try_from(seq.as_int()?).ok()? })
}
