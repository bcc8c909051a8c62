//! Rows of SQLite into a table of PostgreSQL, by one `COPY ... FROM STDIN`: all or nothing.
//!
//! Values go as text: integers, reals in the shortest form that reads back as the same number,
//! blobs as `bytea`'s hex form, text as it is. PostgreSQL converts them to the types of its columns
//! and refuses what does not fit. Text must be UTF-8; the halves of characters beyond U+FFFF that
//! Tcl 8.6 writes are put together.
//!
//! Limits: memory is a few hundred KiB, or a few times the longest row when that is longer.
//! PostgreSQL takes rows of at most 1 GiB of text.

use super::cell_text::CellText;
use super::{Error, PgTable, Result};
use crate::libpq::{self, Conn, ErrorField};
use crate::limits::EXPORT_CHUNK_BYTES;
use crate::sqlite::{Db, Stmt, Value};
use crate::tcl::text::to_utf8;
use std::sync::atomic::{AtomicBool, Ordering};

/// What to export, where to, and how.
pub struct Export<'a> {
    /// The table.
    pub table: PgTable,
    /// Names of its columns, unquoted, in the order of the query's; `None`: all of them, in theirs.
    pub columns: Option<Vec<String>>,
    /// Call [`Export::progress`] every so many rows; 0 for never.
    pub progress_every: u64,
    /// Hears the number of rows so far; `false` stops the export with [`Error::Stopped`]. Runs on
    /// the calling thread, between two rows; it must leave the PostgreSQL connection alone.
    pub progress: Option<&'a mut dyn FnMut(u64) -> bool>,
    /// Looked at after each row: set, it stops the export with [`Error::Stopped`].
    pub stop: Option<&'a AtomicBool>,
}

impl Export<'_> {
    /// Runs a query of SQLite and writes its rows; returns the number of rows that PostgreSQL has
    /// stored. In an open transaction of the connection it is a part of that.
    ///
    /// # Errors
    /// SQLite's; `EXPORT TEXT`, `EXPORT NUL` or `EXPORT COLUMNS` of the rows; PostgreSQL's, with
    /// the row it was about where the server says so. Nothing of a failed export is stored.
    pub fn run(mut self, db: &Db, sql: &str, conn: &Conn) -> Result<u64> {
        let mut stmt = db.prepare(sql)?;
        if let Some(columns) = &self.columns
            && columns.len() != stmt.column_count()
        {
            let (expected, found) = (columns.len(), stmt.column_count());
            return Err(Error::ExportColumns { expected, found });
        }
        if stmt.column_count() == 0 {
            return Err(Error::NoRows { status: "the statement has no columns" });
        }
        let blocking = Blocking::begin(conn)?;
        conn.copy_in(&self.copy_sql())?;
        let sent = self.send(&mut stmt, conn);
        let result = end(conn, sent);
        drop(blocking);
        result
    }

    fn copy_sql(&self) -> String {
        let columns = match &self.columns {
            None => String::new(),
            Some(names) => {
                let quote = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
                let names: Vec<String> = names.iter().map(quote).collect();
                format!(" ({})", names.join(", "))
            }
        };
        let table = self.table.quoted();
        format!("COPY {table}{columns} FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')")
    }

    /// Sends all rows; returns their number.
    fn send(&mut self, stmt: &mut Stmt<'_>, conn: &Conn) -> Result<u64> {
        let form = CellText::new(b"\\N", b'\t');
        let mut chunk = Vec::with_capacity(EXPORT_CHUNK_BYTES);
        let columns = stmt.column_count();
        let mut rows: u64 = 0;
        while stmt.step()? {
            rows = rows.saturating_add(1);
            if self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(Error::Stopped { row: rows });
            }
            for column in 0..columns {
                if column > 0 {
                    chunk.push(b'\t');
                }
                push(&form, stmt, column, rows, &mut chunk)?;
            }
            chunk.push(b'\n');
            if chunk.len() >= EXPORT_CHUNK_BYTES {
                conn.put_copy_data(&chunk)?;
                chunk.clear();
                chunk.shrink_to(EXPORT_CHUNK_BYTES * 2);
            }
            if let Some(progress) = &mut self.progress
                && self.progress_every > 0
                && rows.is_multiple_of(self.progress_every)
                && !progress(rows)
            {
                return Err(Error::Stopped { row: rows });
            }
        }
        conn.put_copy_data(&chunk)?;
        Ok(rows)
    }
}

