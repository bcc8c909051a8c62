//! A table that takes the place of another: the rows of a new copy in the place of the old ones, in
//! one SQLite transaction.
//!
//! The new copy is the table's shadow, `_deltamirror_new_NAME`: made empty ([`make_shadow`]),
//! filled by the caller however long that takes, and then put in the place of the table ([`put`]).
//! Readers see the old table or the new one, never none and never half. What hangs on the table:
//!
//! | what | stays, since |
//! |---|---|
//! | views, foreign keys, `sqlite_stat1`, triggers of others | they name it, and are not touched |
//! | its triggers | the same; by [`Mode::Difference`] they fire for what differs |
//! | its indexes | the shadow is made with them |
//! | the user's columns and constraints | so are these; values are taken over by key |
//!
//! What cannot stay, as a view of a column that is gone, is refused by name ([`Refused`]), by
//! [`rehearse`] before a row is copied. How tables change places is told in [`entries`].
//!
//! The old table is called `_deltamirror_old_NAME` then, for the caller to drop.

mod carry;
mod dependents;
mod difference;
mod entries;
pub(super) mod refused;
mod shadow;
mod text;

use self::dependents::Working;
pub use self::refused::Refused;
pub(super) use self::shadow::Shadow;
use super::Error;
use super::state::TableState;
use super::target::lookup;
use crate::schema::Table;
use crate::schema::ddl::RESERVED_PREFIX;
use crate::sqlite::{Db, quote_identifier};

/// How a shadow's rows come into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The shadow takes the table's place; no trigger fires.
    Replace,
    /// The rows that differ are deleted, updated and inserted in the table, so that its triggers
    /// fire for each.
    Difference,
}

impl Mode {
    /// Their words.
    pub const WORDS: [&str; 2] = ["replace", "difference"];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Replace => "replace",
            Mode::Difference => "difference",
        }
    }

    /// The one that a word stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Mode> {
        [Mode::Replace, Mode::Difference].into_iter().find(|mode| mode.word() == word)
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Put {
    /// The table that holds what is no longer needed, and is to be dropped.
    pub(super) left: Option<String>,
    /// Triggers of the table that have not heard of what changed.
    pub(super) unfired: Vec<String>,
    /// Rows that were deleted, updated or inserted, by [`Mode::Difference`].
    pub(super) changed: Option<u64>,
}

/// The name of what is to take the place of a table, or of an index.
pub(super) fn new_name(name: &str) -> String {
    format!("{RESERVED_PREFIX}new_{name}")
}

/// The name of what had it.
pub(super) fn old_name(name: &str) -> String {
    format!("{RESERVED_PREFIX}old_{name}")
}

/// Whether a column of the file is the user's.
fn is_own(state: &TableState, column: &str) -> bool {
    !state.definition.columns.iter().any(|(name, _)| name.eq_ignore_ascii_case(column))
}

/// The triggers of the table `name`, by name.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn triggers(db: &Db, name: &str) -> Result<Vec<String>, Error> {
    dependents::triggers(db, name)
}

/// Makes the shadow of `table`, empty and without its indexes, beside the one that `old` tells of;
/// `name` is the table's in SQLite. In a transaction.
///
/// # Errors
/// [`Error::Own`] for what the user made and it cannot have, [`Error::Schema`], [`Error::Sqlite`].
pub(super) fn make_shadow(
    db: &Db,
    table: &Table,
    name: &str,
    old: Option<&TableState>,
) -> Result<Shadow, Error> {
    shadow::make(db, table, name, old)
}

/// Puts an empty shadow in the place of the table, and takes all of it back: what would be refused
/// at the end is refused now. In a transaction.
///
/// # Errors
/// Those of [`make_shadow`], of its indexes, and of [`put`].
pub(super) fn rehearse(
    db: &Db,
    table: &Table,
    name: &str,
    old: Option<&TableState>,
) -> Result<(), Error> {
    db.exec("SAVEPOINT pgsqlite_rehearsal")?;
    let played = make_shadow(db, table, name, old)
        .and_then(|shadow| shadow.index(db))
        .and_then(|()| put(db, name, old, Mode::Replace).map(drop));
    db.exec("ROLLBACK TO pgsqlite_rehearsal; RELEASE pgsqlite_rehearsal")?;
    played
}

/// How the shadow's rows are to come into the table: as `asked`; without that by difference where
/// triggers want to hear of it. Always by replacing where the mirror's columns, or what rows are
/// found by, are others now.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn mode(
    db: &Db,
    old: &TableState,
    new: &TableState,
    asked: Option<Mode>,
) -> Result<Mode, Error> {
    let wanted = match asked {
        Some(mode) => mode,
        None if triggers(db, &old.name)?.is_empty() => Mode::Replace,
        None => Mode::Difference,
    };
    let fits = shadow::have_same_columns(db, old, &new_name(&old.name))?
        && lookup(old) == lookup(new)
        && old.primary_key == new.primary_key;
    Ok(if fits { wanted } else { Mode::Replace })
}

/// Puts the shadow in the place of the table called `name`, of which `old` tells; of none, if there
/// is none. All or nothing, in a transaction of the caller's.
///
/// [`Mode::Difference`] needs the shadow to have the mirror's columns that the table has.
///
/// # Errors
/// [`Error::Own`] for what cannot stay, [`Error::State`], [`Error::Sqlite`].
pub(super) fn put(db: &Db, name: &str, old: Option<&TableState>, mode: Mode) -> Result<Put, Error> {
    db.atomically(|| {
        let (shadow, retired) = (new_name(name), old_name(name));
        if let (Some(old), Mode::Difference) = (old, mode) {
            let changed = Some(difference::apply(db, old, &shadow)?);
            return Ok(Put { left: Some(shadow), unfired: Vec::new(), changed });
        }
        let works = Working::look(db)?;
        if let Some(old) = old {
            carry::carry(db, old, &shadow)?;
        }
        db.exec(&format!("DROP TABLE IF EXISTS main.{}", quote_identifier(&retired)))?;
        // The mirror's own indexes are called after their table, the user's before it was.
        let made = |index: &str| match index.strip_suffix(shadow.as_str()) {
            Some(kind) if !kind.is_empty() => format!("{kind}{name}"),
            _ => index.strip_prefix(new_name("").as_str()).unwrap_or(index).to_owned(),
        };
        entries::exchange(db, [name, &shadow, &retired], &made, &old_name)?;
        works.check(db, name)?;
        let unfired = dependents::triggers(db, name)?;
        Ok(Put { left: old.map(|_| retired), unfired, changed: None })
    })
}

#[cfg(test)]
mod tests;
