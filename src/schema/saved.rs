//! Versions of a schema, saved in PostgreSQL tables for later reference.
//!
//! `capture` makes the schema `pgsqlite` (or another) with the tables `schema_version`,
//! `schema_table`, `schema_column` and `schema_index` when they are not there, and adds one
//! numbered version: 1, 2, 3 ... without gaps. What is saved is the model as it was read, one row
//! per table, column and index, plain enough for anybody's SQL. Nothing is ever changed or
//! deleted. Tables by these names that somebody else made, or that run code, are refused
//! ([`trusted`]).

use super::catalog::{Row, Selection, param, read};
use super::diff::{Change, diff};
use super::model::{Column, Generated, Identity, Index, Partition, Table};
use super::{Error, TableName, trusted};
use crate::libpq::{Conn, Guarded, guarded};

/// The PostgreSQL schema that holds the versions unless the caller names another.
pub const DEFAULT_SCHEMA: &str = "pgsqlite";

/// The tables that hold them.
const TABLES: [&str; 4] = ["schema_version", "schema_table", "schema_column", "schema_index"];

/// A saved version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Number, from 1.
    pub version: i64,
    /// When it was saved, in PostgreSQL's text form, UTC.
    pub captured_at: String,
    /// The server's version, as `server_version` prints it.
    pub server_version: String,
    /// Number of tables in it.
    pub tables: i64,
}

/// Saves `tables` (names as users write them; none: all) as a new version and returns its number.
/// Everything happens in one transaction; inside a transaction of the caller's, in that.
///
/// # Errors
/// [`Error::NoTable`], [`Error::BadName`], [`Error::Unsafe`], [`Error::Postgres`].
pub fn capture(conn: &Conn, tables: &[String], into: &str) -> Result<i64, Error> {
    guarded(conn, |conn| {
        let selection =
            if tables.is_empty() { Selection::AllExcept(into) } else { Selection::Named(tables) };
        let model = read(conn, selection)?;
        let store = Store::new(conn, into)?;
        store.create()?;
        let version = store.next_version()?;
        for table in &model {
            store.save(version, table)?;
        }
        Ok(version)
    })
}

/// The versions saved so far, oldest first; none when nothing was ever saved.
///
/// # Errors
/// [`Error::Unsafe`], [`Error::Postgres`].
pub fn versions(conn: &Conn, into: &str) -> Result<Vec<Version>, Error> {
    guarded(conn, |conn| all_versions(conn, into))
}

fn all_versions(conn: &Guarded<'_>, into: &str) -> Result<Vec<Version>, Error> {
    let store = Store::new(conn, into)?;
    if !store.is_there()? {
        return Ok(Vec::new());
    }
    let result = conn.query(&format!(
        "SELECT v.version, (v.captured_at AT TIME ZONE 'UTC')::pg_catalog.text, v.server_version, \
           (SELECT pg_catalog.count(*) FROM {0}.schema_table t WHERE t.version = v.version) \
         FROM {0}.schema_version v ORDER BY v.version",
        store.into
    ))?;
    (0..result.ntuples())
        .map(|row| {
            let row = Row { result: &result, row };
            Ok(Version {
                version: row.number(0)?,
                captured_at: row.text(1)?,
                server_version: row.text(2)?,
                tables: row.number(3)?,
            })
        })
        .collect()
}

/// The tables of a saved version, ordered by schema and name.
///
/// # Errors
/// [`Error::NoVersion`], [`Error::Unsafe`], [`Error::Postgres`].
pub fn show(conn: &Conn, version: i64, into: &str) -> Result<Vec<Table>, Error> {
    guarded(conn, |conn| saved(conn, version, into))
}

fn saved(conn: &Guarded<'_>, version: i64, into: &str) -> Result<Vec<Table>, Error> {
    let store = Store::new(conn, into)?;
    let number = version.to_string();
    let missing = || Error::NoVersion { version, into: into.to_owned() };
    if !store.is_there()? {
        return Err(missing());
    }
    let sql = format!("SELECT 1 FROM {}.schema_version WHERE version = $1", store.into);
    if conn.query_params(&sql, &[param(&number)])?.ntuples() == 0 {
        return Err(missing());
    }
    store.load(&number)
}

/// What changed from one saved version to another.
///
/// # Errors
/// [`Error::NoVersion`], [`Error::Unsafe`], [`Error::Postgres`].
pub fn difference(conn: &Conn, from: i64, to: i64, into: &str) -> Result<Vec<Change>, Error> {
    Ok(diff(&show(conn, from, into)?, &show(conn, to, into)?))
}

/// The saved tables in one PostgreSQL schema.
struct Store<'a> {
    conn: &'a Guarded<'a>,
    /// The schema, quoted.
    into: String,
    /// The schema as it is.
    plain: &'a str,
}

