//! Where the stamp's seconds come from.

use std::time::{SystemTime, UNIX_EPOCH};

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
