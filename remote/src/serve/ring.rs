//! The newest transactions of a stream, and who waits for more.
//!
//! One thread reads the stream's end, once, whatever the number of followers; they take its blocks
//! without a copy. Who is too far behind reads for himself, and so hinders nobody. Memory:
//! [`RING_BYTES`] and one block.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pgsqlite::daystream::{Error, Position, Reader, ReaderOptions, Start};
use tokio::sync::watch;

use super::block::Block;
use crate::limits::{RING_BYTES, RING_TRANSACTION_BYTES, SLICE_BYTES, TAIL_LINGER};

/// What a follower finds behind its position.
#[derive(Debug)]
pub enum Next {
    /// Lines.
    Block(Arc<Block>),
    /// Nothing yet.
    Wait,
    /// They are not here (any more): read them from the files.
    Files,
}

/// The newest transactions of a stream.
#[derive(Debug)]
pub struct Ring {
    made: Option<u64>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    followers: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Everything behind this position, up to the stream's end, is in the blocks.
    floor: Option<Position>,
    blocks: VecDeque<Arc<Block>>,
    bytes: usize,
    /// The thread has ended; nothing more comes.
    ended: bool,
}

impl Ring {
    /// Watches the stream in `dir` from its end on.
    ///
    /// # Errors
    /// Those of the stream, and of the system when it has no thread to give.
    pub fn start(dir: &Path) -> Result<Arc<Ring>, Error> {
        // NOTE: of a line that is too long to be shared the head is enough.
        let options =
            ReaderOptions { line_bytes: RING_TRANSACTION_BYTES, ..ReaderOptions::default() };
        let reader = Reader::open(dir, Start::End, options)?;
        let state = State { floor: reader.position(), ..State::default() };
        let ring = Arc::new(Ring {
            made: reader.made(),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            followers: AtomicUsize::new(0),
        });
        let weak = Arc::downgrade(&ring);
        let work = move || {
            let mut tail = Tail::new(reader);
            let mut lonely = Instant::now();
            while let Some(ring) = weak.upgrade() {
                if ring.followers.load(Ordering::Relaxed) > 0 {
                    lonely = Instant::now();
                }
                if lonely.elapsed() > TAIL_LINGER || tail.turn(&ring).is_err() {
                    ring.end();
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("tail".to_owned()).spawn(work);
        let source = |source| Error::Io { path: dir.to_owned(), operation: "watch", source };
        thread.map_err(source)?;
        Ok(ring)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in it is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the stream was made.
    pub const fn made(&self) -> Option<u64> {
        self.made
    }

    /// Hears of each change from now on, for as long as it is kept.
    pub fn follow(self: &Arc<Ring>) -> Follower {
        self.followers.fetch_add(1, Ordering::Relaxed);
        Follower { changes: self.changed.subscribe(), ring: Arc::clone(self) }
    }

    /// Number of followers.
    pub fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// Whether nothing more comes.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// What is behind `at`.
    pub fn next(&self, at: Option<Position>) -> Next {
        let state = self.lock();
        if at < state.floor || state.ended {
            return Next::Files;
        }
        let found = state.blocks.partition_point(|block| block.last() <= at);
        state.blocks.get(found).map_or(Next::Wait, |block| Next::Block(Arc::clone(block)))
    }

    fn end(&self) {
        let mut state = self.lock();
        *state = State { ended: true, ..State::default() };
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    fn push(&self, block: Block) {
        let mut state = self.lock();
        state.bytes += block.size();
        state.blocks.push_back(Arc::new(block));
        while state.bytes > RING_BYTES
            && let Some(old) = state.blocks.pop_front()
        {
            state.bytes -= old.size();
            state.floor = old.last().or(state.floor);
        }
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    /// What lies up to `at` is not here.
    fn skip(&self, at: Position) {
        let mut state = self.lock();
        *state = State { floor: Some(at), ..State::default() };
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }
}

/// One who waits for changes of a ring.
#[derive(Debug)]
pub struct Follower {
    /// Where the lines are.
    pub ring: Arc<Ring>,
    changes: watch::Receiver<u64>,
}

impl Follower {
    /// What is behind `at`; a change after this ends [`Follower::changed`].
    pub fn next(&mut self, at: Option<Position>) -> Next {
        self.changes.mark_unchanged();
        self.ring.next(at)
    }

    /// Waits for a change since [`Follower::next`].
    pub async fn changed(&mut self) {
        // The sender lives in the ring that is held here.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.ring.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The thread that reads the stream's end.
struct Tail {
    reader: Reader,
    bytes: Vec<u8>,
    ends: Vec<(Position, usize)>,
    /// The transaction in hand is too large to be shared.
    large: bool,
}

impl Tail {
    fn new(reader: Reader) -> Tail {
        Tail { reader, bytes: Vec::new(), ends: Vec::new(), large: false }
    }

    /// Hands on what there is, and waits for more.
    fn turn(&mut self, ring: &Ring) -> Result<(), Error> {
        self.reader.look_again()?;
        while let Some(entry) = self.reader.next()? {
            let whole = self.ends.last().map_or(0, |(_, offset)| *offset);
            let line = entry.change.line();
            let (last, ended) = (entry.transaction.last, entry.end);
            self.large |= entry.cut.is_some()
                || self.bytes.len() - whole + line.len() > RING_TRANSACTION_BYTES;
            if self.large {
                self.bytes.truncate(whole);
                if !ended {
                    continue;
                }
                self.large = false;
                self.bytes = Vec::new();
                self.ends.clear();
                ring.skip(last);
                continue;
            }
            self.bytes.extend_from_slice(line);
            self.bytes.push(b'\n');
            if ended {
                self.ends.push((last, self.bytes.len()));
                if self.bytes.len() >= SLICE_BYTES {
                    self.hand_on(ring);
                }
            }
        }
        self.hand_on(ring);
        self.reader.wait(Some(Duration::from_secs(1)), None)?;
        Ok(())
    }

    fn hand_on(&mut self, ring: &Ring) {
        let ends = std::mem::take(&mut self.ends);
        if ends.is_empty() {
            return;
        }
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        ring.push(Block::new(ends, bytes));
    }
}
