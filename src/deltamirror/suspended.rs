//! Tables that stand still (`-on_error suspend`): a change could not be applied to them, and the
//! others go on. Where they stand is kept, so that nothing of them is lost: `retry` feeds them from
//! there.

use deltaflood::Lsn;

use super::status::now_us;
use super::{Error, format};
use crate::daystream::{Mark, Position};
use crate::sqlite::{Db, Value};

/// A table that stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended {
    /// Its name in SQLite.
    pub table: String,
    /// Everything up to here is applied to it.
    pub mark: Mark,
    /// Since when, microseconds since the Unix epoch.
    pub since: i64,
    /// The word of the error's code.
    pub reason: String,
    /// The error.
    pub message: String,
}

/// The tables that stand still, by name.
///
/// # Errors
/// [`Error::State`], [`Error::Sqlite`].
pub(super) fn list(db: &Db) -> Result<Vec<Suspended>, Error> {
    if format::version(db)? < Some(4) {
        return Ok(Vec::new());
    }
    let mut stmt = db.prepare(
        "SELECT name, clock, seq, lsn, chain, since, reason, message \
         FROM main._deltamirror_suspended ORDER BY name",
    )?;
    let mut list = Vec::new();
    while stmt.step()? {
        let text = |at| stmt.column(at).as_str().unwrap_or_default().to_owned();
        let int = |at| stmt.column(at).as_int();
        let table = text(0);
        let odd = || Error::State { what: format!("the place where table {table} stands still") };
        let position = Position {
            clock: int(1).ok_or_else(odd)?,
            seq: int(2).and_then(|seq| u64::try_from(seq).ok()).ok_or_else(odd)?,
        };
        let lsn: Lsn = text(3).parse().map_err(|_| odd())?;
        let chain = int(4).and_then(|chain| u32::try_from(chain).ok());
        let mark = Mark { position, lsn: Some(lsn).filter(|lsn| lsn.0 > 0), chain };
        let since = int(5).unwrap_or_default();
        list.push(Suspended { mark, since, reason: text(6), message: text(7), table });
    }
    Ok(list)
}

/// Notes that a table stands still, in place of an earlier note.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn note(
    db: &Db,
    table: &str,
    mark: Mark,
    reason: &str,
    message: &str,
) -> Result<(), Error> {
    let lsn = mark.lsn.unwrap_or(Lsn(0)).to_string();
    db.execute(
        "INSERT OR REPLACE INTO main._deltamirror_suspended \
         (name, clock, seq, lsn, chain, since, reason, message) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
        &[
            table.into(),
            mark.position.clock.into(),
            Value::Int(mark.position.seq as i64),
            lsn.as_str().into(),
            mark.chain.map_or(Value::Null, |chain| Value::Int(chain.into())),
            Value::Int(now_us()),
            reason.into(),
            message.into(),
        ],
    )?;
    Ok(())
}

/// A table that stands still has come on.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn move_to(db: &Db, table: &str, mark: Mark) -> Result<(), Error> {
    let lsn = mark.lsn.unwrap_or(Lsn(0)).to_string();
    db.execute(
        "UPDATE main._deltamirror_suspended SET clock = ?2, seq = ?3, lsn = ?4, chain = ?5 \
         WHERE name = ?1",
        &[
            table.into(),
            mark.position.clock.into(),
            Value::Int(mark.position.seq as i64),
            lsn.as_str().into(),
            mark.chain.map_or(Value::Null, |chain| Value::Int(chain.into())),
        ],
    )?;
    Ok(())
}

/// A table stands still no longer.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn lift(db: &Db, table: &str) -> Result<(), Error> {
    let sql = "DELETE FROM main._deltamirror_suspended WHERE name = ?1";
    db.execute(sql, &[table.into()])?;
    Ok(())
}
