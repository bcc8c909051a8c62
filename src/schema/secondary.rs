//! The source's secondary indexes in SQLite: those that readers of the mirror want, beside the ones
//! that the mirror itself needs ([`super::ddl`]).
//!
//! SQLite gets b-trees on plain columns, ascending and descending. Unique ones are made without
//! UNIQUE: inside a transaction two rows may change places, which PostgreSQL checks at the end of a
//! statement and SQLite row by row. What SQLite cannot have is left out, by name. An index that
//! sorts by nothing more than the key does, or as another one, is not made.
//!
//! They are called `_deltamirror_byN_TABLE`: names that neither PostgreSQL nor a user gives.

use super::ddl;
use super::model::{Index, Table};
use crate::sqlite::quote_identifier;

/// What their names begin with.
pub const PREFIX: &str = "_deltamirror_by";

/// A column of an index, as a statement names it.
#[must_use]
pub fn part(column: &str, descending: bool) -> String {
    format!("{}{}", quote_identifier(column), if descending { " DESC" } else { "" })
}

/// Which of the source's secondary indexes a mirror makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Indexes {
    /// None.
    None,
    /// Those that are unique in the source.
    Unique,
    /// All that SQLite can have.
    #[default]
    All,
}

impl Indexes {
    /// The words for them.
    pub const WORDS: [&'static str; 3] = ["none", "unique", "all"];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Indexes::None => "none",
            Indexes::Unique => "unique",
            Indexes::All => "all",
        }
    }

    /// From its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Indexes> {
        [Indexes::None, Indexes::Unique, Indexes::All].into_iter().find(|i| i.word() == word)
    }
}

/// An index that SQLite cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name in PostgreSQL.
    pub index: String,
    /// Why.
    pub why: String,
}

/// The statements that make the secondary indexes of a table, and what is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secondary {
    /// `CREATE INDEX`, one for each.
    pub statements: Vec<String>,
    /// What SQLite cannot have.
    pub left_out: Vec<LeftOut>,
}

/// A column of an index; true: descending.
type Part<'t> = (&'t str, bool);

/// The secondary indexes of `table`, which is called `name` in SQLite.
#[must_use]
pub fn secondary(table: &Table, name: &str, wanted: Indexes) -> Secondary {
    let mut secondary = Secondary::default();
    let needed = needed(table);
    let mut there: Vec<Vec<Part<'_>>> = Vec::new();
    for index in table.indexes.iter().filter(|index| !index.primary) {
        let is_wanted = match wanted {
            Indexes::None => false,
            Indexes::Unique => index.unique,
            Indexes::All => true,
        };
        if !is_wanted {
            continue;
        }
        let parts = match parts(table, index) {
            Ok(parts) => parts,
            Err(why) => {
                secondary.left_out.push(LeftOut { index: index.name.clone(), why });
                continue;
            }
        };
        if there.contains(&parts) || needed.iter().any(|other| other.starts_with(&parts)) {
            continue;
        }
        let columns: Vec<String> = parts.iter().map(|(c, d)| part(c, *d)).collect();
        let number = secondary.statements.len();
        let made = quote_identifier(&format!("{PREFIX}{number}_{name}"));
        let on = quote_identifier(name);
        let columns = columns.join(", ");
        secondary
            .statements
            .push(format!("CREATE INDEX IF NOT EXISTS main.{made} ON {on} ({columns})"));
        there.push(parts);
    }
    secondary
}

/// What the mirror's own key and indexes sort by.
fn needed(table: &Table) -> Vec<Vec<Part<'_>>> {
    let ascending = |columns: &[String]| -> Vec<Part<'_>> {
        let at = |name: &String| table.columns.iter().find(|column| column.name == *name);
        columns.iter().filter_map(at).map(|column| (column.name.as_str(), false)).collect()
    };
    let mut list = vec![ascending(ddl::primary_key(table))];
    let lookup = ddl::lookup(table, &table.identity_columns());
    if let ddl::Lookup::Key(columns) = &lookup {
        list.push(ascending(columns));
    }
    list.extend(ddl::plain_indexes(table, &lookup).into_iter().map(ascending));
    list
}

/// The columns of an index as SQLite has it, or why it cannot.
fn parts<'t>(table: &'t Table, index: &'t Index) -> Result<Vec<Part<'t>>, String> {
    let (method, texts) = definition(&index.definition)
        .ok_or_else(|| format!("its definition is not understood: {}", index.definition))?;
    if method != "btree" {
        return Err(format!("it is a {method} index"));
    }
    if index.partial {
        return Err("it is of a part of the rows (WHERE)".to_owned());
    }
    if index.columns.is_empty() || texts.len() < index.columns.len() {
        return Err("it is on an expression".to_owned());
    }
    if let Some(column) = index.columns.iter().find(|name| table.column(name).is_none()) {
        return Err(format!("column \"{column}\" is not in the mirror"));
    }
    let descending = |text: &str| text.split_whitespace().any(|word| word == "DESC");
    let columns = index.columns.iter().map(String::as_str);
    Ok(columns.zip(texts.iter().map(|text| descending(text))).collect())
}

/// Access method and key parts of an index, as `pg_get_indexdef` prints it; what stood in quotes
/// is left out of the parts.
fn definition(text: &str) -> Option<(String, Vec<String>)> {
    let bare = without_quoted(text);
    let (_, rest) = bare.split_once(" USING ")?;
    let (method, rest) = rest.split_once(" (")?;
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in rest.chars() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((method.to_owned(), parts)),
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut()?.push(c);
    }
    None
}

/// The text without what stands in quotes, be it a name or a value.
fn without_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = None;
    for c in text.chars() {
        match within {
            // A quote that is doubled ends it and begins it again.
            Some(quote) if quote == c => within = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => within = Some(c),
            None => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_taken_apart_whatever_names_say() {
        let parse = |text: &str| definition(text).unwrap();
        assert_eq!(
            parse("CREATE INDEX i ON public.t USING btree (a, b DESC NULLS LAST)"),
            ("btree".into(), vec!["a".into(), " b DESC NULLS LAST".into()])
        );
        let odd = "CREATE UNIQUE INDEX \"x USING gin (\" ON ONLY s.\"t \"\" USING\" USING btree \
                   (\"DESC\", f((a), 'x, y)'), \"q\"\"),\" DESC) INCLUDE (c) WHERE (a > 0)";
        assert_eq!(parse(odd).0, "btree");
        let parts = parse(odd).1;
        assert_eq!((parts.len(), parts[0].trim(), parts[2].trim()), (3, "", "DESC"));
        assert_eq!(definition("CREATE INDEX i ON t"), None);
    }
}
