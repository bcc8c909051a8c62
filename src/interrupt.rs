//! Signals that a script waits for, to work that blocks the script's thread.
//!
//! `pgsqlite::on_signal` runs its script by the event loop, which does not turn while a command
//! blocks. Work that waits for others without serving events looks here, and ends with an error, so
//! that the script is run.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static FLAGS: RefCell<Vec<Arc<AtomicBool>>> = const { RefCell::new(Vec::new()) };
}

/// A flag for a signal that a script of this thread waits for: raised when it comes, lowered when
/// the script is about to run. Looked at as long as it is kept.
#[must_use]
pub fn watch() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    FLAGS.with_borrow_mut(|flags| {
        flags.retain(|flag| Arc::strong_count(flag) > 1);
        flags.push(Arc::clone(&flag));
    });
    flag
}

/// Whether a signal has come whose script has not run yet. Never in a thread without scripts.
#[must_use]
pub fn has_come() -> bool {
    let raised =
        |flag: &Arc<AtomicBool>| Arc::strong_count(flag) > 1 && flag.load(Ordering::Relaxed);
    FLAGS.with_borrow(|flags| flags.iter().any(raised))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_seen_in_its_thread_until_its_script_runs_or_nobody_waits() {
        assert!(!has_come());
        let (one, other) = (watch(), watch());
        other.store(true, Ordering::Relaxed);
        assert!(has_come());
        assert!(!std::thread::spawn(has_come).join().unwrap());
        other.store(false, Ordering::Relaxed);
        assert!(!has_come());
        one.store(true, Ordering::Relaxed);
        drop(one);
        assert!(!has_come());
    }
}
