//! Following a stream: a thread with a connection of its own applies each transaction as it comes.
//!
//! A failure that may pass (a locked database, a full disk, a stream whose folder has gone) is
//! reported and tried again, with growing pauses; any other ends the thread and is reported as its
//! last event.

mod events;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use deltaflood::Lsn;

pub use self::events::{Event, OnEvent};
use super::alone::{Claim, Others, Role};
use super::apply::{Applier, Committed, Ended, Options};
use super::busy::Patience;
use super::counts::Counts;
use super::heart::Passed;
use super::latency::Latency;
use super::reload::{Next, Reloading, Reloads, Told};
use super::status::{now_us, since_ms};
use super::{Error, StreamSource, connection, kept, work};
use crate::daystream::{Doing, Position, Woken, Work as Known};
use crate::error::{Class, Coded};
use crate::libpq::Wake;
use crate::limits;
use crate::sqlite::Db;

/// What a follower is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowState {
    /// Applying what is there.
    Applying,
    /// At the end of the stream.
    Waiting,
    /// The mirror is paused: nothing is applied.
    Paused,
    /// Waiting to try again after a failure that may pass.
    Retrying,
    /// Stopped when asked to.
    Stopped,
    /// Stopped by an error.
    Failed,
}

impl FollowState {
    /// The word for it in a status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            FollowState::Applying => "applying",
            FollowState::Waiting => "waiting",
            FollowState::Paused => "paused",
            FollowState::Retrying => "retrying",
            FollowState::Stopped => "stopped",
            FollowState::Failed => "failed",
        }
    }
}

/// How a follower is.
#[derive(Debug, Clone)]
pub struct FollowStatus {
    /// What it is doing.
    pub state: FollowState,
    /// Since when it follows, or has not any more, microseconds since the Unix epoch.
    pub since_us: i64,
    /// Everything up to this position is visible in the file.
    pub position: Position,
    /// End of the last commit that is.
    pub lsn: Lsn,
    /// Its time, microseconds since the Unix epoch.
    pub commit_time: i64,
    /// How old the last applied commit was when it became visible, in milliseconds; 0 at the end
    /// of the stream.
    pub lag_ms: u64,
    /// Number of tables in the mirror.
    pub tables: usize,
    /// What was done since the follower was started.
    pub counts: Counts,
    /// Rows kept as not applied, since the mirror was made.
    pub errors: i64,
    /// From commit in PostgreSQL to visible in SQLite, in microseconds: median and 99th percentile
    /// of the last 4,096 transactions; by the clocks of the two machines.
    pub latency_us: Option<[u64; 2]>,
    /// The last heartbeat that got here.
    pub beat: Option<Passed>,
    /// The last failure, in words.
    pub last_error: Option<String>,
    /// Its code, as a Tcl list; empty: there was none.
    pub last_code: String,
}

impl FollowStatus {
    fn failed(&mut self, error: &Error) {
        (self.last_error, self.last_code) = (Some(error.report()), error.code().list());
    }

    /// Whether nothing is applied any more.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.state, FollowState::Stopped | FollowState::Failed)
    }
}

