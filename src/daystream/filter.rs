//! Which tables a reader wants.

use deltaflood::Change;

use crate::limits::{REMOTE_TABLES_BYTES_MAX, REMOTE_TABLES_MAX};

/// A set of tables. Lines that name none of them are passed over; `commit` and `message` lines
/// belong to no table and are always given out.
#[derive(Debug, Clone, Default)]
pub struct TableFilter {
    tables: Vec<(Vec<u8>, Vec<u8>)>,
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
        self.tables.push((schema.as_bytes().to_vec(), table.as_bytes().to_vec()));
        self
    }

    /// The tables as a server takes them, `table,schema.table`. What passes there passes here or is
    /// more. `None` where that form cannot name them.
    #[must_use]
    pub(super) fn query(&self) -> Option<String> {
        let mut names = Vec::with_capacity(self.tables.len());
        for (schema, table) in &self.tables {
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

    /// Whether a line of a log can be told at a glance not to pass: `_table` comes first behind the
    /// stamp, as writers have it, no table here is called so in any schema, and what follows is a
    /// head like any other. `rest` is the line behind its stamp. False where it takes a parse.
    #[must_use]
    pub(super) fn rejects(&self, rest: &[u8]) -> bool {
        let glance = || {
            let rest = rest.strip_prefix(b"_table\t")?;
            let (name, rest) = field(rest)?;
            if self.tables.iter().any(|(_, wanted)| wanted == name) || !plain(name) {
                return None;
            }
            let rest = match rest.strip_prefix(b"_schema\t").map(field) {
                Some(schema) => schema.filter(|(schema, _)| plain(schema))?.1,
                None => rest,
            };
            let (xid, rest) = field(rest.strip_prefix(b"_xid\t")?)?;
            let (verb, _) = field(rest.strip_prefix(b"_action\t")?)?;
            let known = matches!(verb, b"insert" | b"update" | b"replace" | b"delete");
            let number = (1..=9).contains(&xid.len())
                && !xid.starts_with(b"0")
                && xid.iter().all(u8::is_ascii_digit);
            (known && number).then_some(())
        };
        glance().is_some()
    }

    /// Whether the line passes. A line without `_table` (but `_qualified_table`) does not.
    #[must_use]
    pub fn passes(&self, change: &Change<'_>) -> bool {
        if !change.verb.has_table() {
            return true;
        }
        let Some(table) = change.table else {
            return false;
        };
        self.tables.iter().any(|(schema, name)| {
            let same = change.schema.map_or(schema == b"public", |text| text.is(schema));
            same && table.is(name)
        })
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
    fn a_glance_never_rejects_what_a_parse_lets_pass() {
        let filter = TableFilter::new().with("public", "a").with("s", "b").with("public", "c\td");
        let mut rejected = 0;
        for table in ["a", "b", "x", "c\\td", "ab", ""] {
            for schema in ["", "_schema\ts\t", "_schema\tpublic\t"] {
                for xid in ["_xid\t7\t", "_xid\tx\t", "_xid\t99999999999\t", "_xid\t07\t", ""] {
                    for end in ["insert\ta\t1", "delete\ta\t1", "message", "fly\ta\tb", "commit"] {
                        let line = format!("_table\t{table}\t{schema}{xid}_action\t{end}");
                        let passes =
                            Change::parse(line.as_bytes()).is_ok_and(|c| filter.passes(&c));
                        let glance = filter.rejects(line.as_bytes());
                        assert!(!(glance && passes), "{line}");
                        // What a parse refuses is damage, and must not be passed over.
                        assert!(!glance || Change::parse(line.as_bytes()).is_ok(), "{line}");
                        rejected += u32::from(glance);
                    }
                }
            }
        }
        assert!(rejected > 5);
    }
}
