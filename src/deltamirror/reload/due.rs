//! Tables that are to be reloaded: what the file says of them.
//!
//! A row of `_deltamirror_reload` is a table whose rows have to be copied again, or for the first
//! time. It is there from the transaction that asks for it to the one that puts the new copy in
//! place; what becomes of a reload in between is in memory only, but for the mark of the one who
//! makes it. Asked for again meanwhile, the mark goes, and the reload begins again.

use crate::deltamirror::status::now_us;
use crate::deltamirror::swap::Mode;
use crate::deltamirror::{Error, format};
use crate::error::{Class, Code, Coded};
use crate::schema::TableName;
use crate::schema::ddl;
use crate::sqlite::{Db, Value};

/// The table as the format's step makes it.
pub(in crate::deltamirror) const CREATE: &str = "CREATE TABLE main._deltamirror_reload (
  source_schema TEXT NOT NULL, source_table TEXT NOT NULL, reason TEXT NOT NULL,
  asked_at INTEGER NOT NULL, stale INTEGER NOT NULL, maker TEXT, rows INTEGER NOT NULL DEFAULT 0,
  passed_over INTEGER NOT NULL DEFAULT 0, code TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '', PRIMARY KEY (source_schema, source_table))";

/// A table that is to be reloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its name in PostgreSQL.
    pub source: TableName,
    /// Why, in words.
    pub reason: String,
    /// When it was asked for, microseconds since the Unix epoch.
    pub asked_us: i64,
    /// The rows that are there are not followed rightly any more.
    pub is_stale: bool,
    /// How the rows are to come into the table, where that was asked for.
    pub fill: Option<Mode>,
    /// Somebody is at it.
    pub is_begun: bool,
    /// Rows copied so far.
    pub rows: i64,
    /// Lines of the stream that the table of before could not take.
    pub passed_over: i64,
    /// The code of what hindered it last, as a Tcl list; empty: nothing did.
    pub code: String,
    /// The same in words.
    pub message: String,
}

impl Due {
    /// Its name in SQLite.
    #[must_use]
    pub fn name(&self) -> String {
        ddl::sqlite_name(&self.source)
    }
}

/// Asks for a table to be reloaded, in the caller's transaction: the stream does not tell what has
/// become of its rows. Until that is done its rows are those of before, lines that do not fit it
/// are passed over, and nobody follows into the file who cannot reload. A table that is not in the
/// mirror yet is added. A reload that goes on begins again.
///
/// # Errors
/// [`Error::Sqlite`].
pub(in crate::deltamirror) fn ask(db: &Db, table: &TableName, reason: &str) -> Result<(), Error> {
    note(db, table, reason, true, None)
}

/// Asks for a table to be copied again, or added, though nothing is wrong with what is there: as
/// when the stream gives a reason, but others may follow it as before. In the caller's transaction,
/// if there is one; the follower takes it up within its next look at the stream.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn request(db: &Db, table: &TableName, reason: &str) -> Result<(), Error> {
    request_by(db, table, reason, None)
}

/// As [`request`]; `fill` says how the rows come into the table.
///
/// # Errors
/// [`Error::Sqlite`].
pub(in crate::deltamirror) fn request_by(
    db: &Db,
    table: &TableName,
    reason: &str,
    fill: Option<Mode>,
) -> Result<(), Error> {
    note(db, table, reason, false, fill)
}

fn note(
    db: &Db,
    table: &TableName,
    reason: &str,
    is_stale: bool,
    fill: Option<Mode>,
) -> Result<(), Error> {
    db.execute(
        "INSERT INTO main._deltamirror_reload (source_schema, source_table, reason, asked_at, \
         stale, fill) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (source_schema, source_table) DO UPDATE SET reason = ?3, asked_at = ?4, \
         stale = max(stale, ?5), fill = coalesce(?6, fill), maker = NULL, rows = 0",
        &[
            table.schema.as_str().into(),
            table.table.as_str().into(),
            reason.into(),
            now_us().into(),
            i64::from(is_stale).into(),
            fill.map_or(Value::Null, |fill| fill.word().into()),
        ],
    )?;
    Ok(())
}

/// The tables, in the order in which they were asked for; none in a file of an earlier format.
///
/// # Errors
/// [`Error::Format`], [`Error::Sqlite`].
pub(in crate::deltamirror) fn list(db: &Db) -> Result<Vec<Due>, Error> {
    if format::version(db)? < Some(5) {
        return Ok(Vec::new());
    }
    let fill = if format::version(db)? < Some(8) { "NULL" } else { "fill" };
    let mut stmt = db.prepare(&format!(
        "SELECT source_schema, source_table, reason, asked_at, stale, maker IS NOT NULL, rows, \
         passed_over, code, message, {fill} FROM main._deltamirror_reload ORDER BY asked_at, 1, 2"
    ))?;
    let mut due = Vec::new();
    while stmt.step()? {
        let text = |column| stmt.column(column).as_str().unwrap_or_default().to_owned();
        let int = |column| stmt.column(column).as_int().unwrap_or_default();
        due.push(Due {
            source: TableName::new(text(0), text(1)),
            reason: text(2),
            asked_us: int(3),
            is_stale: int(4) != 0,
            fill: Mode::from_word(&text(10)),
            is_begun: int(5) != 0,
            rows: int(6),
            passed_over: int(7),
            code: text(8),
            message: text(9),
        });
    }
    Ok(due)
}

