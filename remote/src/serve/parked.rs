//! Open readers between two parts of an answer: few, so that a thousand slow clients cost no more
//! than a few.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use pgsqlite::daystream::Reader;

use crate::limits::READERS_PARKED_MAX;

/// The readers, by the number of their answer, oldest first.
#[derive(Debug, Default)]
pub struct Parked(Mutex<VecDeque<(u64, Reader)>>);

impl Parked {
    /// Keeps a reader until its answer wants it, or until others need the room.
    pub fn put(&self, answer: u64, reader: Reader) {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if readers.len() >= READERS_PARKED_MAX { readers.pop_front() } else { None };
        readers.push_back((answer, reader));
        drop(readers);
        // NOTE: closed outside the lock.
        drop(oldest);
    }

    /// Takes an answer's reader; `None` when it had to go.
    pub fn take(&self, answer: u64) -> Option<Reader> {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = readers.iter().position(|(of, _)| *of == answer)?;
        readers.remove(at).map(|(_, reader)| reader)
    }
}
