//! Whether tables can be published without harm to their owner's statements, and followed.
//!
//! Once a table is published, PostgreSQL refuses its UPDATE and DELETE when the old row cannot be
//! named in the stream: without a replica identity, and from version 18 on also when the identity
//! holds generated columns that the publication does not send. That is looked at before, for
//! nothing that setup does may break what worked. Older servers let these statements through and
//! leave the columns out: then a mirror could not find the rows, of which is warned.

use super::Error;
use super::tables::Table;
use crate::libpq::Guarded;

/// Since when a publication can send stored generated columns, and the server insists on it.
pub(super) const VERSION_SENDS_GENERATED: i32 = 180_000;

/// For each table of `$1` the generated columns of its identity, and whether all are stored. `$2`
/// is true for the tables' generated columns altogether.
const GENERATED: &str = "select n.nspname, c.relname, \
      pg_catalog.string_agg(a.attname::pg_catalog.text, ', ' order by a.attnum), \
      pg_catalog.bool_and(a.attgenerated = 's') \
    from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attgenerated <> '' \
    where c.oid = any ($1::pg_catalog.oid[]) and not a.attisdropped \
      and ($2::pg_catalog.bool or c.relreplident = 'f' or exists ( \
        select from pg_catalog.pg_index i where i.indrelid = c.oid \
          and a.attnum = any (i.indkey::pg_catalog.int2[]) \
          and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident \
            else false end)) \
    group by 1, 2 order by 1, 2";

struct Found {
    table: String,
    columns: String,
    all_stored: bool,
}

fn generated(conn: &Guarded<'_>, tables: &[Table], anywhere: bool) -> Result<Vec<Found>, Error> {
    let ids = tables.iter().map(|table| table.id.to_string()).collect::<Vec<_>>().join(",");
    let ids = format!("{{{ids}}}");
    let anywhere: &[u8] = if anywhere { b"t" } else { b"f" };
    let answer = conn.query_params(GENERATED, &[Some(ids.as_bytes()), Some(anywhere)])?;
    let found = |row| {
        let text = |col| answer.text(row, col).unwrap_or_default();
        let table = match text(0).as_str() {
            "public" => text(1),
            schema => format!("{schema}.{}", text(1)),
        };
        Found { table, columns: text(2), all_stored: text(3) == "t" }
    };
    Ok((0..answer.ntuples()).map(found).collect())
}

/// Whether any of the tables has generated columns.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn have_generated(conn: &Guarded<'_>, tables: &[Table]) -> Result<bool, Error> {
    Ok(!generated(conn, tables, true)?.is_empty())
}

/// Refuses tables whose UPDATE and DELETE would fail once they are published. True: they would not,
/// when the publication sends stored generated columns, which it `may`.
///
/// # Errors
/// `STREAM NOIDENTITY`, `GENERATEDKEY`, naming the tables; `POSTGRES ...`.
pub(super) fn check(
    conn: &Guarded<'_>,
    tables: &[Table],
    may: bool,
    warnings: &mut Vec<String>,
) -> Result<bool, Error> {
    check_identities(tables)?;
    let found = generated(conn, tables, false)?;
    if conn.server_version() < VERSION_SENDS_GENERATED {
        warn(&found, warnings);
        return Ok(false);
    }
    let refused: Vec<_> = found.iter().filter(|found| !may || !found.all_stored).collect();
    if refused.is_empty() {
        return Ok(!found.is_empty());
    }
    let tables = refused.iter().map(|found| format!("{} ({})", found.table, found.columns));
    Err(Error::GeneratedKey { tables: tables.collect::<Vec<_>>().join(", ") })
}

/// Warns of tables that are published already, or are sent without a publication, and whose rows a
/// mirror could not find: their keys have columns that are not sent.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn warn_of_keys(
    conn: &Guarded<'_>,
    tables: &[Table],
    sends_generated: bool,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let mut found = generated(conn, tables, false)?;
    found.retain(|found| !sends_generated || !found.all_stored);
    warn(&found, warnings);
    Ok(())
}

fn warn(found: &[Found], warnings: &mut Vec<String>) {
    for Found { table, columns, .. } in found {
        warnings.push(format!(
            "the replica identity of table {table} has generated columns, which are not sent \
             ({columns}): a mirror cannot be made of it; give it another one (`ALTER TABLE ... \
             REPLICA IDENTITY USING INDEX ...`)"
        ));
    }
}

/// Once published for UPDATE and DELETE, a table without identity takes neither any more.
///
/// # Errors
/// `STREAM NOIDENTITY`.
pub(super) fn check_identities(tables: &[Table]) -> Result<(), Error> {
    let without: Vec<_> = tables.iter().filter(|t| !t.has_identity).map(Table::to_string).collect();
    if without.is_empty() { Ok(()) } else { Err(Error::NoIdentity { tables: without.join(", ") }) }
}
