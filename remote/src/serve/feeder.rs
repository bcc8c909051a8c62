//! The lines of one answer, part by part, as fast as the client takes them.
//!
//! Behind the stream's end lines come from the shared [`Ring`](super::ring::Ring), before it from a
//! reader of the answer's own. Between two parts nothing is held but a position: a slow client
//! costs nobody anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use pgsqlite::daystream::remote::{Fault, Reason};
use pgsqlite::daystream::{Error, Position, Reader, ReaderOptions, Start, TableFilter};
use tokio::time::Instant;

use super::block::compress;
use super::reply::fault_of;
use super::ring::{Follower, Next};
use super::stop::Stop;
use super::streams::Stream;
use super::tokens::Access;
use crate::limits::{READER_BUFFER_BYTES, SLICE_BYTES, ZSTD_SLICE_BYTES};

/// How long an answer goes on at the stream's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It ends.
    No,
    /// Until there was something, or for this long.
    Wait(Duration),
    /// For ever.
    Yes,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where to begin.
    pub start: Start,
    /// A position beyond the stream's end is none to refuse.
    pub beyond: bool,
    /// Only these tables.
    pub tables: Option<TableFilter>,
    /// What to do at the end.
    pub follow: Follow,
    /// An empty line at the stream's end, and again after each such time.
    pub heartbeat: Option<Duration>,
    /// Compressed.
    pub zstd: bool,
}

enum Mode {
    /// From the files.
    Files,
    /// At the stream's end, for now.
    End,
    /// From the ring.
    Ring(Follower),
}

/// The lines of one answer.
pub struct Feeder {
    stream: Arc<Stream>,
    answer: u64,
    wanted: Wanted,
    access: Access,
    stop: Stop,
    mode: Mode,
    /// End of the last transaction that was given out whole, or passed over.
    at: Option<Position>,
    /// Lines of the transaction behind it that were given out.
    inside: u64,
    first: Option<Bytes>,
    given: bool,
    marked: bool,
    began: Instant,
}

/// What one look into the files gave.
struct Slice {
    reader: Option<Reader>,
    bytes: Vec<u8>,
    at: Option<Position>,
    inside: u64,
}

impl Feeder {
    /// Opens the stream and takes the first part. Blocks.
    ///
    /// # Errors
    /// Everything that can be known before the first line: `GAP`, `AHEAD`, `CORRUPT`, ...
    pub fn open(
        stream: Arc<Stream>,
        answer: u64,
        wanted: Wanted,
        access: Access,
        stop: Stop,
    ) -> Result<(Feeder, Option<Position>), Fault> {
        let reader = open(&stream, wanted.start, &wanted)?;
        let before = reader.position();
        if let (Start::After(position), false) = (wanted.start, wanted.beyond)
            && before < Some(position)
        {
            check_ahead(&stream, position)?;
        }
        let slice = read(reader, before, 0, slice_bytes(&wanted)).map_err(|e| fault_of(&e))?;
        let mut feeder = Feeder {
            stream,
            answer,
            wanted,
            access,
            stop,
            mode: Mode::Files,
            at: before,
            inside: 0,
            first: None,
            given: false,
            marked: false,
            began: Instant::now(),
        };
        feeder.first = Some(feeder.take(slice)?);
        Ok((feeder, before))
    }

