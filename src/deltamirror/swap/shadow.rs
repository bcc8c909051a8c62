//! The empty table that is to take a table's place: as the mirror makes it, with what the user
//! added to the one that is there.
//!
//! Columns that are as the mirror would make them keep the user's text (a collation, a CHECK), so
//! do the constraints, the user's own columns, `WITHOUT ROWID` and `STRICT`. The user's indexes are
//! made with it, before there is a row: so no statement ever sorts a large table while changes
//! wait.

use super::refused::{Kind, Refused};
use super::text::{self, Parts};
use super::{is_own, new_name};
use crate::deltamirror::state::TableState;
use crate::deltamirror::{Error, indexes};
use crate::schema::Table;
use crate::schema::ddl::{self, RESERVED_PREFIX};
use crate::schema::secondary::{LeftOut, secondary};
use crate::sqlite::{Db, quote_identifier, quote_text};

/// A column, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    declared: String,
    not_null: bool,
    /// Its place in the primary key, from 1; 0 for none.
    key: i64,
    pub(super) is_generated: bool,
}

impl Column {
    fn is_like(&self, other: &Column) -> bool {
        self.declared.eq_ignore_ascii_case(&other.declared)
            && (self.not_null, self.key) == (other.not_null, other.key)
    }
}

/// The columns of a table; none where there is no such table.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn columns(db: &Db, table: &str) -> Result<Vec<Column>, Error> {
    let sql = format!("PRAGMA main.table_xinfo({})", quote_identifier(table));
    let mut stmt = db.prepare(&sql)?;
    let mut list = Vec::new();
    while stmt.step()? {
        let text = |column| stmt.column(column).as_str().unwrap_or_default().to_owned();
        let int = |column| stmt.column(column).as_int().unwrap_or_default();
        list.push(Column {
            name: text(1),
            declared: text(2),
            not_null: int(3) != 0,
            key: int(5),
            is_generated: int(6) > 1,
        });
    }
    Ok(list)
}

/// Whether a table and its shadow have the same columns of the mirror's.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn have_same_columns(db: &Db, old: &TableState, shadow: &str) -> Result<bool, Error> {
    let of = |table: &str| -> Result<Vec<Column>, Error> {
        let mut list = columns(db, table)?;
        list.retain(|column| !is_own(old, &column.name));
        Ok(list)
    };
    let (was, is) = (of(&old.name)?, of(shadow)?);
    // All others of the shadow are the user's, which it was made with.
    let as_many = columns(db, &old.name)?.len() == columns(db, shadow)?.len();
    let like = |was: &Column, is: &Column| was.name == is.name && was.is_like(is);
    Ok(as_many && was.len() == is.len() && was.iter().zip(&is).all(|(was, is)| like(was, is)))
}

/// A shadow, and the indexes that it is to have.
#[derive(Debug)]
pub(in crate::deltamirror) struct Shadow {
    /// Its name.
    pub(in crate::deltamirror) name: String,
    /// The table whose place it takes.
    table: String,
    /// Statements, each with the user's index that it is for.
    indexes: Vec<(String, Option<String>)>,
    /// Indexes of the source that it cannot have.
    pub(in crate::deltamirror) left_out: Vec<LeftOut>,
    /// It has an index of the mirror's for whole rows.
    pub(in crate::deltamirror) has_rows_index: bool,
}

