//! Which tables a reader wants.

use deltaflood::{Change, Verb};

use crate::limits::{REMOTE_TABLES_BYTES_MAX, REMOTE_TABLES_MAX};

/// A set of tables. Lines that name none of them are passed over; `commit` and `message` lines
/// belong to no table and are always given out.
#[derive(Debug, Clone, Default)]
pub struct TableFilter {
    /// Table and schema, in this order.
    tables: Vec<(Vec<u8>, Vec<u8>)>,
    for_mirror: bool,
}

impl TableFilter {
    /// A filter that lets no table pass.
    #[must_use]
    pub fn new() -> TableFilter {
        TableFilter::default()
    }

    /// Lets a table pass.
    #[must_use]
    pub fn with(mut self, schema: &str, table: &str) -> TableFilter {
        let pair = (table.as_bytes().to_vec(), schema.as_bytes().to_vec());
        if let Err(place) = self.tables.binary_search(&pair) {
            self.tables.insert(place, pair);
        }
        self
    }

    /// Lets the `schema` lines of all tables pass, too (one may be that of a table here under a new
    /// name), and lines that have a qualified name only: what a mirror has to see.
    #[must_use]
    pub fn for_mirror(self) -> TableFilter {
        TableFilter { for_mirror: true, ..self }
    }

    /// Whether it is [`TableFilter::for_mirror`].
    #[must_use]
    pub(super) const fn is_for_mirror(&self) -> bool {
        self.for_mirror
    }

    /// The tables as a server takes them, `table,schema.table`. What passes there passes here or is
    /// more. `None` where that form cannot name them.
    #[must_use]
    pub(super) fn query(&self) -> Option<String> {
        let mut names = Vec::with_capacity(self.tables.len());
        for (table, schema) in &self.tables {
            let (schema, table) = (std::str::from_utf8(schema), std::str::from_utf8(table));
            let (schema, table) = (schema.ok()?, table.ok()?);
            // NOTE: a NUL ends a word of a command line.
            if [schema, table].iter().any(|name| name.contains('\0') || name.is_empty()) {
                return None;
            }
            names.push(match schema {
                "public" => quoted(table),
                schema => format!("{}.{}", quoted(schema), quoted(table)),
            });
        }
        names.sort_unstable();
        names.dedup();
        let query = names.join(",");
        let short = names.len() <= REMOTE_TABLES_MAX && query.len() <= REMOTE_TABLES_BYTES_MAX;
        (short && !query.is_empty()).then_some(query)
    }

    /// Whether a line of a log passes, where that can be told at a glance; `None` where it takes a
    /// parse. `_table` comes first behind the stamp, as writers have it. It does not pass when no
    /// table here is called so in any schema, and what follows is a head like any other. `rest` is
    /// the line behind its stamp.
    #[must_use]
    pub(super) fn glance(&self, rest: &[u8]) -> Option<bool> {
        let rest = rest.strip_prefix(b"_table\t")?;
        let (name, rest) = field(rest)?;
        if !plain(name) {
            return None;
        }
        let schemas = self.schemas(name);
        let (schema, rest) = match rest.strip_prefix(b"_schema\t").map(field) {
            Some(schema) => schema.filter(|(schema, _)| plain(schema))?,
            None => (&b"public"[..], rest),
        };
        let (xid, rest) = field(rest.strip_prefix(b"_xid\t")?)?;
        if schemas.iter().any(|(_, wanted)| wanted == schema) {
            return Some(true);
        }
        let (verb, _) = field(rest.strip_prefix(b"_action\t")?)?;
        let known = matches!(verb, b"insert" | b"update" | b"replace" | b"delete");
        let number = (1..=9).contains(&xid.len())
            && !xid.starts_with(b"0")
            && xid.iter().all(u8::is_ascii_digit);
        (schemas.is_empty() && known && number).then_some(false)
    }

    /// The tables of this name here.
    fn schemas(&self, name: &[u8]) -> &[(Vec<u8>, Vec<u8>)] {
        let first = self.tables.partition_point(|(table, _)| table.as_slice() < name);
        let rest = self.tables.get(first..).unwrap_or_default();
        let count = rest.iter().take_while(|(table, _)| table == name).count();
        rest.get(..count).unwrap_or_default()
    }

    /// Whether the line passes. A line without `_table` (but `_qualified_table`) does for a mirror
    /// only.
    #[must_use]
    pub fn passes(&self, change: &Change<'_>) -> bool {
        if !change.verb.has_table() || (self.for_mirror && change.verb == Verb::Schema) {
            return true;
        }
        let Some(table) = change.table else {
            return self.for_mirror;
        };
        let name = table.decode();
        self.schemas(&name)
            .iter()
            .any(|(_, schema)| change.schema.map_or(schema == b"public", |text| text.is(schema)))
    }
}

/// A name as a server takes it: in quotes where it would not be taken for one.
fn quoted(name: &str) -> String {
    if name.contains(['"', ',', '.']) {
        return format!("\"{}\"", name.replace('"', "\"\""));
    }
    name.to_owned()
}

/// Whether a field is a name without escapes.
fn plain(name: &[u8]) -> bool {
    !name.is_empty() && !name.contains(&b'\\') && !name.contains(&b'\n')
}

/// The bytes up to a TAB, and those behind it.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = bytes.iter().position(|&byte| byte == b'\t')?;
    Some((bytes.get(..tab)?, bytes.get(tab + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_is_asked_for() {
        let filter = TableFilter::new().with("public", "b.c").with("s", "b").with("public", "a");
        assert_eq!(filter.clone().with("s", "b").query().as_deref(), Some("\"b.c\",a,s.b"));
        let asked = |schema, table| TableFilter::new().with(schema, table).query();
        assert_eq!(asked("s.t", "a,\"b").as_deref(), Some("\"s.t\".\"a,\"\"b\""));
        for (schema, table) in [("public", "a\0"), ("s\0", "a"), ("public", ""), ("", "a")] {
            assert_eq!(filter.clone().with(schema, table).query(), None);
        }
        assert_eq!(TableFilter::new().query(), None);
        assert_eq!(TableFilter::new().with("public", &"x".repeat(5000)).query(), None);
    }

    #[test]
    fn a_glance_says_what_a_parse_says() {
        let filter = TableFilter::new().with("public", "a").with("s", "b").with("public", "c\td");
        let mut told = [0; 2];
        for table in ["a", "b", "x", "c\\td", "ab", ""] {
            for schema in ["", "_schema\ts\t", "_schema\tpublic\t"] {
                for xid in ["_xid\t7\t", "_xid\tx\t", "_xid\t99999999999\t", "_xid\t07\t", ""] {
                    for end in ["insert\ta\t1", "schema\ta\tint4", "message", "fly\ta\tb", "commit"]
                    {
                        let line = format!("_table\t{table}\t{schema}{xid}_action\t{end}");
                        let glance = filter.glance(line.as_bytes());
                        for filter in [filter.clone(), filter.clone().for_mirror()] {
                            let change = Change::parse(line.as_bytes());
                            // What a parse refuses is damage, and must not be passed over.
                            let passes = change.map_or(true, |change| filter.passes(&change));
                            assert!(glance.is_none_or(|glance| glance == passes), "{line}");
                            assert_eq!(glance, filter.glance(line.as_bytes()));
                        }
                        told[0] += u32::from(glance == Some(false));
                        told[1] += u32::from(glance == Some(true));
                    }
                }
            }
        }
        assert!(told.iter().all(|told| *told > 5), "{told:?}");
    }
}
