//! The text of CREATE statements as SQLite keeps them: names in them, and the parts of a table.
//!
//! SQLite keeps `CREATE TABLE `, `CREATE INDEX ` or `CREATE UNIQUE INDEX `, and then what the user
//! wrote, from the bare name on, comments included. Nothing here understands expressions: what is
//! between two commas stays as it is.

use std::ops::Range;

use crate::sqlite::quote_identifier;

/// Where a token is: a word, a quoted name or text, or one other character; blanks and comments are
/// none.
type Token = Range<usize>;

/// What a quote that opens is closed by.
const fn closing(open: u8) -> Option<u8> {
    match open {
        b'"' | b'\'' | b'`' => Some(open),
        b'[' => Some(b']'),
        _ => None,
    }
}

/// Where what begins at `at` ends: a comment, a run of blanks, a quoted name or text, a word.
fn end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let run = |of: &dyn Fn(u8) -> bool| at + rest.iter().take_while(|byte| of(**byte)).count();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 128..);
    match rest {
        [b'-', b'-', ..] => run(&|byte| byte != b'\n'),
        [b'/', b'*', ..] => {
            let closed = rest.windows(2).skip(2).position(|pair| pair == b"*/");
            closed.map_or(bytes.len(), |closed| at + closed + 4)
        }
        [open, ..] if closing(*open).is_some() => {
            let close = closing(*open);
            let mut next = at + 1;
            while let Some(byte) = bytes.get(next) {
                next += 1;
                if Some(*byte) == close {
                    // Twice it is one of the name; a bracket is not.
                    if *open == b'[' || bytes.get(next).copied() != close {
                        break;
                    }
                    next += 1;
                }
            }
            next
        }
        [byte, ..] if byte.is_ascii_whitespace() => run(&|byte| byte.is_ascii_whitespace()),
        [byte, ..] if is_word(*byte) => run(&is_word),
        _ => at + 1,
    }
}

fn tokens(sql: &str) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let (mut at, mut list) = (0, Vec::new());
    while at < bytes.len() {
        let next = end(bytes, at).min(bytes.len());
        let text = bytes.get(at..next).unwrap_or_default();
        let passed = match text {
            [b'-', b'-', ..] | [b'/', b'*', ..] => true,
            [byte, ..] => byte.is_ascii_whitespace(),
            [] => true,
        };
        if !passed {
            list.push(at..next);
        }
        at = next;
    }
    list
}

fn text<'s>(sql: &'s str, token: &Token) -> &'s str {
    sql.get(token.clone()).unwrap_or_default()
}

fn is_word(sql: &str, token: Option<&Token>, word: &str) -> bool {
    token.is_some_and(|token| text(sql, token).eq_ignore_ascii_case(word))
}

/// The name that a token is, without its quotes.
fn unquoted(token: &str) -> String {
    let Some(open) = token.bytes().next() else { return String::new() };
    let Some(close) = closing(open) else { return token.to_owned() };
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    let close = char::from(close);
    match open {
        b'[' => inner.to_owned(),
        _ => inner.replace(&format!("{close}{close}"), &close.to_string()),
    }
}

/// The text of a table, under another name; `None` when it is not such a text.
pub(super) fn table_as(sql: &str, name: &str) -> Option<String> {
    let tokens = tokens(sql);
    let is_table = is_word(sql, tokens.first(), "CREATE") && is_word(sql, tokens.get(1), "TABLE");
    let old = tokens.get(2).filter(|_| is_table)?;
    Some(format!("CREATE TABLE {}{}", quote_identifier(name), sql.get(old.end..)?))
}

/// The text of an index, under another name and on another table; `None` when it is not such a
/// text. `schema` goes before the name, as what runs the statement needs it.
pub(super) fn index_as(sql: &str, schema: &str, name: &str, table: &str) -> Option<String> {
    let tokens = tokens(sql);
    let unique = is_word(sql, tokens.get(1), "UNIQUE");
    let mut rest = tokens.get(1 + usize::from(unique)..)?.iter();
    let head = is_word(sql, rest.next(), "INDEX").then_some(if unique { "UNIQUE " } else { "" })?;
    let _name = rest.next()?;
    let on = is_word(sql, rest.next(), "ON").then(|| rest.next())??;
    let (name, table) = (quote_identifier(name), quote_identifier(table));
    Some(format!("CREATE {head}INDEX {schema}{name} ON {table}{}", sql.get(on.end..)?))
}

/// The parts of a CREATE TABLE.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Name and text of each column, in order.
    pub(super) columns: Vec<(String, String)>,
    /// Constraints of the table.
    pub(super) constraints: Vec<String>,
    /// What follows the last bracket: `WITHOUT ROWID`, `STRICT`.
    pub(super) tail: String,
}

