//! The definition of a table, as a `schema` line of the stream carries it.
//!
//! Kept in `_deltamirror_table` in the very form of that line, so that a mirror that starts in the
//! middle of a segment knows what its tables were made from.

mod compare;
mod diff;
mod numbers;

pub use diff::{Reason, SchemaDiff, Step};

use deltaflood::{Change, Details, Verb, list, write};

use crate::schema::Table;

/// Before what `_storage` was: lines without details came since, whose columns may be others of the
/// same names.
const UNSURE: &[u8] = b"?";

/// Columns with their types, in order, and the columns that name an old row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Definition {
    /// Column name and type name (`format_type`).
    pub columns: Vec<(String, String)>,
    /// Object id of the table; `None` when the stream does not tell.
    pub oid: Option<u32>,
    /// Identity columns; empty when old rows are not named at all.
    pub key: Vec<String>,
    /// What tells columns of one name apart, where the stream or the catalog told it.
    pub details: Option<Details>,
}

impl Definition {
    /// From the catalog, reduced to what is published.
    #[must_use]
    pub fn of(table: &Table) -> Definition {
        let columns = table.columns.iter().map(|c| (c.name.clone(), c.type_name.clone()));
        Definition {
            columns: columns.collect(),
            oid: Some(table.oid),
            key: table.identity_columns(),
            details: None,
        }
    }

    /// From a `schema` line; `None` when a name is not UTF-8 or the line is not such a line.
    #[must_use]
    pub fn from_change(change: &Change<'_>) -> Option<Definition> {
        if change.verb != Verb::Schema {
            return None;
        }
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let mut columns = Vec::new();
        for pair in change.columns() {
            let (name, kind) = pair.ok()?;
            columns.push((text(&name.decode())?, text(&kind.decode())?));
        }
        let mut key = Vec::new();
        if let Some(names) = change.key {
            for name in list::decode(&names.decode()).ok()? {
                key.push(text(&name)?);
            }
        }
        let details = change.details().ok()?;
        Some(Definition { columns, oid: change.oid, key, details })
    }

    /// From the text in `_deltamirror_table`.
    #[must_use]
    pub fn parse(line: &str) -> Option<Definition> {
        Definition::from_change(&Change::parse(line.as_bytes()).ok()?)
    }

    /// The text for `_deltamirror_table`: a `schema` line.
    #[must_use]
    pub fn line(&self, schema: &str, table: &str) -> String {
        let mut out = Vec::new();
        let names = self.key.iter().map(String::as_bytes);
        let head = write::Line::begin(&mut out).table(table.as_bytes()).schema(schema.as_bytes());
        let head = match self.oid {
            Some(oid) => head.oid(oid),
            None => head,
        };
        let head = head.identity(names);
        let head = match &self.details {
            Some(details) => head.details(details),
            None => head,
        };
        let mut line = head.verb(Verb::Schema);
        for (name, kind) in &self.columns {
            line.column(name.as_bytes(), kind.as_bytes());
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The definition that comes after this one, when `now` was told and takes nothing from it.
    /// What `now` does not tell stays known, but not that its columns are the same.
    #[must_use]
    pub fn followed_by(&self, now: Definition) -> Definition {
        let details = now.details.or_else(|| {
            let mut known = self.details.clone()?;
            if !known.storage.starts_with(UNSURE) {
                known.storage.splice(0..0, UNSURE.iter().copied());
            }
            Some(known)
        });
        Definition { oid: now.oid.or(self.oid), details, ..now }
    }

    /// Whether lines without details came since it was told.
    #[must_use]
    pub(super) fn is_unsure(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.storage.starts_with(UNSURE))
    }

    /// Whether the table is a partitioned one.
    #[must_use]
    pub(super) fn is_partitioned(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.kind == b'p')
    }

    /// Object id of a column's type, of what it is over where it is a domain; `None` without
    /// details.
    #[must_use]
    pub fn base_type(&self, column: &str) -> Option<u32> {
        let at = self.columns.iter().position(|(name, _)| name == column)?;
        self.details.as_ref()?.types.get(at).map(|kind| kind.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(columns: &[(&str, &str)], key: &[&str]) -> Definition {
        Definition {
            columns: columns.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect(),
            oid: None,
            key: key.iter().map(|name| (*name).to_owned()).collect(),
            details: None,
        }
    }

    #[test]
    fn odd_names_survive_the_line() {
        let d =
            definition(&[("a\tb", "text"), ("_table x", "sch.\"odd\\type\"")], &["a\tb", "_t x"]);
        assert_eq!(Definition::parse(&d.line("s\n", "t {x}")), Some(d));
        let none = Definition { oid: Some(7), ..definition(&[("a", "integer")], &[]) };
        assert_eq!(Definition::parse(&none.line("public", "t")), Some(none));
    }
}