impl Shadow {
    /// Makes its indexes. In a transaction.
    ///
    /// # Errors
    /// [`Error::Own`] for one of the user's that cannot be made, [`Error::Sqlite`].
    pub(in crate::deltamirror) fn index(&self, db: &Db) -> Result<(), Error> {
        for (sql, own) in &self.indexes {
            match (db.exec(sql), own) {
                (Ok(()), _) => {}
                (Err(error), Some(name)) => {
                    let error = error.to_string();
                    return Err(Refused::new(&self.table, Kind::Index, name, &error).into());
                }
                (Err(error), None) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Makes the empty table for `table`, which is called `name` in SQLite, beside the one that `old`
/// tells of, if there is one. One that a killed process has left is removed. In a transaction.
///
/// # Errors
/// [`Error::Own`] for what the user made and the new table cannot have, [`Error::Schema`],
/// [`Error::Sqlite`].
pub(super) fn make(
    db: &Db,
    table: &Table,
    name: &str,
    old: Option<&TableState>,
) -> Result<Shadow, Error> {
    let shadow = new_name(name);
    let drop = format!("DROP TABLE IF EXISTS main.{}", quote_identifier(&shadow));
    db.exec(&drop)?;
    let statements = ddl::statements_as(table, &shadow)?;
    let (create, indexes) = statements.split_at(1.min(statements.len()));
    let create = create.first().map(String::as_str).unwrap_or_default();
    db.exec(create)?;
    let secondary = secondary(table, &shadow, indexes::wanted(db, &table.name)?);
    let made_by_mirror = indexes.iter().chain(&secondary.statements);
    let mut made = Shadow {
        table: name.to_owned(),
        indexes: made_by_mirror.map(|sql| (sql.clone(), None)).collect(),
        left_out: secondary.left_out,
        has_rows_index: !indexes.is_empty(),
        name: shadow,
    };
    let Some(old) = old else { return Ok(made) };
    let fresh = columns(db, &made.name)?;
    let text = composed(db, create, &fresh, old, &made.name)?;
    db.exec(&drop)?;
    db.exec(&text).map_err(|error| {
        Error::from(Refused::new(&old.name, Kind::Table, "", &error.to_string()))
    })?;
    users_indexes(db, old, &mut made, &fresh)?;
    Ok(made)
}

/// The text of the table, from that of the mirror and that of the one that is there.
fn composed(
    db: &Db,
    create: &str,
    fresh: &[Column],
    old: &TableState,
    shadow: &str,
) -> Result<String, Error> {
    let odd = |what: &str| Error::State { what: format!("the text of table {} {what}", old.name) };
    let sql =
        "SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    let there = db.query_text(sql, &[old.name.as_str().into()])?;
    let there = there.ok_or_else(|| odd("is gone"))?;
    let mut parts = text::parts(create).ok_or_else(|| odd("is odd"))?;
    let Parts { columns: texts, constraints, tail } =
        text::parts(&there).ok_or_else(|| odd("is odd"))?;
    let had = columns(db, &old.name)?;
    let text_of = |name: &str| {
        let found = texts.iter().find(|(column, _)| column.eq_ignore_ascii_case(name));
        found.map(|(_, text)| text.clone())
    };
    let key = |list: &[Column]| {
        let mut key: Vec<Column> = list.iter().filter(|c| c.key > 0).cloned().collect();
        key.sort_by_key(|column| column.key);
        key
    };
    let (key_was, key_is) = (key(&had), key(fresh));
    let same_key = key_was.len() == key_is.len()
        && key_was.iter().zip(&key_is).all(|(was, is)| was.name == is.name && was.is_like(is));
    for (name, text) in &mut parts.columns {
        let (was, is) =
            (had.iter().find(|c| c.name == *name), fresh.iter().find(|c| c.name == *name));
        let (Some(was), Some(is)) = (was, is) else { continue };
        if was.is_like(is) && (is.key == 0 || same_key) {
            *text = text_of(name).unwrap_or_else(|| text.clone());
        }
    }
    for column in had.iter().filter(|column| is_own(old, &column.name)) {
        if fresh.iter().any(|c| c.name.eq_ignore_ascii_case(&column.name)) {
            // A column that the source had once, and has again.
            if old.kept.contains(&column.name) {
                continue;
            }
            let detail = "the source has a column of that name now";
            return Err(Refused::new(&old.name, Kind::Column, &column.name, detail).into());
        }
        let text = text_of(&column.name).ok_or_else(|| odd("is odd"))?;
        parts.columns.push((column.name.clone(), text));
    }
    parts.constraints.retain(|constraint| !(same_key && text::is_primary_key(constraint)));
    let kept = |constraint: &&String| same_key || !text::is_primary_key(constraint);
    parts.constraints.extend(constraints.iter().filter(kept).cloned());
    parts.tail = tail;
    Ok(parts.table(&format!("main.{}", quote_identifier(shadow))))
}

/// The user's indexes, under names of their own, and the mirror's one for whole rows, whose columns
/// were chosen by rows.
fn users_indexes(
    db: &Db,
    old: &TableState,
    shadow: &mut Shadow,
    fresh: &[Column],
) -> Result<(), Error> {
    let rows = format!("{RESERVED_PREFIX}rows_{}", old.name);
    for (name, sql) in of_table(db, &old.name)? {
        let is_rows = name == rows && !shadow.has_rows_index;
        if name.starts_with(RESERVED_PREFIX) && !is_rows {
            continue;
        }
        let into = match is_rows {
            true => format!("{RESERVED_PREFIX}rows_{}", shadow.name),
            false => new_name(&name),
        };
        let sql = text::index_as(&sql, "main.", &into, &shadow.name);
        let sql = sql.ok_or_else(|| Error::State { what: format!("the text of index {name}") })?;
        if is_rows {
            let mut info = db.prepare(&format!("PRAGMA main.index_info({})", quote_text(&name)))?;
            let mut there = true;
            while info.step()? {
                let column = info.column(2).as_str().unwrap_or_default().to_owned();
                there &= fresh.iter().any(|c| c.name == column);
            }
            if !there {
                continue;
            }
            shadow.has_rows_index = true;
        }
        shadow.indexes.push((sql, (!is_rows).then_some(name)));
    }
    Ok(())
}

/// Names and texts of the indexes of a table that a statement made.
fn of_table(db: &Db, table: &str) -> Result<Vec<(String, String)>, Error> {
    let sql = format!(
        "SELECT name, sql FROM main.sqlite_master WHERE type = 'index' AND sql IS NOT NULL \
         AND tbl_name = {} COLLATE NOCASE ORDER BY rowid",
        quote_text(table)
    );
    let mut stmt = db.prepare(&sql)?;
    let mut list = Vec::new();
    while stmt.step()? {
        let text = |column| stmt.column(column).as_str().unwrap_or_default().to_owned();
        list.push((text(0), text(1)));
    }
    Ok(list)
}
