//! The definition of a table, as a `schema` line of the stream carries it.
//!
//! Kept in `_deltamirror_table` in the very form of that line, so that a mirror that starts in the
//! middle of a segment knows what its tables were made from.

use deltaflood::{Change, Verb, list, write};

use crate::schema::Table;

/// Columns with their types, in order, and the columns that name an old row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Definition {
    /// Column name and type name (`format_type`).
    pub columns: Vec<(String, String)>,
    /// Object id of the table; `None` when the stream does not tell.
    pub oid: Option<u32>,
    /// Identity columns; empty when old rows are not named at all.
    pub key: Vec<String>,
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
        Some(Definition { columns, oid: change.oid, key })
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
        let mut line = head.identity(names).verb(Verb::Schema);
        for (name, kind) in &self.columns {
            line.column(name.as_bytes(), kind.as_bytes());
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What is different in `other`; `None` when a row of the one fits the other. Type names are
    /// the same also when only one of them is qualified by a schema.
    #[must_use]
    pub fn difference(&self, other: &Definition) -> Option<String> {
        if let (Some(oid), Some(now)) = (self.oid, other.oid)
            && oid != now
        {
            return Some(
                "another table has its name now (dropped and made anew, or renamed)".into(),
            );
        }
        for (name, kind) in &self.columns {
            match other.columns.iter().find(|(column, _)| column == name) {
                None => return Some(format!("column \"{name}\" is no longer there")),
                Some((_, now)) if !same_type(kind, now) => {
                    return Some(format!("column \"{name}\" was {kind} and is {now}"));
                }
                Some(_) => {}
            }
        }
        let known = |name: &String| self.columns.iter().any(|(column, _)| column == name);
        let new = other.columns.iter().find(|(name, _)| !known(name));
        if let Some((name, kind)) = new {
            return Some(format!("column \"{name}\" {kind} is new"));
        }
        // PostgreSQL never moves a column: another one has the name now, with other values.
        let moved = self.columns.iter().zip(&other.columns).find(|(ours, now)| ours.0 != now.0);
        moved.map(|((name, _), _)| {
            format!("column \"{name}\" was dropped and made anew, or changed names with another")
        })
    }
}

/// Whether two type names mean one type: equal, or equal but for a schema before one of them. A
/// type that was dropped before its name was asked for is printed `???`: the column went with it,
/// which the next `schema` line tells.
fn same_type(one: &str, other: &str) -> bool {
    let unqualified = |longer: &str, shorter: &str| {
        longer.strip_suffix(shorter).is_some_and(|schema| schema.ends_with('.'))
    };
    one == other || other == "???" || unqualified(one, other) || unqualified(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(columns: &[(&str, &str)], key: &[&str]) -> Definition {
        Definition {
            columns: columns.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect(),
            oid: None,
            key: key.iter().map(|name| (*name).to_owned()).collect(),
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

    #[test]
    fn differences_are_of_columns_and_types() {
        let d = definition(&[("a", "integer"), ("m", "public.mood")], &["a"]);
        assert_eq!(d.difference(&definition(&[("a", "integer"), ("m", "mood")], &[])), None);
        let of = |oid| Definition { oid: Some(oid), ..d.clone() };
        assert_eq!((d.difference(&of(1)), of(1).difference(&of(1))), (None, None));
        assert!(of(1).difference(&of(2)).unwrap().starts_with("another table"));
        let is = |other: &[(&str, &str)]| d.difference(&definition(other, &["a"])).unwrap();
        assert_eq!(is(&[("a", "integer")]), "column \"m\" is no longer there");
        assert_eq!(is(&[("a", "bigint"), ("m", "mood")]), "column \"a\" was integer and is bigint");
        assert_eq!(
            is(&[("a", "integer"), ("m", "mood"), ("z", "text")]),
            "column \"z\" text is new"
        );
        assert!(is(&[("m", "mood"), ("a", "integer")]).starts_with("column \"a\" was dropped and"));
    }
}
