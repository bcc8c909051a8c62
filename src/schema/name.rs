//! Names of PostgreSQL tables as users write them: `t`, `schema.t`, `"Odd.Name".t`.

use std::fmt;

use super::Error;

/// A PostgreSQL table by schema and name, both exactly as the catalog has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema (`public` when none was written).
    pub schema: String,
    /// The table.
    pub table: String,
}

impl TableName {
    /// A name from its two parts.
    #[must_use]
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> TableName {
        TableName { schema: schema.into(), table: table.into() }
    }

    /// Reads `table` or `schema.table` by PostgreSQL's rules: a part in double quotes is taken
    /// as it is (`""` is one quote), any other part is folded to lower case.
    ///
    /// # Errors
    /// [`Error::BadName`] for an empty part, a missing quote, or more than two parts.
    pub fn parse(text: &str) -> Result<TableName, Error> {
        let bad = || Error::BadName { name: text.to_owned() };
        let mut parts: Vec<String> = Vec::with_capacity(2);
        let mut rest = text.trim();
        loop {
            let (part, after) = take_part(rest).ok_or_else(bad)?;
            parts.push(part);
            match after.strip_prefix('.') {
                Some(more) => rest = more,
                None if after.is_empty() => break,
                None => return Err(bad()),
            }
        }
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(table), None, _) => Ok(TableName::new("public", table)),
            (Some(schema), Some(table), None) => Ok(TableName::new(schema, table)),
            _ => Err(bad()),
        }
    }

    /// Whether `text` is this name as it stands in the catalog: `table` for schema public, or
    /// `schema.table`, without quotes or case folding.
    #[must_use]
    pub fn is_plainly(&self, text: &str) -> bool {
        (self.schema == "public" && self.table == text)
            || text
                .strip_prefix(self.schema.as_str())
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|table| table == self.table)
    }
}

/// The first part of a dotted name and what follows it.
fn take_part(text: &str) -> Option<(String, &str)> {
    if let Some(mut rest) = text.strip_prefix('"') {
        let mut part = String::new();
        loop {
            let end = rest.find('"')?;
            part.push_str(rest.get(..end)?);
            rest = rest.get(end + 1..)?;
            match rest.strip_prefix('"') {
                Some(after) => {
                    part.push('"');
                    rest = after;
                }
                None => break,
            }
        }
        return (!part.is_empty()).then_some((part, rest));
    }
    let end = text.find('.').unwrap_or(text.len());
    let part = text.get(..end)?;
    if part.is_empty() || part.contains('"') || part.contains(char::is_whitespace) {
        return None;
    }
    // ASCII only, as the server does it in a database of UTF-8.
    Some((part.to_ascii_lowercase(), text.get(end..)?))
}

impl fmt::Display for TableName {
    /// `schema.table`, without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(String, String)> {
        TableName::parse(text).ok().map(|n| (n.schema, n.table))
    }

    fn pair(schema: &str, table: &str) -> Option<(String, String)> {
        Some((schema.to_owned(), table.to_owned()))
    }

    #[test]
    fn names_follow_the_rules_of_postgresql() {
        assert_eq!(parse("Flights"), pair("public", "flights"));
        assert_eq!(parse("ops.T"), pair("ops", "t"));
        assert_eq!(parse("Äpfel.ÖL"), pair("Äpfel", "Öl"));
        assert_eq!(parse("\"Odd.Name\".\"say \"\"hi\"\"\""), pair("Odd.Name", "say \"hi\""));
        for bad in ["", ".", "a.", ".b", "a.b.c", "\"a", "\"\"", "a\"b", "a b", "\"a\"b"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn plain_names_are_exact() {
        let name = TableName::new("public", "Odd Name");
        assert!(name.is_plainly("Odd Name") && name.is_plainly("public.Odd Name"));
        assert!(!name.is_plainly("odd name"));
        assert!(TableName::new("a.b", "c").is_plainly("a.b.c"));
    }
}
