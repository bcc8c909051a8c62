//! The mirror's own indexes of a table that is altered.

use super::refused;
use crate::deltamirror::spread;
use crate::deltamirror::state::TableState;
use crate::deltamirror::trouble::Trouble;
use crate::schema::ddl::{self, Lookup, RESERVED_PREFIX};
use crate::schema::secondary;
use crate::sqlite::{self, Db, quote_identifier};

/// An index of the mirror's.
struct Index {
    name: String,
    unique: bool,
    columns: Vec<String>,
    /// Which of them descend.
    descending: Vec<bool>,
}

impl Index {
    /// It is for readers: one of the source's.
    fn is_secondary(&self) -> bool {
        self.name.starts_with(secondary::PREFIX)
    }
}

/// The indexes that the mirror made on a table.
fn ours(db: &Db, table: &str) -> Result<Vec<Index>, sqlite::Error> {
    let mut stmt = db.prepare(&format!("PRAGMA main.index_list({})", quote_identifier(table)))?;
    let mut list = Vec::new();
    while stmt.step()? {
        let name = stmt.column(1).as_str().unwrap_or_default().to_owned();
        if name.starts_with(RESERVED_PREFIX) {
            let unique = stmt.column(2).as_int() == Some(1);
            list.push(Index { name, unique, columns: Vec::new(), descending: Vec::new() });
        }
    }
    for index in &mut list {
        let sql = format!("PRAGMA main.index_xinfo({})", quote_identifier(&index.name));
        let mut stmt = db.prepare(&sql)?;
        while stmt.step()? {
            // What is not of the key is the row's own number or key.
            if stmt.column(5).as_int() == Some(1) {
                index.columns.push(stmt.column(2).as_str().unwrap_or_default().to_owned());
                index.descending.push(stmt.column(3).as_int() == Some(1));
            }
        }
    }
    Ok(list)
}

fn drop_index(db: &Db, name: &str) -> Result<(), sqlite::Error> {
    db.exec(&format!("DROP INDEX IF EXISTS main.{}", quote_identifier(name)))
}

/// Drops those of the mirror's indexes that have a column, which is about to go.
pub(super) fn drop_with(db: &Db, table: &str, column: &str) -> Result<(), Trouble> {
    for index in ours(db, table).map_err(Trouble::Sqlite)? {
        if index.columns.iter().any(|other| other == column) {
            drop_index(db, &index.name).map_err(Trouble::Sqlite)?;
        }
    }
    Ok(())
}

/// Gives the mirror's indexes of a table that was called `old` names after the table.
pub(super) fn rename(db: &Db, old: &str, table: &str) -> Result<(), Trouble> {
    for index in ours(db, table).map_err(Trouble::Sqlite)? {
        let Some(kind) = index.name.strip_suffix(old) else { continue };
        let unique = if index.unique { "UNIQUE " } else { "" };
        let name = quote_identifier(&format!("{kind}{table}"));
        let columns = index.columns.iter().zip(&index.descending);
        let columns: Vec<String> = columns.map(|(c, d)| secondary::part(c, *d)).collect();
        let columns = columns.join(", ");
        drop_index(db, &index.name).map_err(Trouble::Sqlite)?;
        let on = quote_identifier(table);
        let sql = format!("CREATE {unique}INDEX main.{name} ON {on} ({columns})");
        db.exec(&sql).map_err(Trouble::Sqlite)?;
    }
    Ok(())
}

/// Makes rows be found by `lookup`, where they were not before. `rowid` is a name of the row
/// number.
pub(in crate::deltamirror) fn by_identity(
    db: &Db,
    state: &TableState,
    lookup: &Lookup,
    rowid: Option<&str>,
) -> Result<(), Trouble> {
    let wanted = match lookup {
        Lookup::Key(columns) if *columns != state.primary_key => Some(columns),
        _ => None,
    };
    let name = format!("{RESERVED_PREFIX}identity_{}", state.name);
    let all = ours(db, &state.name).map_err(Trouble::Sqlite)?;
    let helps = all.iter().any(|index| !index.is_secondary());
    if let (Lookup::Row, Some(rowid), false) = (lookup, rowid, helps) {
        // What there was went with a column.
        let columns: Vec<String> =
            state.definition.columns.iter().map(|(name, _)| name.clone()).collect();
        let table = quote_identifier(&state.name);
        let sql = format!("SELECT max({rowid}) FROM main.{table}");
        let rows = db.query_int(&sql, &[]).map_err(Trouble::Sqlite)?.unwrap_or(0);
        return spread::index(db, &state.name, &columns, rowid, rows).map_err(Trouble::of);
    }
    let there = all.iter().find(|index| index.name == name).map(|index| &index.columns);
    if there == wanted {
        return Ok(());
    }
    db.exec(&ddl::drop_identity_index(&state.name)).map_err(Trouble::Sqlite)?;
    if let Some(columns) = wanted {
        db.exec(&ddl::identity_index(&state.name, columns)).map_err(refused)?;
    }
    Ok(())
}
