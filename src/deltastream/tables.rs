//! Tables named by the user: found, checked, published.

use super::Error;
use crate::libpq::{self, Conn, Guarded, Oid};

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

/// What is known of a table `c` of schema `n`. An identity is FULL, a primary key that is not
/// deferrable (DEFAULT), or an index.
const FIELDS: &str = "c.oid, n.nspname, c.relname, \
    case c.relreplident when 'f' then true when 'n' then false \
    when 'i' then exists (select from pg_catalog.pg_index i \
      where i.indrelid = c.oid and i.indisreplident) \
    else exists (select from pg_catalog.pg_index i \
      where i.indrelid = c.oid and i.indisprimary and i.indimmediate) end \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace";

fn tables(conn: &Guarded<'_>, condition: &str) -> Result<Vec<Table>, Error> {
    let result = conn.query(&format!("select {FIELDS} where {condition}"))?;
    let table = |row| {
        let text = |col| result.text(row, col).unwrap_or_default();
        let odd = |_| libpq::Error::Unexpected { wanted: "a table's object id", got: text(0) };
        let id = text(0).parse().map_err(odd)?;
        Ok(Table { id, schema: text(1), name: text(2), has_identity: text(3) == "t" })
    };
    (0..result.ntuples()).map(table).collect()
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
    if let Some(id) = Conn::query(conn, &visible)?.text(0, 0) {
        let condition = format!("c.oid = {id} and c.relkind in ('r', 'p')");
        if let Some(table) = tables(conn, &condition)?.into_iter().next() {
            return Ok(table);
        }
    }
    // Only now, since it looks at every table.
    let exact = format!("c.relkind in ('r', 'p') and n.nspname || '.' || c.relname = {quoted}");
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

/// The partitions of a table that a publication sends under their own names, shown as tables are.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn parts_published(
    conn: &Guarded<'_>,
    publication: &str,
    table: &Table,
) -> Result<Vec<String>, Error> {
    let publication = conn.escape_literal(publication)?;
    let condition = format!(
        "c.oid <> {id} and c.oid in (select relid from pg_catalog.pg_partition_tree({id})) \
         and (n.nspname, c.relname) in (select schemaname, tablename \
           from pg_catalog.pg_publication_tables where pubname = {publication}) \
         order by n.nspname, c.relname",
        id = table.id
    );
    Ok(tables(conn, &condition)?.iter().map(Table::to_string).collect())
}

/// The tables of a publication as they are now.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn of_publication(conn: &Guarded<'_>, publication: &str) -> Result<Vec<Table>, Error> {
    let publication = conn.escape_literal(publication)?;
    let condition = format!(
        "(n.nspname, c.relname) in (select schemaname, tablename \
           from pg_catalog.pg_publication_tables where pubname = {publication})"
    );
    tables(conn, &condition)
}

/// The tables that a plugin without publications is asked for, for people to read: `chosen`, or all
/// of the database.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn selected(
    conn: &Guarded<'_>,
    chosen: Option<&[String]>,
) -> Result<Vec<String>, Error> {
    match chosen {
        Some(chosen) if !chosen.is_empty() => Ok(selected_names(chosen)),
        _ => Ok(all(conn)?.iter().map(Table::to_string).collect()),
    }
}

/// Names as [`Table`] shows them, of names as [`Table::quoted`] writes them.
pub(super) fn selected_names(quoted: &[String]) -> Vec<String> {
    let shown = |name: &String| {
        let name = name.strip_prefix("\"public\".").unwrap_or(name);
        let name = name.strip_prefix('"').unwrap_or(name);
        let name = name.strip_suffix('"').unwrap_or(name);
        name.replace("\".\"", ".").replace("\"\"", "\"")
    };
    quoted.iter().map(shown).collect()
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
