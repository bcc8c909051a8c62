//! What integration tests share: a private PostgreSQL cluster, and waiting for a condition with a
//! deadline.
//!
//! The cluster is started by the test itself, in a folder of its own, reachable by a unix socket in
//! that folder only, and is gone when the test ends, also when it is killed. Never a server that
//! happens to be there.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this module")]

mod cluster;
pub mod pool;
pub mod stream;

pub use cluster::{Cluster, Stop};

use std::time::{Duration, Instant};

/// Waits until `condition` gives something, looking every few milliseconds.
///
/// # Panics
/// When `deadline` is over; `what` says what was waited for.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`wait_for`], for a condition that is true or false, within 20 seconds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, Duration::from_secs(20), || condition().then_some(()));
}
