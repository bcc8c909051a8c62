//! Rows of SQLite as lines of text, in PostgreSQL's `COPY` text format.
//!
//! Backslash, TAB, LF and CR in a cell become `\\`, `\t`, `\n`, `\r`; each byte of the first
//! character of another separator becomes `\xHH`. So `COPY ... FROM` and `read_tabsep` give back
//! what SQLite holds. A character that Tcl 8.6 has stored in two halves is written in one piece.
//! Blobs become PostgreSQL's hex form of bytea, reals the shortest form that reads back as the same
//! number, infinities `Infinity`. With the default for NULL, which is nothing, NULL and the empty
//! text are the same.

use super::cell_text::CellText;
use super::lines::check_separator;
use super::{Error, Result};
use crate::sqlite::{Db, Value};
use crate::tcl::text::to_utf8;

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTabsep {
    /// The text for NULL, written as it is; without a line end, and so that no separator begins in
    /// it, not even together with the one behind it.
    pub null: Vec<u8>,
    /// What stands between two cells; not empty, and it does not begin with a digit or one of
    /// `n`, `r`, `t`, `x`, of which escapes are made.
    pub separator: Vec<u8>,
}

impl Default for WriteTabsep {
    fn default() -> Self {
        WriteTabsep { null: Vec::new(), separator: b"\t".to_vec() }
    }
}

impl WriteTabsep {
    /// Whether a cell that is NULL ends where it does for a reader, too: no line end is in it, and
    /// no separator, not even one that begins in it and ends behind it.
    fn null_reads_back(&self) -> bool {
        let cell = [self.null.as_slice(), &self.separator].concat();
        let end = memchr::memmem::find(&cell, &self.separator);
        end == Some(self.null.len()) && memchr::memchr2(b'\n', b'\r', &self.null).is_none()
    }

    /// Runs a query and gives each row to `sink` as a line with its LF; returns the rows.
    ///
    /// # Errors
    /// SQLite's, the sink's, [`Error::Separator`], [`Error::NullText`].
    pub fn run(
        &self,
        db: &Db,
        sql: &str,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        check_separator(&self.separator)?;
        let first = self.separator.first().copied().unwrap_or(b'\t');
        if !CellText::can_escape(first) {
            return Err(Error::Separator);
        }
        if !self.null_reads_back() {
            return Err(Error::NullText);
        }
        let form = CellText::new(&self.null, first);
        let mut stmt = db.prepare(sql)?;
        let columns = stmt.column_count();
        let mut line = Vec::new();
        let mut rows: u64 = 0;
        while stmt.step()? {
            line.clear();
            for column in 0..columns {
                if column > 0 {
                    line.extend_from_slice(&self.separator);
                }
                match stmt.column(column) {
                    // In one piece what Tcl 8.6 has stored in two halves; other bytes as they are.
                    Value::Text(text) => match to_utf8(text) {
                        Ok(text) => form.push(Value::Text(text.as_bytes()), &mut line),
                        Err(_) => form.push(Value::Text(text), &mut line),
                    },
                    value => form.push(value, &mut line),
                }
            }
            line.push(b'\n');
            sink(&line)?;
            rows = rows.saturating_add(1);
        }
        Ok(rows)
    }
}