impl<'a> Store<'a> {
    fn new(conn: &'a Guarded<'a>, into: &'a str) -> Result<Store<'a>, Error> {
        Ok(Store { conn, into: conn.escape_identifier(into)?, plain: into })
    }

    /// Whether anything was saved.
    ///
    /// # Errors
    /// [`Error::Unsafe`] when it is not to be used.
    fn is_there(&self) -> Result<bool, Error> {
        trusted::check(self.conn, self.plain, &TABLES)?;
        let sql = "SELECT 1 FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = $1 AND c.relname = 'schema_version'";
        Ok(self.conn.query_params(sql, &[param(self.plain)])?.ntuples() > 0)
    }

    fn create(&self) -> Result<(), Error> {
        if self.is_there()? {
            return Ok(());
        }
        let into = &self.into;
        self.conn.query(&format!("CREATE SCHEMA IF NOT EXISTS {into}"))?;
        // Somebody else may have made it a moment ago.
        trusted::check(self.conn, self.plain, &TABLES)?;
        self.conn.query(&format!(
            "CREATE TABLE {into}.schema_version (
               version bigint PRIMARY KEY,
               captured_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
               server_version text NOT NULL);
             CREATE TABLE {into}.schema_table (
               version bigint NOT NULL REFERENCES {into}.schema_version,
               schema_name text, table_name text, table_oid oid NOT NULL,
               replica_identity text NOT NULL, identity_index text,
               partition_key text, parent_schema text, parent_table text,
               PRIMARY KEY (version, schema_name, table_name));
             CREATE TABLE {into}.schema_column (
               version bigint, schema_name text, table_name text, number integer,
               column_name text NOT NULL, type_name text NOT NULL, type_oid oid NOT NULL,
               base_oid oid NOT NULL, base_name text NOT NULL, not_null boolean NOT NULL,
               default_expression text, generated text NOT NULL, is_identity boolean NOT NULL,
               PRIMARY KEY (version, schema_name, table_name, number),
               FOREIGN KEY (version, schema_name, table_name) REFERENCES {into}.schema_table);
             CREATE TABLE {into}.schema_index (
               version bigint, schema_name text, table_name text, index_name text,
               columns text[] NOT NULL, is_unique boolean NOT NULL, is_primary boolean NOT NULL,
               is_immediate boolean NOT NULL, is_partial boolean NOT NULL,
               definition text NOT NULL,
               PRIMARY KEY (version, schema_name, table_name, index_name),
               FOREIGN KEY (version, schema_name, table_name) REFERENCES {into}.schema_table)"
        ))?;
        Ok(())
    }

    fn next_version(&self) -> Result<i64, Error> {
        let into = &self.into;
        // Two captures at once would read the same last number.
        self.conn.query(&format!("LOCK TABLE {into}.schema_version IN EXCLUSIVE MODE"))?;
        let result = self.conn.query(&format!(
            "INSERT INTO {into}.schema_version (version, server_version) \
             SELECT COALESCE(pg_catalog.max(version), 0) + 1, \
               pg_catalog.current_setting('server_version') FROM {into}.schema_version \
             RETURNING version"
        ))?;
        Row { result: &result, row: 0 }.number(0)
    }

    fn save(&self, version: i64, table: &Table) -> Result<(), Error> {
        let into = &self.into;
        let version = version.to_string();
        let letter = table.identity.letter().to_string();
        let index = match &table.identity {
            Identity::Index(name) => Some(name.as_bytes()),
            _ => None,
        };
        let (key, parent) = match &table.partition {
            Partition::None => (None, None),
            Partition::Parent(key) => (Some(key.as_bytes()), None),
            Partition::Of(parent) => (None, Some(parent)),
        };
        let (schema, name) = (param(&table.name.schema), param(&table.name.table));
        let oid = table.oid.to_string();
        self.conn.query_params(
            &format!("INSERT INTO {into}.schema_table VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)"),
            &[
                param(&version),
                schema,
                name,
                param(&oid),
                param(&letter),
                index,
                key,
                parent.map(|parent| parent.schema.as_bytes()),
                parent.map(|parent| parent.table.as_bytes()),
            ],
        )?;
        for column in &table.columns {
            self.save_column(&version, &table.name, column)?;
        }
        for index in &table.indexes {
            self.save_index(&version, &table.name, index)?;
        }
        Ok(())
    }

    fn save_column(&self, version: &str, table: &TableName, column: &Column) -> Result<(), Error> {
        let numbers = [column.number.to_string(), column.type_oid.to_string()];
        let base = column.base_oid.to_string();
        self.conn.query_params(
            &format!(
                "INSERT INTO {}.schema_column \
                 VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13)",
                self.into
            ),
            &[
                param(version),
                param(&table.schema),
                param(&table.table),
                param(&numbers[0]),
                param(&column.name),
                param(&column.type_name),
                param(&numbers[1]),
                param(&base),
                param(&column.base_name),
                param(bool_text(column.not_null)),
                column.default.as_ref().map(|text| text.as_bytes()),
                param(column.generated.letter()),
                param(bool_text(column.identity)),
            ],
        )?;
        Ok(())
    }

