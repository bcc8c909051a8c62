//! Rows that could not be applied and were kept (`-on_error keep`), in `_deltamirror_error`.

use super::error::{BadRow, Error, Place};
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
