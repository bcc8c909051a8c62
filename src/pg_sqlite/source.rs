//! Where the rows of an import come from.

use super::batch::Batch;
use super::convert::Converter;
use super::raw_lines::{CopyLines, LineConverter};
use super::{Error, Lines, PgQuery, PgTable, Result};
use crate::libpq::{Conn, PgResult, Status};

/// Where the rows of an import come from.
pub enum Source<'a> {
    /// A result that is here already.
    Result(&'a PgResult),
    /// The command just sent on this connection: its rows come one by one. Read by a thread of its
    /// own.
    Stream(&'a mut Conn),
    /// As `Stream`, for a connection that is shared: read on the calling thread, which is slower.
    StreamHere(&'a Conn),
    /// A `COPY ... TO STDOUT` in text format, begun by the import. Read by a thread of its own.
    Copy {
        /// An idle connection.
        conn: &'a mut Conn,
        /// The COPY statement.
        sql: &'a str,
    },
    /// A query or a table of PostgreSQL, described first and then read by `COPY` in text format, on
    /// a thread of its own.
    Query {
        /// An idle connection.
        conn: &'a mut Conn,
        /// What to read.
        query: &'a PgQuery,
    },
    /// As `Query`, for a connection that is shared: read on the calling thread, which is slower.
    QueryHere {
        /// An idle connection.
        conn: &'a Conn,
        /// What to read.
        query: &'a PgQuery,
    },
    /// All rows of a table, in no order, read by several connections, each on a thread of its own,
    /// under one snapshot. Numbers of rows in errors are those of the connection that read them.
    Parallel {
        /// An idle connection, in a transaction that has written nothing or in none. It reads
        /// nothing, but keeps the table as it is; the others are made like it.
        conn: &'a Conn,
        /// The table: one of PostgreSQL's own sort that is not temporary, or a partitioned one.
        table: &'a PgTable,
        /// How many connections read.
        readers: usize,
    },
    /// Lines of text, read on the calling thread.
    Lines(Lines<'a>),
}

/// Reads rows and converts them.
pub(super) trait Reader {
    /// Fills an empty batch, perhaps with lines that are still to be converted; `false` when there
    /// are no more rows after it.
    ///
    /// # Errors
    /// PostgreSQL's, or a value that cannot be converted. The batch holds the rows before it, and
    /// perhaps a part of that row.
    fn fill(&mut self, batch: &mut Batch) -> Result<bool>;

    /// Converts the lines in a batch, if there are any.
    ///
    /// # Errors
    /// A value that cannot be converted; the batch then is as after [`Reader::fill`].
    fn convert(&mut self, _batch: &mut Batch) -> Result<()> {
        Ok(())
    }
}

/// Rows of a result.
pub(super) struct ResultRows<'a> {
    pub(super) result: &'a PgResult,
    pub(super) converter: Converter,
    pub(super) row: usize,
}

impl Reader for ResultRows<'_> {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool> {
        let rows = self.result.ntuples();
        while self.row < rows && !batch.is_full() {
            push_row(self.result, self.row, &mut self.converter, batch)?;
            self.row = self.row.saturating_add(1);
        }
        Ok(self.row < rows)
    }
}

fn push_row(
    result: &PgResult,
    row: usize,
    converter: &mut Converter,
    batch: &mut Batch,
) -> Result<()> {
    converter.begin_row();
    for cell in result.row(row) {
        converter.push(batch, cell)?;
    }
    converter.end_row(batch)
}

/// The first result of the command just sent, in single-row mode: it describes the rows.
///
/// # Errors
/// The command failed or returns no rows.
pub(super) fn first_result(conn: &Conn) -> Result<PgResult> {
    // Refused when a result has been fetched already: then whole results come, which works as well.
    let _ = conn.set_single_row_mode();
    let Some(first) = conn.get_result() else {
        return Err(Error::NoRows { status: "no command is running" });
    };
    match has_rows(first) {
        Ok(first) if first.is_binary() => {
            give_up(conn);
            Err(Error::BinaryRows)
        }
        Ok(first) => Ok(first),
        Err(error) => {
            conn.drain();
            Err(error)
        }
    }
}

/// Ends a command whose rows nobody wants, and leaves the connection ready for the next one.
pub(super) fn give_up(conn: &Conn) {
    if let Ok(cancel) = conn.cancel_handle() {
        // Best effort: without it all rows come, and are thrown away.
        let _ = cancel.cancel();
    }
    conn.drain();
}

fn has_rows(result: PgResult) -> Result<PgResult> {
    let result = result.into_ok()?;
    match result.status() {
        Status::TuplesOk | Status::SingleTuple => Ok(result),
        other => Err(Error::NoRows { status: other.name() }),
    }
}

/// Rows of a running command.
pub(super) struct StreamRows<'a> {
    conn: &'a Conn,
    /// The result being read and the next row of it.
    current: Option<(PgResult, usize)>,
    converter: Converter,
}

impl<'a> StreamRows<'a> {
    pub(super) fn new(conn: &'a Conn, first: PgResult, converter: Converter) -> Self {
        StreamRows { conn, current: Some((first, 0)), converter }
    }
}

impl Reader for StreamRows<'_> {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool> {
        while let Some((result, row)) = &mut self.current {
            let rows = result.ntuples();
            while *row < rows {
                if batch.is_full() {
                    return Ok(true);
                }
                push_row(result, *row, &mut self.converter, batch)?;
                *row = row.saturating_add(1);
            }
            // The row's result is given back before the next one is made.
            let ended = result.status() == Status::TuplesOk;
            self.current = None;
            if ended {
                self.conn.drain();
            } else if let Some(next) = self.conn.get_result() {
                self.current = Some((has_rows(next)?, 0));
            }
        }
        Ok(false)
    }
}

impl Drop for StreamRows<'_> {
    /// Leaves the connection ready for the next command, also after a failure.
    fn drop(&mut self) {
        match self.current.take() {
            Some(_) => give_up(self.conn),
            None => self.conn.drain(),
        }
    }
}

/// Rows of a COPY.
pub(super) struct CopyRows<'a> {
    lines: CopyLines<'a>,
    converter: LineConverter,
}

impl<'a> CopyRows<'a> {
    /// Begins the COPY.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub(super) fn begin(conn: &'a Conn, sql: &str, converter: LineConverter) -> Result<Self> {
        Ok(CopyRows { lines: CopyLines::new(conn.copy_out(sql)?, 0), converter })
    }
}

impl Reader for CopyRows<'_> {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool> {
        self.lines.fill(batch, &mut self.converter)
    }

    fn convert(&mut self, batch: &mut Batch) -> Result<()> {
        self.converter.convert(batch)
    }
}
