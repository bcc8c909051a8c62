//! What to read from PostgreSQL, or where to write: a query, or a table by its name.
//!
//! A table is named as in SQL: `orders`, `shop.orders`, `"Odd name"."x"`. What is not quoted is
//! folded to lower case, as PostgreSQL does; reserved words need no quotes here. (PostgreSQL folds
//! other letters than A to Z in a few old encodings only; UTF-8 is none of them.)

/// A table's name, ready for SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgTable {
    quoted: String,
}

impl PgTable {
    /// Reads a name; `None` when the text is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<PgTable> {
        let mut quoted = String::new();
        let mut rest = name.trim();
        loop {
            let (part, tail) = part(rest)?;
            quoted.push('"');
            quoted.push_str(&part.replace('"', "\"\""));
            quoted.push('"');
            rest = match tail.strip_prefix('.') {
                Some(more) => more,
                None if tail.is_empty() => return Some(PgTable { quoted }),
                None => return None,
            };
            quoted.push('.');
        }
    }

    /// The name as SQL, every part in quotes.
    #[must_use]
    pub fn quoted(&self) -> &str {
        &self.quoted
    }
}

/// The first part of a name, and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    if let Some(mut rest) = text.strip_prefix('"') {
        let mut name = String::new();
        loop {
            let (plain, tail) = rest.split_once('"')?;
            name.push_str(plain);
            match tail.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    rest = more;
                }
                None if name.is_empty() => return None,
                None => return Some((name, tail)),
            }
        }
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
    let end = text.find(|c| !plain(c)).unwrap_or(text.len());
    let (name, tail) = text.split_at(end);
    let first = name.chars().next()?;
    if first.is_ascii_digit() || first == '$' {
        return None;
    }
    Some((name.to_ascii_lowercase(), tail))
}

/// A query, or all of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgQuery {
    sql: String,
}

impl PgQuery {
    /// A table's name is that table, everything else a query.
    #[must_use]
    pub fn new(text: &str) -> PgQuery {
        let sql = match PgTable::parse(text) {
            Some(table) => format!("SELECT * FROM {}", table.quoted()),
            None => text.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).to_owned(),
        };
        PgQuery { sql }
    }

    /// The query.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The COPY statement that reads it. A comment at its end cannot swallow what follows.
    #[must_use]
    pub fn copy_sql(&self) -> String {
        format!("COPY ({}\n) TO STDOUT WITH (FORMAT text, ENCODING 'UTF8')", self.sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_and_quoted() {
        let quoted = |name| PgTable::parse(name).map(|table| table.quoted);
        assert_eq!(quoted("Orders").as_deref(), Some("\"orders\""));
        assert_eq!(quoted("Shop.\"Odd \"\"n. \"").as_deref(), Some("\"shop\".\"Odd \"\"n. \""));
        assert_eq!(quoted(" select ").as_deref(), Some("\"select\""));
        assert_eq!(quoted("\u{fc}ber$1").as_deref(), Some("\"\u{fc}ber$1\""));
        for none in ["", "a b", "1a", "a.", ".a", "\"a", "\"\"", "a;b", "(a)", "a\"b\"", "$1"] {
            assert_eq!(quoted(none), None, "{none}");
        }
    }

    #[test]
    fn queries_stay_as_they_are() {
        assert_eq!(PgQuery::new("t").sql(), "SELECT * FROM \"t\"");
        let query = PgQuery::new("select 1 -- one ;\n ; ");
        assert!(query.copy_sql().starts_with("COPY (select 1 -- one\n) TO STDOUT"));
        assert_eq!(PgQuery::new("values (1)").sql(), "values (1)");
    }
}
