//! Tables that are in the stream no more: dropped at their source, or taken out of what is sent.
//!
//! The stream tells it by a `schema` line with `_gone`. The mirror keeps the table and its rows, as
//! they were, until somebody takes it out (`remove`). One that is sent again is not the same: what
//! changed in its rows meanwhile was not sent.

use deltaflood::{Change, Lsn};

use super::error::Place;
use super::reload::due;
use super::state;
use super::target::Target;
use super::trouble::Trouble;
use super::{Error, format};
use crate::daystream::Position;
use crate::schema::ddl::RESERVED_PREFIX;
use crate::sqlite::{Db, Value};

/// The table as the format's step makes it.
pub(super) const CREATE: &str = "CREATE TABLE main._deltamirror_gone (
  name TEXT PRIMARY KEY NOT NULL, why TEXT NOT NULL, oid INTEGER, xid INTEGER,
  clock INTEGER NOT NULL, seq INTEGER NOT NULL, lsn TEXT NOT NULL, since INTEGER NOT NULL)";

/// Why a table is reloaded that is sent again, or stops.
const BACK: &str =
    "it was not sent for a while, and is sent again: what changed in its rows meanwhile was not";

/// A table that is in the stream no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its name in SQLite.
    pub table: String,
    /// `dropped` or `unpublished`.
    pub why: String,
    /// Where the stream tells it.
    pub position: Position,
    /// End of that transaction; `None` when the stream does not tell.
    pub lsn: Option<Lsn>,
    /// When the capture wrote that, microseconds since the Unix epoch.
    pub since_us: i64,
    /// The transaction that told it: what is sent of an earlier one came before.
    pub(super) xid: Option<u32>,
    /// The table's object id.
    oid: Option<u32>,
}

/// The tables, by name; none in a file of an earlier format.
///
/// # Errors
/// [`Error::State`], [`Error::Sqlite`].
pub(super) fn list(db: &Db) -> Result<Vec<Gone>, Error> {
    if format::version(db)? < Some(9) {
        return Ok(Vec::new());
    }
    let mut stmt = db.prepare(
        "SELECT name, why, oid, xid, clock, seq, lsn, since FROM main._deltamirror_gone \
         ORDER BY name",
    )?;
    let mut list = Vec::new();
    while stmt.step()? {
        let text = |at| stmt.column(at).as_str().unwrap_or_default().to_owned();
        let int = |at| stmt.column(at).as_int();
        let table = text(0);
        let odd = || Error::State { what: format!("where the stream told that {table} is gone") };
        let position = Position {
            clock: int(4).ok_or_else(odd)?,
            seq: int(5).and_then(|seq| u64::try_from(seq).ok()).ok_or_else(odd)?,
        };
        let lsn: Lsn = text(6).parse().map_err(|_| odd())?;
        list.push(Gone {
            why: text(1),
            oid: int(2).and_then(|oid| u32::try_from(oid).ok()),
            xid: int(3).and_then(|xid| u32::try_from(xid).ok()),
            position,
            lsn: Some(lsn).filter(|lsn| lsn.0 > 0),
            since_us: int(7).unwrap_or_default(),
            table,
        });
    }
    Ok(list)
}

/// Notes that a table is in the stream no more, in place of an earlier note.
fn note(db: &Db, gone: &Gone) -> Result<(), Error> {
    let number = |number: Option<u32>| number.map_or(Value::Null, |n| Value::Int(n.into()));
    db.execute(
        "INSERT OR REPLACE INTO main._deltamirror_gone \
         (name, why, oid, xid, clock, seq, lsn, since) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
        &[
            gone.table.as_str().into(),
            gone.why.as_str().into(),
            number(gone.oid),
            number(gone.xid),
            gone.position.clock.into(),
            Value::Int(gone.position.seq as i64),
            gone.lsn.unwrap_or(Lsn(0)).to_string().as_str().into(),
            gone.since_us.into(),
        ],
    )?;
    Ok(())
}

