//! The target table: its name, its key, its CREATE TABLE.

use super::{Column, Error, Result};
use crate::limits::IMPORT_CACHE_BYTES;
use crate::schema::value::Kind;
use crate::sqlite::{self, Cache, Db, quote_identifier};

/// A table's name, unquoted, in the database where SQLite finds it or in a named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// `main`, `temp` or an attached database; `None`: wherever SQLite finds the table first.
    pub schema: Option<String>,
    /// The table's name.
    pub table: String,
}

impl TableName {
    /// A table where SQLite finds it.
    pub fn new(table: impl Into<String>) -> TableName {
        TableName { schema: None, table: table.into() }
    }

    /// From a name as a user writes it: `database.table` when that database is attached, else all
    /// of it is the table's name.
    ///
    /// # Errors
    /// SQLite's, from reading the list of databases.
    pub fn parse(db: &Db, name: &str) -> Result<TableName> {
        if let Some((schema, table)) = name.split_once('.') {
            let mut databases = db.databases()?.into_iter();
            let found = databases.find(|name| name.eq_ignore_ascii_case(schema));
            // `temp` is listed only once it has been used.
            let temp = schema.eq_ignore_ascii_case("temp").then(|| "temp".to_owned());
            if let Some(schema) = found.or(temp) {
                return Ok(TableName { schema: Some(schema), table: table.to_owned() });
            }
        }
        Ok(TableName::new(name))
    }

    /// The same table with its database: a name without one means another table to SQLite once
    /// there is one of that name in `temp`. As it was where there is no such table.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn found(&self, db: &Db) -> Result<TableName> {
        let schema = find(db, self)?;
        Ok(TableName { schema, table: self.table.clone() })
    }

    /// A table to make, with its database: `main` unless named.
    pub(super) fn to_make(&self) -> TableName {
        let schema = self.schema.clone().unwrap_or_else(|| "main".to_owned());
        TableName { schema: Some(schema), table: self.table.clone() }
    }

    /// The name as SQL.
    #[must_use]
    pub fn quoted(&self) -> String {
        let schema = self.schema.as_deref().map(|name| quote_identifier(name) + ".");
        schema.unwrap_or_default() + &quote_identifier(&self.table)
    }
}

/// The order of a key column in the key's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ascending.
    Asc,
    /// Descending.
    Desc,
}

/// One column of a primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// The column's name, unquoted.
    pub column: String,
    /// Its order, where one is given.
    pub order: Option<Order>,
}

impl KeyPart {
    /// From the words of one element of `-pkey`: a name, and perhaps ASC or DESC in any case.
    ///
    /// # Errors
    /// [`Error::KeyOrder`].
    pub fn from_words(words: &[&str]) -> Result<KeyPart> {
        let wrong = || Error::KeyOrder { word: words.join(" ") };
        let (column, order) = match words {
            [column] => (column, None),
            [column, order] if order.eq_ignore_ascii_case("asc") => (column, Some(Order::Asc)),
            [column, order] if order.eq_ignore_ascii_case("desc") => (column, Some(Order::Desc)),
            _ => return Err(wrong()),
        };
        Ok(KeyPart { column: (*column).to_owned(), order })
    }
}

/// Makes the table.
///
/// # Errors
/// [`Error::UnknownKey`]; SQLite's, as when the table is there already.
pub(super) fn create(db: &Db, name: &TableName, columns: &[Column], key: &[KeyPart]) -> Result<()> {
    Ok(db.exec(&create_sql(name, columns, key)?)?)
}

/// `CREATE TABLE`: a single integer key becomes exactly `INTEGER PRIMARY KEY`, which is the rowid
/// itself and needs no index beside the table; every other key is a table constraint.
pub(super) fn create_sql(name: &TableName, columns: &[Column], key: &[KeyPart]) -> Result<String> {
    let mut rowid = None;
    for part in key {
        let Some(column) = columns.iter().find(|c| c.name.eq_ignore_ascii_case(&part.column))
        else {
            return Err(Error::UnknownKey { column: part.column.clone() });
        };
        // With DESC it would not be the rowid.
        if key.len() == 1 && column.kind == Kind::Integer && part.order != Some(Order::Desc) {
            rowid = Some(&column.name);
        }
    }
    let mut definitions: Vec<String> = Vec::with_capacity(columns.len() + 1);
    for column in columns {
        let mut definition = quote_identifier(&column.name);
        if rowid == Some(&column.name) {
            definition.push_str(" INTEGER PRIMARY KEY");
        } else if !column.kind.sqlite_decl().is_empty() {
            definition.push(' ');
            definition.push_str(column.kind.sqlite_decl());
        }
        definitions.push(definition);
    }
    if rowid.is_none() && !key.is_empty() {
        let parts: Vec<String> = key.iter().map(key_sql).collect();
        definitions.push(format!("PRIMARY KEY ({})", parts.join(", ")));
    }
    Ok(format!("CREATE TABLE {} ({})", name.quoted(), definitions.join(", ")))
}