/// A running follower. Dropped, it stops, and waits for its thread.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// A failure was told, and not yet that it is over.
    retrying: AtomicBool,
    wake: Wake,
    status: Mutex<(FollowStatus, Latency)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (FollowStatus, Latency)> {
        // What is in it is plain numbers: whole also after a panic elsewhere.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Starts to follow `source` into the SQLite file, from where the mirror in it is.
    ///
    /// # Errors
    /// [`Error::NotInitialised`], [`Error::OtherServer`], [`Error::State`], [`Error::Sqlite`],
    /// [`Error::Daystream`], [`Error::Io`]: those that show at once. Later ones are events.
    pub fn start(
        file: PathBuf,
        source: StreamSource,
        options: Options,
        on_event: OnEvent,
    ) -> Result<Follower, Error> {
        Follower::start_with(file, source, options, None, on_event)
    }

    /// As [`Follower::start`]; with `reloading` a table whose rows the stream does not tell any
    /// more is copied again, while the others go on.
    ///
    /// # Errors
    /// Those of [`Follower::start`].
    pub fn start_with(
        file: PathBuf,
        source: StreamSource,
        options: Options,
        reloading: Option<Reloading>,
        on_event: OnEvent,
    ) -> Result<Follower, Error> {
        let options = Options { reloads: reloading.is_some(), ..options };
        let io = |what| move |source| Error::Io { what, source };
        let status = FollowStatus {
            state: FollowState::Applying,
            since_us: now_us(),
            position: Position::MIN,
            lsn: Lsn(0),
            commit_time: 0,
            lag_ms: 0,
            tables: 0,
            counts: Counts::default(),
            errors: 0,
            latency_us: None,
            beat: None,
            last_error: None,
            last_code: String::new(),
        };
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            retrying: AtomicBool::new(false),
            wake: Wake::new().map_err(io("cannot make an event descriptor"))?,
            status: Mutex::new((status, Latency::default())),
        });
        let (ready, started) = mpsc::channel();
        let source = source.impatient();
        let shared_too = Arc::clone(&shared);
        let work = Work { shared: shared_too, source, options, reloading, on_event };
        let thread = std::thread::Builder::new().name("deltamirror".to_owned());
        let thread = thread
            .spawn(move || {
                let run = AssertUnwindSafe(|| work.run(&file, ready));
                if std::panic::catch_unwind(run).is_err() {
                    // NOTE: who waits for the end must hear of it, whatever ended it.
                    work.end(Some(Error::Defect { what: "a panic while following".to_owned() }));
                }
            })
            .map_err(io("cannot start a thread to follow the stream"))?;
        let follower = Follower { shared, thread: Some(thread) };
        match started.recv() {
            Ok(Ok(())) => Ok(follower),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Defect { what: "the follower's thread is gone".to_owned() }),
        }
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> FollowStatus {
        let guard = self.shared.lock();
        let (status, latency) = &*guard;
        let mut status = status.clone();
        status.latency_us = latency.percentiles([50, 99]);
        status
    }

    /// Asks it to stop, between two transactions or by giving up the one in hand; does not wait.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake.raise();
    }

    /// Waits until the thread has ended. Call [`Follower::stop`] first.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told by its last event.
            let _ = thread.join();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
        self.join();
    }
}

/// The follower's thread.
struct Work {
    shared: Arc<Shared>,
    source: StreamSource,
    options: Options,
    reloading: Option<Reloading>,
    on_event: OnEvent,
}

impl Work {
    fn run(&self, file: &std::path::Path, ready: mpsc::Sender<Result<(), Error>>) {
        let opened = connection::open_existing(file).and_then(|db| {
            // A lock may pass: that is reported later.
            match self.look(&db) {
                Err(error) if error.class() != Class::Retry => Err(error),
                _ => Ok(db),
            }
        });
        let db = match opened {
            Ok(db) => db,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        // Who started it may be gone already; then it is stopped, too.
        let _ = ready.send(Ok(()));
        let (claim, others) = Claim::of(file, Role::Follows);
        if others == Others::Some {
            let message = format!(
                "another process follows into {} already: both stay right, and neither gets ahead \
                 of the other; end one of them",
                file.display()
            );
            (self.on_event)(Event::Warning { message });
        }
        work::note(&db, &Known::now(Doing::Running));
        // Of several that follow one reloads.
        let reloads = self.reloading.is_some().then(|| Claim::of(file, Role::Reloads));
        let reloads_too = !matches!(reloads, None | Some((_, Others::Some)));
        let error = self.follow(&db, reloads_too.then(|| self.reloads(&db)).flatten()).err();
        drop(reloads);
        // NOTE: one of several that ends says nothing of the others.
        if others != Others::Some {
            // The end does not wait for a lock of somebody else's.
            db.busy_timeout(Duration::from_millis(100));
            work::note(
                &db,
                &match &error {
                    None => Known::now(Doing::Stopped),
                    Some(error) => Known::because(Doing::Failed, error),
                },
            );
        }
        drop(claim);
        // Readers later find everything in the file itself; what fails here fails nobody.
        let _ = db.exec("PRAGMA wal_checkpoint(PASSIVE)");
        drop(db);
        self.end(error);
    }

    /// Tells of the end.
    fn end(&self, error: Option<Error>) {
        let mut guard = self.shared.lock();
        guard.0.since_us = now_us();
        guard.0.state = if error.is_some() { FollowState::Failed } else { FollowState::Stopped };
        if let Some(error) = &error {
            guard.0.failed(error);
        }
        drop(guard);
        (self.on_event)(Event::Ended { error });
    }

    fn patience(&self) -> Patience<'_> {
        Patience { budget: self.options.busy, stop: &self.shared.stop }
    }

