//! Named points at which a test kills the process, to prove that any crash resumes without a gap.
//!
//! Compiled in only with the feature `failpoints`. `PGSQLITE_FAILPOINT=name` kills with SIGKILL at
//! the first passage of that point, `name:N` at the N-th. Each point's name is a constant in
//! [`ALL`], so that the crash test can go through them all.

/// A change line is in the log writer's memory.
pub const LOG_LINE: &str = "log_line";
/// A transaction is about to get its commit line.
pub const LOG_COMMIT_BEFORE: &str = "log_commit_before";
/// A commit line is in the log writer's memory.
pub const LOG_COMMIT_AFTER: &str = "log_commit_after";
/// Bytes were written to a segment.
pub const LOG_WRITTEN: &str = "log_written";
/// A segment is about to be made durable.
pub const LOG_SYNC_BEFORE: &str = "log_sync_before";
/// A segment is durable, with its folders.
pub const LOG_SYNC_AFTER: &str = "log_sync_after";
/// A segment is closed, the next one does not exist yet.
pub const LOG_SEGMENT_CUT: &str = "log_segment_cut";
/// A new segment's file exists, without any bytes.
pub const LOG_SEGMENT_CREATED: &str = "log_segment_created";
/// A state file is durable under its temporary name.
pub const LOG_STATE_RENAME_BEFORE: &str = "log_state_rename_before";
/// A state file has replaced the one before.
pub const LOG_STATE_RENAME_AFTER: &str = "log_state_rename_after";

/// Every failpoint's name; a crash test runs through this list.
pub const ALL: &[&str] = &[
    LOG_LINE,
    LOG_COMMIT_BEFORE,
    LOG_COMMIT_AFTER,
    LOG_WRITTEN,
    LOG_SYNC_BEFORE,
    LOG_SYNC_AFTER,
    LOG_SEGMENT_CUT,
    LOG_SEGMENT_CREATED,
    LOG_STATE_RENAME_BEFORE,
    LOG_STATE_RENAME_AFTER,
];

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
