//! The SQLite tables of a schema.
//!
//! Names: a table of schema `public` keeps its name, any other is called `schema.table`, as one
//! identifier with the dot in it (`SELECT * FROM "ops.flights"`). SQLite ignores the case of ASCII
//! letters in names, PostgreSQL does not: two tables, or two columns of a table, that differ only
//! in case are refused, and so are names that SQLite (`sqlite_`) or the mirror (`_deltamirror_`)
//! keep for themselves.
//!
//! Keys: the primary key becomes the primary key; one column of an integer type becomes exactly
//! `INTEGER PRIMARY KEY`. A `DEFERRABLE` key may be double for a moment inside a transaction: it
//! becomes an index that is not unique. Where the stream names old rows by other columns (REPLICA
//! IDENTITY USING INDEX), those get a unique index; a table known by whole rows gets the columns
//! of its unique indexes indexed, so that a row is found without reading the table. Other
//! constraints and defaults are not made: the mirror repeats rows that PostgreSQL has checked. The
//! indexes that readers want are in [`super::secondary`].

use super::error::Error;
use super::model::Table;
use super::value::Kind;
use super::{TableName, model::Column};
use crate::sqlite::quote_identifier;

/// Prefix of the mirror's own tables and indexes.
pub const RESERVED_PREFIX: &str = "_deltamirror_";

/// How old rows of a table are found in SQLite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// By these columns, which are unique in the mirror.
    Key(Vec<String>),
    /// By the whole row: one of the rows that are equal in every column.
    Row,
    /// Never: rows are only inserted.
    Never,
}

/// The name in SQLite of a PostgreSQL table.
#[must_use]
pub fn sqlite_name(name: &TableName) -> String {
    if name.schema == "public" { name.table.clone() } else { name.to_string() }
}

/// How rows of `table` are found when the stream names old rows by `identity` columns.
#[must_use]
pub fn lookup(table: &Table, identity: &[String]) -> Lookup {
    let key = primary_key(table);
    if !key.is_empty() && key.iter().all(|column| identity.contains(column)) {
        return Lookup::Key(key.to_vec());
    }
    if identity.is_empty() {
        return Lookup::Never;
    }
    let whole = table.columns.iter().all(|column| identity.contains(&column.name));
    if whole {
        return Lookup::Row;
    }
    Lookup::Key(identity.to_vec())
}

/// The columns of the table's primary key in SQLite: PostgreSQL's, if all of them are in the mirror
/// and the key is checked row by row; else none.
#[must_use]
pub fn primary_key(table: &Table) -> &[String] {
    let key = table.immediate_key();
    if key.iter().all(|name| table.column(name).is_some()) { key } else { &[] }
}

/// The name of the row number in SQLite that no column of `table` hides.
///
/// # Errors
/// [`Error::NoRowid`] when columns hide all three.
pub fn rowid_name(table: &Table) -> Result<&'static str, Error> {
    ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|name| !table.columns.iter().any(|c| c.name.eq_ignore_ascii_case(name)))
        .ok_or_else(|| Error::NoRowid { table: table.name.to_string() })
}

/// Checks that all `tables` can live in one SQLite file.
///
/// # Errors
/// [`Error::TableCollision`], [`Error::ColumnCollision`], [`Error::Reserved`],
/// [`Error::NoColumns`].
pub fn check_names<'a>(tables: impl IntoIterator<Item = &'a Table>) -> Result<(), Error> {
    let mut seen: std::collections::BTreeMap<String, &TableName> = Default::default();
    for table in tables {
        let name = sqlite_name(&table.name);
        let folded = name.to_ascii_lowercase();
        if folded.starts_with("sqlite_") || folded.starts_with(RESERVED_PREFIX) {
            return Err(Error::Reserved { table: table.name.to_string(), sqlite_name: name });
        }
        if let Some(other) = seen.insert(folded, &table.name)
            && *other != table.name
        {
            return Err(Error::TableCollision {
                first: other.to_string(),
                second: table.name.to_string(),
                sqlite_name: name,
            });
        }
        check_columns(table)?;
    }
    Ok(())
}

fn check_columns(table: &Table) -> Result<(), Error> {
    if table.columns.is_empty() {
        return Err(Error::NoColumns { table: table.name.to_string() });
    }
    let mut seen: std::collections::BTreeMap<String, &str> = Default::default();
    for column in &table.columns {
        if let Some(other) = seen.insert(column.name.to_ascii_lowercase(), &column.name) {
            return Err(Error::ColumnCollision {
                table: table.name.to_string(),
                first: other.to_owned(),
                second: column.name.clone(),
            });
        }
    }
    Ok(())
}

