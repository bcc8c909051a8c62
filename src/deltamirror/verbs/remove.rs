//! Tables that leave a mirror.

use super::{change, named};
use crate::deltamirror::busy::Patience;
use crate::deltamirror::reload::due;
use crate::deltamirror::state::{self, TableState};
use crate::deltamirror::{Error, first_fill, indexes, wanted};
use crate::schema::ddl::{self, RESERVED_PREFIX};
use crate::sqlite::{Db, quote_identifier};

/// Takes tables out of the mirror, those that are wanted and not filled yet too. Neither the stream
/// nor PostgreSQL is needed. Unless `keep`, the tables of SQLite are dropped; with it they stay as
/// tables of the user's, without the mirror's indexes. A fill of all tables leaves them out from
/// now on. Returns their names in SQLite.
///
/// # Errors
/// [`Error::NotMirrored`]: then none is taken out; [`Error::NotInitialised`], [`Error::Busy`], ...
pub fn remove(
    db: &Db,
    names: &[String],
    keep: bool,
    patience: Patience<'_>,
) -> Result<Vec<String>, Error> {
    // A table that is dropped would take the rows with it that foreign keys of others join to it;
    // the setting is one that no transaction changes.
    let cascades = !keep && db.query_int("PRAGMA foreign_keys", &[])? == Some(1);
    if cascades && !db.in_transaction() {
        db.exec("PRAGMA foreign_keys = OFF")?;
    }
    let removed = change(db, patience, || in_transaction(db, names, keep));
    if cascades && !db.in_transaction() {
        db.exec("PRAGMA foreign_keys = ON")?;
    }
    removed
}

fn in_transaction(db: &Db, names: &[String], keep: bool) -> Result<Vec<String>, Error> {
    let states = state::tables(db)?;
    let missing = wanted::missing(db)?;
    let mut removed = Vec::new();
    for name in names {
        let state = states.iter().find(|s| named::is_meant(&s.source, &s.name, name));
        let missing = || {
            missing.iter().find(|source| named::is_meant(source, &ddl::sqlite_name(source), name))
        };
        let (source, table) = match (state, state.is_none().then(missing).flatten()) {
            (Some(TableState { source, name, .. }), _) => {
                take_out(db, name, keep)?;
                (source, name.clone())
            }
            (None, Some(source)) => (source, ddl::sqlite_name(source)),
            (None, None) => return Err(Error::NotMirrored { table: name.clone() }),
        };
        wanted::removed(db, source)?;
        due::forget(db, source)?;
        indexes::forget(db, source)?;
        removed.push(table);
    }
    if first_fill::goes_on(db)? && wanted::missing(db)?.is_empty() {
        first_fill::end(db)?;
    }
    state::raise_generation(db)?;
    Ok(removed)
}

/// Forgets a table, and drops what is the mirror's of it.
fn take_out(db: &Db, table: &str, keep: bool) -> Result<(), Error> {
    if keep {
        for index in own_indexes(db, table)? {
            db.exec(&format!("DROP INDEX main.{}", quote_identifier(&index)))?;
        }
    } else {
        let sql = "SELECT count(*) FROM main.sqlite_master WHERE type = 'table' AND name = ?1";
        // What has its name and is no table is not the mirror's.
        if db.query_int(sql, &[table.into()])? == Some(1) {
            db.exec(&format!("DROP TABLE main.{}", quote_identifier(table)))?;
        }
    }
    state::forget_table(db, table)
}

fn own_indexes(db: &Db, table: &str) -> Result<Vec<String>, Error> {
    let mut stmt = db.prepare(
        "SELECT name FROM main.sqlite_master WHERE type = 'index' AND sql IS NOT NULL \
         AND tbl_name = ?1 COLLATE NOCASE ORDER BY name",
    )?;
    stmt.bind(1, table.into())?;
    let mut names = Vec::new();
    while stmt.step()? {
        names.push(stmt.column(0).as_str().unwrap_or_default().to_owned());
    }
    names.retain(|name| name.starts_with(RESERVED_PREFIX));
    Ok(names)
}
