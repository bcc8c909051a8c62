//! Batches on their way from the receiver to the recorder, bounded in bytes. The one that the
//! recorder has in hand counts until it is written.

use super::batch::Batch;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A queue of batches with a cap on its bytes. One batch goes in whatever its size, when the queue
/// is empty: a row can be larger than the cap.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    /// Of these, and of the one in hand.
    bytes: usize,
    /// Of the one that was taken last, until it is written.
    in_hand: usize,
    closed: bool,
    refused: bool,
}

/// What taking from the queue gave.
#[derive(Debug)]
pub enum Taken {
    /// A batch. Say so when it is written: [`Queue::written`].
    Batch(Batch),
    /// Nothing within the time.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Queue {
    /// An empty queue of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Queue {
        Queue { state: Mutex::default(), changed: Condvar::new(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the queue itself whole: every change here is made by infallible
        // steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch in.
    ///
    /// # Errors
    /// The batch itself, when it does not fit: try again when room is reported.
    pub fn push(&self, batch: Batch) -> Result<(), Batch> {
        let weight = batch.weight();
        let mut state = self.lock();
        if state.bytes > 0 && state.bytes + weight > self.bytes_max {
            state.refused = true;
            return Err(batch);
        }
        state.bytes += weight;
        state.batches.push_back(batch);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the next batch, waiting at most `timeout` (`None`: until one comes or the queue is
    /// closed).
    pub fn take(&self, timeout: Option<Duration>) -> Taken {
        let mut state = self.lock();
        let empty = |state: &mut State| state.batches.is_empty() && !state.closed;
        state = match timeout {
            None => self.changed.wait_while(state, empty).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let waited = self.changed.wait_timeout_while(state, limit, empty);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        match state.batches.pop_front() {
            Some(batch) => {
                state.in_hand = batch.weight();
                Taken::Batch(batch)
            }
            None if state.closed => Taken::Closed,
            None => Taken::Nothing,
        }
    }

    /// The batch that was taken is written, and its memory given back: there is room again. Whether
    /// the receiver waits for that.
    pub fn written(&self) -> bool {
        let mut state = self.lock();
        state.bytes -= std::mem::take(&mut state.in_hand);
        std::mem::take(&mut state.refused)
    }

    /// Whether a batch, larger than the cap, takes all the room: nothing more is to be received
    /// before it is written. The receiver hears of that as of a batch that was refused.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let mut state = self.lock();
        let over = state.bytes > self.bytes_max;
        state.refused |= over;
        over
    }

    /// Whether nothing waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().batches.is_empty()
    }

    /// Says that nothing more will come; what is in it is still to be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Batch {
        Batch { lines: vec![b'x'; bytes], marks: Vec::new() }
    }

    #[test]
    fn the_cap_holds_but_one_batch_always_fits() {
        let queue = Queue::new(10);
        assert!(queue.push(batch(100)).is_ok());
        assert!(queue.push(batch(1)).is_err());
        assert!(matches!(queue.take(None), Taken::Batch(b) if b.lines.len() == 100));
        // It is in memory until it is written.
        assert!(queue.push(batch(1)).is_err() && queue.is_over());
        assert!(queue.written() && !queue.is_over() && !queue.written());
        assert!(queue.push(batch(5)).is_ok() && queue.push(batch(5)).is_ok());
        assert!(queue.push(batch(1)).is_err());
        queue.close();
        assert!(matches!(queue.take(None), Taken::Batch(_)));
        assert!(queue.written() && !queue.written());
        assert!(matches!(queue.take(Some(Duration::ZERO)), Taken::Batch(_)));
        assert!(matches!(queue.take(None), Taken::Closed));
    }
}
