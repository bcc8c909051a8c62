//! The model read from PostgreSQL's catalog, 14 to 18.
//!
//! Every name in the statements is qualified, and they run under our own settings ([`Guarded`]), so
//! that type names do not depend on the session and nothing of a user's own is called. Reads what
//! is committed (or what the caller's transaction sees); takes no locks beyond those of reading.

use std::collections::HashMap;

use super::model::{Column, Generated, Identity, Index, Partition, Table};
use super::{Error, TableName};
use crate::libpq::{Guarded, Param, PgResult};

/// Oldest server read here, as in `server_version_num`.
const SERVER_VERSION_MIN: i32 = 140_000;

/// Which tables to read.
#[derive(Debug, Clone, Copy)]
pub enum Selection<'a> {
    /// Every table outside the system's own schemas and the schema given here.
    AllExcept(&'a str),
    /// The tables as users write them: exactly as in the catalog (`table`, `schema.table`), or by
    /// PostgreSQL's rules ([`TableName::parse`]).
    Named(&'a [String]),
    /// These tables.
    Exactly(&'a [TableName]),
}

/// Reads tables, ordered by schema and name for `AllExcept`, as given otherwise; a table given
/// twice comes once.
///
/// # Errors
/// [`Error::NoTable`], [`Error::BadName`], [`Error::OldServer`], [`Error::Postgres`].
pub fn read(conn: &Guarded<'_>, selection: Selection<'_>) -> Result<Vec<Table>, Error> {
    if conn.server_version() < SERVER_VERSION_MIN {
        return Err(Error::OldServer { version: conn.server_version() });
    }
    let all = read_tables(conn)?;
    let mut tables = select(conn, all, selection)?;
    let oids = tables.iter().map(|table| table.oid.to_string()).collect::<Vec<_>>();
    let oids = format!("{{{}}}", oids.join(","));
    read_columns(conn, &oids, &mut tables)?;
    read_indexes(conn, &oids, &mut tables)?;
    Ok(tables)
}

/// Every table that rows can be copied from, without columns.
fn read_tables(conn: &Guarded<'_>) -> Result<Vec<Table>, Error> {
    let result = conn.query(
        "SELECT c.oid, n.nspname, c.relname, c.relreplident, \
           CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END, \
           pn.nspname, pc.relname, \
           (SELECT ic.relname FROM pg_catalog.pg_index i \
              JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid \
             WHERE i.indrelid = c.oid AND i.indisreplident) \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid AND c.relispartition \
         LEFT JOIN pg_catalog.pg_class pc ON pc.oid = h.inhparent \
         LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' \
           AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"",
    )?;
    (0..result.ntuples()).map(|row| table(&Row { result: &result, row })).collect()
}

fn table(row: &Row<'_>) -> Result<Table, Error> {
    let identity = match (row.text(3)?.as_str(), row.optional(7)?) {
        ("f", _) => Identity::Full,
        ("n", _) => Identity::Nothing,
        ("i", Some(index)) => Identity::Index(index),
        // The index of USING INDEX was dropped: as good as nothing (manual, ALTER TABLE).
        ("i", None) => Identity::Nothing,
        _ => Identity::Default,
    };
    let partition = match (row.optional(4)?, row.optional(5)?, row.optional(6)?) {
        (Some(key), _, _) => Partition::Parent(key),
        (None, Some(schema), Some(parent)) => Partition::Of(TableName::new(schema, parent)),
        _ => Partition::None,
    };
    Ok(Table {
        name: TableName::new(row.text(1)?, row.text(2)?),
        oid: row.number(0)?,
        columns: Vec::new(),
        primary_key: Vec::new(),
        identity,
        indexes: Vec::new(),
        partition,
    })
}

fn select(
    conn: &Guarded<'_>,
    all: Vec<Table>,
    selection: Selection<'_>,
) -> Result<Vec<Table>, Error> {
    let mut chosen: Vec<TableName> = Vec::new();
    match selection {
        Selection::AllExcept(schema) => {
            return Ok(all.into_iter().filter(|table| table.name.schema != schema).collect());
        }
        Selection::Named(names) => {
            for name in names {
                chosen.push(find(conn, &all, name)?);
            }
        }
        Selection::Exactly(names) => chosen.extend_from_slice(names),
    }
    let mut by_name: HashMap<TableName, Table> =
        all.into_iter().map(|table| (table.name.clone(), table)).collect();
    let mut seen = std::collections::HashSet::new();
    chosen.retain(|name| seen.insert(name.clone()));
    chosen
        .into_iter()
        .map(|name| by_name.remove(&name).ok_or_else(|| no_table(conn, &name.to_string())))
        .collect()
}

/// The table a user means by `text`.
fn find(conn: &Guarded<'_>, all: &[Table], text: &str) -> Result<TableName, Error> {
    // `s.b` is table b of schema s, even where public has a table "s.b".
    let exact = |table: &&Table| table.name.to_string() == text;
    let plain = |table: &&Table| table.name.is_plainly(text);
    if let Some(table) = all.iter().find(exact).or_else(|| all.iter().find(plain)) {
        return Ok(table.name.clone());
    }
    let name = TableName::parse(text)?;
    match all.iter().any(|table| table.name == name) {
        true => Ok(name),
        false => Err(no_table(conn, text)),
    }
}

fn no_table(conn: &Guarded<'_>, table: &str) -> Error {
    Error::NoTable { table: table.to_owned(), database: conn.database() }
}

fn read_columns(conn: &Guarded<'_>, oids: &str, tables: &mut [Table]) -> Result<(), Error> {
    let result = conn.query_params(
        "WITH RECURSIVE base(type, under) AS ( \
           SELECT DISTINCT a.atttypid, a.atttypid FROM pg_catalog.pg_attribute a \
            WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped \
           UNION ALL \
           SELECT b.type, t.typbasetype FROM base b \
             JOIN pg_catalog.pg_type t ON t.oid = b.under WHERE t.typtype = 'd') \
         SELECT a.attrelid, a.attnum, a.attname, \
           pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid, \
           u.oid, pg_catalog.format_type(u.oid, NULL), a.attnotnull AND NOT EXISTS ( \
             SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid \
               AND k.contype = 'n' AND NOT k.convalidated AND a.attnum = ANY (k.conkey)), \
           pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attgenerated, a.attidentity <> '' \
         FROM pg_catalog.pg_attribute a \
         JOIN base b ON b.type = a.atttypid \
         JOIN pg_catalog.pg_type u ON u.oid = b.under AND u.typtype <> 'd' \
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped \
         ORDER BY a.attrelid, a.attnum",
        &[Some(oids.as_bytes())],
    )?;
    for row in (0..result.ntuples()).map(|row| Row { result: &result, row }) {
        let oid: u32 = row.number(0)?;
        let column = Column {
            number: row.number(1)?,
            name: row.text(2)?,
            type_name: row.text(3)?,
            type_oid: row.number(4)?,
            base_oid: row.number(5)?,
            base_name: row.text(6)?,
            not_null: row.bool(7)?,
            default: row.optional(8)?,
            generated: Generated::from_letter(&row.text(9)?),
            identity: row.bool(10)?,
        };
        if let Some(table) = tables.iter_mut().find(|table| table.oid == oid) {
            table.columns.push(column);
        }
    }
    Ok(())
}

fn read_indexes(conn: &Guarded<'_>, oids: &str, tables: &mut [Table]) -> Result<(), Error> {
    let result = conn.query_params(
        "SELECT i.indrelid, c.relname, i.indisunique, i.indisprimary, i.indimmediate, \
           i.indpred IS NOT NULL, pg_catalog.pg_get_indexdef(i.indexrelid), a.attname \
         FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) AS k(n) \
         LEFT JOIN pg_catalog.pg_attribute a \
           ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n] AND a.attnum > 0 \
         WHERE i.indrelid = ANY ($1::pg_catalog.oid[]) AND i.indislive \
           AND (i.indisvalid OR i.indisprimary) \
         ORDER BY i.indrelid, c.relname COLLATE \"C\", k.n",
        &[Some(oids.as_bytes())],
    )?;
    for row in (0..result.ntuples()).map(|row| Row { result: &result, row }) {
        let oid: u32 = row.number(0)?;
        let Some(table) = tables.iter_mut().find(|table| table.oid == oid) else { continue };
        let name = row.text(1)?;
        if table.indexes.last().is_none_or(|last| last.name != name) {
            table.indexes.push(Index {
                name,
                columns: Vec::new(),
                unique: row.bool(2)?,
                primary: row.bool(3)?,
                immediate: row.bool(4)?,
                partial: row.bool(5)?,
                definition: row.text(6)?,
            });
        }
        // A key part without a column is an expression: marked by an empty name, dropped below.
        let column = row.optional(7)?.unwrap_or_default();
        if let Some(index) = table.indexes.last_mut() {
            index.columns.push(column);
        }
    }
    for table in tables {
        for index in &mut table.indexes {
            if index.columns.iter().any(String::is_empty) {
                index.columns.clear();
            }
        }
        let primary = table.indexes.iter().find(|index| index.primary);
        table.primary_key = primary.map(|index| index.columns.clone()).unwrap_or_default();
    }
    Ok(())
}

/// One row of a catalog query.
pub(super) struct Row<'a> {
    pub(super) result: &'a PgResult,
    pub(super) row: usize,
}

impl Row<'_> {
    pub(super) fn optional(&self, column: usize) -> Result<Option<String>, Error> {
        let Some(bytes) = self.result.value(self.row, column) else { return Ok(None) };
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Error::Answer {
                what: format!("a name that is not UTF-8: {}", String::from_utf8_lossy(bytes)),
            }),
        }
    }

    pub(super) fn text(&self, column: usize) -> Result<String, Error> {
        self.optional(column)?
            .ok_or_else(|| Error::Answer { what: format!("column {column} is NULL") })
    }

    pub(super) fn number<T: std::str::FromStr>(&self, column: usize) -> Result<T, Error> {
        let text = self.text(column)?;
        text.parse().map_err(|_| Error::Answer { what: format!("\"{text}\" is not a number") })
    }

    pub(super) fn bool(&self, column: usize) -> Result<bool, Error> {
        Ok(self.text(column)? == "t")
    }
}

/// A text parameter.
pub(super) fn param(text: &str) -> Param<'_> {
    Some(text.as_bytes())
}