/// Appends a cell of the current row.
fn push(
    form: &CellText,
    stmt: &Stmt<'_>,
    column: usize,
    row: u64,
    chunk: &mut Vec<u8>,
) -> Result<()> {
    let value = stmt.column(column);
    let Value::Text(bytes) = value else {
        form.push(value, chunk);
        return Ok(());
    };
    let text =
        to_utf8(bytes).map_err(|_| Error::ExportText { column: stmt.column_name(column), row })?;
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(Error::ExportNul { column: stmt.column_name(column), row });
    }
    form.push(Value::Text(text.as_bytes()), chunk);
    Ok(())
}

/// Ends the COPY, so that all rows are stored or none; returns the rows stored.
fn end(conn: &Conn, sent: Result<u64>) -> Result<u64> {
    let failure = sent.as_ref().err().map(|_| "the client could not read all rows");
    let ended = conn.put_copy_end(failure);
    let outcome = conn.get_result();
    conn.drain();
    // The server's reason comes before what libpq says of a COPY that is no more; our own before
    // the server's answer to it.
    let rows = match sent {
        Ok(rows) => rows,
        Err(Error::Postgres(error)) => {
            return Err(outcome.and_then(|result| refused(result).err()).unwrap_or(error.into()));
        }
        Err(error) => return Err(error),
    };
    let Some(outcome) = outcome else {
        ended?;
        let message = conn.error_message().trim_end().to_owned();
        return Err(libpq::Error::Lost { message }.into());
    };
    let outcome = refused(outcome)?;
    Ok(outcome.cmd_tuples().parse().unwrap_or(rows))
}

/// A result that is an error, with the place in the data that the server names.
fn refused(result: libpq::PgResult) -> Result<libpq::PgResult> {
    let context = result.error_field(ErrorField::Context).unwrap_or_default();
    let context = context.lines().next().unwrap_or_default().to_owned();
    result.into_ok().map_err(|source| match row_of(&context) {
        Some(row) => Error::Refused { row, context, source },
        None => source.into(),
    })
}

/// The row in `COPY name, line 3, column b: "x"`: the first number after a comma, in any language.
/// (A table whose name has a comma and a number in it may show another.)
fn row_of(context: &str) -> Option<u64> {
    let (_, place) = context.strip_prefix("COPY ")?.split_once(", ")?;
    let digits = place.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

/// The connection waits as long as this lives, whatever its mode.
struct Blocking<'c> {
    conn: &'c Conn,
    restore: bool,
}

impl<'c> Blocking<'c> {
    fn begin(conn: &'c Conn) -> Result<Blocking<'c>> {
        let restore = conn.is_nonblocking();
        if restore {
            conn.set_nonblocking(false)?;
        }
        Ok(Blocking { conn, restore })
    }
}

impl Drop for Blocking<'_> {
    fn drop(&mut self) {
        if self.restore {
            // Fails only on a connection that is broken.
            let _ = self.conn.set_nonblocking(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::row_of;

    #[test]
    fn the_row_in_a_context() {
        assert_eq!(row_of("COPY t, line 12, column a: \"5\""), Some(12));
        assert_eq!(row_of("COPY t, Zeile 3"), Some(3));
        assert_eq!(row_of("PL/pgSQL function f() line 3 at RAISE"), None);
        assert_eq!(row_of(""), None);
    }
}
