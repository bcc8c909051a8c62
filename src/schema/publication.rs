//! What a publication sends: tables, columns, row filters.
//!
//! Source: the view `pg_publication_tables` (PostgreSQL manual, "System Views"); column lists and
//! row filters exist from PostgreSQL 15 on, published generated columns from 18 on.

use super::catalog::{Row, Selection, param, read};
use super::{Error, Generated, Table, TableName};
use crate::libpq::Guarded;

/// One table of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The table, with only those columns that are published.
    pub table: Table,
    /// `WHERE` of the publication, as PostgreSQL prints it; only such rows are sent.
    pub row_filter: Option<String>,
    /// What a `schema` line tells of it besides, where it was asked for.
    pub details: Option<deltaflood::Details>,
}

/// Is there a publication of this name?
///
/// # Errors
/// [`Error::Postgres`].
pub fn exists(conn: &Guarded<'_>, publication: &str) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = $1";
    Ok(conn.query_params(sql, &[param(publication)])?.ntuples() > 0)
}

/// The tables of a publication as they are now, ordered by schema and name. Parts of a partitioned
/// table appear as themselves, or as their root where the publication says
/// `publish_via_partition_root`.
///
/// # Errors
/// [`Error::Postgres`], [`Error::NoTable`] when a table vanishes meanwhile.
pub fn tables(conn: &Guarded<'_>, publication: &str) -> Result<Vec<Published>, Error> {
    let listed = list(conn, publication)?;
    let names: Vec<TableName> = listed.iter().map(|entry| entry.name.clone()).collect();
    let tables = read(conn, Selection::Exactly(&names))?;
    let mut published = Vec::with_capacity(tables.len());
    for (mut table, entry) in tables.into_iter().zip(listed) {
        // Before 18 the view lists generated columns, which are not sent.
        let sends_generated = conn.server_version() >= 180_000;
        table.columns.retain(|column| {
            let listed = entry.columns.as_ref().is_none_or(|names| names.contains(&column.name));
            listed && (sends_generated || column.generated == Generated::No)
        });
        published.push(Published { table, row_filter: entry.row_filter, details: None });
    }
    Ok(published)
}

/// One row of the view.
struct Entry {
    name: TableName,
    columns: Option<Vec<String>>,
    row_filter: Option<String>,
}

fn list(conn: &Guarded<'_>, publication: &str) -> Result<Vec<Entry>, Error> {
    if conn.server_version() < 150_000 {
        return list_14(conn, publication);
    }
    // One row per column; a column list is an array of names, which cannot be read as text
    // without its quoting rules.
    let result = conn.query_params(
        "SELECT p.schemaname, p.tablename, p.rowfilter, a.name \
         FROM pg_catalog.pg_publication_tables p \
         CROSS JOIN LATERAL pg_catalog.unnest(p.attnames) AS a(name) \
         WHERE p.pubname = $1 \
         ORDER BY p.schemaname COLLATE \"C\", p.tablename COLLATE \"C\"",
        &[param(publication)],
    )?;
    let mut entries: Vec<Entry> = Vec::new();
    for row in (0..result.ntuples()).map(|row| Row { result: &result, row }) {
        let name = TableName::new(row.text(0)?, row.text(1)?);
        if entries.last().is_none_or(|last| last.name != name) {
            let row_filter = row.optional(2)?;
            entries.push(Entry { name, columns: Some(Vec::new()), row_filter });
        }
        if let Some(Entry { columns: Some(columns), .. }) = entries.last_mut() {
            columns.push(row.text(3)?);
        }
    }
    Ok(entries)
}

fn list_14(conn: &Guarded<'_>, publication: &str) -> Result<Vec<Entry>, Error> {
    let result = conn.query_params(
        "SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname = $1 \
         ORDER BY schemaname COLLATE \"C\", tablename COLLATE \"C\"",
        &[param(publication)],
    )?;
    (0..result.ntuples())
        .map(|row| {
            let row = Row { result: &result, row };
            let name = TableName::new(row.text(0)?, row.text(1)?);
            Ok(Entry { name, columns: None, row_filter: None })
        })
        .collect()
}
