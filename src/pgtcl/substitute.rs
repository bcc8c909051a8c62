//! Names in a statement that become its parameters: `:name` (-variables) and `` `name` ``
//! (-paramarray).
//!
//! The statement is read as PostgreSQL reads it (manual, "Lexical Structure"): nothing is
//! substituted in literals (also `E'..'` and `$tag$..$tag$`), quoted identifiers and comments
//! (which nest). Forms of a name: `:name`, `:ns::name`, `:::global`, `:arr(element)` (no blank in
//! it), `:{any name}`, and `@` in place of `:`. Each occurrence becomes a parameter of its own. At
//! most 100,000 of them (the server takes 65,535).
//!
//! What could be read in two ways: `:x::int` is the variable `x::int` if there is one, else `x`
//! with a cast if there is an `x`. Within brackets, `:x` is a variable only if there is one, so
//! that slices stay slices. `@` after another operator's character belongs to that operator. A `?`
//! between two operands is an operator of the server.

use crate::tcl::{CmdResult, Failure};

const PARAMETERS_MAX: usize = 100_000;

/// A statement with `$1`, `$2`, ... in it, and whose values they are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Substituted {
    pub sql: String,
    pub names: Vec<String>,
}

/// A statement being rewritten.
struct Rewriting<'a> {
    sql: &'a str,
    out: String,
    /// What lies before is in `out`.
    copied: usize,
    names: Vec<String>,
}

