//! What the threads of a capture share: stop, progress, status, the queue, and the way to be heard.

use super::catalog::{Asked, Scope};
use super::persistence::Taken;
use super::queue::Queue;
use super::status::{Event, Listener, State, Status};
use super::{Error, Options};
use crate::daystream::HeldClock;
use crate::daystream::heartbeat::now_us;
use crate::libpq::Wake;
use deltaflood::Lsn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Shared by the handle, the receiver and the recorder.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) queue: Queue,
    /// Ends the receiver's wait: stop, room in the queue, progress on the disk, a failed recorder.
    pub(super) wake: Wake,
    /// Ends waits that have nothing to do with the queue: stop, a failed recorder. Stays raised.
    pub(super) quit: Wake,
    stop: AtomicBool,
    /// What the log is stamped by, held to the server's clock.
    pub(super) clock: HeldClock,
    /// Everything before this is durable; what may be confirmed.
    durable: AtomicU64,
    status: Mutex<Status>,
    /// Why the recorder ended early.
    failure: Mutex<Option<Error>>,
    failed: AtomicBool,
    /// The capture's own id, once it is in the stream's state.
    id: OnceLock<String>,
    /// What only this capture knows, by which its stream knows its word of the catalogs.
    key: OnceLock<String>,
    /// What is captured, once it is known.
    taken: OnceLock<Taken>,
    scope: OnceLock<Scope>,
    /// Requests for a look at the catalogs.
    asked: Mutex<Asked>,
    /// Ends the pause between heartbeats: somebody asks for a look at the catalogs, or it is over.
    pub(super) heart: Wake,
    listener: Listener,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("slot", &self.options.slot).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(options: Options, listener: Listener) -> Result<Shared, Error> {
        let wake =
            || Wake::new().map_err(|source| Error::System { what: "an event descriptor", source });
        Ok(Shared {
            queue: Queue::new(options.queue_bytes),
            options,
            wake: wake()?,
            quit: wake()?,
            heart: wake()?,
            stop: AtomicBool::new(false),
            clock: HeldClock::default(),
            durable: AtomicU64::new(0),
            status: Mutex::new(Status { since_us: now_us(), ..Status::default() }),
            failure: Mutex::new(None),
            failed: AtomicBool::new(false),
            id: OnceLock::new(),
            key: OnceLock::new(),
            taken: OnceLock::new(),
            scope: OnceLock::new(),
            asked: Mutex::default(),
            listener,
        })
    }

    /// Sets the capture's id, see [`Identity::id`]. Of several calls the first counts.
    ///
    /// [`Identity::id`]: crate::daystream::Identity::id
    pub(super) fn set_id(&self, id: u64) {
        let _ = self.id.set(format!("{id:016x}"));
    }

    /// The capture's own id: what tells its heartbeats from those of others. Empty: none yet.
    pub(super) fn id(&self) -> &str {
        self.id.get().map_or("", String::as_str)
    }

    /// Sets the capture's key. Of several calls the first counts.
    pub(super) fn set_key(&self, key: String) {
        let _ = self.key.set(key);
    }

    /// What proves that a word of the catalogs is this capture's own. Empty: none yet.
    pub(super) fn key(&self) -> &str {
        self.key.get().map_or("", String::as_str)
    }

    /// Sets what is captured. Of several calls the first counts.
    pub(super) fn set_taken(&self, taken: Taken) {
        let _ = self.taken.set(taken);
    }

    /// What is captured.
    pub(super) fn taken(&self) -> Option<&Taken> {
        self.taken.get()
    }

    /// Sets which tables are captured. Of several calls the first counts.
    pub(super) fn set_scope(&self, scope: Scope) {
        let _ = self.scope.set(scope);
    }

    /// Which tables are captured.
    pub(super) fn scope(&self) -> Option<&Scope> {
        self.scope.get()
    }

    /// The requests for a look at the catalogs.
    pub(super) fn asked(&self) -> MutexGuard<'_, Asked> {
        // Each of them stands for itself: see `status`.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody asks for a look at the catalogs, in each of these transactions.
    pub(super) fn ask(&self, xids: &[u32]) {
        let mut asked = self.asked();
        xids.iter().for_each(|xid| asked.ask(*xid));
        drop(asked);
        self.heart.raise();
    }

    /// Ends waits that have nothing to do with the queue.
    pub(super) fn quit(&self) {
        self.quit.raise();
        self.heart.raise();
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.quit();
        self.wake.raise();
    }

    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    pub(super) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::SeqCst))
    }

    /// Only after everything before `lsn` was made durable.
    pub(super) fn set_durable(&self, lsn: Lsn) {
        self.durable.fetch_max(lsn.0, Ordering::SeqCst);
        self.status().durable = self.durable();
        self.wake.raise();
    }

    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        // Status is a set of independent values: a panic elsewhere leaves nothing half changed in
        // it.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        {
            let mut status = self.status();
            let before = status.state;
            match event {
                Event::Streaming { .. } => {
                    status.state = State::Streaming;
                    status.connections += 1;
                }
                Event::Retrying { error, .. } => {
                    status.state = State::Waiting;
                    status.set_error(error);
                }
                Event::Transactions { count, lines, position, time_us, .. } => {
                    status.transactions += count;
                    status.lines += lines;
                    status.position = Some(*position);
                    status.commit_time_us = Some(*time_us);
                }
                Event::Stopped => status.state = State::Stopped,
                Event::Failed { error } => {
                    status.state = State::Failed;
                    status.set_error(error);
                }
                Event::Timeline { .. }
                | Event::Warning { .. }
                | Event::Compressed { .. }
                | Event::NotCompressed { .. } => {}
            }
            if status.state != before {
                status.since_us = now_us();
            }
        }
        // NOTE: outside of the lock, so that a listener may ask for the status.
        (self.listener)(event);
    }

    /// The recorder ended early: `error` ends the capture.
    pub(super) fn fail(&self, error: Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.failed.store(true, Ordering::SeqCst);
        self.quit();
        self.wake.raise();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
