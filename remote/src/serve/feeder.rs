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
use pgsqlite::daystream::{Mark, Start};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::block::compress;
use super::reply::fault_of;
use super::ring::{Follower, Next};
use super::slice::{self, Long, Place, Slice, check_ahead, check_made};
use super::stop::Stop;
use super::streams::Stream;
use super::tokens::Access;
use super::wanted::{Follow, Wanted, floor};
use crate::limits::{CUT_PATIENCE, HEAD_PATIENCE};

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
    place: Place,
    /// The line that is on its way, piece by piece.
    long: Option<Box<Long>>,
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
        let reader = slice::open(&stream, &wanted)?;
        let before = Before { mark: reader.mark(), chain: reader.chain() };
        let at = reader.position();
        if let (Start::After(mark), false) = (wanted.start, wanted.beyond)
            && at < Some(mark.position)
        {
            check_ahead(&stream, mark.position)?;
        }
        let (mark, made) = (reader.bookmark(), reader.made());
        let place = Place { at, mark, made, ..Place::default() };
        stream.parked.put(answer, reader);
        let feeder = Feeder {
            stream,
            answer,
            wanted,
            access,
            stop,
            mode: Mode::Files,
            place,
            long: None,
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
        self.place.made
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
            if self.stop.is_raised() && !self.place.inside {
                return Ok(None);
            }
            self.access.still(&self.stream.name)?;
            if let Some(long) = self.long.take() {
                let piece = self.read_long(long).await?;
                if piece.is_empty() {
                    continue;
                }
                return Ok(Some(piece));
            }
            let part = match self.mode {
                Mode::Files => {
                    // An empty line has no place within a transaction.
                    let beat = self.wanted.heartbeat.filter(|_| !self.place.inside);
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
                // NOTE: it may have been waited for, and the token be gone since.
                self.access.still(&self.stream.name)?;
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
                let next = slice::next(stream, self.answer, wanted, self.place.clone());
                self.reading.insert(tokio::spawn(next))
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
        (self.place, self.long) = (slice.place, slice.long);
        self.mode = if slice.ended { Mode::End } else { Mode::Files };
        self.given |= self.long.is_some();
        self.given |= !slice.bytes.is_empty();
        self.stream.sent.fetch_add(slice.bytes.len() as u64, Ordering::Relaxed);
        if self.wanted.zstd { compress(&slice.bytes) } else { Ok(Bytes::from(slice.bytes)) }
    }

    /// The next piece of a long line; nothing behind its last one.
    async fn read_long(&mut self, long: Box<Long>) -> Result<Bytes, Fault> {
        let Some((piece, long)) = long.next().await? else { return Ok(Bytes::new()) };
        self.long = Some(long);
        self.stream.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if self.wanted.zstd { compress(&piece) } else { Ok(piece) }
    }

    async fn begin_to_follow(&mut self) -> Result<Option<Bytes>, Fault> {
        let stream = Arc::clone(&self.stream);
        let follower = spawn_blocking(move || stream.follow()).await;
        let follower = follower.map_err(|_| Fault::new(Reason::Server, "a thread is gone"))?;
        let follower = follower.map_err(|error| fault_of(&error))?;
        check_made(&self.stream, self.place.made, follower.ring.made())
            .map_err(|error| fault_of(&error))?;
        self.mode = Mode::Ring(follower);
        Ok(None)
    }

    /// Lines, or an empty line; `None` when it is time to look around.
    async fn read_ring(&mut self) -> Result<Option<Bytes>, Fault> {
        let over = self.is_over();
        let Mode::Ring(follower) = &mut self.mode else { return Ok(None) };
        // NOTE: what comes before the place that was asked for is passed over here, too.
        let at = self.place.at.max(floor(&self.wanted));
        match follower.next(at) {
            Next::Block(block) => {
                let bytes = block.after(at, &self.wanted)?;
                self.place.at = block.last().max(self.place.at);
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
        if let Some(reading) = &self.reading {
            reading.abort();
        }
        drop(self.stream.parked.take(self.answer));
    }
}
