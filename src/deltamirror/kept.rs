//! Rows that could not be applied and were kept (`-on_error keep`), in `_deltamirror_error`.

use deltaflood::Lsn;

use super::error::{BadRow, Error, Place};
use super::format;
use crate::daystream::Position;
use crate::sqlite::{Db, Value};

/// Keeps a row. Of a line that SQLite cannot store, as that of a value beyond its limit, only the
/// beginning. `before` is the `replace` line that says which row an update means; empty when there
/// was none.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn keep(db: &Db, row: &BadRow, before: &[u8], line: &[u8]) -> Result<(), Error> {
    let Place { position, lsn } = row.place;
    let lsn = lsn.map(|lsn| lsn.to_string());
    let kept = storable(db, line);
    let kept_before = storable(db, before);
    let message = match kept.len() < line.len() {
        true => format!("{} (the first {} of {} bytes)", row.message, kept.len(), line.len()),
        false => row.message.clone(),
    };
    let whole = kept.len() == line.len() && kept_before.len() == before.len();
    db.execute(
        "INSERT INTO main._deltamirror_error (clock, seq, lsn, table_name, key, reason, message, \
         line, before, whole) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
        &[
            position.clock.into(),
            Value::Int(position.seq as i64),
            lsn.as_deref().map_or(Value::Null, Value::from),
            row.table.as_str().into(),
            row.key.as_str().into(),
            row.reason.word().into(),
            message.as_str().into(),
            Value::Text(kept),
            Value::Text(kept_before),
            Value::Int(whole.into()),
        ],
    )?;
    Ok(())
}

/// The beginning of a line that fits, with the other columns, into a row of SQLite.
fn storable<'l>(db: &Db, line: &'l [u8]) -> &'l [u8] {
    let room = usize::try_from(db.length_limit() / 3).unwrap_or(usize::MAX);
    let Some(next) = line.get(room) else { return line };
    // Not in the middle of a character.
    let inside = |byte: &u8| byte & 0xc0 == 0x80;
    let begun = line.get(..room).unwrap_or_default();
    let back = match inside(next) {
        true => begun.iter().rev().take_while(|byte| inside(byte)).count().saturating_add(1),
        false => 0,
    };
    line.get(..room.saturating_sub(back)).unwrap_or_default()
}

/// Number of rows kept as not applied.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn count(db: &Db) -> Result<i64, Error> {
    let sql = "SELECT count(*) FROM main._deltamirror_error";
    Ok(db.query_int(sql, &[])?.unwrap_or(0))
}

/// A kept row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub id: i64,
    /// Where its line stands.
    pub position: Position,
    /// Commit LSN of its transaction.
    pub lsn: Option<Lsn>,
    /// The table's name in SQLite.
    pub table: String,
    /// The key, as `column=value` pairs.
    pub key: String,
    /// The word for why.
    pub reason: String,
    /// Why, in words.
    pub message: String,
    /// The change line; of one too long for SQLite the beginning.
    pub line: String,
    /// The `replace` line that says which row an update means; empty without one.
    pub before: String,
    /// Whether all of it is there: not of a line that was too long, nor of an update that an
    /// earlier version has kept, without the line before it.
    pub whole: bool,
}

/// Number and table of the kept rows, in the order in which they were kept.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn heads(db: &Db) -> Result<Vec<(i64, String)>, Error> {
    let mut stmt = db.prepare("SELECT id, table_name FROM main._deltamirror_error ORDER BY id")?;
    let mut heads = Vec::new();
    while stmt.step()? {
        let table = stmt.column(1).as_str().unwrap_or_default().to_owned();
        heads.push((stmt.column(0).as_int().unwrap_or_default(), table));
    }
    Ok(heads)
}

/// A kept row; `None` when there is none of this number.
///
/// # Errors
/// [`Error::Format`], [`Error::Sqlite`].
pub(super) fn get(db: &Db, id: i64) -> Result<Option<Kept>, Error> {
    let more = if format::version(db)? < Some(4) { "NULL, NULL" } else { "before, whole" };
    let mut stmt = db.prepare(&format!(
        "SELECT id, clock, seq, lsn, table_name, key, reason, message, line, {more} \
         FROM main._deltamirror_error WHERE id = ?1"
    ))?;
    stmt.bind(1, Value::Int(id))?;
    if !stmt.step()? {
        return Ok(None);
    }
    let text = |at| stmt.column(at).as_str().unwrap_or_default().to_owned();
    let int = |at| stmt.column(at).as_int().unwrap_or_default();
    let line = text(8);
    let whole = match stmt.column(10).as_int() {
        Some(whole) => whole == 1,
        None => !line.contains("\t_action\tupdate"),
    };
    Ok(Some(Kept {
        id,
        position: Position { clock: int(1), seq: int(2).unsigned_abs() },
        lsn: stmt.column(3).as_str().and_then(|lsn| lsn.parse().ok()),
        table: text(4),
        key: text(5),
        reason: text(6),
        message: text(7),
        before: text(9),
        whole: whole && !line.is_empty(),
        line,
    }))
}

/// Forgets a kept row: it is applied now, or thrown away.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn forget(db: &Db, id: i64) -> Result<(), Error> {
    db.execute("DELETE FROM main._deltamirror_error WHERE id = ?1", &[Value::Int(id)])?;
    Ok(())
}

/// A kept row could not be applied again, for another reason perhaps.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn explain(db: &Db, id: i64, reason: &str, message: &str) -> Result<(), Error> {
    let sql = "UPDATE main._deltamirror_error SET reason = ?2, message = ?3 WHERE id = ?1";
    db.execute(sql, &[Value::Int(id), reason.into(), message.into()])?;
    Ok(())
}
