//! A table that has another name, or is in another schema.

use super::{Modern, index};
use crate::deltamirror::state::{self, TableState};
use crate::deltamirror::trouble::Trouble;
use crate::schema::TableName;
use crate::schema::ddl::{self, RESERVED_PREFIX};
use crate::sqlite::{Db, quote_identifier};

/// A name that a table has while only the case of its name changes.
const BETWEEN: &str = "_deltamirror_renamed";

/// Gives the table the name that it has at the source now; the state too, in the file as well.
///
/// # Errors
/// [`Trouble::Drift`] where the file cannot have a table of that name, [`Trouble::Sqlite`].
pub(in crate::deltamirror) fn table(
    db: &Db,
    state: &mut TableState,
    source: TableName,
) -> Result<(), Trouble> {
    let old = state.name.clone();
    if old.starts_with(RESERVED_PREFIX) {
        // A copy that is not in its table's place yet.
        state.source = source;
        return Ok(());
    }
    let name = ddl::sqlite_name(&source);
    let folded = name.to_ascii_lowercase();
    if folded.starts_with("sqlite_") || folded.starts_with(RESERVED_PREFIX) {
        return Err(Trouble::Drift(format!(
            "its name is \"{source}\" now: names that begin with sqlite_ or _deltamirror_ are \
             reserved"
        )));
    }
    if name != old {
        let only_case = name.eq_ignore_ascii_case(&old);
        let sql = "SELECT count(*) FROM main.sqlite_master WHERE name = ?1 COLLATE NOCASE";
        let there = db.query_int(sql, &[name.as_str().into()]).map_err(Trouble::Sqlite)?;
        if !only_case && there != Some(0) {
            return Err(Trouble::Drift(format!(
                "its name is \"{source}\" now, and \"{name}\" is in the file already"
            )));
        }
        let _modern = Modern::begin(db).map_err(Trouble::Sqlite)?;
        let rename = |from: &str, to: &str| {
            let (from, to) = (quote_identifier(from), quote_identifier(to));
            db.exec(&format!("ALTER TABLE main.{from} RENAME TO {to}")).map_err(super::refused)
        };
        if only_case {
            rename(&old, BETWEEN)?;
            rename(BETWEEN, &name)?;
        } else {
            rename(&old, &name)?;
        }
        index::rename(db, &old, &name)?;
    }
    state.name = name;
    state.source = source;
    state::rename_table(db, &old, state).map_err(Trouble::of)
}