    fn save_index(&self, version: &str, table: &TableName, index: &Index) -> Result<(), Error> {
        self.conn.query_params(
            &format!(
                "INSERT INTO {}.schema_index VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
                self.into
            ),
            &[
                param(version),
                param(&table.schema),
                param(&table.table),
                param(&index.name),
                param(&array_text(&index.columns)),
                param(bool_text(index.unique)),
                param(bool_text(index.primary)),
                param(bool_text(index.immediate)),
                param(bool_text(index.partial)),
                param(&index.definition),
            ],
        )?;
        Ok(())
    }

    fn load(&self, version: &str) -> Result<Vec<Table>, Error> {
        let result = self.conn.query_params(
            &format!(
                "SELECT schema_name, table_name, table_oid, replica_identity, identity_index, \
                   partition_key, parent_schema, parent_table FROM {}.schema_table \
                 WHERE version = $1 ORDER BY schema_name COLLATE \"C\", table_name COLLATE \"C\"",
                self.into
            ),
            &[param(version)],
        )?;
        let mut tables = Vec::with_capacity(result.ntuples());
        for row in (0..result.ntuples()).map(|row| Row { result: &result, row }) {
            let mut table = saved_table(&row)?;
            self.load_columns(version, &mut table)?;
            self.load_indexes(version, &mut table)?;
            tables.push(table);
        }
        Ok(tables)
    }

    fn load_columns(&self, version: &str, table: &mut Table) -> Result<(), Error> {
        let result = self.conn.query_params(
            &format!(
                "SELECT number, column_name, type_name, type_oid, base_oid, base_name, not_null, \
                   default_expression, generated, is_identity FROM {}.schema_column \
                 WHERE version = $1 AND schema_name = $2 AND table_name = $3 ORDER BY number",
                self.into
            ),
            &[param(version), param(&table.name.schema), param(&table.name.table)],
        )?;
        for row in (0..result.ntuples()).map(|row| Row { result: &result, row }) {
            table.columns.push(Column {
                number: row.number(0)?,
                name: row.text(1)?,
                type_name: row.text(2)?,
                type_oid: row.number(3)?,
                base_oid: row.number(4)?,
                base_name: row.text(5)?,
                not_null: row.bool(6)?,
                default: row.optional(7)?,
                generated: Generated::from_letter(&row.text(8)?),
                identity: row.bool(9)?,
            });
        }
        Ok(())
    }

    fn load_indexes(&self, version: &str, table: &mut Table) -> Result<(), Error> {
        let result = self.conn.query_params(
            &format!(
                "SELECT i.index_name, i.is_unique, i.is_primary, i.is_immediate, i.is_partial, \
                   i.definition, c.name FROM {}.schema_index i \
                 LEFT JOIN LATERAL pg_catalog.unnest(i.columns) WITH ORDINALITY AS c(name, n) \
                   ON true \
                 WHERE version = $1 AND schema_name = $2 AND table_name = $3 \
                 ORDER BY i.index_name COLLATE \"C\", c.n",
                self.into
            ),
            &[param(version), param(&table.name.schema), param(&table.name.table)],
        )?;
        for row in (0..result.ntuples()).map(|row| Row { result: &result, row }) {
            let name = row.text(0)?;
            if table.indexes.last().is_none_or(|last| last.name != name) {
                table.indexes.push(Index {
                    name,
                    columns: Vec::new(),
                    unique: row.bool(1)?,
                    primary: row.bool(2)?,
                    immediate: row.bool(3)?,
                    partial: row.bool(4)?,
                    definition: row.text(5)?,
                });
            }
            if let (Some(index), Some(column)) = (table.indexes.last_mut(), row.optional(6)?) {
                index.columns.push(column);
            }
        }
        let primary = table.indexes.iter().find(|index| index.primary);
        table.primary_key = primary.map(|index| index.columns.clone()).unwrap_or_default();
        Ok(())
    }
}

fn saved_table(row: &Row<'_>) -> Result<Table, Error> {
    let identity = match (row.text(3)?.as_str(), row.optional(4)?) {
        ("f", _) => Identity::Full,
        ("i", Some(index)) => Identity::Index(index),
        ("d", _) => Identity::Default,
        _ => Identity::Nothing,
    };
    let partition = match (row.optional(5)?, row.optional(6)?, row.optional(7)?) {
        (Some(key), _, _) => Partition::Parent(key),
        (None, Some(schema), Some(parent)) => Partition::Of(TableName::new(schema, parent)),
        _ => Partition::None,
    };
    Ok(Table {
        name: TableName::new(row.text(0)?, row.text(1)?),
        oid: row.number(2)?,
        columns: Vec::new(),
        primary_key: Vec::new(),
        identity,
        indexes: Vec::new(),
        partition,
    })
}

const fn bool_text(value: bool) -> &'static str {
    if value { "t" } else { "f" }
}

/// A PostgreSQL array literal of texts (manual, "Array Input and Output Syntax").
fn array_text(items: &[String]) -> String {
    let mut text = String::from("{");
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push('"');
        for c in item.chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
    }
    text.push('}');
    text
}
