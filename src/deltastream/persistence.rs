//! Tables that are made unlogged or logged while they are captured.
//!
//! `ALTER TABLE ... SET UNLOGGED` takes a table out of the WAL, and so out of the slot, without a
//! word: what is changed until `SET LOGGED` is in no stream. PostgreSQL refuses it for a table that
//! a publication names; not where the publication has all tables or those of a schema, nor for a
//! plugin without publications. So it is looked for with each heartbeat. What this cannot notice: a
//! table that is unlogged and logged again between two heartbeats, or while no capture runs.

use super::options::Plugin;
use crate::libpq::{Oid, PgResult};
use std::collections::HashMap;

/// Tables that are in the WAL or not, as one text: another one when anything has changed.
pub(super) const FINGERPRINT: &str = "select pg_catalog.md5(pg_catalog.string_agg(\
    pg_catalog.concat(c.oid, c.relpersistence), ',' order by c.oid)) \
    from pg_catalog.pg_class c where c.relkind = 'r' and c.relpersistence in ('p', 'u')";

/// Those tables themselves: object id, whether logged, schema, name.
pub(super) const TABLES: &str = "select c.oid, c.relpersistence = 'p', n.nspname, c.relname \
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
    logged: HashMap<Oid, bool>,
}

/// A table that went out of the WAL, or came into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turned {
    pub(super) table: String,
    pub(super) logged: bool,
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
        let before = std::mem::take(&mut self.logged);
        let mut turned = None;
        for row in 0..answer.ntuples() {
            let text = |column| answer.text(row, column).unwrap_or_default();
            let Ok(id) = text(0).parse::<Oid>() else { continue };
            let logged = text(1) == "t";
            self.logged.insert(id, logged);
            let (schema, name) = (text(2), text(3));
            if before.get(&id).is_some_and(|was| *was != logged) && taken.has(&schema, &name) {
                let schema = if schema == "public" { String::new() } else { format!("{schema}.") };
                turned = Some(Turned { table: format!("{schema}{name}"), logged });
            }
        }
        self.fingerprint = Some(fingerprint);
        turned
    }
}
