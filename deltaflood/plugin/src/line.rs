//! From the rows and ends of transactions to lines.

use crate::options::Options;
use crate::table::Table;
use change_line::{Lsn, Verb, list, write};

/// Values longer than this are measured before they are written.
const MEASURED_BYTES: usize = 1 << 20;

/// Bytes of a column's line beside its name and a value's text, at most: separators, a number.
const FIELD_BYTES: usize = 64;

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

/// Why a value is not in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It has so many bytes in the line, at least, and that is too many.
    Long(usize),
    /// There is no memory for so many more bytes. The process must not end of that.
    Memory(usize),
}

/// A value that is not in its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritten {
    /// Its column's name.
    pub column: Vec<u8>,
    /// Why.
    pub why: Unfit,
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
        self.options.style.field(&mut self.out, lsn.to_string().as_bytes());
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

    /// The line that ends a transaction of so many lines; `time_us` since the Unix epoch.
    pub fn commit(&mut self, transaction: Transaction, time_us: i64, lines: u64) {
        self.begin_without_table(transaction.xid);
        self.lsn(transaction.end);
        if self.options.include_timestamp {
            self.options.style.key(&mut self.out, "_time");
            self.options.style.field(&mut self.out, time_us.to_string().as_bytes());
        }
        self.options.style.key(&mut self.out, "_lines");
        write::number(&mut self.out, lines);
        self.verb(Verb::Commit);
        self.drop_first_separator();
    }

    /// The line of a message; `lsn` is written only when asked for. False when it is left out.
    ///
    /// # Errors
    /// One that does not fit, unless such are to be left out.
    pub fn message(
        &mut self,
        transaction: Transaction,
        prefix: &[u8],
        content: Value<'_>,
    ) -> Result<bool, Unfit> {
        self.begin_without_table(transaction.xid);
        if self.options.include_lsn {
            self.lsn(transaction.end);
        }
        self.verb(Verb::Message);
        for (key, value) in [("prefix", Value::Text(prefix)), ("content", content)] {
            self.options.style.key(&mut self.out, key);
            match put(&self.options, &mut self.out, value, self.limit) {
                Err(Unfit::Long(_)) if self.options.skip_oversize => return Ok(false),
                done => done?,
            }
        }
        self.drop_first_separator();
        Ok(true)
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
    ) -> Result<(), Unwritten> {
        self.begin(table, transaction);
        if self.options.include_lsn {
            self.lsn(transaction.end);
        }
        self.head_ends = self.out.len();
        self.verb(verb);
        self.unchanged.clear();
        for (i, column) in table.columns.iter().enumerate() {
            let start = self.out.len();
            let needed = column.key.len() + self.options.null.len() + FIELD_BYTES;
            grow(&mut self.out, needed).map_err(|why| unwritten(&column.name, why))?;
            let value = row.value(i);
            match value {
                Value::Null if self.options.skip_nulls => {}
                Value::Unchanged => list::push(&mut self.unchanged, &column.name),
                _ => {
                    self.out.extend_from_slice(&column.key);
                    let field = self.out.len();
                    if let Err(why) = put(&self.options, &mut self.out, value, self.limit) {
                        self.out.truncate(start);
                        self.unfit(&column.name, why)?;
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
        self.name_unchanged()
    }

    fn unfit(&mut self, name: &[u8], why: Unfit) -> Result<(), Unwritten> {
        if self.options.skip_oversize && matches!(why, Unfit::Long(_)) {
            list::push(&mut self.unchanged, name);
            return Ok(());
        }
        Err(unwritten(name, why))
    }

    /// Seldom: the head gets its field afterwards.
    fn name_unchanged(&mut self) -> Result<(), Unwritten> {
        if self.unchanged.is_empty() || !self.options.include_unchanged {
            return Ok(());
        }
        let mut field = Vec::new();
        self.options.style.key(&mut field, "_unchanged");
        self.options.style.field(&mut field, &self.unchanged);
        grow(&mut self.out, field.len()).map_err(|why| unwritten(b"_unchanged", why))?;
        self.out.splice(self.head_ends..self.head_ends, field);
        Ok(())
    }
}

fn unwritten(name: &[u8], why: Unfit) -> Unwritten {
    Unwritten { column: name.to_vec(), why }
}

/// Whether two values of a column are the same; NULL has no text of its own.
fn same(old: &[u8], was: Value<'_>, new: Option<&[u8]>, is: Value<'_>) -> bool {
    was != Value::Unchanged && (was == Value::Null) == (is == Value::Null) && Some(old) == new
}

/// Appends a value.
///
/// # Errors
/// One that would make the line too long, or for which there is no memory. What is appended then is
/// to be taken back.
#[inline]
fn put(options: &Options, out: &mut Vec<u8>, value: Value<'_>, limit: usize) -> Result<(), Unfit> {
    match value {
        Value::Null => out.extend_from_slice(&options.null),
        Value::Unchanged => {}
        Value::Boolean(on) => out.push(match (options.convert_bool, on) {
            (true, true) => b'1',
            (true, false) => b'0',
            (false, true) => b't',
            (false, false) => b'f',
        }),
        Value::Integer(number) if !options.style.is_line() => {
            options.style.field(out, number.to_string().as_bytes());
        }
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
            } else {
                grow(out, text.len() * options.style.most_bytes())?;
            }
            let start = out.len();
            options.style.field(out, text);
            if out.len() > limit {
                return Err(Unfit::Long(out.len() - start));
            }
        }
        Value::TooLong(bytes) => return Err(Unfit::Long(bytes)),
    }
    Ok(())
}

/// Sees that `length` more bytes fit.
fn room(out: &mut Vec<u8>, length: usize, limit: usize) -> Result<(), Unfit> {
    if length > limit.saturating_sub(out.len()) {
        return Err(Unfit::Long(length));
    }
    grow(out, length)
}

/// Sees that there is memory for `more` bytes.
///
/// What appends to a vector asks for it by itself, and ends the process when there is none: a
/// server whose backend dies like that throws all others out, and meets the same change again.
#[inline]
fn grow(out: &mut Vec<u8>, more: usize) -> Result<(), Unfit> {
    if more <= out.capacity() - out.len() {
        return Ok(());
    }
    // Twice as much is asked for where a line grows in small steps, but it need not be had.
    let steps = more <= MEASURED_BYTES && out.try_reserve(more).is_ok();
    if steps { Ok(()) } else { out.try_reserve_exact(more).map_err(|_| Unfit::Memory(more)) }
}

/// Appends the hexadecimal form of bytes.
fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// A message's content: text when it is UTF-8 and may be printed as it is, else bytes. PostgreSQL
/// has no text with a NUL.
pub fn content_of(content: &[u8], as_is: bool) -> Value<'_> {
    let is_text = content.is_ascii() || (as_is && std::str::from_utf8(content).is_ok());
    if is_text && !content.contains(&0) { Value::Text(content) } else { Value::Bytes(content) }
}

#[cfg(test)]
mod tests;
