//! Where the stamp's seconds come from.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::limits::CLOCK_AHEAD_S;

/// A clock in whole seconds; it may jump and go back, the stream's own clock does not.
pub trait Clock: Send {
    /// Seconds since the Unix epoch.
    fn now(&self) -> i64;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

/// A clock that is held to the one of the stream's source: of two that are far apart one is wrong,
/// and a stream that was once stamped with a far date keeps it until that date comes.
#[derive(Debug, Clone, Default)]
pub struct HeldClock<C = SystemClock> {
    clock: C,
    /// The source's clock when it was heard last, 0: never; and by how much this one was ahead when
    /// it was asked last, where that was too much.
    source: Arc<(AtomicI64, AtomicI64)>,
}

impl<C: Clock> HeldClock<C> {
    /// Holds `clock`.
    pub fn of(clock: C) -> HeldClock<C> {
        HeldClock { clock, source: Arc::default() }
    }

    /// The source's clock is at `us` microseconds since the Unix epoch.
    pub fn hear(&self, us: i64) {
        self.source.0.store(us.div_euclid(1_000_000), Ordering::Relaxed);
    }

    /// By how many seconds the clock is too far ahead of the source's, when it is.
    #[must_use]
    pub fn ahead_s(&self) -> Option<i64> {
        Some(self.source.1.load(Ordering::Relaxed)).filter(|ahead| *ahead > 0)
    }
}

impl<C: Clock + Sync> Clock for HeldClock<C> {
    /// At most [`CLOCK_AHEAD_S`] beyond the source's clock.
    fn now(&self) -> i64 {
        let (now, source) = (self.clock.now(), self.source.0.load(Ordering::Relaxed));
        let most = source.saturating_add(CLOCK_AHEAD_S);
        let far = source > 0 && now > most;
        let ahead = if far { now.saturating_sub(source) } else { 0 };
        self.source.1.store(ahead, Ordering::Relaxed);
        if far { most } else { now }
    }
}