    /// All there is, when that is the first part and nothing is waited for.
    pub fn whole(&mut self) -> Option<Bytes> {
        let ended = matches!(self.mode, Mode::End) && self.wanted.follow == Follow::No;
        if ended { self.first.take() } else { None }
    }

    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// Those of the stream; `TOKEN` when the token is good no longer.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Ok(Some(first));
        }
        loop {
            if self.stop.is_raised() && self.inside == 0 {
                return Ok(None);
            }
            if !self.access.still(&self.stream.name) {
                return Err(Fault::new(Reason::Token, "the token is good no longer"));
            }
            let part = match self.mode {
                Mode::Files => Some(self.read_files().await?),
                Mode::End if self.is_over() => return Ok(None),
                Mode::End => self.begin_to_follow().await?,
                Mode::Ring(_) => match self.read_ring().await? {
                    Some(part) => Some(part),
                    None if self.is_over() => return Ok(None),
                    None => None,
                },
            };
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                return Ok(Some(part));
            }
        }
    }

    fn is_over(&self) -> bool {
        match self.wanted.follow {
            Follow::No => true,
            Follow::Wait(time) => self.given || self.began.elapsed() >= time,
            Follow::Yes => false,
        }
    }

    async fn read_files(&mut self) -> Result<Bytes, Fault> {
        let (stream, wanted) = (Arc::clone(&self.stream), self.wanted.clone());
        let (answer, at, inside) = (self.answer, self.at, self.inside);
        let work = move || {
            let reader = match stream.parked.take(answer) {
                Some(reader) => reader,
                None => reopen(&stream, at, inside, &wanted)?,
            };
            read(reader, at, inside, slice_bytes(&wanted)).map_err(|error| fault_of(&error))
        };
        let slice = tokio::task::spawn_blocking(work).await;
        let slice =
            slice.map_err(|_| Fault::new(Reason::Server, "the reading thread is gone"))??;
        self.take(slice)
    }

    fn take(&mut self, slice: Slice) -> Result<Bytes, Fault> {
        (self.at, self.inside) = (slice.at, slice.inside);
        match slice.reader {
            Some(reader) => {
                self.mode = Mode::Files;
                self.stream.parked.put(self.answer, reader);
            }
            None => self.mode = Mode::End,
        }
        self.given |= !slice.bytes.is_empty();
        self.stream.sent.fetch_add(slice.bytes.len() as u64, Ordering::Relaxed);
        if self.wanted.zstd { compress(&slice.bytes) } else { Ok(Bytes::from(slice.bytes)) }
    }

    async fn begin_to_follow(&mut self) -> Result<Option<Bytes>, Fault> {
        let stream = Arc::clone(&self.stream);
        let follower = tokio::task::spawn_blocking(move || stream.follow()).await;
        let follower = follower.map_err(|_| Fault::new(Reason::Server, "a thread is gone"))?;
        self.mode = Mode::Ring(follower.map_err(|error| fault_of(&error))?);
        Ok(None)
    }

    /// Lines, or an empty line; `None` when it is time to look around.
    async fn read_ring(&mut self) -> Result<Option<Bytes>, Fault> {
        let over = self.is_over();
        let Mode::Ring(follower) = &mut self.mode else { return Ok(None) };
        match follower.next(self.at) {
            Next::Block(block) => {
                let bytes = block.after(self.at, self.wanted.tables.as_ref(), self.wanted.zstd)?;
                self.at = block.last().max(self.at);
                self.given = true;
                self.marked = false;
                self.stream.sent.fetch_add(block.size() as u64, Ordering::Relaxed);
                return Ok(Some(bytes));
            }
            Next::Files => {
                if follower.ring.has_ended() {
                    // NOTE: the files will tell why; not in a busy loop, should they not.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                self.mode = Mode::Files;
                return Ok(None);
            }
            Next::Wait => {}
        }
        if over {
            return Ok(None);
        }
        if self.wanted.heartbeat.is_some() && !self.marked {
            self.marked = true;
            return mark(self.wanted.zstd).map(Some);
        }
        let beat = self.wanted.heartbeat.unwrap_or(Duration::from_secs(30));
        let pause = match self.wanted.follow {
            Follow::Wait(time) => beat.min(time.saturating_sub(self.began.elapsed())),
            Follow::No | Follow::Yes => beat,
        };
        tokio::select! {
            () = follower.changed() => {}
            () = self.stop.raised() => {}
            () = tokio::time::sleep(pause) => self.marked = false,
        }
        Ok(None)
    }
}

/// An empty line.
fn mark(zstd: bool) -> Result<Bytes, Fault> {
    if zstd { compress(b"\n") } else { Ok(Bytes::from_static(b"\n")) }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        drop(self.stream.parked.take(self.answer));
    }
}

fn slice_bytes(wanted: &Wanted) -> usize {
    if wanted.zstd { ZSTD_SLICE_BYTES } else { SLICE_BYTES }
}

fn open(stream: &Stream, start: Start, wanted: &Wanted) -> Result<Reader, Fault> {
    let options = ReaderOptions {
        tables: wanted.tables.clone(),
        buffer_bytes: READER_BUFFER_BYTES,
        ..ReaderOptions::default()
    };
    Reader::open(&stream.dir, start, options).map_err(|error| fault_of(&error))
}

/// Opens a reader where an answer is, in mid-transaction or not.
fn reopen(
    stream: &Stream,
    at: Option<Position>,
    inside: u64,
    wanted: &Wanted,
) -> Result<Reader, Fault> {
    let mut reader = open(stream, at.map_or(Start::Begin, Start::After), wanted)?;
    for _ in 0..inside {
        if reader.next().map_err(|error| fault_of(&error))?.is_none() {
            let message = "the transaction in hand is no longer there";
            return Err(Fault::new(Reason::Server, message));
        }
    }
    Ok(reader)
}

/// Refuses a position beyond the stream's end.
fn check_ahead(stream: &Stream, position: Position) -> Result<(), Fault> {
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

/// Reads lines; whole transactions, but for one that is larger than a part.
fn read(
    mut reader: Reader,
    mut at: Option<Position>,
    mut inside: u64,
    bytes_wanted: usize,
) -> Result<Slice, Error> {
    let mut bytes = Vec::with_capacity(bytes_wanted + 4096);
    loop {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                at = reader.position().or(at);
                return Ok(Slice { reader: None, bytes, at, inside });
            }
            // NOTE: what is whole goes out first; the next look finds the error again.
            Err(_) if !bytes.is_empty() => {
                return Ok(Slice { reader: Some(reader), bytes, at, inside });
            }
            Err(error) => return Err(error),
        };
        bytes.extend_from_slice(entry.change.line());
        bytes.push(b'\n');
        inside += 1;
        if entry.end {
            at = Some(entry.transaction.last);
            inside = 0;
        }
        if bytes.len() >= bytes_wanted {
            return Ok(Slice { reader: Some(reader), bytes, at, inside });
        }
    }
}
