//! Rows of SQLite as lines of text, in PostgreSQL's `COPY` text format.
//!
//! Backslash, TAB, LF and CR in a cell become `\\`, `\t`, `\n`, `\r`; the first byte of another
//! separator becomes `\xHH`. So `COPY ... FROM` and `read_tabsep` give back what SQLite holds.
//! Blobs become PostgreSQL's hex form of bytea, reals the shortest form that reads back as the same
//! number, infinities `Infinity`. With the default for NULL, which is nothing, NULL and the empty
//! text are the same.

use super::Result;
use super::cell_text::CellText;
use super::lines::check_separator;
use crate::sqlite::Db;

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTabsep {
    /// The text for NULL, written as it is.
    pub null: Vec<u8>,
    /// What stands between two cells; not empty.
    pub separator: Vec<u8>,
}

impl Default for WriteTabsep {
    fn default() -> Self {
        WriteTabsep { null: Vec::new(), separator: b"\t".to_vec() }
    }
}

impl WriteTabsep {
    /// Runs a query and gives each row to `sink` as a line with its LF; returns the rows.
    ///
    /// # Errors
    /// SQLite's, the sink's, [`Error::Separator`].
    pub fn run(
        &self,
        db: &Db,
        sql: &str,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        check_separator(&self.separator)?;
        let form = CellText::new(&self.null, self.separator.first().copied().unwrap_or(b'\t'));
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
                form.push(stmt.column(column), &mut line);
            }
            line.push(b'\n');
            sink(&line)?;
            rows = rows.saturating_add(1);
        }
        Ok(rows)
    }
}
