//! Heartbeats that get to a mirror: when, and a note of it in the file now and then.

use std::time::{Duration, Instant};

use super::status::now_us;
use super::{Error, state};
use crate::daystream::Entry;
use crate::daystream::heartbeat::{Beat, Heartbeats, Kind};
use crate::limits::MIRROR_BEAT_SAVE_MS;
use crate::sqlite::Db;

/// A heartbeat that everything before it was applied of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// The heartbeat.
    pub beat: Beat,
    /// When it got here, microseconds since the Unix epoch, by the mirror's clock.
    pub applied_us: i64,
}

/// The heartbeats of an applier.
#[derive(Debug, Default)]
pub(super) struct Heart {
    beats: Heartbeats,
    last: Option<Beat>,
    saved_at: Option<Instant>,
}

impl Heart {
    /// Whether a heartbeat begins with this entry.
    pub(super) fn begins(&mut self, entry: &Entry<'_>) -> bool {
        self.beats = Heartbeats::default();
        self.beats.take(entry) == Kind::Part
    }

    /// Its second entry.
    pub(super) fn ends(&mut self, entry: &Entry<'_>) {
        if let Kind::Beat(beat) = self.beats.take(entry) {
            self.last = Some(beat);
        }
    }

    /// The last one, got here now.
    pub(super) fn passed(&self) -> Option<Passed> {
        self.last.map(|beat| Passed { beat, applied_us: now_us() })
    }

    /// Whether it is time to write one down.
    pub(super) fn is_due(&self) -> bool {
        let every = Duration::from_millis(MIRROR_BEAT_SAVE_MS);
        self.saved_at.is_none_or(|at| at.elapsed() >= every)
    }

    /// Writes the last one down where that is due, in the transaction in hand.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub(super) fn save(&mut self, db: &Db) -> Result<(), Error> {
        if let Some(passed) = self.passed().filter(|_| self.is_due()) {
            state::write_beat(db, &passed)?;
            self.saved_at = Some(Instant::now());
        }
        Ok(())
    }
}
