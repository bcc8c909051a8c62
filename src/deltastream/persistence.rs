//! Tables that are made unlogged or logged while they are captured.
//!
//! `ALTER TABLE ... SET UNLOGGED` takes a table out of the WAL, and so out of the slot, without a
//! word: what is changed until `SET LOGGED` is in no stream. PostgreSQL refuses it for a table that
//! a publication names; not where the publication has all tables or those of a schema, nor for a
//! plugin without publications. So it is looked for with each heartbeat.
//!
//! A table that was unlogged and logged again between two heartbeats looks as before, but its TOAST
//! table is another one: `ALTER TABLE` writes rows into a new table with a TOAST table of its own,
//! and the old one takes over both; `VACUUM FULL`, `CLUSTER` and `TRUNCATE` keep the TOAST table. A
//! table of which `ALTER TABLE` altered columns has another definition, which is told by
//! itself. What this cannot notice: a table without a TOAST table (of no column that can be long),
//! and what happens while no capture runs.

use super::options::Plugin;
use crate::libpq::{Oid, PgResult};
use std::collections::HashMap;

/// Tables that are in the WAL or not, and their TOAST tables, as one text: another one when
/// anything has changed. A `SELECT` that more may be added to.
pub(super) const FINGERPRINT: &str = "select (select pg_catalog.md5(pg_catalog.string_agg(\
    pg_catalog.concat(c.oid, c.relpersistence, c.reltoastrelid), ',' order by c.oid)) \
    from pg_catalog.pg_class c where c.relkind = 'r' and c.relpersistence in ('p', 'u'))";

/// Those tables themselves: object id, whether logged, schema, name, TOAST table, columns.
pub(super) const TABLES: &str = "select c.oid, c.relpersistence = 'p', n.nspname, c.relname, \
    c.reltoastrelid, (select pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat(a.attnum, ' ', \
    a.atttypid, ' ', a.atttypmod, ' ', a.xmin), ',' order by a.attnum)) \
    from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0) \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind = 'r' and c.relpersistence in ('p', 'u') and n.nspname !~ '^pg_' \
    and n.nspname <> 'information_schema'";

/// What a capture takes beside tables that are named: PostgreSQL keeps those logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taken {
    /// Every table.
    All,
    /// Those of these schemas.
    Schemas(Vec<String>),
    /// These, each as a quoted name with its schema.
    Tables(Vec<String>),
}

impl Taken {
    /// The statement that tells what a publication takes; `None`: it need not be asked.
    pub(super) fn question(plugin: Plugin, publication: &str, version: i32) -> Option<String> {
        if plugin == Plugin::Deltaflood {
            return None;
        }
        let schemas = if version >= 150_000 {
            "array(select n.nspname::pg_catalog.text from pg_catalog.pg_publication_namespace s \
             join pg_catalog.pg_namespace n on n.oid = s.pnnspid where s.pnpubid = p.oid)"
        } else {
            "array[]::pg_catalog.text[]"
        };
        Some(format!(
            "select p.puballtables, pg_catalog.unnest(pg_catalog.array_append({schemas}, null)) \
             from pg_catalog.pg_publication p where p.pubname = {publication}"
        ))
    }

    /// The answer to that.
    pub(super) fn of(answer: &PgResult) -> Taken {
        if answer.value(0, 0) == Some(b"t") {
            return Taken::All;
        }
        Taken::Schemas((0..answer.ntuples()).filter_map(|row| answer.text(row, 1)).collect())
    }

    fn has(&self, schema: &str, name: &str) -> bool {
        match self {
            Taken::All => true,
            Taken::Schemas(schemas) => schemas.iter().any(|taken| taken == schema),
            Taken::Tables(tables) => {
                let quoted = |name: &str| name.replace('"', "\"\"");
                let full = format!("\"{}\".\"{}\"", quoted(schema), quoted(name));
                tables.contains(&full)
            }
        }
    }
}

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Watch {
    fingerprint: Option<String>,
    tables: HashMap<Oid, Seen>,
}

/// How a table was.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    logged: bool,
    toast: String,
    columns: String,
}

impl Seen {
    /// What became of it, where it is like this now.
    fn turned(&self, now: &Seen) -> Option<&'static str> {
        match (self.logged, now.logged) {
            (true, false) => Some("unlogged"),
            (false, true) => Some("logged"),
            (true, true) if self.toast != now.toast && self.columns == now.columns => {
                Some("unlogged and logged again (or was rewritten by ALTER TABLE)")
            }
            _ => None,
        }
    }
}

/// A table that went out of the WAL, or came into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turned {
    pub(super) table: String,
    /// What it was made.
    pub(super) turned: &'static str,
}

impl Watch {
    /// Whether the tables have to be looked at again.
    pub(super) fn is_new(&self, fingerprint: &str) -> bool {
        self.fingerprint.as_deref() != Some(fingerprint)
    }

    /// Takes the tables as they are now; one of them that has changed, if there is one.
    pub(super) fn take(
        &mut self,
        fingerprint: String,
        answer: &PgResult,
        taken: &Taken,
    ) -> Option<Turned> {
        let before = std::mem::take(&mut self.tables);
        let mut found = None;
        for row in 0..answer.ntuples() {
            let text = |column| answer.text(row, column).unwrap_or_default();
            let Ok(id) = text(0).parse::<Oid>() else { continue };
            let now = Seen { logged: text(1) == "t", toast: text(4), columns: text(5) };
            let (schema, name) = (text(2), text(3));
            let turned = before.get(&id).and_then(|was| was.turned(&now));
            self.tables.insert(id, now);
            if let Some(turned) = turned.filter(|_| taken.has(&schema, &name)) {
                let schema = if schema == "public" { String::new() } else { format!("{schema}.") };
                found = Some(Turned { table: format!("{schema}{name}"), turned });
            }
        }
        self.fingerprint = Some(fingerprint);
        found
    }
}
