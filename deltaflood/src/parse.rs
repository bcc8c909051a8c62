//! From bytes to a [`Change`]: one pass, no allocation, no copy.

use crate::details;
use crate::error::fail;
use crate::number::{parse_hex32, parse_i64, parse_u64};
use crate::text::is_escape_letter;
use crate::{Change, Kind, Lsn, ParseError, Text, Verb};

/// The field that begins at `start`, and the offset after its TAB (length + 1 at the line's end).
#[inline]
fn field(line: &[u8], start: usize) -> Result<(Text<'_>, usize), ParseError> {
    let mut escaped = false;
    let mut at = start;
    loop {
        let rest = line.get(at..).unwrap_or_default();
        let Some(step) = memchr::memchr3(b'\t', b'\\', b'\n', rest) else {
            let raw = line.get(start..).unwrap_or_default();
            return Ok((Text::new(raw, escaped), line.len() + 1));
        };
        at += step;
        match rest.get(step) {
            Some(b'\t') => {
                let raw = line.get(start..at).unwrap_or_default();
                return Ok((Text::new(raw, escaped), at + 1));
            }
            Some(b'\\') if rest.get(step + 1).is_some_and(|&b| is_escape_letter(b)) => {
                escaped = true;
                at += 2;
            }
            Some(b'\\') => return fail(at, Kind::BadEscape),
            _ => return fail(at, Kind::LineFeed),
        }
    }
}

/// A key and its value, and the offset of the next key.
#[inline]
fn pair(line: &[u8], start: usize) -> Result<(Text<'_>, Text<'_>, usize), ParseError> {
    let (key, value_at) = field(line, start)?;
    if value_at > line.len() {
        return fail(line.len(), Kind::OddFields);
    }
    let (value, next) = field(line, value_at)?;
    Ok((key, value, next))
}

/// The names of all pseudo-columns: what a line's head may hold, and its verb. A table may have
/// columns that are called so, too: they come behind the verb.
pub const PSEUDO_COLUMNS: [&str; 28] = [
    "_c",
    "_s",
    "_table",
    "_schema",
    "_qualified_table",
    "_xid",
    "_lsn",
    "_time",
    "_unchanged",
    "_oid",
    "_key",
    "_primary",
    "_natts",
    "_attnums",
    "_types",
    "_stamps",
    "_missing",
    "_labels",
    "_storage",
    "_kind",
    "_identity",
    "_filter",
    "_gone",
    "_lines",
    "_crc",
    "_chain",
    "_commit_crc",
    "_action",
];

/// Sets a pseudo-column once.
#[inline]
fn once<T>(
    slot: &mut Option<T>,
    value: Option<T>,
    key: usize,
    at: usize,
) -> Result<(), ParseError> {
    if slot.is_some() {
        return fail(key, Kind::DuplicateHead);
    }
    if value.is_none() {
        return fail(at, Kind::BadHead);
    }
    *slot = value;
    Ok(())
}

