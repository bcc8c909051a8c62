//! What a file says of its mirror.

use super::Options;
use crate::deltamirror::busy::roll_back;
use crate::deltamirror::reload::due;
use crate::deltamirror::state::{self, StreamState};
use crate::deltamirror::tables::{OnError, Tables};
use crate::deltamirror::{Error, check, suspended, verbs, wanted};
use crate::sqlite::Db;

/// What a file says of its mirror.
pub(super) struct Loaded<'db> {
    pub(super) schema: i64,
    pub(super) stream: StreamState,
    pub(super) tables: Tables<'db>,
    pub(super) paused: bool,
}

/// Reads it, all of one moment: others may take a table out, or alter it.
pub(super) fn load<'db>(db: &'db Db, options: Options) -> Result<Loaded<'db>, Error> {
    let alone = !db.in_transaction();
    if alone {
        db.exec("BEGIN")?;
    }
    let loaded = loaded(db, options);
    if alone {
        roll_back(db);
    }
    loaded
}

fn loaded<'db>(db: &'db Db, options: Options) -> Result<Loaded<'db>, Error> {
    // Before the tables are looked at: what changes meanwhile is seen at the next transaction.
    let schema = check::schema_version(db)?;
    let stream = verbs::mirror(db)?;
    wanted::check(db, &stream.stream)?;
    let due = due::list(db)?;
    // NOTE: with `suspend` one table holds up no other, whatever it waits for.
    if !options.reloads && options.on_error != OnError::Suspend {
        due::check(&due)?;
    }
    let standing = suspended::list(db)?;
    let mut states = state::tables(db)?;
    states.retain(|state| standing.iter().all(|suspended| suspended.table != state.name));
    let mut tables = Tables::new(db, states, options.on_error)?;
    // For one who cannot reload, a table that is asked for is one as the others.
    let due: Vec<_> = due.into_iter().filter(|due| due.is_stale || options.reloads).collect();
    tables.set_due(&due);
    tables.reloads = options.reloads;
    Ok(Loaded { schema, stream, tables, paused: verbs::is_paused(db)? })
}
