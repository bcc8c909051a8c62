//! The shadow of a table that is reloaded: made, and put in the table's place.

use super::copy::Begun;
use super::due;
use super::feed::Feeding;
use crate::deltamirror::state::{self, TableState, TableStatus};
use crate::deltamirror::swap::{self, Mode, Put, Shadow};
use crate::deltamirror::{Error, copied, fill, wanted};
use crate::pg_sqlite::{self, TableName as Into};
use crate::schema::TableName;
use crate::sqlite::Db;

/// The shadow and what it is for.
pub(super) struct Made {
    pub(super) begun: Begun,
    pub(super) shadow: Shadow,
    pub(super) into: Into,
    pub(super) columns: Vec<pg_sqlite::Column>,
}

/// The table that is there, as the mirror knows it; `None` when there is none.
fn there(db: &Db, source: &TableName, name: &str) -> Result<Option<TableState>, Error> {
    let known = state::tables(db)?.into_iter().find(|t| t.name.eq_ignore_ascii_case(name));
    let sql = "SELECT count(*) FROM main.sqlite_master WHERE name = ?1 COLLATE NOCASE";
    let is_there = db.query_int(sql, &[name.into()])? != Some(0);
    match known {
        Some(known) if known.source != *source => {
            Err(Error::Schema(crate::schema::Error::TableCollision {
                first: known.source.to_string(),
                second: source.to_string(),
                sqlite_name: name.to_owned(),
            }))
        }
        None if is_there => Err(Error::TableExists { table: name.to_owned() }),
        known => Ok(known.filter(|_| is_there)),
    }
}

/// Makes the shadow, empty, with its indexes. In a transaction.
///
/// # Errors
/// [`Error::Own`] and others that hinder the table to be put in place later.
pub(super) fn make(db: &Db, begun: Begun, source: &TableName, name: &str) -> Result<Made, Error> {
    let table = &begun.published.table;
    let old = there(db, source, name)?;
    if let Some(old) = &old {
        swap::rehearse(db, table, name, Some(old))?;
    }
    let shadow = swap::make_shadow(db, table, name, old.as_ref())?;
    shadow.index(db)?;
    let into = Into { schema: Some("main".to_owned()), table: shadow.name.clone() };
    let columns = fill::columns(table);
    Ok(Made { begun, shadow, into, columns })
}

/// Puts the shadow in the table's place, and notes it. In a transaction.
///
/// # Errors
/// [`Error::Own`], [`Error::Sqlite`].
pub(super) fn put(
    db: &Db,
    source: &TableName,
    name: &str,
    feeding: Feeding<'_>,
    fill: Option<Mode>,
) -> Result<Put, Error> {
    let gone = || Error::Defect { what: "a shadow without a table".to_owned() };
    let mut new = feeding.into_state(name).ok_or_else(gone)?;
    // NOTE: where nothing is written any more, no transaction comes that would tell so.
    let snapshot = &new.snapshot;
    let is_past = state::stream(db)?.is_some_and(|stream| snapshot.lsn < stream.lsn);
    if snapshot.barrier.is_none() && is_past {
        new.status = TableStatus::Live;
    }
    let old = there(db, source, name)?;
    if let Some(old) = &old {
        copied::inherit(&mut new, old);
    }
    let mode = match &old {
        Some(old) => swap::mode(db, old, &new, fill)?,
        None => Mode::Replace,
    };
    let put = swap::put(db, name, old.as_ref(), mode)?;
    state::write_table(db, &new)?;
    state::has_new_rows(db, name)?;
    wanted::filled(db, source)?;
    due::forget(db, source)?;
    state::raise_generation(db)?;
    Ok(put)
}
