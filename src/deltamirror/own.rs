//! Indexes and triggers that the user made on a mirrored table: they are there again when the table
//! was filled anew.
//!
//! The handle may be the user's own, with a temporary table of the same name: each statement says
//! that it means the file's.

use super::Error;
use crate::schema::ddl::RESERVED_PREFIX;
use crate::sqlite::Db;

/// A statement that made something of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    /// `index` or `trigger`.
    kind: String,
    name: String,
    sql: String,
}

/// What the user made on a table.
///
/// # Errors
/// [`Error::InTheWay`] for a temporary trigger, which would go with the table; [`Error::Sqlite`].
pub(super) fn of(db: &Db, table: &str) -> Result<Vec<Own>, Error> {
    let mut stmt = db.prepare(
        "SELECT name FROM temp.sqlite_master WHERE type = 'trigger' \
         AND tbl_name = ?1 COLLATE NOCASE",
    )?;
    stmt.bind(1, table.into())?;
    if stmt.step()? {
        let trigger = stmt.column(0).as_str().unwrap_or_default().to_owned();
        return Err(Error::InTheWay { table: table.to_owned(), trigger });
    }
    let mut stmt = db.prepare(
        "SELECT type, name, sql FROM main.sqlite_master \
         WHERE type IN ('index', 'trigger') AND tbl_name = ?1 COLLATE NOCASE \
           AND sql IS NOT NULL ORDER BY type, rowid",
    )?;
    stmt.bind(1, table.into())?;
    let mut found = Vec::new();
    while stmt.step()? {
        let text = |column| stmt.column(column).as_str().unwrap_or_default().to_owned();
        let own = Own { kind: text(0), name: text(1), sql: text(2) };
        if !own.name.starts_with(RESERVED_PREFIX) {
            found.push(own);
        }
    }
    Ok(found)
}

/// Makes it again, on the table that is there now.
///
/// # Errors
/// [`Error::Own`] when that cannot be, as of a column that is gone.
pub(super) fn make(db: &Db, table: &str, own: &[Own]) -> Result<(), Error> {
    for Own { kind, name, sql } in own {
        db.exec(&in_main(sql)).map_err(|source| Error::Own {
            kind: kind.clone(),
            name: name.clone(),
            table: table.to_owned(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// The statement, for the file's own schema: without a schema a temporary table of the name is
/// meant, if there is one. SQLite keeps these statements with one beginning, and the name bare.
fn in_main(sql: &str) -> String {
    let begins = ["CREATE INDEX ", "CREATE UNIQUE INDEX ", "CREATE TRIGGER "];
    let rest = begins.iter().find_map(|begin| Some((begin, sql.strip_prefix(begin)?)));
    rest.map_or_else(|| sql.to_owned(), |(begin, rest)| format!("{begin}main.{rest}"))
}