/// The table is sent again, or is in the mirror no more.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn forget(db: &Db, table: &str) -> Result<(), Error> {
    let sql = "DELETE FROM main._deltamirror_gone WHERE name = ?1";
    db.execute(sql, &[table.into()])?;
    Ok(())
}

/// The rows of a table are a new copy's: what the stream told before that copy is over, and what it
/// told of another table of the name.
///
/// # Errors
/// [`Error::State`], [`Error::Sqlite`].
pub(super) fn copied(db: &Db, table: &str) -> Result<(), Error> {
    let Some(gone) = list(db)?.into_iter().find(|gone| gone.table == table) else { return Ok(()) };
    let state = state::tables(db)?.into_iter().find(|state| state.name == table);
    let is_of_it = state.is_some_and(|state| {
        let same = state.definition.oid.zip(gone.oid).is_none_or(|(is, was)| is == was);
        same && gone.lsn.is_some_and(|lsn| lsn > state.snapshot.lsn)
    });
    if is_of_it { Ok(()) } else { forget(db, table) }
}

/// Tells tables which of them are gone, as the file says.
///
/// # Errors
/// [`Error::State`], [`Error::Sqlite`].
pub(super) fn mark(db: &Db, targets: &mut [Target<'_>]) -> Result<(), Error> {
    for gone in list(db)? {
        if let Some(target) = targets.iter_mut().find(|t| t.state.name == gone.table) {
            target.gone = Some(gone);
        }
    }
    Ok(())
}

/// Takes a `schema` line that the table's copy does not hold; true when the file's schema is
/// another one then. `reloads`: what the stream does not tell can be had otherwise.
pub(super) fn or_define(
    db: &Db,
    target: &mut Target<'_>,
    place: Place,
    change: &Change<'_>,
    reloads: bool,
) -> Result<bool, Trouble> {
    match take(db, target, place, change)? {
        true => Ok(false),
        false => target.define(change, reloads),
    }
}

/// Takes a `schema` line that tells that a table is gone, or that it is back; false: it tells
/// neither.
///
/// # Errors
/// [`Trouble::Drift`]: it is back.
fn take(
    db: &Db,
    target: &mut Target<'_>,
    place: Place,
    change: &Change<'_>,
) -> Result<bool, Trouble> {
    let state = &target.state;
    let is_another = change.oid.zip(state.definition.oid).is_some_and(|(now, was)| now != was);
    if let Some(why) = change.gone() {
        // NOTE: of a table that will be copied, its copy tells which one of the name it is. A copy
        // that is not in its table's place yet is no table.
        let is_unsure = target.is_due && state.definition.oid.is_none();
        if !is_another && !is_unsure && !state.name.starts_with(RESERVED_PREFIX) {
            let gone = Gone {
                table: state.name.clone(),
                why: why.as_str().to_owned(),
                position: place.position,
                lsn: place.lsn,
                since_us: place.position.clock.saturating_mul(1_000_000),
                xid: change.xid,
                oid: change.oid.or(state.definition.oid),
            };
            note(db, &gone).map_err(Trouble::of)?;
            target.gone = Some(gone);
        }
        return Ok(true);
    }
    let Some(gone) = target.gone.as_ref().filter(|_| !is_another) else { return Ok(false) };
    // NOTE: a transaction that has written before a publication let go of the table may end later:
    // that is sent, and nothing between is missing.
    let is_later = |(now, then): (u32, u32)| now.wrapping_sub(then).cast_signed() > 0;
    if !change.xid.zip(gone.xid).is_none_or(is_later) {
        return Ok(false);
    }
    forget(db, &state.name).map_err(Trouble::of)?;
    target.gone = None;
    if !target.is_due {
        return Err(Trouble::Drift(BACK.to_owned()));
    }
    // A copy that goes on may be older than what was not sent.
    due::ask(db, &target.state.source, BACK).map_err(Trouble::of)?;
    Ok(true)
}
