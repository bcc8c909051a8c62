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
            let sql = "SELECT name FROM pragma_database_list WHERE name = ?1 COLLATE NOCASE";
            let found = db.query_text(sql, &[schema.into()])?;
            // `temp` is listed only once it has been used.
            let temp = schema.eq_ignore_ascii_case("temp").then(|| "temp".to_owned());
            if let Some(schema) = found.or(temp) {
                return Ok(TableName { schema: Some(schema), table: table.to_owned() });
            }
        }
        Ok(TableName::new(name))
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
    let sql = "SELECT 1 FROM pragma_index_list(?1, ?2)";
    db.query_int(sql, &[name.table.as_str().into(), schema.as_str().into()]).ok()??;
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
    for part in parts {
        // SQLite would take an unknown name in quotes for a constant text.
        let sql = "SELECT 1 FROM pragma_table_info(?1, ?2) WHERE name = ?3 COLLATE NOCASE";
        let words = [name.table.as_str().into(), schema.as_str().into(), (&*part.column).into()];
        if db.query_int(sql, &words)?.is_none() {
            return Err(Error::UnknownIndex { column: part.column.clone() });
        }
    }
    let schema = quote_identifier(&schema);
    let columns: Vec<&str> = parts.iter().map(|part| part.column.as_str()).collect();
    let base = format!("{}_{}_idx", name.table, columns.join("_"));
    let parts: Vec<String> = parts.iter().map(key_sql).collect();
    let on = format!("ON {} ({})", quote_identifier(&name.table), parts.join(", "));
    let taken = format!("SELECT ifnull(sql, '') FROM {schema}.sqlite_schema WHERE name = ?1");
    let mut chosen = base.clone();
    for number in 1_u32.. {
        match db.query_text(&taken, &[chosen.as_str().into()])? {
            None => break,
            Some(sql) if sql.ends_with(&on) => return Ok(()),
            Some(_) => chosen = format!("{base}{number}"),
        }
    }
    Ok(db.exec(&format!("CREATE INDEX {schema}.{} {on}", quote_identifier(&chosen)))?)
}

/// The database of a table; of one without, where SQLite finds it: temp first, then in their order.
pub(super) fn schema_of(db: &Db, name: &TableName) -> Result<String> {
    if let Some(schema) = &name.schema {
        return Ok(schema.clone());
    }
    let mut names = Vec::new();
    let sql = "SELECT name FROM pragma_database_list ORDER BY name <> 'temp', seq";
    {
        let mut stmt = db.prepare(sql)?;
        while stmt.step()? {
            names.extend(stmt.column(0).as_str().map(str::to_owned));
        }
    }
    for schema in names {
        let sql = format!(
            "SELECT 1 FROM {}.sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type = 'table'",
            quote_identifier(&schema)
        );
        if db.query_int(&sql, &[name.table.as_str().into()])?.is_some() {
            return Ok(schema);
        }
    }
    Ok("main".to_owned())
}

/// Names of the columns, borrowed, as [`sqlite::Insert`] wants them.
pub(super) fn insert<'a>(
    name: &'a TableName,
    columns: &'a [&'a str],
    or_replace: bool,
) -> sqlite::Insert<'a> {
    sqlite::Insert { schema: name.schema.as_deref(), table: &name.table, columns, or_replace }
}
