//! Rows that were kept as not applied: what they are, and away with them.

use super::{Declined, change, mirror, named};
use crate::deltamirror::busy::Patience;
use crate::deltamirror::{Error, kept, state};
use crate::sqlite::Db;

pub use crate::deltamirror::kept::Kept;

/// Which of the kept rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those of these tables, as users write them or as they are called in SQLite.
    Tables(Vec<String>),
    /// Those of these numbers.
    Ids(Vec<i64>),
}

/// The kept rows, in the order in which they were kept; `limit` of them at most.
///
/// # Errors
/// [`Error::NotInitialised`], [`Declined::NotKept`], [`Error::Sqlite`].
pub fn errors(db: &Db, which: &Which, limit: usize) -> Result<Vec<Kept>, Error> {
    mirror(db)?;
    let mut rows = Vec::new();
    for id in chosen(db, which)?.into_iter().take(limit) {
        rows.extend(kept::get(db, id)?);
    }
    Ok(rows)
}

/// Throws kept rows away; returns how many.
///
/// # Errors
/// As [`errors`], and [`Error::Busy`].
pub fn discard(db: &Db, which: &Which, patience: Patience<'_>) -> Result<u64, Error> {
    change(db, patience, || {
        let ids = chosen(db, which)?;
        for id in &ids {
            kept::forget(db, *id)?;
        }
        Ok(ids.len() as u64)
    })
}

/// The numbers of the rows that are meant. A table that is in the mirror no longer is called as in
/// SQLite.
pub(super) fn chosen(db: &Db, which: &Which) -> Result<Vec<i64>, Error> {
    let mut rows = kept::heads(db)?;
    match which {
        Which::All => {}
        Which::Tables(names) => {
            let states = state::tables(db)?;
            rows.retain(|(_, table)| {
                let state = states.iter().find(|state| state.name == *table);
                names.iter().any(|name| match state {
                    Some(state) => named::is_meant(&state.source, &state.name, name),
                    None => table == name,
                })
            });
        }
        Which::Ids(ids) => {
            if let Some(id) = ids.iter().find(|id| rows.iter().all(|row| row.0 != **id)) {
                let file = db.file().unwrap_or_default().display().to_string();
                return Err(Declined::NotKept { id: *id, file }.into());
            }
            rows.retain(|row| ids.contains(&row.0));
        }
    }
    Ok(rows.into_iter().map(|(id, _)| id).collect())
}
