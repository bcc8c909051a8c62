//! Which tables a capture sends, and a fingerprint of all that the catalogs say of them.

use crate::libpq::{Error, Guarded};

/// What a capture sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deltastream) enum Scope {
    /// The tables of this publication.
    Publication(String),
    /// These, each as a quoted name with its schema; none: all of the database.
    Tables(Vec<String>),
}

/// Tables of users that are in the WAL.
const USERS: &str = "c.relkind in ('r', 'p') and c.relpersistence = 'p' \
    and c.relnamespace not in (select n.oid from pg_catalog.pg_namespace n \
      where n.nspname ~ '^pg_' or n.nspname = 'information_schema')";

impl Scope {
    /// The publication as a literal; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be quoted.
    pub(super) fn publication(&self, conn: &Guarded<'_>) -> Result<Option<String>, Error> {
        match self {
            Scope::Publication(name) => conn.escape_literal(name).map(Some),
            Scope::Tables(_) => Ok(None),
        }
    }

    /// Common table expressions for a `WITH RECURSIVE`: `p` is what is sent (no row: it is not
    /// there), `shown` the tables that changes come under the name of.
    fn expressions(&self, conn: &Guarded<'_>) -> Result<String, Error> {
        let top = match self {
            Scope::Publication(name) => {
                let name = conn.escape_literal(name)?;
                let schemas = if conn.server_version() >= 150_000 {
                    "union select c.oid from pg_catalog.pg_publication_namespace s \
                       join p on p.id = s.pnpubid \
                       join pg_catalog.pg_class c on c.relnamespace = s.pnnspid \
                       where c.relkind in ('r', 'p') and c.relpersistence = 'p'"
                } else {
                    ""
                };
                format!(
                    "p(id, stamp, everything, via) as (\
                       select b.oid, b.xmin, b.puballtables, b.pubviaroot \
                       from pg_catalog.pg_publication b where b.pubname = {name}), \
                     top(id) as (select r.prrelid from pg_catalog.pg_publication_rel r \
                         join p on p.id = r.prpubid {schemas} \
                       union select c.oid from pg_catalog.pg_class c \
                         where (select everything from p) and {USERS})"
                )
            }
            Scope::Tables(names) => {
                let one = "p(id, stamp, everything, via) as (values (0::pg_catalog.oid, \
                    null::pg_catalog.xid, false, true))";
                if names.is_empty() {
                    let all = "select c.oid from pg_catalog.pg_class c";
                    format!("{one}, top(id) as ({all} where {USERS})")
                } else {
                    let names: Result<Vec<_>, _> =
                        names.iter().map(|name| conn.escape_literal(name)).collect();
                    let names = names?.join(", ");
                    format!(
                        "{one}, top(id) as (select c.oid from pg_catalog.unnest(\
                           array[{names}]::pg_catalog.text[]) name \
                         join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(name) \
                         where c.relkind in ('r', 'p'))"
                    )
                }
            }
        };
        Ok(format!(
            "{top}, \
             below(id) as (select id from top where not (select via from p) \
               union select h.inhrelid from below \
                 join pg_catalog.pg_class c on c.oid = below.id and c.relkind = 'p' \
                 join pg_catalog.pg_inherits h on h.inhparent = c.oid), \
             shown(id) as (\
               select t.id from top t join pg_catalog.pg_class c on c.oid = t.id \
                 where (select via from p) and not (c.relispartition and exists (\
                   with recursive up(id) as (\
                     select h.inhparent from pg_catalog.pg_inherits h where h.inhrelid = t.id \
                     union all select h.inhparent from up \
                       join pg_catalog.pg_inherits h on h.inhrelid = up.id) \
                   select from up where up.id in (select id from top))) \
               union all select b.id from below b \
                 join pg_catalog.pg_class c on c.oid = b.id and c.relkind = 'r')"
        ))
    }

    /// The statement that gives each table that is sent: object id, schema, name, how this role may
    /// hold it (`lock`, `statement`, or not at all), fingerprint. By object id.
    pub(super) fn tables(&self, conn: &Guarded<'_>) -> Result<String, Error> {
        let rel = match self {
            Scope::Publication(_) => {
                "(select r.xmin from pg_catalog.pg_publication_rel r, p \
                   where r.prpubid = p.id and r.prrelid = c.oid)"
            }
            Scope::Tables(_) => "null",
        };
        Ok(format!(
            "with recursive {with}, \
             enums(stamps) as (select pg_catalog.md5(pg_catalog.string_agg(\
               pg_catalog.concat_ws(':', e.oid, e.xmin), ',' order by e.oid)) \
               from pg_catalog.pg_enum e) \
             select c.oid, n.nspname, c.relname, \
               case when not pg_catalog.has_schema_privilege(n.oid, 'usage') then '' \
                 when pg_catalog.has_table_privilege(c.oid, 'select') then 'lock' \
                 else 'statement' end, \
               pg_catalog.md5(pg_catalog.concat_ws(';', n.nspname, c.relname, c.relfilenode, \
                 c.relnatts, c.relreplident, c.relkind, (select stamp from p), {rel}, a.stamps, \
                 i.stamps, t.stamps, case when t.stamps is not null then \
                   (select stamps from enums) end, \
                 case c.relkind when 'p' then (\
                   with recursive tree(id, stamp) as (\
                     select h.inhrelid, h.xmin from pg_catalog.pg_inherits h \
                       where h.inhparent = c.oid \
                     union all select h.inhrelid, h.xmin from tree \
                       join pg_catalog.pg_inherits h on h.inhparent = tree.id) \
                   select pg_catalog.string_agg(pg_catalog.concat_ws(':', l.oid, l.relfilenode, \
                     tree.stamp), ',' order by l.oid) \
                   from tree join pg_catalog.pg_class l on l.oid = tree.id) end)) \
             from shown join pg_catalog.pg_class c on c.oid = shown.id \
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             left join lateral (select pg_catalog.string_agg(\
               pg_catalog.concat_ws(':', a.attnum, a.xmin), ',' order by a.attnum) \
               from pg_catalog.pg_attribute a \
               where a.attrelid = c.oid and a.attnum > 0) a(stamps) on true \
             left join lateral (select pg_catalog.string_agg(\
               pg_catalog.concat_ws(':', i.indexrelid, i.xmin), ',' order by i.indexrelid) \
               from pg_catalog.pg_index i where i.indrelid = c.oid \
                 and (i.indisprimary or i.indisreplident)) i(stamps) on true \
             left join lateral (select pg_catalog.string_agg(\
               pg_catalog.concat_ws(':', t.oid, t.xmin), ',' order by t.oid) \
               from pg_catalog.pg_type t where t.oid in (select a.atttypid \
                 from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 \
                   and a.atttypid >= 16384)) t(stamps) on true \
             order by c.oid",
            with = self.expressions(conn)?
        ))
    }

    /// An expression for the fingerprint of all of it: null when what is sent is not there.
    pub(super) fn fingerprint(&self, conn: &Guarded<'_>) -> Result<String, Error> {
        let there = match self {
            Scope::Publication(name) => {
                let name = conn.escape_literal(name)?;
                format!("exists (select from pg_catalog.pg_publication where pubname = {name})")
            }
            Scope::Tables(_) => "true".to_owned(),
        };
        let tables = self.tables(conn)?;
        Ok(format!(
            "(select case when {there} then pg_catalog.md5(coalesce(\
               pg_catalog.string_agg(f.print, '' order by f.id), '')) end \
             from ({tables}) f(id, space, name, may, print))"
        ))
    }
}
