//! Which tables of a mirror a user means.

use std::collections::BTreeSet;

use crate::deltamirror::Error;
use crate::deltamirror::state::TableState;
use crate::schema::TableName;

/// Whether a table of the source, called `sqlite` in the file, is meant by `name`: as users write
/// it, or as it is called in SQLite.
pub(super) fn is_meant(source: &TableName, sqlite: &str, name: &str) -> bool {
    sqlite == name
        || source.is_plainly(name)
        || TableName::parse(name).is_ok_and(|parsed| parsed == *source)
}

/// The tables of the mirror that are meant, in its order; all when none is named.
///
/// # Errors
/// [`Error::NotMirrored`].
pub(in crate::deltamirror) fn choose(
    states: Vec<TableState>,
    names: &[String],
) -> Result<Vec<TableState>, Error> {
    if names.is_empty() {
        return Ok(states);
    }
    let mut chosen = BTreeSet::new();
    for name in names {
        let Some(state) = states.iter().find(|s| is_meant(&s.source, &s.name, name)) else {
            return Err(Error::NotMirrored { table: name.clone() });
        };
        chosen.insert(state.name.clone());
    }
    Ok(states.into_iter().filter(|state| chosen.contains(&state.name)).collect())
}
