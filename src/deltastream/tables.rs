//! Tables named by the user: found, checked, published.

use super::Error;
use crate::libpq::{Conn, Guarded, Oid};

/// A table that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its object id.
    pub id: Oid,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether UPDATE and DELETE can be published: it has an identity.
    pub has_identity: bool,
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.schema != "public" {
            write!(f, "{}.", self.schema)?;
        }
        f.write_str(&self.name)
    }
}

impl Table {
    /// Schema and name in double quotes: what SQL and the plugin deltaflood read as this table.
    #[must_use]
    pub fn quoted(&self) -> String {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// What is known of a table `c` of schema `n`. An identity is FULL, a primary key (DEFAULT), or an
/// index.
const FIELDS: &str = "c.oid, n.nspname, c.relname, \
    case c.relreplident when 'f' then true when 'n' then false \
    when 'i' then exists (select from pg_catalog.pg_index i \
      where i.indrelid = c.oid and i.indisreplident) \
    else exists (select from pg_catalog.pg_index i \
      where i.indrelid = c.oid and i.indisprimary) end \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace";

fn tables(conn: &Guarded<'_>, condition: &str) -> Result<Vec<Table>, Error> {
    let result = conn.query(&format!("select {FIELDS} where {condition}"))?;
    let table = |row| {
        let text = |col| result.text(row, col).unwrap_or_default();
        let id = text(0).parse().unwrap_or(0);
        Table { id, schema: text(1), name: text(2), has_identity: text(3) == "t" }
    };
    Ok((0..result.ntuples()).map(table).collect())
}

/// The table that `name` means: `table` or `schema.table` as they are, or as SQL reads it (case
/// folded, double quotes).
///
/// # Errors
/// `STREAM NOTABLE`, `POSTGRES ...`.
pub fn find(conn: &Guarded<'_>, name: &str) -> Result<Table, Error> {
    let quoted = conn.escape_literal(name)?;
    // NOTE: what an unqualified name means is the user's own path to say, so these two run under
    // it. They call nothing but what they name with its schema, and look up names by data alone.
    let visible = format!(
        "select c.oid from pg_catalog.pg_class c \
         where c.relname operator(pg_catalog.=) {quoted} and pg_catalog.pg_table_is_visible(c.oid)"
    );
    let visible = Conn::query(conn, &visible)?.text(0, 0).unwrap_or_else(|| "0".to_owned());
    let exact = format!(
        "c.relkind in ('r', 'p') and (n.nspname || '.' || c.relname = {quoted} \
         or c.oid = {visible}) order by c.oid = {visible} desc"
    );
    if let Some(table) = tables(conn, &exact)?.into_iter().next() {
        return Ok(table);
    }
    // Of a name that is no SQL name the server says so by an error.
    let sql = format!("select pg_catalog.to_regclass({quoted})::pg_catalog.oid");
    let id = Conn::exec(conn, &sql)?.into_ok().ok().and_then(|r| r.text(0, 0));
    if let Some(id) = id.and_then(|id| id.parse::<Oid>().ok()) {
        let condition = format!("c.oid = {id} and c.relkind in ('r', 'p')");
        if let Some(table) = tables(conn, &condition)?.into_iter().next() {
            return Ok(table);
        }
    }
    Err(Error::TableMissing { table: name.to_owned(), database: conn.database() })
}

/// Every ordinary and partitioned table outside of the system's schemas.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn all(conn: &Guarded<'_>) -> Result<Vec<Table>, Error> {
    tables(
        conn,
        "c.relkind in ('r', 'p') and c.relpersistence = 'p' and n.nspname !~ '^pg_' \
         and n.nspname <> 'information_schema'",
    )
}

/// Whether a publication has a table, by itself, by its schema, or because it has all.
///
/// # Errors
/// `POSTGRES ...`.
pub fn is_published(conn: &Guarded<'_>, publication: &str, table: &Table) -> Result<bool, Error> {
    let publication = conn.escape_literal(publication)?;
    let (schema, name) = (conn.escape_literal(&table.schema)?, conn.escape_literal(&table.name)?);
    let sql = format!(
        "select 1 from pg_catalog.pg_publication_tables \
         where pubname = {publication} and schemaname = {schema} and tablename = {name}"
    );
    Ok(conn.query(&sql)?.ntuples() > 0)
}

/// The tables of a publication, as `schema.table` or `table` when the schema is `public`.
///
/// # Errors
/// `POSTGRES ...`.
pub fn published(conn: &Guarded<'_>, publication: &str) -> Result<Vec<String>, Error> {
    let publication = conn.escape_literal(publication)?;
    let sql = format!(
        "select case schemaname when 'public' then '' else schemaname || '.' end || tablename \
         from pg_catalog.pg_publication_tables where pubname = {publication} order by 1"
    );
    let result = conn.query(&sql)?;
    Ok((0..result.ntuples()).filter_map(|row| result.text(row, 0)).collect())
}
