//! From the rows and ends of transactions to lines.

use crate::options::Options;
use crate::table::Table;
use change_line::{Lsn, Verb, list, write};

/// Values longer than this are measured before they are written.
const MEASURED_BYTES: usize = 1 << 20;

/// Buffers that grew beyond this for a large row are given back after it.
const KEPT_BYTES: usize = 4 << 20;

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL, or not part of the identity.
    Null,
    /// Stored out of line and not touched.
    Unchanged,
    /// `boolean`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// `bytea`.
    Bytes(&'a [u8]),
    /// Text that has nothing to escape.
    Plain(&'a [u8]),
    /// Text.
    Text(&'a [u8]),
    /// Its text would have this many bytes, more than the server can make.
    TooLong(usize),
}

/// A row of a table, column by column in the order of [`Table::columns`].
pub trait Row {
    /// The value of a column.
    fn value(&mut self, column: usize) -> Value<'_>;
}

/// The transaction that lines are of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Its id.
    pub xid: u32,
    /// End of its commit record.
    pub end: Lsn,
}

/// A value that does not fit into a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversize {
    /// Its column's name.
    pub column: String,
    /// Its length in the line, in bytes; at least, when it could not be made.
    pub bytes: usize,
}

/// Writes lines into a buffer of its own, one at a time.
#[derive(Debug)]
pub struct Lines {
    options: Options,
    out: Vec<u8>,
    /// Bytes that a line may have.
    limit: usize,
    /// Offset in `out` of where the head's last fields belong.
    head_ends: usize,
    /// Names for `_unchanged`.
    unchanged: Vec<u8>,
    /// The old row's text of one column.
    old: Vec<u8>,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub fn new(options: Options, limit: usize) -> Lines {
        let (out, unchanged, old) = (Vec::new(), Vec::new(), Vec::new());
        Lines { options, out, limit, head_ends: 0, unchanged, old }
    }

    /// What was asked for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The last line, without line feed.
    pub fn line(&self) -> &[u8] {
        &self.out
    }

    /// Gives memory back that only an unusually long line needed.
    pub fn relax(&mut self) {
        if self.out.capacity() > KEPT_BYTES {
            self.out = Vec::new();
        }
        if self.old.capacity() > KEPT_BYTES {
            self.old = Vec::new();
        }
    }

    /// Begins a line of a table; the verb is still missing.
    fn begin(&mut self, table: &Table, transaction: Transaction) {
        self.out.clear();
        self.out.extend_from_slice(&table.head);
        let style = &self.options.style;
        if self.options.include_xids {
            style.key(&mut self.out, "_xid");
            write::number(&mut self.out, u64::from(transaction.xid));
        }
        self.head_ends = self.out.len();
    }

    fn lsn(&mut self, lsn: Lsn) {
        self.options.style.key(&mut self.out, "_lsn");
        self.out.extend_from_slice(lsn.to_string().as_bytes());
    }

    fn verb(&mut self, verb: Verb) {
        self.options.style.key(&mut self.out, "_action");
        self.out.extend_from_slice(verb.as_str().as_bytes());
    }

    /// The line of a table's definition.
    pub fn schema(&mut self, table: &Table, transaction: Transaction) {
        self.begin(table, transaction);
        self.out.extend_from_slice(&table.schema_tail);
    }

    /// The line of a table that was truncated.
    pub fn truncate(&mut self, table: &Table, transaction: Transaction) {
        self.begin(table, transaction);
        if self.options.include_lsn {
            self.lsn(transaction.end);
        }
        self.verb(Verb::Truncate);
    }

    /// The line that ends a transaction; `time_us` since the Unix epoch.
    pub fn commit(&mut self, transaction: Transaction, time_us: i64) {
        self.begin_without_table(transaction.xid);
        self.lsn(transaction.end);
        if self.options.include_timestamp {
            self.options.style.key(&mut self.out, "_time");
            self.out.extend_from_slice(time_us.to_string().as_bytes());
        }
        self.verb(Verb::Commit);
        self.drop_first_separator();
    }

    /// The line of a message; `lsn` is written only when asked for.
    pub fn message(&mut self, transaction: Transaction, prefix: &[u8], content: &[u8]) {
        self.begin_without_table(transaction.xid);
        if self.options.include_lsn {
            self.lsn(transaction.end);
        }
        self.verb(Verb::Message);
        let style = &self.options.style;
        for (key, value) in [("prefix", prefix), ("content", content)] {
            style.key(&mut self.out, key);
            style.field(&mut self.out, value);
        }
        self.drop_first_separator();
    }

    fn begin_without_table(&mut self, xid: u32) {
        self.out.clear();
        if self.options.include_xids {
            self.options.style.key(&mut self.out, "_xid");
            write::number(&mut self.out, u64::from(xid));
        }
    }

    fn drop_first_separator(&mut self) {
        self.out.drain(..self.options.style.separator.len());
    }