/// Changes the row of a table; false where it is not there, or `maker` is not at it any more.
fn set(
    db: &Db,
    table: &TableName,
    set: &str,
    values: &[Value<'_>],
    maker: Option<&str>,
) -> Result<bool, Error> {
    let mut all = vec![table.schema.as_str().into(), table.table.as_str().into()];
    all.push(maker.map_or(Value::Null, Value::from));
    all.extend_from_slice(values);
    let sql = format!(
        "UPDATE main._deltamirror_reload SET {set} WHERE source_schema = ?1 \
         AND source_table = ?2 AND (?3 IS NULL OR maker = ?3)"
    );
    Ok(db.execute(&sql, &all)? == 1)
}

/// Somebody is at it from now on: `maker` is used once.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn begin(db: &Db, table: &TableName, maker: &str) -> Result<bool, Error> {
    set(db, table, "maker = ?4, rows = 0", &[maker.into()], None)
}

/// Rows so far; false where somebody else is at it now, or it is not to be done any more.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn go_on(db: &Db, table: &TableName, maker: &str, rows: u64) -> Result<bool, Error> {
    set(db, table, "rows = ?4", &[Value::Int(rows as i64)], Some(maker))
}

/// What hinders it.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn hindered(db: &Db, table: &TableName, error: &Error) -> Result<(), Error> {
    let (code, message) = (error.code().list(), error.report());
    let values = [code.as_str().into(), message.as_str().into()];
    set(db, table, "maker = NULL, rows = 0, code = ?4, message = ?5", &values, None).map(drop)
}

/// Counts lines that the table of before could not take: from then on it is behind.
///
/// # Errors
/// [`Error::Sqlite`].
pub(in crate::deltamirror) fn passed_over(
    db: &Db,
    table: &TableName,
    lines: u64,
) -> Result<(), Error> {
    let lines = [Value::Int(lines as i64)];
    set(db, table, "passed_over = passed_over + ?4, stale = 1", &lines, None).map(drop)
}

/// It is done, or not to be done any more.
///
/// # Errors
/// [`Error::Sqlite`].
pub(in crate::deltamirror) fn forget(db: &Db, table: &TableName) -> Result<(), Error> {
    db.execute(
        "DELETE FROM main._deltamirror_reload WHERE source_schema = ?1 AND source_table = ?2",
        &[table.schema.as_str().into(), table.table.as_str().into()],
    )?;
    Ok(())
}

/// Refuses a mirror one of whose tables is not followed rightly until it is reloaded, to one who
/// cannot do that.
///
/// # Errors
/// [`Error::Due`], [`Error::Sqlite`].
pub(in crate::deltamirror) fn check(due: &[Due]) -> Result<(), Error> {
    match due.iter().find(|due| due.is_stale) {
        None => Ok(()),
        Some(due) => Err(Error::Due(Box::new(due.clone()))),
    }
}

impl Due {
    /// An error code with these details.
    pub(in crate::deltamirror) fn error_code(&self, code: Code) -> Code {
        code.with("table", self.name())
    }

    /// The class of the error that this is for one who cannot reload.
    pub(in crate::deltamirror) const CLASS: Class = Class::Drift;
}

impl std::fmt::Display for Due {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name();
        write!(
            f,
            "table {name} waits for a new copy, since {}: follow with a connection to PostgreSQL, \
             which copies it (`deltamirror run -conninfo ... -db ... -stream ...`), or fill it by \
             {}",
            self.reason,
            crate::advice::filling(&name)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_again_begins_again() {
        crate::sqlite::testing::load().unwrap();
        let db = Db::open_in_memory().unwrap();
        assert_eq!(list(&db).unwrap(), []);
        format::create(&db).unwrap();
        let (t, u) = (TableName::new("public", "t"), TableName::new("s", "u"));
        request(&db, &t, "because").unwrap();
        check(&list(&db).unwrap()).unwrap();
        assert!(begin(&db, &t, "m1").unwrap() && !begin(&db, &u, "m1").unwrap());
        assert!(go_on(&db, &t, "m1", 7).unwrap() && !go_on(&db, &t, "m2", 8).unwrap());
        let due = list(&db).unwrap();
        assert_eq!((due[0].rows, due[0].is_begun, due[0].is_stale), (7, true, false));
        ask(&db, &t, "a column has come").unwrap();
        assert!(!go_on(&db, &t, "m1", 9).unwrap());
        let due = list(&db).unwrap();
        assert_eq!((due[0].rows, due[0].is_begun, due[0].is_stale), (0, false, true));
        let error = check(&due).unwrap_err();
        assert_eq!((error.code().reason, error.class()), ("RELOAD", Class::Drift));
        assert!(error.to_string().contains("since a column has come"), "{error}");
        // What was asked for by a person stays stale once it is.
        request(&db, &t, "asked").unwrap();
        hindered(&db, &t, &Error::Standby).unwrap();
        passed_over(&db, &t, 3).unwrap();
        let due = list(&db).unwrap();
        assert_eq!((due[0].passed_over, due[0].is_stale), (3, true));
        assert!(due[0].code.contains("STANDBY") && !due[0].message.is_empty());
        forget(&db, &t).unwrap();
        assert_eq!(list(&db).unwrap(), []);
    }
}
