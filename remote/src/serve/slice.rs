//! Parts of an answer from the files: whole transactions, but for one that is larger than a part.
//!
//! Memory: a part holds lines up to [`PIECE_BYTES`]; of a longer one it holds the place, and
//! [`Long`] gives it piece by piece from its file. It is checked in pieces, too: no part of memory
//! is larger than a piece, so that what is given back can be used for the next. Only a line whose
//! head is too long to be seen in a piece is taken into memory as a whole, one at a time.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use deltaflood::Verb;
use pgsqlite::daystream::remote::{Fault, Reason};
use pgsqlite::daystream::{Bookmark, Cut, Error, Position, Reader, ReaderOptions, Start, Text};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::reply::fault_of;
use super::streams::Stream;
use super::wanted::{Wanted, floor};
use crate::limits::{
    PASSING_OVER, PIECE_BYTES, READER_BUFFER_BYTES, SLICE_BYTES, ZSTD_SLICE_BYTES,
};

/// Where an answer is.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// End of the last transaction that was given out whole, or passed over.
    pub at: Option<Position>,
    /// Some lines of the transaction behind it were given out.
    pub inside: bool,
    /// Where the files are read on.
    pub mark: Option<Bookmark>,
    /// When the stream was made: who began with one is not given another one's lines.
    pub made: Option<u64>,
    /// The commit line before this place, which was passed over: it is given where the stream ends.
    pub passed_over: Option<Bytes>,
}

/// What one look into the files gave.
#[derive(Debug, Default)]
pub struct Slice {
    /// Where the answer is behind it.
    pub place: Place,
    /// The lines.
    pub bytes: Vec<u8>,
    /// A line behind them.
    pub long: Option<Box<Long>>,
    /// The stream ends here for now.
    pub ended: bool,
}

/// A line that is too long to be held, on its way out.
#[derive(Debug)]
pub struct Long {
    text: Text,
    /// Of the line as it was checked, and of what was given out.
    sums: (u32, u32),
}

impl Long {
    /// The next piece; `None` when that was the last.
    ///
    /// # Errors
    /// Those of the stream; `CORRUPT` when the line is no longer the one that was checked.
    pub async fn next(mut self: Box<Long>) -> Result<Option<(Bytes, Box<Long>)>, Fault> {
        let read = spawn_blocking(move || {
            let piece = self.text.next(PIECE_BYTES);
            (self, piece)
        });
        let (mut long, piece) = read.await.map_err(|_| gone())?;
        let piece = piece.map_err(|error| fault_of(&error))?;
        if piece.is_empty() {
            let same = long.sums.0 == long.sums.1;
            let changed = || Fault::new(Reason::Corrupt, "a line changed while it was sent");
            return if same { Ok(None) } else { Err(changed()) };
        }
        long.sums.1 = crc32c::crc32c_append(long.sums.1, &piece);
        Ok(Some((Bytes::from(piece), long)))
    }
}

fn gone() -> Fault {
    Fault::new(Reason::Server, "the reading thread is gone")
}

impl Slice {
    /// Gives the commit line that was passed over: who reads is past it.
    fn give_passed_over(&mut self) {
        self.bytes.extend_from_slice(&self.place.passed_over.take().unwrap_or_default());
    }
}

/// Opens a reader for an answer. Blocks.
///
/// # Errors
/// Those of the stream.
pub fn open(stream: &Stream, wanted: &Wanted) -> Result<Reader, Fault> {
    let reader = Reader::open(&stream.dir, wanted.start, options(wanted, PIECE_BYTES));
    reader.map_err(|error| fault_of(&error))
}

/// The next part of an answer that is at `place`.
///
/// # Errors
/// Those of the stream.
pub async fn next(
    stream: Arc<Stream>,
    answer: u64,
    wanted: Wanted,
    place: Place,
) -> Result<Slice, Fault> {
    let turn = turn(&stream.turns.lines).await?;
    let (of, what) = (Arc::clone(&stream), wanted.clone());
    let first = spawn_blocking(move || {
        let _turn = turn;
        let reader = match of.parked.take(answer) {
            Some(reader) => Ok(reader),
            None => {
                reopen(&of, &place, &what, PIECE_BYTES).map_err(|error| Box::new((error, None)))
            }
        };
        match reader.and_then(|reader| read(reader, &place, &what)) {
            Ok((slice, reader)) => {
                if let Some(reader) = reader {
                    of.parked.put(answer, reader);
                }
                Ok(slice)
            }
            Err(failed) => {
                let (error, mark) = *failed;
                Err(Box::new((error, Place { mark: mark.or(place.mark), ..place })))
            }
        }
    });
    let (error, place) = match first.await.map_err(|_| gone())? {
        Ok(slice) => return Ok(slice),
        Err(failed) => *failed,
    };
    if !is_too_long(&error) {
        return Err(fault_of(&error));
    }
    let turn = self::turn(&stream.turns.long).await?;
    let second = spawn_blocking(move || {
        let _turn = turn;
        let reader =
            reopen(&stream, &place, &wanted, usize::MAX).map_err(|error| Box::new((error, None)));
        // NOTE: the reader goes, and with it the memory that it took.
        let read = reader.and_then(|reader| read(reader, &place, &wanted));
        read.map(|(slice, _)| slice).map_err(|failed| failed.0)
    });
    second.await.map_err(|_| gone())?.map_err(|error| fault_of(&error))
}

