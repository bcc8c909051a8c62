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
/// A segment's compressed file is written under its temporary name.
pub const COMPRESS_WRITTEN: &str = "compress_written";
/// That file is durable, and was read back.
pub const COMPRESS_SYNCED: &str = "compress_synced";
/// It has its name.
pub const COMPRESS_RENAMED: &str = "compress_renamed";
/// The name is durable; the plain file is still there.
pub const COMPRESS_NAMED: &str = "compress_named";
/// The plain file is gone.
pub const COMPRESS_REMOVED: &str = "compress_removed";
/// A reader has chosen a segment by its name, and has not opened it.
pub const READ_LISTED: &str = "read_listed";
/// A reader has opened the segment in which it begins.
pub const READ_OPENED: &str = "read_opened";
/// Streaming from a slot has begun.
pub const STREAM_STARTED: &str = "stream_started";
/// Lines were rendered and are about to be queued for the log.
pub const STREAM_RECEIVED: &str = "stream_received";
/// A transaction is in the log writer, not yet durable.
pub const STREAM_COMMIT: &str = "stream_commit";
/// The capture is about to make the log durable.
pub const STREAM_SYNC_BEFORE: &str = "stream_sync_before";
/// The log is durable, the server does not know yet.
pub const STREAM_SYNC_AFTER: &str = "stream_sync_after";
/// An idle position is durable in the stream's state, the server does not know yet.
pub const STREAM_IDLE_SAVED: &str = "stream_idle_saved";
/// The durable position is about to be told to the server.
pub const STREAM_ACK_BEFORE: &str = "stream_ack_before";
/// The durable position was told to the server.
pub const STREAM_ACK_AFTER: &str = "stream_ack_after";

/// The mirror's own tables are made, nothing is copied.
pub const MIRROR_INIT_STATE: &str = "mirror_init_state";
/// A table is made in SQLite, without rows.
pub const MIRROR_INIT_TABLE_MADE: &str = "mirror_init_table_made";
/// A table's rows are copied, not yet noted.
pub const MIRROR_INIT_COPIED: &str = "mirror_init_copied";
/// A new table of a live mirror is brought up to the mirror's position.
pub const MIRROR_INIT_CAUGHT_UP: &str = "mirror_init_caught_up";
/// A filled table is about to be committed.
pub const MIRROR_INIT_COMMIT_BEFORE: &str = "mirror_init_commit_before";
/// A filled table is committed.
pub const MIRROR_INIT_COMMIT_AFTER: &str = "mirror_init_commit_after";
/// An SQLite transaction is begun to apply changes.
pub const MIRROR_BATCH_BEGUN: &str = "mirror_batch_begun";
/// A line is applied.
pub const MIRROR_LINE: &str = "mirror_line";
/// Changes are applied, the position is not yet written.
pub const MIRROR_POSITION_BEFORE: &str = "mirror_position_before";
/// Changes and position are about to be committed.
pub const MIRROR_COMMIT_BEFORE: &str = "mirror_commit_before";
/// Changes and position are committed.
pub const MIRROR_COMMIT_AFTER: &str = "mirror_commit_after";

/// A reload is begun: its shadow is made, empty.
pub const RELOAD_BEGUN: &str = "reload_begun";
/// Rows of a copy are about to be committed to the shadow.
pub const RELOAD_ROWS_BEFORE: &str = "reload_rows_before";
/// Rows of a copy are committed to the shadow.
pub const RELOAD_ROWS_AFTER: &str = "reload_rows_after";
/// The shadow holds the whole copy.
pub const RELOAD_COPIED: &str = "reload_copied";
/// What the stream has brought since is in the shadow, not yet committed.
pub const RELOAD_FED: &str = "reload_fed";
/// The shadow is in the table's place, not yet committed.
pub const RELOAD_SWAP_BEFORE: &str = "reload_swap_before";
/// The shadow is in the table's place.
pub const RELOAD_SWAP_AFTER: &str = "reload_swap_after";
/// A part of what is no longer needed is removed.
pub const RELOAD_SWEPT: &str = "reload_swept";

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
    COMPRESS_WRITTEN,
    COMPRESS_SYNCED,
    COMPRESS_RENAMED,
    COMPRESS_NAMED,
    COMPRESS_REMOVED,
    READ_LISTED,
    READ_OPENED,
    MIRROR_INIT_STATE,
    MIRROR_INIT_TABLE_MADE,
    MIRROR_INIT_COPIED,
    MIRROR_INIT_CAUGHT_UP,
    MIRROR_INIT_COMMIT_BEFORE,
    MIRROR_INIT_COMMIT_AFTER,
    MIRROR_BATCH_BEGUN,
    MIRROR_LINE,
    MIRROR_POSITION_BEFORE,
    MIRROR_COMMIT_BEFORE,
    MIRROR_COMMIT_AFTER,
    RELOAD_BEGUN,
    RELOAD_ROWS_BEFORE,
    RELOAD_ROWS_AFTER,
    RELOAD_COPIED,
    RELOAD_FED,
    RELOAD_SWAP_BEFORE,
    RELOAD_SWAP_AFTER,
    RELOAD_SWEPT,
    STREAM_STARTED,
    STREAM_RECEIVED,
    STREAM_COMMIT,
    STREAM_SYNC_BEFORE,
    STREAM_SYNC_AFTER,
    STREAM_IDLE_SAVED,
    STREAM_ACK_BEFORE,
    STREAM_ACK_AFTER,
];

/// Does `act` at the next passage of `name` by this thread: what another process may do there.
#[cfg(feature = "failpoints")]
pub fn once(name: &'static str, act: impl FnOnce() + 'static) {
    armed::once(name, Box::new(act));
}

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
    use std::cell::RefCell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    type Act = Box<dyn FnOnce()>;

    thread_local! {
        static ACTS: RefCell<Vec<(&'static str, Act)>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn once(name: &'static str, act: Act) {
        ACTS.with_borrow_mut(|acts| acts.push((name, act)));
    }

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn pass(name: &'static str) {
        debug_assert!(super::ALL.contains(&name), "failpoint {name} is not listed");
        let act = ACTS.with_borrow_mut(|acts| {
            let at = acts.iter().position(|(wanted, _)| *wanted == name)?;
            Some(acts.remove(at).1)
        });
        if let Some(act) = act {
            act();
        }
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
