//! A COPY in pieces: read and converted on one thread, inserted on another when that has the time.

use super::batch::Batch;
use super::convert::Converter;
use super::feed::Feed;
use super::import::at_row;
use super::pump::{Batches, Filler};
use super::raw_lines::LineConverter;
use super::source::CopyRows;
use super::{Column, Error, Result, TableName, table};
use crate::libpq::Conn;
use crate::sqlite::Db;

/// Some rows, converted.
#[derive(Debug)]
pub(crate) struct Piece {
    batch: Batch,
}

/// Runs a COPY and gives away its rows, piece by piece, as long as `give` wants more. `limit` is
/// the longest value that is taken, in bytes. Returns whether all were given away.
///
/// # Errors
/// PostgreSQL's; a value that does not fit its column.
pub(crate) fn read(
    conn: &Conn,
    sql: &str,
    columns: &[Column],
    limit: u64,
    give: &mut dyn FnMut(Piece) -> bool,
) -> Result<bool> {
    let converter = LineConverter::new(Converter::new(columns.to_vec(), None, true, limit));
    let mut filler = Filler::new(CopyRows::begin(conn, sql, converter)?);
    while let Some(batch) = filler.next(Batch::default(), true)? {
        if !give(Piece { batch }) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Inserts a piece into a table, in the caller's transaction; returns its rows.
///
/// # Errors
/// SQLite's.
pub(crate) fn insert(db: &Db, into: &TableName, columns: &[Column], piece: Piece) -> Result<u64> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut once = Once(Some(piece.batch));
    let mut feed = Feed::new(&mut once, columns.len(), None);
    let inserted = table::insert(into, &names, false).run(db, &mut feed);
    inserted.map_err(|error| at_row(db, columns, &feed, error))
}

/// One batch and no more.
struct Once(Option<Batch>);

impl Batches for Once {
    fn next(&mut self, _spent: Batch) -> std::result::Result<Option<Batch>, Error> {
        Ok(self.0.take())
    }
}
