//! Names and text as SQL: the only place where data becomes part of an SQL string.

/// `name` as an SQLite identifier: in double quotes, inner quotes doubled.
///
/// Correct for any name without NUL, reserved words included. A name with NUL ends the SQL text
/// there for SQLite; [`super::Db`] refuses such SQL with MISUSE.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    quoted(name, '"')
}

/// `text` as an SQLite string literal: in single quotes, inner quotes doubled. Prefer binding a
/// parameter.
#[must_use]
pub fn quote_text(text: &str) -> String {
    quoted(text, '\'')
}

fn quoted(text: &str, quote: char) -> String {
    let mut sql = String::with_capacity(text.len() + 2);
    sql.push(quote);
    for c in text.chars() {
        if c == quote {
            sql.push(quote);
        }
        sql.push(c);
    }
    sql.push(quote);
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_identifier("select"), "\"select\"");
        assert_eq!(quote_identifier(""), "\"\"");
        assert_eq!(quote_text("it's"), "'it''s'");
    }
}
