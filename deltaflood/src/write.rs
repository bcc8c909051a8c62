//! From parts to a line.

use crate::number::{push_hex32, push_i64, push_u64};
use crate::{Details, Gone, Lsn, Verb, list};

/// Whether a byte of a key or value needs an escape.
const fn is_special(byte: u8) -> bool {
    matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')
}

/// Bytes looked at in one step; a power of two that the compiler turns into vector compares.
const STEP: usize = 32;

/// Length of the prefix of `bytes` that needs no escape.
fn plain_len(bytes: &[u8]) -> usize {
    let mut plain = 0;
    for step in bytes.chunks_exact(STEP) {
        if step.iter().fold(false, |any, &byte| any | is_special(byte)) {
            break;
        }
        plain += STEP;
    }
    let rest = bytes.get(plain..).unwrap_or_default();
    plain + rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len())
}

/// Appends `bytes`, escaped, to `out`.
pub fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let (plain, special) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else {
            return;
        };
        let letter = match byte {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            other => other,
        };
        out.extend_from_slice(&[b'\\', letter]);
        rest = after;
    }
}

/// Number of bytes that [`escape`] appends.
#[must_use]
pub fn escaped_len(bytes: &[u8]) -> usize {
    let special = bytes.iter().filter(|&&byte| is_special(byte)).count();
    bytes.len().saturating_add(special)
}

/// Appends `value` in decimal.
pub fn number(out: &mut Vec<u8>, value: u64) {
    push_u64(out, value);
}

/// A line being written at the end of a buffer, in its head.
///
/// Pseudo-columns are written in the order of the calls, and the caller gives each at most once:
/// the type sees to it only that the head ends with a verb before columns begin. The line has no
/// line feed; [`Columns::end`] adds one.
#[derive(Debug)]
pub struct Line<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
}

impl<'b> Line<'b> {
    /// Begins a line at the end of `out`.
    #[must_use]
    pub fn begin(out: &'b mut Vec<u8>) -> Line<'b> {
        Line { out, empty: true }
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.out.push(b'\t');
        }
        self.empty = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'\t');
    }

    /// `_c` and `_s`: the daystream stamp. Clocks are not negative.
    #[must_use]
    pub fn stamp(mut self, clock: i64, seq: u64) -> Self {
        self.key("_c");
        push_i64(self.out, clock);
        self.key("_s");
        push_u64(self.out, seq);
        self
    }

    /// `_table`.
    #[must_use]
    pub fn table(mut self, name: &[u8]) -> Self {
        self.key("_table");
        escape(self.out, name);
        self
    }

    /// `_schema`; nothing for `public`.
    #[must_use]
    pub fn schema(mut self, name: &[u8]) -> Self {
        if name != b"public" {
            self.key("_schema");
            escape(self.out, name);
        }
        self
    }

    /// `_qualified_table`.
    #[must_use]
    pub fn qualified_table(mut self, name: &[u8]) -> Self {
        self.key("_qualified_table");
        escape(self.out, name);
        self
    }

    /// `_xid`.
    #[must_use]
    pub fn xid(mut self, xid: u32) -> Self {
        self.key("_xid");
        push_u64(self.out, u64::from(xid));
        self
    }

    /// `_lsn`.
    #[must_use]
    pub fn lsn(mut self, lsn: Lsn) -> Self {
        self.key("_lsn");
        self.out.extend_from_slice(lsn.to_string().as_bytes());
        self
    }

    /// `_time`, in microseconds since the Unix epoch.
    #[must_use]
    pub fn time(mut self, time_us: i64) -> Self {
        self.key("_time");
        push_i64(self.out, time_us);
        self
    }

    /// `_unchanged`; nothing when there are no names.
    #[must_use]
    pub fn unchanged<'n>(self, names: impl IntoIterator<Item = &'n [u8]>) -> Self {
        self.list("_unchanged", names)
    }

    /// `_oid`, of a `schema` line.
    #[must_use]
    pub fn oid(mut self, oid: u32) -> Self {
        self.key("_oid");
        push_u64(self.out, u64::from(oid));
        self
    }

    /// The details of a `schema` line, after `_oid` and `_key`.
    #[must_use]
    pub fn details(mut self, details: &Details) -> Self {
        for (key, value) in details.fields() {
            self.key(key);
            escape(self.out, &value);
        }
        self
    }

    /// `_gone`, of a `schema` line without columns and details.
    #[must_use]
    pub fn gone(mut self, why: Gone) -> Self {
        self.key("_gone");
        self.out.extend_from_slice(why.as_str().as_bytes());
        self
    }

    /// `_key`; nothing when there are no names.
    #[must_use]
    pub fn identity<'n>(self, names: impl IntoIterator<Item = &'n [u8]>) -> Self {
        self.list("_key", names)
    }

    fn list<'n>(mut self, key: &str, names: impl IntoIterator<Item = &'n [u8]>) -> Self {
        let value = list::encode(names);
        if !value.is_empty() {
            self.key(key);
            escape(self.out, &value);
        }
        self
    }

    /// `_lines` and `_crc` of a commit line.
    #[must_use]
    pub fn checksum(mut self, lines: u64, crc: u32) -> Self {
        self.key("_lines");
        push_u64(self.out, lines);
        self.key("_crc");
        push_hex32(self.out, crc);
        self
    }

    /// `_chain` of a commit line.
    #[must_use]
    pub fn chain(mut self, chain: u32) -> Self {
        self.key("_chain");
        push_hex32(self.out, chain);
        self
    }

    /// `_commit_crc` of a commit line.
    #[must_use]
    pub fn commit_checksum(mut self, crc: u32) -> Self {
        self.key("_commit_crc");
        push_hex32(self.out, crc);
        self
    }

    /// Bytes of the line so far, and of the buffer before it.
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        self.out
    }

    /// Appends a piece of a head that was rendered before, key TAB value and so on, unchanged.
    #[must_use]
    pub fn rendered(mut self, head: &[u8]) -> Self {
        if !self.empty {
            self.out.push(b'\t');
        }
        self.empty = false;
        self.out.extend_from_slice(head);
        self
    }

    /// `_action`: the head ends, columns may follow.
    pub fn verb(mut self, verb: Verb) -> Columns<'b> {
        self.key("_action");
        self.out.extend_from_slice(verb.as_str().as_bytes());
        Columns { out: self.out }
    }
}

/// A line being written, after its verb.
#[derive(Debug)]
pub struct Columns<'b> {
    out: &'b mut Vec<u8>,
}

impl Columns<'_> {
    /// Appends a column that is not NULL. The name must not be empty.
    pub fn column(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        self.out.push(b'\t');
        escape(self.out, name);
        self.out.push(b'\t');
        escape(self.out, value);
        self
    }

    /// Appends a column whose name was escaped before (with [`escape`]).
    pub fn column_escaped(&mut self, escaped_name: &[u8], value: &[u8]) -> &mut Self {
        self.out.push(b'\t');
        self.out.extend_from_slice(escaped_name);
        self.out.push(b'\t');
        escape(self.out, value);
        self
    }

    /// Ends the line with its line feed.
    pub fn end(&mut self) {
        self.out.push(b'\n');
    }
}