fn key_sql(part: &KeyPart) -> String {
    let order = match part.order {
        None => "",
        Some(Order::Asc) => " ASC",
        Some(Order::Desc) => " DESC",
    };
    quote_identifier(&part.column) + order
}

/// A larger page cache while rows go into a table with indexes beside it. (Without them new pages
/// only follow each other; and an index that is made afterwards is sorted in a smaller one faster.)
pub(super) fn cache<'db>(db: &'db Db, name: &TableName) -> Option<Cache<'db>> {
    let schema = schema_of(db, name).ok()?;
    let (database, table) = (quote_identifier(&schema), quote_identifier(&name.table));
    db.query_int(&format!("PRAGMA {database}.index_list({table})"), &[]).ok()??;
    Cache::enlarge(db, &schema, IMPORT_CACHE_BYTES).ok()
}

/// Makes an index on these columns, called `TABLE_COLUMN_..._idx`, with a number when that name is
/// taken. An index that is there already, with such a name and these columns, stays.
///
/// # Errors
/// [`Error::UnknownIndex`]; SQLite's.
pub(super) fn index(db: &Db, name: &TableName, parts: &[KeyPart]) -> Result<()> {
    // The schema where SQLite finds the table, since the index goes where its own name says.
    let schema = schema_of(db, name)?;
    let schema = quote_identifier(&schema);
    let known = columns(db, &schema, &name.table)?;
    for part in parts {
        // SQLite would take an unknown name in quotes for a constant text.
        if !known.iter().any(|column| column.eq_ignore_ascii_case(&part.column)) {
            return Err(Error::UnknownIndex { column: part.column.clone() });
        }
    }
    let columns: Vec<&str> = parts.iter().map(|part| part.column.as_str()).collect();
    let base = format!("{}_{}_idx", name.table, columns.join("_"));
    let parts: Vec<String> = parts.iter().map(key_sql).collect();
    let on = format!("ON {} ({})", quote_identifier(&name.table), parts.join(", "));
    let taken = format!("SELECT sql FROM {schema}.sqlite_schema WHERE name = ?1");
    let exists = format!("SELECT 1 FROM {schema}.sqlite_schema WHERE name = ?1");
    let mut chosen = base.clone();
    for number in 1_u32.. {
        let words = [chosen.as_str().into()];
        match db.query_text(&taken, &words)? {
            None if db.query_int(&exists, &words)?.is_none() => break,
            Some(sql) if sql.ends_with(&on) => return Ok(()),
            _ => chosen = format!("{base}{number}"),
        }
    }
    Ok(db.exec(&format!("CREATE INDEX {schema}.{} {on}", quote_identifier(&chosen)))?)
}

/// The columns of a table in a database, which is given as SQL.
fn columns(db: &Db, schema: &str, table: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut stmt =
        db.prepare(&format!("PRAGMA {schema}.table_info({})", quote_identifier(table)))?;
    while stmt.step()? {
        names.extend(stmt.column(1).as_str().map(str::to_owned));
    }
    Ok(names)
}

/// The database of a table; of one without, where SQLite finds it: temp first, then in their order;
/// `main` where it finds none.
pub(super) fn schema_of(db: &Db, name: &TableName) -> Result<String> {
    Ok(find(db, name)?.unwrap_or_else(|| "main".to_owned()))
}

fn find(db: &Db, name: &TableName) -> Result<Option<String>> {
    if name.schema.is_some() {
        return Ok(name.schema.clone());
    }
    let mut databases = db.databases()?;
    databases.sort_by_key(|database| database != "temp");
    for schema in databases {
        let sql = format!(
            "SELECT 1 FROM {}.sqlite_schema \
             WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')",
            quote_identifier(&schema)
        );
        if db.query_int(&sql, &[name.table.as_str().into()])?.is_some() {
            return Ok(Some(schema));
        }
    }
    Ok(None)
}

/// Names of the columns, borrowed, as [`sqlite::Insert`] wants them.
pub(super) fn insert<'a>(
    name: &'a TableName,
    columns: &'a [&'a str],
    or_replace: bool,
) -> sqlite::Insert<'a> {
    sqlite::Insert { schema: name.schema.as_deref(), table: &name.table, columns, or_replace }
}
