//! What other processes ask of whoever follows, in `_deltamirror_request`: so far that a place is
//! written down as soon as it is known, which costs a write, and so is otherwise done now and then.
//!
//! Who follows looks when the file was changed by others, which SQLite tells without reading it.

use super::status::now_us;
use super::{Error, format};
use crate::sqlite::{Db, Stmt, Value};

/// A request lasts so long at most, in microseconds: one whose asker was killed is over by itself.
pub(super) const LASTS_US: i64 = 30_000_000;

/// Asks that places be written down at once; the asker waits for `what`. Returns the number under
/// which it is withdrawn.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn ask(db: &Db, what: &str) -> Result<i64, Error> {
    let now = now_us();
    let sql = "DELETE FROM main._deltamirror_request WHERE expires_at < ?1";
    db.execute(sql, &[Value::Int(now)])?;
    db.execute(
        "INSERT INTO main._deltamirror_request (verb, arguments, asked_at, expires_at) \
         VALUES ('wait', ?1, ?2, ?3)",
        &[what.into(), Value::Int(now), Value::Int(now + LASTS_US)],
    )?;
    Ok(db.last_insert_rowid())
}

/// Withdraws a request.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn withdraw(db: &Db, id: i64) -> Result<(), Error> {
    db.execute("DELETE FROM main._deltamirror_request WHERE id = ?1", &[Value::Int(id)])?;
    Ok(())
}

/// Until when places are wanted, microseconds since the Unix epoch; 0 when nobody asks.
///
/// # Errors
/// [`Error::Sqlite`].
fn wanted_until(db: &Db) -> Result<i64, Error> {
    if format::version(db)? < Some(4) {
        return Ok(0);
    }
    let sql = "SELECT max(expires_at) FROM main._deltamirror_request WHERE verb = 'wait'";
    Ok(db.query_int(sql, &[])?.unwrap_or(0))
}

/// Looks what others have changed.
#[derive(Debug, Default)]
pub(super) struct Watch<'db> {
    version: Option<Stmt<'db>>,
    seen: Option<i64>,
    wanted_until: i64,
}

impl<'db> Watch<'db> {
    /// Whether another connection has changed the file since this was last asked; true at first.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub(super) fn is_changed(&mut self, db: &'db Db) -> Result<bool, Error> {
        let stmt = match &mut self.version {
            Some(stmt) => stmt,
            slot => slot.insert(db.prepare("PRAGMA main.data_version")?),
        };
        stmt.reset();
        let there = stmt.step()?;
        let now = stmt.column(0).as_int().filter(|_| there);
        stmt.reset();
        let changed = now.is_none() || now != self.seen;
        if changed {
            self.wanted_until = wanted_until(db)?;
        }
        self.seen = now;
        Ok(changed)
    }

    /// What was seen is of no use: the next look says that there is something new.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }

    /// Whether somebody waits for a place, by the last look.
    pub(super) fn is_awaited(&self) -> bool {
        self.wanted_until > 0 && now_us() < self.wanted_until
    }
}
