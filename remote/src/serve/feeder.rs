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
use pgsqlite::daystream::{
    Bookmark, Error, Mark, Position, Reader, ReaderOptions, Start, TableFilter,
};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::block::compress;
use super::reply::fault_of;
use super::ring::{Follower, Next};
use super::stop::Stop;
use super::streams::Stream;
use super::tokens::Access;
use crate::limits::{
    CUT_PATIENCE, HEAD_PATIENCE, READER_BUFFER_BYTES, SLICE_BYTES, ZSTD_SLICE_BYTES,
};

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
    /// When the stream was made: who began with one is not given another one's lines.
    made: Option<u64>,
    mode: Mode,
    /// End of the last transaction that was given out whole, or passed over.
    at: Option<Position>,
    /// Some lines of the transaction behind it were given out.
    inside: bool,
    /// Where the files are read on.
    mark: Option<Bookmark>,
    /// The next part is being read.
    reading: Option<JoinHandle<Result<Slice, Fault>>>,
    first: Option<Bytes>,
    given: bool,
    marked: bool,
    began: Instant,
}

/// What stands before an answer.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    /// The transaction before its first one.
    pub mark: Option<Mark>,
    /// The stream's chain there; `None`: not known.
    pub chain: Option<u32>,
}

/// What one look into the files gave.
struct Slice {
    reader: Option<Reader>,
    bytes: Vec<u8>,
    at: Option<Position>,
    inside: bool,
}

impl Feeder {
    /// Opens the stream. Blocks.
    ///
    /// # Errors
    /// What can be known without reading lines: `GAP`, `AHEAD`, ...
    pub fn open(
        stream: Arc<Stream>,
        answer: u64,
        wanted: Wanted,
        access: Access,
        stop: Stop,
    ) -> Result<(Feeder, Before), Fault> {
        let reader = Reader::open(&stream.dir, wanted.start, options(&wanted));
        let reader = reader.map_err(|error| fault_of(&error))?;
        let before = Before { mark: reader.mark(), chain: reader.chain() };
        let at = reader.position();
        if let (Start::After(mark), false) = (wanted.start, wanted.beyond)
            && at < Some(mark.position)
        {
            check_ahead(&stream, mark.position)?;
        }
        let (made, mark) = (reader.made(), reader.bookmark());
        stream.parked.put(answer, reader);
        let feeder = Feeder {
            stream,
            answer,
            wanted,
            access,
            stop,
            made,
            mode: Mode::Files,
            at,
            inside: false,
            mark,
            reading: None,
            first: None,
            given: false,
            marked: false,
            began: Instant::now(),
        };
        Ok((feeder, before))
    }

    /// When the stream was made.
    pub const fn made(&self) -> Option<u64> {
        self.made
    }

    /// Takes the first part, unless that takes long.
    ///
    /// # Errors
    /// Everything else that can be known before the first line: `CORRUPT`, ...
    pub async fn begin(&mut self) -> Result<(), Fault> {
        // NOTE: reading goes on in any case, and so does whoever asks for the next part.
        if let Ok(first) = timeout(HEAD_PATIENCE, self.read_files(None)).await {
            self.first = Some(first?);
        }
        Ok(())
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
        let next = self.look_on().await;
        if next.is_err() {
            // NOTE: an answer that ends with an error is cut off where it is, and its head and its
            // first lines may still be on their way to the socket.
            tokio::time::sleep(CUT_PATIENCE).await;
        }
        next
    }

    async fn look_on(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Ok(Some(first));
        }
        loop {
            if self.stop.is_raised() && !self.inside {
                return Ok(None);
            }
            self.access.still(&self.stream.name)?;
            let part = match self.mode {
                Mode::Files => {
                    // An empty line has no place within a transaction.
                    let beat = self.wanted.heartbeat.filter(|_| !self.inside);
                    Some(self.read_files(beat).await?)
                }
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

    /// The next part of the files; an empty line when that takes longer than `beat`.
    async fn read_files(&mut self, beat: Option<Duration>) -> Result<Bytes, Fault> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None => {
                let (stream, wanted) = (Arc::clone(&self.stream), self.wanted.clone());
                let (answer, at, inside, made) = (self.answer, self.at, self.inside, self.made);
                let mark = self.mark.take();
                self.reading.insert(spawn_blocking(move || {
                    let reader = match stream.parked.take(answer) {
                        Some(reader) => Ok(reader),
                        None => reopen(&stream, at, mark, &wanted, made),
                    };
                    let slice = reader.and_then(|r| read(r, at, inside, slice_bytes(&wanted)));
                    slice.map_err(|error| fault_of(&error))
                }))
            }
        };
        let slice = match beat {
            None => reading.await,
            Some(beat) => match timeout(beat, reading).await {
                Ok(slice) => slice,
                Err(_) => return empty_line(self.wanted.zstd),
            },
        };
        self.reading = None;
        self.take(slice.map_err(|_| Fault::new(Reason::Server, "the reading thread is gone"))??)
    }