/// Words with which a constraint of the table begins.
const CONSTRAINTS: [&str; 5] = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];

/// Takes a CREATE TABLE apart; `None` for one that has no list of columns.
pub(super) fn parts(sql: &str) -> Option<Parts> {
    let tokens = tokens(sql);
    let open = tokens.iter().position(|token| text(sql, token) == "(")?;
    let (mut depth, mut parts) = (0_i32, Parts::default());
    let mut from = tokens.get(open)?.end;
    let mut first: Option<&Token> = None;
    for token in tokens.get(open..)? {
        match text(sql, token) {
            "(" => depth += 1,
            ")" if depth > 1 => depth -= 1,
            mark @ ("," | ")") if depth == 1 => {
                let part = sql.get(from..token.start)?.trim().to_owned();
                let head = first.take().map(|first| text(sql, first))?;
                let constrains = |word: &&str| word.eq_ignore_ascii_case(head);
                match CONSTRAINTS.iter().any(constrains) {
                    true => parts.constraints.push(part),
                    false => parts.columns.push((unquoted(head), part)),
                }
                from = token.end;
                if mark == ")" {
                    sql.get(from..)?.trim().clone_into(&mut parts.tail);
                    return Some(parts);
                }
            }
            _ if first.is_none() => first = Some(token),
            _ => {}
        }
    }
    None
}

impl Parts {
    /// The text of the table.
    pub(super) fn table(&self, quoted_name: &str) -> String {
        let columns = self.columns.iter().map(|(_, text)| text.as_str());
        let parts: Vec<&str> = columns.chain(self.constraints.iter().map(String::as_str)).collect();
        // NOTE: a part may end with a comment, which lasts to the end of its line.
        format!("CREATE TABLE {quoted_name} (\n  {}\n) {}", parts.join("\n,  "), self.tail)
    }
}

/// Whether a constraint is the primary key.
pub(super) fn is_primary_key(constraint: &str) -> bool {
    let tokens = tokens(constraint);
    let at = if is_word(constraint, tokens.first(), "CONSTRAINT") { 2 } else { 0 };
    is_word(constraint, tokens.get(at), "PRIMARY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exchanged_whatever_they_are_quoted_by() {
        let of = |sql: &str| table_as(sql, "n\"").unwrap();
        assert_eq!(of("CREATE TABLE t(a)"), "CREATE TABLE \"n\"\"\"(a)");
        assert_eq!(of("CREATE TABLE \"a\"\"(b\" (a)"), "CREATE TABLE \"n\"\"\" (a)");
        assert_eq!(of("CREATE TABLE [x y]/*(*/(a)"), "CREATE TABLE \"n\"\"\"/*(*/(a)");
        assert_eq!(table_as("CREATE VIRTUAL TABLE t USING fts5(a)", "n"), None);
        let index = |sql: &str| index_as(sql, "main.", "n", "t t");
        let made = "CREATE UNIQUE INDEX main.\"n\" ON \"t t\"(a) WHERE a ON 1";
        assert_eq!(index("CREATE UNIQUE INDEX `on` --\n ON 'ta'(a) WHERE a ON 1").unwrap(), made);
        assert_eq!(
            index("CREATE INDEX i ON t (a)").unwrap(),
            "CREATE INDEX main.\"n\" ON \"t t\" (a)"
        );
        assert_eq!(index("CREATE TRIGGER i ON t (a)"), None);
    }

    #[test]
    fn a_table_is_taken_apart_at_its_own_commas_only() {
        let sql = "CREATE TABLE t(a INT DEFAULT (1, ')'), -- the (b), not it\n [b c] TEXT \
                   CHECK (\"b c\" <> ','), \"c\"\"\" x, CONSTRAINT k PRIMARY KEY (a, c), \
                   UNIQUE(a) -- end\n) WITHOUT ROWID";
        let parts = parts(sql).unwrap();
        let names: Vec<&str> = parts.columns.iter().map(|column| column.0.as_str()).collect();
        assert_eq!(names, ["a", "b c", "c\""]);
        assert_eq!(parts.columns[0].1, "a INT DEFAULT (1, ')')");
        assert_eq!(parts.constraints, ["CONSTRAINT k PRIMARY KEY (a, c)", "UNIQUE(a) -- end"]);
        assert_eq!(
            parts.constraints.iter().map(|c| is_primary_key(c)).collect::<Vec<_>>(),
            [true, false]
        );
        assert_eq!(parts.tail, "WITHOUT ROWID");
        assert_eq!(super::parts(&parts.table("t")), Some(parts));
    }
}
