//! Named points at which a test kills the process, to prove that any crash resumes without a gap.
//!
//! Compiled in only with the feature `failpoints`. `PGSQLITE_FAILPOINT=name` kills with SIGKILL at the first passage of
//! that point, `name:N` at the N-th. Each point's name is a constant in [`ALL`], so that the crash test can go through
//! them all.

/// Every failpoint's name; a crash test runs through this list.
pub const ALL: &[&str] = &[];

/// Passes the point `name`: kills the process here when the environment asks for it.
#[inline]
pub fn pass(name: &'static str) {
    #[cfg(feature = "failpoints")]
    armed::pass(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn pass(name: &'static str) {
        debug_assert!(super::ALL.contains(&name), "failpoint {name} is not listed");
        let wanted = WANTED.get_or_init(|| {
            let text = std::env::var("PGSQLITE_FAILPOINT").ok()?;
            match text.split_once(':') {
                Some((name, n)) => Some((name.to_owned(), n.parse().ok()?)),
                None => Some((text, 1)),
            }
        });
        if let Some((wanted, n)) = wanted
            && wanted == name
            && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *n
        {
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
    }
}