    fn take(&mut self, slice: Slice) -> Result<Bytes, Fault> {
        (self.at, self.inside) = (slice.at, slice.inside);
        match slice.reader {
            Some(reader) => {
                self.mode = Mode::Files;
                self.mark = reader.bookmark();
                self.stream.parked.put(self.answer, reader);
            }
            None => (self.mode, self.mark) = (Mode::End, None),
        }
        self.given |= !slice.bytes.is_empty();
        self.stream.sent.fetch_add(slice.bytes.len() as u64, Ordering::Relaxed);
        if self.wanted.zstd { compress(&slice.bytes) } else { Ok(Bytes::from(slice.bytes)) }
    }

    async fn begin_to_follow(&mut self) -> Result<Option<Bytes>, Fault> {
        let stream = Arc::clone(&self.stream);
        let follower = spawn_blocking(move || stream.follow()).await;
        let follower = follower.map_err(|_| Fault::new(Reason::Server, "a thread is gone"))?;
        let follower = follower.map_err(|error| fault_of(&error))?;
        check_made(&self.stream, self.made, follower.ring.made())
            .map_err(|error| fault_of(&error))?;
        self.mode = Mode::Ring(follower);
        Ok(None)
    }

    /// Lines, or an empty line; `None` when it is time to look around.
    async fn read_ring(&mut self) -> Result<Option<Bytes>, Fault> {
        let over = self.is_over();
        let Mode::Ring(follower) = &mut self.mode else { return Ok(None) };
        // NOTE: what comes before the place that was asked for is passed over here, too.
        let at = self.at.max(floor(&self.wanted));
        match follower.next(at) {
            Next::Block(block) => {
                let bytes = block.after(at, self.wanted.tables.as_ref(), self.wanted.zstd)?;
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
            return empty_line(self.wanted.zstd).map(Some);
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

fn empty_line(zstd: bool) -> Result<Bytes, Fault> {
    if zstd { compress(b"\n") } else { Ok(Bytes::from_static(b"\n")) }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        drop(self.stream.parked.take(self.answer));
    }
}

/// What ends here or before is not wanted, though it may be still to come.
fn floor(wanted: &Wanted) -> Option<Position> {
    let place = match wanted.start {
        Start::Clock(clock) => Position { clock: clock.max(0), seq: 0 },
        Start::At(position) => position,
        Start::Begin | Start::End | Start::After(_) => return None,
    };
    match (place.clock.checked_sub(1), place.seq.checked_sub(1)) {
        (_, Some(seq)) => Some(Position { seq, ..place }),
        (Some(clock), None) => Some(Position { clock, seq: u64::MAX }),
        (None, None) => None,
    }
}

fn slice_bytes(wanted: &Wanted) -> usize {
    if wanted.zstd { ZSTD_SLICE_BYTES } else { SLICE_BYTES }
}

fn options(wanted: &Wanted) -> ReaderOptions {
    ReaderOptions {
        tables: wanted.tables.clone(),
        buffer_bytes: READER_BUFFER_BYTES,
        ..ReaderOptions::default()
    }
}

/// Opens a reader where an answer is, in mid-transaction or not, of the stream made then.
fn reopen(
    stream: &Stream,
    at: Option<Position>,
    mark: Option<Bookmark>,
    wanted: &Wanted,
    made: Option<u64>,
) -> Result<Reader, Error> {
    let reader = match mark {
        Some(mark) => Reader::resume(&stream.dir, mark, options(wanted)),
        None => {
            let start = match (wanted.start, at) {
                // NOTE: until that place is there, it is what is waited for.
                (Start::Clock(_) | Start::At(_), at) if at < floor(wanted) => wanted.start,
                (_, Some(at)) => Start::After(at.into()),
                (_, None) => Start::Begin,
            };
            Reader::open(&stream.dir, start, options(wanted))
        }
    }?;
    check_made(stream, made, reader.made())?;
    Ok(reader)
}

/// Refuses another stream than the one that the answer began with.
fn check_made(stream: &Stream, wanted: Option<u64>, got: Option<u64>) -> Result<(), Error> {
    match (wanted, got) {
        (Some(wanted), Some(got)) if wanted != got => {
            Err(Error::Changed { dir: stream.dir.clone() })
        }
        _ => Ok(()),
    }
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
    mut inside: bool,
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
        inside = !entry.end;
        if entry.end {
            at = Some(entry.transaction.last);
        }
        if bytes.len() >= bytes_wanted {
            return Ok(Slice { reader: Some(reader), bytes, at, inside });
        }
    }
}