impl<'a> Rewriting<'a> {
    fn new(sql: &'a str) -> Rewriting<'a> {
        Rewriting { sql, out: String::new(), copied: 0, names: Vec::new() }
    }

    fn byte(&self, at: usize) -> u8 {
        self.sql.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// Replaces `start..end` by the next parameter.
    fn replace(&mut self, start: usize, end: usize, name: &str) -> CmdResult<()> {
        if self.names.len() >= PARAMETERS_MAX {
            return fail("Too many parameter substitutions requested (max 100,000)");
        }
        self.names.push(name.to_owned());
        self.out.push_str(self.sql.get(self.copied..start).unwrap_or_default());
        self.out.push_str(&format!("${}", self.names.len()));
        self.copied = end;
        Ok(())
    }

    fn done(mut self) -> Substituted {
        self.out.push_str(self.sql.get(self.copied..).unwrap_or_default());
        Substituted { sql: self.out, names: self.names }
    }
}

fn fail<T>(message: &str) -> CmdResult<T> {
    Err(Failure::new(message, &["PGSQLITE", "PGTCL", "SUBSTITUTION"]).into())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn is_operator_byte(byte: u8) -> bool {
    b"+-*/<>=~!@#%^&|`?".contains(&byte)
}

/// The end of an operand is before this byte.
fn ends_operand(byte: u8) -> bool {
    is_name_byte(byte) || b")]}'\"$".contains(&byte)
}

/// The end of what starts at `at` and holds no substitutions: a literal, an identifier, a comment.
/// None: something else.
fn opaque(sql: &str, at: usize) -> Option<usize> {
    let rest = sql.as_bytes().get(at..)?;
    let length = match rest {
        [b'\'', ..] => quoted(rest, b'\'', false),
        [b'"', ..] => quoted(rest, b'"', false),
        [b'e' | b'E', b'\'', ..] => 1 + quoted(rest.get(1..)?, b'\'', true),
        [b'-', b'-', ..] => memchr::memchr(b'\n', rest).unwrap_or(rest.len()),
        [b'/', b'*', ..] => comment(rest),
        [b'$', ..] => dollar_quoted(rest)?,
        [first, ..] if is_name_byte(*first) && !first.is_ascii_digit() => {
            let stop = |b: &u8| !is_name_byte(*b) && *b != b'$';
            rest.iter().position(stop).unwrap_or(rest.len())
        }
        _ => return None,
    };
    Some(at + length)
}

/// Length of a quoted text; a doubled quote does not end it.
fn quoted(rest: &[u8], quote: u8, backslashes: bool) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        if *byte == b'\\' && backslashes {
            at += 1;
        } else if *byte == quote {
            if rest.get(at + 1) != Some(&quote) {
                return at + 1;
            }
            at += 1;
        }
        at += 1;
    }
    rest.len()
}

/// Length of a comment, nested ones included.
fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(two) = rest.get(at..at + 2) {
        match two {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Length of `$tag$...$tag$`; None when the dollar starts none.
fn dollar_quoted(rest: &[u8]) -> Option<usize> {
    let end = 1 + rest.get(1..)?.iter().position(|b| !is_name_byte(*b))?;
    let tag = rest.get(..=end)?;
    if rest.get(end) != Some(&b'$') || rest.get(1).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let body = rest.get(tag.len()..)?;
    let close = memchr::memmem::find(body, tag).map(|n| n + tag.len());
    Some(tag.len() + close.unwrap_or(body.len()))
}

/// Replaces `` `name` ``; names are of letters, digits and underscores.
///
/// # Errors
/// An unmatched backquote, a name of other characters or of none, too many of them.
pub(super) fn backquotes(sql: &str) -> CmdResult<Substituted> {
    let mut rewriting = Rewriting::new(sql);
    let mut at = 0;
    while at < sql.len() {
        if rewriting.byte(at) != b'`' {
            at = opaque(sql, at).unwrap_or(at + 1);
            continue;
        }
        let rest = sql.get(at + 1..).unwrap_or_default();
        let Some(length) = rest.find('`') else {
            return fail("Unmatched substitution back-quotes in SQL query");
        };
        let name = rest.get(..length).unwrap_or_default();
        if name.is_empty() {
            return fail("Parameter name must not be empty");
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return fail("Invalid name between back-quotes");
        }
        rewriting.replace(at, at + length + 2, name)?;
        at += length + 2;
    }
    Ok(rewriting.done())
}

/// Replaces names of variables; `exists` tells whether there is such a variable.
///
/// # Errors
/// `$N` or a placeholder `?` beside them; too many of them.
pub(super) fn variables(sql: &str, exists: impl Fn(&str) -> bool) -> CmdResult<Substituted> {
    let mut rewriting = Rewriting::new(sql);
    let (mut at, mut brackets) = (0, 0_usize);
    while at < sql.len() {
        if let Some(end) = opaque(sql, at) {
            at = end;
            continue;
        }
        let before = if at == 0 { b' ' } else { rewriting.byte(at - 1) };
        let next = rewriting.byte(at + 1);
        match rewriting.byte(at) {
            b'$' if next.is_ascii_digit() => return combined(),
            b'?' if !is_operator(sql, at) => return combined(),
            b'[' => brackets += 1,
            b']' => brackets = brackets.saturating_sub(1),
            b':' if next == b':' && rewriting.byte(at + 2) != b':' => at += 1,
            b'@' if is_operator_byte(before) => {}
            b':' | b'@' => {
                if let Some((name, end)) = name_at(sql, at + 1, &exists) {
                    let slice = brackets > 0 && (ends_operand(before) || !exists(name));
                    if !slice {
                        rewriting.replace(at, end, name)?;
                        at = end;
                        continue;
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    Ok(rewriting.done())
}

fn combined<T>() -> CmdResult<T> {
    fail("Can't combine Tcl and Postgres substitutions")
}

/// Whether the `?` at `at` stands, alone or with other operator characters, between two operands.
fn is_operator(sql: &str, at: usize) -> bool {
    let (before, after) = sql.split_at(at);
    let before = before.trim_end_matches(|c: char| c.is_ascii() && is_operator_byte(c as u8));
    let after = after.trim_start_matches(|c: char| c.is_ascii() && is_operator_byte(c as u8));
    let left = before.trim_end().bytes().next_back().is_some_and(ends_operand);
    let adjacent_digit = after.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let starts = |b: u8| is_name_byte(b) || b"('\"$:{".contains(&b);
    left && !adjacent_digit && after.trim_start().bytes().next().is_some_and(starts)
}

/// The name of a variable at `start`, and where it ends.
fn name_at<'a>(
    sql: &'a str,
    start: usize,
    exists: &impl Fn(&str) -> bool,
) -> Option<(&'a str, usize)> {
    let rest = sql.get(start..)?;
    if let Some(braced) = rest.strip_prefix('{') {
        let length = braced.find('}')?;
        return Some((braced.get(..length)?, start + length + 2));
    }
    let bytes = rest.as_bytes();
    let mut end = 0;
    loop {
        let word = bytes.iter().skip(end).take_while(|b| is_name_byte(**b)).count();
        end += word;
        let qualified = bytes.get(end..end + 2) == Some(b"::")
            && bytes.get(end + 2).is_some_and(|b| is_name_byte(*b));
        if !qualified {
            break;
        }
        end += 2;
    }
    if end == 0 {
        return None;
    }
    if bytes.get(end) == Some(&b'(') {
        let element = bytes.iter().skip(end).position(|b| *b == b')' || b.is_ascii_whitespace());
        if let Some(length) = element.filter(|n| bytes.get(end + n) == Some(&b')')) {
            end += length + 1;
        }
    }
    let mut name = rest.get(..end)?;
    if !exists(name) {
        // The longest beginning that is a variable; what follows is a cast.
        let mut shorter = name;
        while let Some((prefix, _)) = shorter.rsplit_once("::").filter(|(p, _)| !p.is_empty()) {
            if exists(prefix) {
                name = prefix;
                break;
            }
            shorter = prefix;
        }
    }
    Some((name, start + name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> bool {
        ["x", "ns::v", "::g", "arr(k)", "any name"].contains(&name)
    }

    #[track_caller]
    fn rewrites(sql: &str, to: &str, names: &[&str]) {
        let found = variables(sql, known).expect("substitution");
        assert_eq!(
            (found.sql.as_str(), found.names),
            (to, names.iter().map(|n| (*n).to_owned()).collect())
        );
    }

    #[track_caller]
    fn refused(outcome: CmdResult<Substituted>, message: &str) {
        match outcome {
            Err(crate::tcl::Exception::Failure(failure)) => assert_eq!(failure.message(), message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_of_a_name() {
        rewrites("select :x, :ns::v, :::g", "select $1, $2, $3", &["x", "ns::v", "::g"]);
        rewrites("select :arr(k)+:{any name}", "select $1+$2", &["arr(k)", "any name"]);
        rewrites("select @x,:unset", "select $1,$2", &["x", "unset"]);
    }

    #[test]
    fn a_cast_is_left_where_the_variable_ends() {
        rewrites("select :x::int, a::int", "select $1::int, a::int", &["x"]);
        rewrites("select :x::numeric(10,2)", "select $1::numeric(10,2)", &["x"]);
        rewrites("select :arr(k)::text", "select $1::text", &["arr(k)"]);
        rewrites("select :u::int", "select $1", &["u::int"]);
        rewrites("select :::g::int", "select $1::int", &["::g"]);
    }

    #[test]
    fn literals_identifiers_and_comments_hold_none() {
        for sql in [
            "select ':x', \":x\", 'it''s :x', $$:x$$, $a$ $$ :x $a$",
            "select e'\\' :x', E'\\\\'",
            "/* :x /* :x */ :x */ select 1 -- :x\n, 2",
            "select f(a := 1), b$1",
        ] {
            rewrites(sql, sql, &[]);
        }
    }

    #[test]
    fn brackets_hold_slices_and_variables() {
        rewrites("select a[1:2], a[:n], a[i:x]", "select a[1:2], a[:n], a[i:x]", &[]);
        rewrites("select array[:x, :x]", "select array[$1, $2]", &["x", "x"]);
    }

    #[test]
    fn operators_are_not_substitutions() {
        rewrites("select a <@x, j ? 'k', j ?| :x", "select a <@x, j ? 'k', j ?| $1", &["x"]);
        for sql in ["select :x, ?", "select :x = ?1", "select $1", "values (?, 2)"] {
            refused(variables(sql, known), "Can't combine Tcl and Postgres substitutions");
        }
    }

    #[test]
    fn backquoted_names() {
        let found = backquotes("select `a`, '`', `b_1`, `a`").expect("substitution");
        assert_eq!(found.sql, "select $1, '`', $2, $3");
        assert_eq!(found.names, ["a", "b_1", "a"]);
        refused(backquotes("select `a"), "Unmatched substitution back-quotes in SQL query");
        refused(backquotes("select `a b`"), "Invalid name between back-quotes");
        refused(backquotes("select ``"), "Parameter name must not be empty");
    }
}
