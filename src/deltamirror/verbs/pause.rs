//! Nothing is applied for a while: readers see one state as long as it is needed, or somebody makes
//! room.

use super::change;
use crate::deltamirror::busy::Patience;
use crate::deltamirror::status::now_us;
use crate::deltamirror::{Error, format, state};
use crate::sqlite::{Db, Value};

/// From now on nothing is applied, by those who follow or will, until [`resume`]. What comes
/// meanwhile stays in the stream. Returns false when the mirror was paused already.
///
/// # Errors
/// [`Error::NotInitialised`], [`Error::Busy`], [`Error::InTransaction`].
pub fn pause(db: &Db, patience: Patience<'_>) -> Result<bool, Error> {
    change(db, patience, || {
        if is_paused(db)? {
            return Ok(false);
        }
        let sql = "INSERT INTO main._deltamirror_paused (since) VALUES (?1)";
        db.execute(sql, &[Value::Int(now_us())])?;
        state::raise_generation(db)?;
        Ok(true)
    })
}

/// Ends a pause; returns false when there was none.
///
/// # Errors
/// [`Error::NotInitialised`], [`Error::Busy`], [`Error::InTransaction`].
pub fn resume(db: &Db, patience: Patience<'_>) -> Result<bool, Error> {
    change(db, patience, || {
        if !is_paused(db)? {
            return Ok(false);
        }
        db.exec("DELETE FROM main._deltamirror_paused")?;
        state::raise_generation(db)?;
        Ok(true)
    })
}

/// Whether the mirror is paused.
///
/// # Errors
/// [`Error::Format`], [`Error::Sqlite`].
pub(in crate::deltamirror) fn is_paused(db: &Db) -> Result<bool, Error> {
    if format::version(db)? < Some(4) {
        return Ok(false);
    }
    let sql = "SELECT count(*) FROM main._deltamirror_paused";
    Ok(db.query_int(sql, &[])?.is_some_and(|rows| rows > 0))
}