    /// The line of a row. With `before`, the old row of an update whose columns are all known,
    /// columns that are the same in both are left out, and named.
    ///
    /// # Errors
    /// A value that does not fit, unless such values are to be left out.
    pub fn row(
        &mut self,
        table: &Table,
        transaction: Transaction,
        verb: Verb,
        row: &mut impl Row,
        mut before: Option<&mut dyn Row>,
    ) -> Result<(), Oversize> {
        self.begin(table, transaction);
        if self.options.include_lsn {
            self.lsn(transaction.end);
        }
        self.head_ends = self.out.len();
        self.verb(verb);
        self.unchanged.clear();
        for (i, column) in table.columns.iter().enumerate() {
            let start = self.out.len();
            let value = row.value(i);
            match value {
                Value::Null if self.options.skip_nulls => {}
                Value::Unchanged => {
                    if verb == Verb::Update {
                        list::push(&mut self.unchanged, &column.name);
                    }
                }
                _ => {
                    self.out.extend_from_slice(&column.key);
                    let field = self.out.len();
                    if let Err(bytes) = put(&self.options, &mut self.out, value, self.limit) {
                        self.out.truncate(start);
                        self.oversize(&column.name, bytes)?;
                    } else if let Some(before) = before.as_deref_mut().filter(|_| !column.stays) {
                        self.old.clear();
                        let old = before.value(i);
                        let known = put(&self.options, &mut self.old, old, self.limit);
                        if known.is_ok() && same(&self.old, old, self.out.get(field..), value) {
                            self.out.truncate(start);
                            list::push(&mut self.unchanged, &column.name);
                        }
                    }
                }
            }
        }
        self.name_unchanged();
        Ok(())
    }

    fn oversize(&mut self, name: &[u8], bytes: usize) -> Result<(), Oversize> {
        if self.options.skip_oversize {
            list::push(&mut self.unchanged, name);
            return Ok(());
        }
        Err(Oversize { column: String::from_utf8_lossy(name).into_owned(), bytes })
    }

    /// Seldom: the head gets its field afterwards.
    fn name_unchanged(&mut self) {
        if self.unchanged.is_empty() || !self.options.include_unchanged {
            return;
        }
        let mut field = Vec::new();
        self.options.style.key(&mut field, "_unchanged");
        self.options.style.field(&mut field, &self.unchanged);
        self.out.splice(self.head_ends..self.head_ends, field);
    }
}

/// Whether two values of a column are the same; NULL has no text of its own.
fn same(old: &[u8], was: Value<'_>, new: Option<&[u8]>, is: Value<'_>) -> bool {
    was != Value::Unchanged && (was == Value::Null) == (is == Value::Null) && Some(old) == new
}

/// Appends a value.
///
/// # Errors
/// The length of one that would make the line too long.
#[inline]
fn put(options: &Options, out: &mut Vec<u8>, value: Value<'_>, limit: usize) -> Result<(), usize> {
    match value {
        Value::Null => out.extend_from_slice(&options.null),
        Value::Unchanged => {}
        Value::Boolean(on) => out.push(match (options.convert_bool, on) {
            (true, true) => b'1',
            (true, false) => b'0',
            (false, true) => b't',
            (false, false) => b'f',
        }),
        Value::Integer(number) => {
            if number < 0 {
                out.push(b'-');
            }
            write::number(out, number.unsigned_abs());
        }
        Value::Bytes(bytes) => {
            let length = bytes.len() * 2 + 3;
            room(out, length, limit)?;
            options.style.field(out, b"\\x");
            hex(out, bytes);
        }
        Value::Plain(text) => {
            room(out, text.len(), limit)?;
            if options.style.is_line() {
                out.extend_from_slice(text);
            } else {
                options.style.field(out, text);
            }
        }
        Value::Text(text) => {
            if text.len() > MEASURED_BYTES {
                room(out, options.style.escaped_len(text), limit)?;
            }
            let start = out.len();
            options.style.field(out, text);
            if out.len() > limit {
                return Err(out.len() - start);
            }
        }
        Value::TooLong(bytes) => return Err(bytes),
    }
    Ok(())
}

/// Sees that `length` more bytes fit.
fn room(out: &mut Vec<u8>, length: usize, limit: usize) -> Result<(), usize> {
    if length > limit.saturating_sub(out.len()) {
        return Err(length);
    }
    if length > MEASURED_BYTES {
        out.reserve_exact(length);
    }
    Ok(())
}

/// Appends the hexadecimal form of bytes.
fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// A message's content as text: as it is when it is UTF-8 and may be (`as_is`), else in the hex
/// form of a bytea.
pub fn content_of(content: &[u8], as_is: bool) -> std::borrow::Cow<'_, [u8]> {
    if content.is_ascii() || (as_is && std::str::from_utf8(content).is_ok()) {
        return content.into();
    }
    let mut text = b"\\x".to_vec();
    hex(&mut text, content);
    text.into()
}

#[cfg(test)]
mod tests;