/// The statements that make `table` in SQLite: `CREATE TABLE`, then its indexes.
///
/// # Errors
/// Those of [`check_names`], and [`Error::NoRowid`] for a table known by whole rows.
pub fn statements(table: &Table) -> Result<Vec<String>, Error> {
    statements_as(table, &sqlite_name(&table.name))
}

/// As [`statements`], for a table that is called `name` in SQLite.
///
/// # Errors
/// As [`statements`].
pub fn statements_as(table: &Table, name: &str) -> Result<Vec<String>, Error> {
    check_names([table])?;
    let identity = table.identity_columns();
    let lookup = lookup(table, &identity);
    if lookup == Lookup::Row {
        rowid_name(table)?;
    }
    let mut list = vec![create_table(table, &format!("main.{}", quote_identifier(name)))];
    if let Lookup::Key(columns) = &lookup
        && columns != primary_key(table)
    {
        list.push(identity_index(name, columns));
    }
    for (number, columns) in plain_indexes(table, &lookup).into_iter().enumerate() {
        let index = quote_identifier(&format!("{RESERVED_PREFIX}index{number}_{name}"));
        let on = quote_identifier(name);
        list.push(format!("CREATE INDEX IF NOT EXISTS main.{index} ON {on} ({})", quoted(columns)));
    }
    Ok(list)
}

/// The statement that makes rows of the SQLite table `name` be found by `columns`.
#[must_use]
pub fn identity_index(name: &str, columns: &[String]) -> String {
    format!(
        "CREATE UNIQUE INDEX IF NOT EXISTS main.{} ON {} ({})",
        quote_identifier(&format!("{RESERVED_PREFIX}identity_{name}")),
        quote_identifier(name),
        quoted(columns)
    )
}

/// The statement that takes [`identity_index`] away, if it is there.
#[must_use]
pub fn drop_identity_index(name: &str) -> String {
    let index = quote_identifier(&format!("{RESERVED_PREFIX}identity_{name}"));
    format!("DROP INDEX IF EXISTS main.{index}")
}

/// Columns worth an index that is not unique: a deferrable key, and what tells rows apart in a
/// table known by whole rows.
pub(super) fn plain_indexes<'a>(table: &'a Table, lookup: &Lookup) -> Vec<&'a [String]> {
    let present = |columns: &[String]| columns.iter().all(|name| table.column(name).is_some());
    let mut list: Vec<&[String]> = Vec::new();
    if table.immediate_key().is_empty() && !table.primary_key.is_empty() {
        list.push(&table.primary_key);
    }
    if *lookup == Lookup::Row {
        let unique = table.indexes.iter().filter(|i| i.unique && !i.partial && !i.primary);
        list.extend(unique.map(|index| index.columns.as_slice()));
    }
    list.retain(|columns| !columns.is_empty() && present(columns));
    list
}

/// The statement that makes `table`, without indexes, under a name that is quoted already.
#[must_use]
pub fn create_table(table: &Table, quoted_name: &str) -> String {
    let key = primary_key(table);
    let single = match key {
        [one] => table.column(one).filter(|column| is_integer(column)).map(|_| one.as_str()),
        _ => None,
    };
    let mut parts: Vec<String> = Vec::with_capacity(table.columns.len() + 1);
    for column in &table.columns {
        let quoted = quote_identifier(&column.name);
        let declared = Kind::from_oid(column.base_oid).sqlite_decl();
        if single == Some(column.name.as_str()) {
            parts.push(format!("{quoted} INTEGER PRIMARY KEY NOT NULL"));
        } else {
            let null = if key.contains(&column.name) { " NOT NULL" } else { "" };
            let space = if declared.is_empty() { "" } else { " " };
            parts.push(format!("{quoted}{space}{declared}{null}"));
        }
    }
    if single.is_none() && !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", quoted(key)));
    }
    format!("CREATE TABLE {quoted_name} (\n  {}\n)", parts.join(",\n  "))
}

fn is_integer(column: &Column) -> bool {
    // int8, int2, int4, oid
    matches!(column.base_oid, 20 | 21 | 23 | 26)
}

/// Quoted names, separated by commas.
#[must_use]
pub fn quoted(columns: &[String]) -> String {
    columns.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ")
}

/// The statements for all `tables`, in their order; what `deltamirror init` runs.
///
/// # Errors
/// As [`statements`], and [`Error::TableCollision`] between them.
pub fn script(tables: &[Table]) -> Result<Vec<String>, Error> {
    check_names(tables)?;
    let mut list = Vec::new();
    for table in tables {
        list.extend(statements(table)?);
    }
    Ok(list)
}
