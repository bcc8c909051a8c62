//! The entries of `sqlite_schema` of two tables, which change places.
//!
//! SQLite's manual ("Making Other Kinds Of Table Schema Changes") has two ways to give a table
//! another form. The first drops the old one and renames the new one: with `foreign_keys` on the
//! drop deletes rows of other tables, triggers go with it, views fail to be renamed unless
//! `legacy_alter_table` is on, indexes cannot be renamed and have to be sorted again, and what
//! ANALYZE found is gone. The second writes names into the table of the schema itself. That is done
//! here, and only with names: each table keeps the pages that it has. What names the table (views,
//! triggers, foreign keys of others, statistics) names the other one from then on, untouched.
//!
//! The manual's conditions: in one transaction, with the number of the schema raised at the end, so
//! that every connection reads it again.

use super::refused::{Kind, Refused};
use super::text;
use crate::deltamirror::Error;
use crate::sqlite::{self, Db, Reason, Value};

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    rowid: i64,
    is_table: bool,
    name: String,
    sql: Option<String>,
}

/// The entries of a table and its indexes, the table's first.
fn of(db: &Db, table: &str) -> Result<Vec<Entry>, sqlite::Error> {
    let mut stmt = db.prepare(
        "SELECT rowid, type = 'table', name, sql FROM main.sqlite_master \
         WHERE type IN ('table', 'index') AND tbl_name = ?1 COLLATE NOCASE \
         ORDER BY type = 'index', rowid",
    )?;
    stmt.bind(1, table.into())?;
    let mut found = Vec::new();
    while stmt.step()? {
        found.push(Entry {
            rowid: stmt.column(0).as_int().unwrap_or_default(),
            is_table: stmt.column(1).as_int() == Some(1),
            name: stmt.column(2).as_str().unwrap_or_default().to_owned(),
            sql: stmt.column(3).as_str().map(str::to_owned),
        });
    }
    Ok(found)
}

/// The entry under other names: of the table, and of an index by `index`, from its name.
fn renamed(
    entry: &Entry,
    from: &str,
    to: &str,
    index: &dyn Fn(&str) -> String,
) -> Result<Entry, Error> {
    let odd = || Error::State { what: format!("the text of \"{}\" is odd", entry.name) };
    let (name, sql) = match &entry.sql {
        _ if entry.is_table => {
            let sql = entry.sql.as_deref().and_then(|sql| text::table_as(sql, to));
            (to.to_owned(), Some(sql.ok_or_else(odd)?))
        }
        Some(sql) => {
            let name = index(&entry.name);
            let sql = text::index_as(sql, "", &name, to).ok_or_else(odd)?;
            (name, Some(sql))
        }
        // Made by SQLite for a constraint: called after its table, with a number behind.
        None => {
            let number = entry.name.rsplit('_').next().unwrap_or_default();
            debug_assert!(entry.name.len() == format!("sqlite_autoindex_{from}_{number}").len());
            (format!("sqlite_autoindex_{to}_{number}"), None)
        }
    };
    Ok(Entry { name, sql, ..entry.clone() })
}

/// Writes an entry, which had the row number `was`.
fn write(db: &Db, was: i64, entry: &Entry, table: &str) -> Result<(), Error> {
    db.execute(
        "UPDATE main.sqlite_master SET rowid = ?2, name = ?3, tbl_name = ?4, sql = ?5 \
         WHERE rowid = ?1",
        &[
            was.into(),
            entry.rowid.into(),
            entry.name.as_str().into(),
            table.into(),
            entry.sql.as_deref().map_or(Value::Null, Value::from),
        ],
    )?;
    Ok(())
}

/// Gives the table `shadow` the name `table`, and the one that had it, if there was one, the name
/// `retired`. `made` is the name of an index of the shadow from then on, `put_away` of one of the
/// other. In a transaction.
///
/// # Errors
/// [`Error::Own`] where the connection does not allow it, [`Error::State`], [`Error::Sqlite`].
pub(super) fn exchange(
    db: &Db,
    [table, shadow, retired]: [&str; 3],
    made: &dyn Fn(&str) -> String,
    put_away: &dyn Fn(&str) -> String,
) -> Result<(), Error> {
    let (old, new) = (of(db, table)?, of(db, shadow)?);
    let Some(Entry { is_table: true, .. }) = new.first() else {
        return Err(Error::State { what: format!("table \"{shadow}\" is gone") });
    };
    let last = db.query_int("SELECT max(rowid) FROM main.sqlite_master", &[])?.unwrap_or_default();
    let _writable = Writable::begin(db, table)?;
    // NOTE: SQLite reads the entries in the order of their rows, a table's before those of its
    // indexes and triggers. So the new one takes the row of the old one, before the triggers.
    for (entry, rowid) in old.iter().zip(last + 1..) {
        let entry_now = Entry { rowid, ..renamed(entry, table, retired, put_away)? };
        write(db, entry.rowid, &entry_now, retired)?;
    }
    for (at, entry) in new.iter().enumerate() {
        let mut entry_now = renamed(entry, shadow, table, made)?;
        if let (0, Some(old)) = (at, old.first()) {
            entry_now.rowid = old.rowid;
        }
        write(db, entry.rowid, &entry_now, table)?;
    }
    let version = db.query_int("PRAGMA main.schema_version", &[])?.unwrap_or_default();
    db.exec(&format!("PRAGMA main.schema_version = {}", (version + 1) & 0x7fff_ffff))?;
    // This connection reads it again, too.
    db.exec("PRAGMA writable_schema = RESET")?;
    // NOTE: a change that SQLite knows as one: by it the schema in memory is given up with the
    // transaction when that is rolled back.
    db.exec("CREATE TABLE main._deltamirror_swap (x); DROP TABLE main._deltamirror_swap")?;
    Ok(())
}

/// The table of the schema can be written, as long as this lives.
struct Writable<'db>(&'db Db);

impl<'db> Writable<'db> {
    fn begin(db: &'db Db, table: &str) -> Result<Writable<'db>, Error> {
        db.exec("PRAGMA writable_schema = ON")?;
        let writable = Writable(db);
        // NOTE: in defensive mode the pragma says yes, and is without effect.
        match db.exec("UPDATE main.sqlite_master SET name = name WHERE FALSE") {
            Ok(()) => Ok(writable),
            Err(error) if error.reason() == Reason::Error => {
                Err(Refused::new(table, Kind::Defensive, "", "").into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        let _ = self.0.exec("PRAGMA writable_schema = OFF");
    }
}