    /// Makes sure that there is a mirror, and that the stream is its stream.
    fn look(&self, db: &Db) -> Result<(), Error> {
        let mut applier = Applier::open(db, self.options, self.patience())?;
        applier.reader(&self.source, &self.shared.stop)?;
        let stream = applier.stream();
        let errors = kept::count(db)?;
        let tables = applier.tables();
        let mut guard = self.shared.lock();
        guard.0.position = stream.position;
        guard.0.lsn = stream.lsn;
        guard.0.commit_time = stream.commit_time;
        guard.0.errors = errors;
        guard.0.tables = tables;
        Ok(())
    }

    /// The reloads, for one who makes them.
    fn reloads<'db>(&self, db: &'db Db) -> Option<Reloads<'db>> {
        let with = self.reloading.clone()?;
        let shared = Arc::clone(&self.shared);
        let raise = Arc::new(move || shared.wake.raise());
        Some(Reloads::new(db, with, self.source.clone(), raise, self.options.wal_bytes_max))
    }

    /// Follows until stopped; tries again what may pass.
    fn follow(&self, db: &Db, mut reloads: Option<Reloads<'_>>) -> Result<(), Error> {
        let mut pause = Duration::from_millis(100);
        loop {
            let began = self.shared.lock().0.position;
            let error = match self.follow_once(db, &mut reloads) {
                Ok(()) | Err(Error::Stopped) => return Ok(()),
                Err(error) if may_pass(&error) => error,
                Err(error) => return Err(error),
            };
            let mut guard = self.shared.lock();
            if guard.0.position > began {
                pause = Duration::from_millis(100);
            }
            guard.0.state = FollowState::Retrying;
            guard.0.failed(&error);
            drop(guard);
            if !matches!(error, Error::Busy { .. }) {
                work::note(db, &Known::because(Doing::Waiting, &error));
            }
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            self.shared.retrying.store(true, Ordering::Relaxed);
            (self.on_event)(Event::Retrying { error, pause_ms });
            if self.sleep(pause)? {
                return Ok(());
            }
            pause = (pause * 2).min(Duration::from_millis(limits::MIRROR_RETRY_MS_MAX));
        }
    }

    /// Sleeps, or until woken to stop; true when stopped.
    fn sleep(&self, pause: Duration) -> Result<bool, Error> {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            crate::libpq::wait(None, false, false, Some(&self.shared.wake), Some(left))?;
            // A copy raises it, too.
            self.shared.wake.clear();
            let stopped = self.shared.stop.load(Ordering::Relaxed);
            if stopped || left.is_zero() {
                return Ok(stopped);
            }
        }
    }

    fn follow_once(&self, db: &Db, reloads: &mut Option<Reloads<'_>>) -> Result<(), Error> {
        let mut applier = Applier::open(db, self.options, self.patience())?;
        let mut reader = applier.reader(&self.source, &self.shared.stop)?;
        let mut told = *applier.counts();
        loop {
            self.shared.lock().0.state = FollowState::Applying;
            applier.gives_way = reloads.as_ref().is_some_and(Reloads::is_busy);
            let mut on_commit = |committed: &Committed<'_>| self.publish(db, committed, &mut told);
            let patience = self.patience();
            let ended = applier.run(&self.source, &mut reader, None, patience, &mut on_commit)?;
            if ended == Ended::Stopped {
                return Ok(());
            }
            self.is_back(db);
            let paused = ended == Ended::Paused;
            let mut tell = |told: Told<'_>| (self.on_event)(Event::from(told));
            let next = match reloads {
                Some(reloads) if !paused => reloads.step(&self.shared.stop, &mut tell),
                _ => Next::Later(None),
            };
            {
                let mut guard = self.shared.lock();
                if paused {
                    guard.0.state = FollowState::Paused;
                }
                guard.0.tables = applier.tables();
                if ended == Ended::End {
                    guard.0.state = FollowState::Waiting;
                    guard.0.lag_ms = 0;
                }
            }
            let look = Duration::from_millis(limits::MIRROR_LOOK_MS);
            if paused {
                while applier.is_paused() {
                    if self.sleep(look)? {
                        return Ok(());
                    }
                    applier.look(patience, &mut on_commit)?;
                }
                reader = applier.reader(&self.source, &self.shared.stop)?;
                continue;
            }
            let (Ended::End, Next::Later(pause)) = (ended, next) else { continue };
            let pause = pause.unwrap_or(look).min(look);
            use std::os::fd::AsFd;
            match reader.wait(Some(pause), Some(self.shared.wake.as_fd()))? {
                Woken::Wake if self.shared.stop.load(Ordering::Relaxed) => return Ok(()),
                Woken::Wake => self.shared.wake.clear(),
                Woken::Timeout => applier.look(patience, &mut on_commit)?,
                Woken::Change => {}
            }
        }
    }

    /// Tells that a failure is over, if one was told.
    fn is_back(&self, db: &Db) {
        if self.shared.retrying.swap(false, Ordering::Relaxed) {
            work::note(db, &Known::now(Doing::Running));
            let FollowStatus { position, lsn, .. } = self.shared.lock().0;
            (self.on_event)(Event::Resumed { position, lsn });
        }
    }

    /// Tells of a commit.
    fn publish(&self, db: &Db, committed: &Committed<'_>, told: &mut Counts) {
        self.is_back(db);
        let now = now_us();
        let (stream, counts) = (committed.stream, committed.counts);
        let mut guard = self.shared.lock();
        let (status, latency) = &mut *guard;
        for time in committed.commit_times {
            latency.add(u64::try_from(now.saturating_sub(*time)).unwrap_or(0));
        }
        status.position = stream.position;
        status.lsn = stream.lsn;
        status.commit_time = stream.commit_time;
        status.lag_ms = since_ms(stream.commit_time);
        status.beat = committed.beat.or(status.beat);
        let new = counts.since(told);
        status.counts.add(&new);
        status.errors += new.errors as i64;
        drop(guard);
        *told = *counts;
        if let Some((table, error)) = committed.suspended {
            let (table, error) = (table.to_owned(), Arc::clone(error));
            (self.on_event)(Event::Suspended { table, error });
        }
        if new.transactions == 0 {
            // NOTE: a heartbeat is no event.
            return;
        }
        (self.on_event)(Event::Applied {
            position: stream.position,
            lsn: stream.lsn,
            transactions: new.transactions,
            changes: new.changes,
            errors: new.errors,
            tables: committed.tables.to_vec(),
        });
    }
}

/// Whether it may pass by itself. The stream's folder was there when the follower began.
fn may_pass(error: &Error) -> bool {
    let gone = matches!(error, Error::Daystream(inner) if inner.is_gone());
    gone || error.class() == Class::Retry
}
