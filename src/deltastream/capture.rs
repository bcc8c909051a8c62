//! A running capture: its handle, and the life of its threads.

use super::receiver;
use super::shared::Shared;
use super::status::{Event, Listener, Status};
use super::{Error, Options};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A capture that runs in threads of its own. Dropping it stops it and waits.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), Error>>>,
    /// Says nothing, and is disconnected when the thread is at its end.
    ended: Receiver<()>,
}

impl Capture {
    /// Starts a capture. Opening the stream and connecting happen in its thread; what fails there
    /// ends it, and [`Capture::join`] tells.
    ///
    /// # Errors
    /// `POSTGRES CONNINFO`, `STREAM SYSTEM`.
    pub fn start(options: Options, listener: Listener) -> Result<Capture, Error> {
        super::session::conninfo(&options)?;
        let shared = Arc::new(Shared::new(options, listener)?);
        let inner = Arc::clone(&shared);
        let (alive, ended) = channel();
        let thread = std::thread::Builder::new()
            .name("deltastream".to_owned())
            .spawn(move || {
                let _alive = alive;
                life(&inner)
            })
            .map_err(|source| Error::System { what: "a thread", source })?;
        Ok(Capture { shared, thread: Some(thread), ended })
    }

    /// Asks the capture to end: what was received of whole transactions becomes durable and is
    /// confirmed, a half transaction is taken back. Does not wait.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// What it does and has done.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status().clone()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks it to end and waits for that, but not longer than `within`; then it is left to itself,
    /// and ends when the server or the disk lets it. Whether it has ended.
    pub fn close(mut self, within: Duration) -> bool {
        self.shared.stop();
        let ended = self.ended.recv_timeout(within) != Err(RecvTimeoutError::Timeout);
        if !ended {
            self.thread = None;
        }
        ended
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// What ended it, unless it was asked to.
    pub fn join(mut self) -> Result<Status, Error> {
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Ok(Err(error))) => Err(error),
            _ => Ok(self.status()),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs a capture, and waits until it has ended by itself: at its `until`, or by an error.
///
/// # Errors
/// What ended it, unless it was asked to.
pub fn run(options: Options, listener: Listener) -> Result<Status, Error> {
    Capture::start(options, listener)?.join()
}

fn life(shared: &Arc<Shared>) -> Result<(), Error> {
    let received = std::panic::catch_unwind(AssertUnwindSafe(|| receiver::Receiver::run(shared)));
    let ended = received.unwrap_or_else(|_| Err(defect()));
    match &ended {
        Ok(()) => shared.tell(&Event::Stopped),
        Err(error) => shared.tell(&Event::Failed { error }),
    }
    ended
}

/// A panic in a thread of the capture: a defect, told as an error, since this is a guest's thread.
pub(super) fn defect() -> Error {
    Error::System {
        what: "to go on after a defect in deltastream (a panic)",
        source: std::io::Error::other("panic"),
    }
}