fn slice_bytes(wanted: &Wanted) -> usize {
    if wanted.zstd { ZSTD_SLICE_BYTES } else { SLICE_BYTES }
}

fn options(wanted: &Wanted, line_bytes: usize) -> ReaderOptions {
    ReaderOptions {
        tables: wanted.tables.clone(),
        buffer_bytes: READER_BUFFER_BYTES,
        line_bytes,
        ..ReaderOptions::default()
    }
}

/// Opens a reader where an answer is, in mid-transaction or not, of the stream made then.
fn reopen(stream: &Stream, place: &Place, wanted: &Wanted, most: usize) -> Result<Reader, Error> {
    let at = place.at;
    let reader = match place.mark.clone() {
        Some(mark) => Reader::resume(&stream.dir, mark, options(wanted, most)),
        None => {
            let start = match (wanted.start, at) {
                // NOTE: until that place is there, it is what is waited for.
                (Start::Clock(_) | Start::At(_), at) if at < floor(wanted) => wanted.start,
                (_, Some(at)) => Start::After(at.into()),
                (_, None) => Start::Begin,
            };
            Reader::open(&stream.dir, start, options(wanted, most))
        }
    }?;
    check_made(stream, place.made, reader.made())?;
    Ok(reader)
}

/// Refuses another stream than the one that the answer began with.
///
/// # Errors
/// `CHANGED`.
pub fn check_made(stream: &Stream, wanted: Option<u64>, got: Option<u64>) -> Result<(), Error> {
    match (wanted, got) {
        (Some(wanted), Some(got)) if wanted != got => {
            Err(Error::Changed { dir: stream.dir.clone() })
        }
        _ => Ok(()),
    }
}

/// Refuses a position beyond the stream's end. Blocks.
///
/// # Errors
/// `AHEAD`, and those of the stream.
pub fn check_ahead(stream: &Stream, position: Position) -> Result<(), Fault> {
    let reader = Reader::open(&stream.dir, Start::End, ReaderOptions::default());
    let end = reader.map_err(|error| fault_of(&error))?.position();
    if end >= Some(position) {
        return Ok(());
    }
    let wanted = crate::wire::position_text(position);
    let message = format!("the stream ends before {wanted}");
    let fault = Fault::new(Reason::Ahead, message).with("wanted", wanted);
    Err(match end {
        Some(end) => fault.with("end", crate::wire::position_text(end)),
        None => fault,
    })
}

async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Fault> {
    Arc::clone(turns).acquire_owned().await.map_err(|_| gone())
}

fn is_too_long(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::FileTooLarge)
}

/// Why reading stopped, and where the reader was.
type Stopped = Box<(Error, Option<Bookmark>)>;

/// Reads lines, and gives the reader back where it is worth keeping.
fn read(
    mut reader: Reader,
    place: &Place,
    wanted: &Wanted,
) -> Result<(Slice, Option<Reader>), Stopped> {
    let mut slice = Slice { place: place.clone(), ..Slice::default() };
    let bytes_wanted = slice_bytes(wanted);
    slice.bytes.reserve(bytes_wanted + 4096);
    let began = Instant::now();
    while slice.bytes.len() < bytes_wanted {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                slice.place.at = reader.position().or(slice.place.at);
                (slice.place.mark, slice.ended) = (None, true);
                slice.give_passed_over();
                return Ok((slice, None));
            }
            // NOTE: what is whole goes out first; the next look finds the error again.
            Err(_) if !slice.bytes.is_empty() => break,
            Err(error) => return Err(Box::new((error, reader.bookmark()))),
        };
        let line = entry.change.line();
        if entry.end {
            slice.place.at = Some(entry.transaction.last);
            let commits = entry.change.verb == Verb::Commit;
            let is_empty = wanted.sparse && commits && !slice.place.inside;
            slice.place.passed_over = is_empty.then(|| [line, b"\n"].concat().into());
            if is_empty {
                if began.elapsed() >= PASSING_OVER {
                    slice.give_passed_over();
                    break;
                }
                continue;
            }
        }
        slice.place.inside = !entry.end;
        let long = entry.cut.or_else(|| {
            let crc = || crc32c::crc32c_append(crc32c::crc32c(line), b"\n");
            (line.len() > PIECE_BYTES).then(|| Cut { length: line.len(), crc: crc() })
        });
        if let Some(Cut { length, crc }) = long {
            let text = reader.text(length).ok_or_else(|| Box::new((Error::Poisoned, None)))?;
            slice.long = Some(Box::new(Long { text, sums: (crc, 0) }));
            slice.place.mark = reader.bookmark();
            return Ok((slice, None));
        }
        slice.bytes.extend_from_slice(line);
        slice.bytes.push(b'\n');
    }
    slice.place.mark = reader.bookmark();
    Ok((slice, Some(reader)))
}