impl<'a> Change<'a> {
    /// Reads the head of a line (without its LF). Columns are read by [`Change::columns`], and
    /// [`Change::validate`] checks all there is to check.
    ///
    /// # Errors
    /// The byte, and what is wrong with the head there.
    pub fn parse(line: &'a [u8]) -> Result<Change<'a>, ParseError> {
        let mut change = Change {
            clock: None,
            seq: None,
            table: None,
            schema: None,
            qualified_table: None,
            xid: None,
            lsn: None,
            time: None,
            unchanged: None,
            oid: None,
            key: None,
            lines: None,
            crc: None,
            chain: None,
            commit_crc: None,
            verb: Verb::Commit,
            details: 0,
            line,
            columns_at: 0,
        };
        let mut at = 0;
        while at <= line.len() {
            if line.is_empty() {
                break;
            }
            let (key, value, next) = pair(line, at)?;
            if key.raw() == b"_action" {
                return change.finish(value, at, next);
            }
            change.set(key, value, at)?;
            at = next;
        }
        fail(line.len(), Kind::NoVerb)
    }

    /// Takes one pseudo-column of the head whose key is at `at`.
    #[inline]
    fn set(&mut self, key: Text<'a>, value: Text<'a>, at: usize) -> Result<(), ParseError> {
        let raw = value.raw();
        let value_at = at + key.raw().len() + 1;
        let name = if raw.is_empty() { None } else { Some(value) };
        match key.raw() {
            b"_table" => once(&mut self.table, name, at, value_at),
            b"_xid" => {
                let xid = parse_u64(raw).and_then(|xid| u32::try_from(xid).ok());
                once(&mut self.xid, xid, at, value_at)
            }
            b"_c" => {
                let clock = parse_u64(raw).and_then(|clock| i64::try_from(clock).ok());
                once(&mut self.clock, clock, at, value_at)
            }
            b"_s" => once(&mut self.seq, parse_u64(raw), at, value_at),
            b"_schema" => once(&mut self.schema, name, at, value_at),
            b"_qualified_table" => once(&mut self.qualified_table, name, at, value_at),
            b"_lsn" => once(&mut self.lsn, Lsn::parse(raw).ok(), at, value_at),
            b"_time" => once(&mut self.time, parse_i64(raw), at, value_at),
            b"_unchanged" => once(&mut self.unchanged, Some(value), at, value_at),
            b"_oid" => {
                let oid = parse_u64(raw).and_then(|oid| u32::try_from(oid).ok());
                once(&mut self.oid, oid, at, value_at)
            }
            b"_key" => once(&mut self.key, Some(value), at, value_at),
            b"_lines" => once(&mut self.lines, parse_u64(raw), at, value_at),
            b"_commit_crc" => once(&mut self.commit_crc, parse_hex32(raw), at, value_at),
            b"_chain" => once(&mut self.chain, parse_hex32(raw), at, value_at),
            b"_crc" => once(&mut self.crc, parse_hex32(raw), at, value_at),
            _ => details::note(&mut self.details, (key, value), at, value_at),
        }
    }

    /// Ends the head with the verb whose key is at `at`; columns begin at `next`.
    #[inline]
    fn finish(mut self, verb: Text<'a>, at: usize, next: usize) -> Result<Change<'a>, ParseError> {
        let verb_at = at + b"_action\t".len();
        let Some(word) = Verb::from_bytes(verb.raw()) else {
            return fail(verb_at, Kind::UnknownVerb);
        };
        if word.has_table() && self.table.is_none() && self.qualified_table.is_none() {
            return fail(verb_at, Kind::NoTable);
        }
        if !word.has_columns() && next <= self.line.len() {
            return fail(next, Kind::ColumnsNotAllowed);
        }
        let details = self.details != 0;
        if details && (word != Verb::Schema || !details::go_together(self.details)) {
            return fail(at, Kind::BadDetails);
        }
        self.verb = word;
        self.columns_at = next;
        Ok(self)
    }

    /// The columns in the order of the line. A malformed field ends the walk with its error.
    #[must_use]
    pub fn columns(&self) -> Columns<'a> {
        Columns { line: self.line, at: self.columns_at }
    }
}

/// Iterator over a line's columns: [`Change::columns`].
#[derive(Debug, Clone)]
pub struct Columns<'a> {
    line: &'a [u8],
    at: usize,
}

/// The fields of a line that has no head: key, value, key, value. State files have this form.
#[must_use]
pub fn pairs(line: &[u8]) -> Columns<'_> {
    Columns { line, at: if line.is_empty() { 1 } else { 0 } }
}

impl Columns<'_> {
    /// Offset in the line of the next column's key, in bytes.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at.min(self.line.len())
    }
}

impl<'a> Iterator for Columns<'a> {
    type Item = Result<(Text<'a>, Text<'a>), ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at > self.line.len() {
            return None;
        }
        let start = self.at;
        let found = pair(self.line, start).and_then(|(key, value, next)| {
            if key.raw().is_empty() {
                return fail(start, Kind::EmptyKey);
            }
            self.at = next;
            Ok((key, value))
        });
        if found.is_err() {
            self.at = self.line.len() + 1;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pseudo_columns_are_those_that_a_head_may_have() {
        let known = |key: &str| {
            let line = format!("{key}\t\t_action\tcommit");
            let parsed = Change::parse(line.as_bytes());
            !matches!(parsed, Err(ParseError { kind: Kind::UnknownHead, .. }))
        };
        for key in PSEUDO_COLUMNS {
            assert!(known(key), "{key}");
        }
        for key in details::KEYS {
            assert!(PSEUDO_COLUMNS.contains(&key), "{key}");
        }
        // What the parser knows is written as a byte string in it.
        let source = include_str!("parse.rs");
        for part in source.split("b\"_").skip(1) {
            let key = part.split('"').next().unwrap_or_default();
            assert!(!known(&format!("_{key}")) || PSEUDO_COLUMNS.contains(&&*format!("_{key}")));
        }
        assert!(!known("_columns"));
    }
}
