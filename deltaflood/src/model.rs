//! A change line's parts.

use crate::{Lsn, Text};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// A new row: every column that is not NULL.
    Insert,
    /// The new row: every column that is not NULL, less those named in `_unchanged`.
    Update,
    /// The old identity of the row that the next `update` rewrites.
    Replace,
    /// The old identity of a row that is gone.
    Delete,
    /// All rows of the table are gone; no columns.
    Truncate,
    /// The transaction ends; no table, no columns.
    Commit,
    /// The table's definition: column name and type name, in order.
    Schema,
    /// `prefix P content C` of `pg_logical_emit_message`.
    Message,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Verb; 8] = [
        Verb::Insert,
        Verb::Update,
        Verb::Replace,
        Verb::Delete,
        Verb::Truncate,
        Verb::Commit,
        Verb::Schema,
        Verb::Message,
    ];

    /// The word in the line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Insert => "insert",
            Verb::Update => "update",
            Verb::Replace => "replace",
            Verb::Delete => "delete",
            Verb::Truncate => "truncate",
            Verb::Commit => "commit",
            Verb::Schema => "schema",
            Verb::Message => "message",
        }
    }

    /// The verb of a word.
    #[must_use]
    pub fn from_bytes(word: &[u8]) -> Option<Verb> {
        Some(match word {
            b"insert" => Verb::Insert,
            b"update" => Verb::Update,
            b"replace" => Verb::Replace,
            b"delete" => Verb::Delete,
            b"truncate" => Verb::Truncate,
            b"commit" => Verb::Commit,
            b"schema" => Verb::Schema,
            b"message" => Verb::Message,
            _ => return None,
        })
    }

    /// Whether a line with this verb names a table.
    #[must_use]
    pub const fn has_table(self) -> bool {
        !matches!(self, Verb::Commit | Verb::Message)
    }

    /// Whether a line with this verb may have columns.
    #[must_use]
    pub const fn has_columns(self) -> bool {
        !matches!(self, Verb::Commit | Verb::Truncate)
    }
}

/// One line, its head read and its columns still to be walked: see [`Change::parse`].
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// `_c`: daystream clock, seconds since the Unix epoch, not negative.
    pub clock: Option<i64>,
    /// `_s`: number within the clock's second.
    pub seq: Option<u64>,
    /// `_table`: table name, unquoted.
    pub table: Option<Text<'a>>,
    /// `_schema`: schema name; `public` when it is absent.
    pub schema: Option<Text<'a>>,
    /// `_qualified_table`: quoted, schema-qualified name.
    pub qualified_table: Option<Text<'a>>,
    /// `_xid`: top-level transaction id.
    pub xid: Option<u32>,
    /// `_lsn`: on `commit`, the end of the commit record.
    pub lsn: Option<Lsn>,
    /// `_time`: commit time, microseconds since the Unix epoch.
    pub time: Option<i64>,
    /// `_unchanged`: list ([`crate::list`]) of columns that keep their value and are not in the
    /// line.
    pub unchanged: Option<Text<'a>>,
    /// `_oid`: on `schema`, the table's object id, by which a table that was dropped and made anew,
    /// or renamed, is told from the one that had its name before.
    pub oid: Option<u32>,
    /// `_key`: list of identity columns.
    pub key: Option<Text<'a>>,
    /// `_lines`: number of lines of the transaction before this one.
    pub lines: Option<u64>,
    /// `_crc`: CRC-32C of those lines.
    pub crc: Option<u32>,
    /// `_chain`: sum of the stream before this transaction.
    pub chain: Option<u32>,
    /// `_commit_crc`: CRC-32C of all of the transaction's bytes before this field.
    pub commit_crc: Option<u32>,
    /// `_action`.
    pub verb: Verb,
    /// Which keys of [`crate::Details`] are in the head, one bit each.
    pub(crate) details: u16,
    pub(crate) line: &'a [u8],
    pub(crate) columns_at: usize,
}

impl<'a> Change<'a> {
    /// The whole line, without its line feed.
    #[must_use]
    pub const fn line(&self) -> &'a [u8] {
        self.line
    }

    /// Offset of the first column's key in the line, in bytes; the line's length when there is
    /// none.
    #[must_use]
    pub fn columns_offset(&self) -> usize {
        self.columns_at.min(self.line.len())
    }
}
