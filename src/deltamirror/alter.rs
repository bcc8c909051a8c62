//! A mirrored table altered in place, as its source was: in the SQLite transaction in hand, so that
//! readers see the table of before with its rows, then that of after.
//!
//! What the user made stays: SQLite carries indexes, triggers and views through a rename. A column
//! that one of them names cannot be dropped: it stays in the file, is NULL from then on, and the
//! mirror's state says so. What cannot be done is refused before anything of it is.

mod column;
mod index;
mod literal;
mod rename;

use super::definition::{Definition, Step};
use super::state::{self, TableState};
use super::trouble::Trouble;
use crate::sqlite::{self, Db, quote_identifier};

pub(super) use index::by_identity;
pub(super) use rename::table;

/// What a table in the file is altered by.
pub(super) struct Alter<'a> {
    db: &'a Db,
    state: &'a mut TableState,
}

/// Takes `steps`, which lead to the definition `now`; the state is that of the table afterwards,
/// in the file too.
///
/// # Errors
/// [`Trouble::Drift`] for what cannot be done in place, in words; [`Trouble::Sqlite`]. The
/// transaction is then to be rolled back.
pub(super) fn take(
    db: &Db,
    state: &mut TableState,
    steps: &[Step],
    now: Definition,
) -> Result<(), Trouble> {
    column::check_names(db, state, &now)?;
    let _modern = Modern::begin(db)?;
    let mut alter = Alter { db, state };
    for step in steps {
        if let Step::Drop { column } = step {
            alter.drop_column(column)?;
        }
    }
    let renames: Vec<(&str, &str)> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Rename { from, to } => Some((from.as_str(), to.as_str())),
            _ => None,
        })
        .collect();
    alter.rename_columns(&renames)?;
    for step in steps {
        if let Step::Add { column, value, .. } = step {
            alter.add_column(column, now.base_type(column), value.as_deref())?;
        }
    }
    if let Some(details) = &now.details {
        state.base_types = details.types.iter().map(|kind| kind.base).collect();
    }
    state.definition = now;
    state::write_shape(db, state).map_err(Trouble::of)
}

/// While it lives, ALTER TABLE looks at views and triggers, whatever the connection's owner has
/// set.
struct Modern<'a> {
    db: &'a Db,
    legacy: bool,
}

impl<'a> Modern<'a> {
    fn begin(db: &'a Db) -> Result<Modern<'a>, sqlite::Error> {
        let legacy = db.query_int("PRAGMA legacy_alter_table", &[])? == Some(1);
        if legacy {
            db.exec("PRAGMA legacy_alter_table = OFF")?;
        }
        Ok(Modern { db, legacy })
    }
}

impl Drop for Modern<'_> {
    fn drop(&mut self) {
        if self.legacy {
            // It was set before, so that it can be set.
            let _ = self.db.exec("PRAGMA legacy_alter_table = ON");
        }
    }
}

impl Alter<'_> {
    fn quoted(&self) -> String {
        format!("main.{}", quote_identifier(&self.state.name))
    }

    /// Runs a statement that alters the table. What SQLite says against it is something of the
    /// user's that does not fit any more.
    fn alter(&self, what: &str) -> Result<(), Trouble> {
        let sql = format!("ALTER TABLE {} {what}", self.quoted());
        self.db.exec(&sql).map_err(refused)
    }
}

/// SQLite's refusal in words; what has to do with locks, space and the like stays what it is.
fn refused(error: sqlite::Error) -> Trouble {
    match error.reason() {
        sqlite::Reason::Error | sqlite::Reason::Constraint | sqlite::Reason::TooBig => {
            Trouble::Drift(format!("SQLite cannot follow: {error}"))
        }
        _ => Trouble::Sqlite(error),
    }
}
