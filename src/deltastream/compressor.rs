//! The thread that compresses closed segments beside a capture, at the lowest priority.
//!
//! It shares nothing with the log's writer but the folder: what it does, `daystream compress` does
//! too. When it fails, as on a full disk, that is told, the segments stay as they are, and it tries
//! again later; the capture goes on.

use super::shared::Shared;
use super::status::Event;
use super::{Error, Options};
use crate::daystream::{self, Clock, Compressed, Storage, SystemClock, Which};
use crate::limits::COMPRESS_INTERVAL_MS;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The thread. Dropping it stops it, within a megabyte or so, and waits.
#[derive(Debug)]
pub(super) struct Compressor {
    stop: Arc<AtomicBool>,
    /// Nothing is sent; that it is gone ends the thread's pause.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Compressor {
    /// Starts it, when the options ask for it.
    ///
    /// # Errors
    /// `STREAM SYSTEM`.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Option<Compressor>, Error> {
        let Some(days) = shared.options.compress_after_days else { return Ok(None) };
        let stop = Arc::new(AtomicBool::new(false));
        let (alive, pause) = channel::<()>();
        let (shared, stopped) = (Arc::clone(shared), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("deltastream-zstd".to_owned());
        let thread = thread.spawn(move || {
            // NOTE: of this thread only; a system that does not let us loses no more than speed.
            let _ = rustix::process::setpriority_process(None, 19);
            let interval = Duration::from_millis(COMPRESS_INTERVAL_MS);
            loop {
                round(&shared, days, &stopped);
                if pause.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        let thread = thread.map_err(|source| Error::System { what: "a thread", source })?;
        Ok(Some(Compressor { stop, alive: Some(alive), thread: Some(thread) }))
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Compresses what is due, and tells of it.
fn round(shared: &Shared, days: u32, stopped: &AtomicBool) {
    let Options { stream, .. } = &shared.options;
    let which = match days {
        0 => Which::Closed,
        days => Which::Before(SystemClock.now() - i64::from(days) * 86_400),
    };
    let go_on = || !stopped.load(Ordering::SeqCst);
    match daystream::compress(stream, which, &Storage::default(), &go_on) {
        Ok(Compressed { segments: 0, .. }) | Err(daystream::Error::Upkeep { .. }) => {}
        Ok(done) => shared.tell(&Event::Compressed { done }),
        Err(error) => shared.tell(&Event::NotCompressed { error: &error.into() }),
    }
}
