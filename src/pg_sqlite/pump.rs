//! Batches from a reader: on the same thread, or from a thread that reads ahead.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use super::batch::Batch;
use super::source::Reader;
use super::{Error, Result};
use crate::libpq::Cancel;
use crate::limits::IMPORT_BATCHES_WAITING;

/// Gives batch after batch.
pub(super) trait Batches {
    /// The next batch, `None` at the end. `spent` is the one before, for its memory.
    ///
    /// # Errors
    /// The reader's.
    fn next(&mut self, spent: Batch) -> Result<Option<Batch>>;
}

/// Reads when a batch is asked for.
pub(super) struct Here<R> {
    pub(super) reader: R,
    pub(super) more: bool,
}

impl<R: Reader> Batches for Here<R> {
    fn next(&mut self, mut spent: Batch) -> Result<Option<Batch>> {
        if !self.more {
            return Ok(None);
        }
        spent.clear();
        self.more = self.reader.fill(&mut spent)?;
        Ok(Some(spent))
    }
}

/// Receives what another thread read.
pub(super) struct Ahead {
    full: Receiver<Result<Batch>>,
    spent: std::sync::mpsc::Sender<Batch>,
}

impl Batches for Ahead {
    fn next(&mut self, spent: Batch) -> Result<Option<Batch>> {
        // The reader may have ended; then nobody needs the memory.
        let _ = self.spent.send(spent);
        // A reader that ended without a word came to the end.
        self.full.recv().ok().transpose()
    }
}

/// Runs `work` with batches that a thread of its own reads ahead. `make` makes the reader on that
/// thread; `cancel` stops a reader that waits for the server when `work` has failed.
///
/// # Errors
/// Those of `make`, of the reader (through `work`), of `work`, or no thread. A panic of the reader
/// goes on here.
pub(super) fn read_ahead<R, T>(
    make: impl FnOnce() -> Result<R> + Send,
    cancel: Option<Cancel>,
    work: impl FnOnce(&mut Ahead) -> Result<T>,
) -> Result<T>
where
    R: Reader,
{
    let (full_sender, full) = sync_channel(IMPORT_BATCHES_WAITING);
    let (spent, spent_receiver) = channel();
    thread::scope(|scope| {
        let reading = thread::Builder::new()
            .name("pgsqlite-read".to_owned())
            .spawn_scoped(scope, move || match make() {
                Ok(mut reader) => pump(&mut reader, &full_sender, &spent_receiver),
                Err(error) => {
                    let _ = full_sender.send(Err(error));
                }
            })
            .map_err(|error| Error::Thread { message: error.to_string() })?;
        let mut ahead = Ahead { full, spent };
        let result = work(&mut ahead);
        // Without a receiver the reader's next batch is its last.
        drop(ahead);
        if result.is_err()
            && !reading.is_finished()
            && let Some(cancel) = cancel
        {
            // Best effort: without it the reader ends with the next batch.
            let _ = cancel.cancel();
        }
        match reading.join() {
            Ok(()) => result,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    })
}

fn pump(reader: &mut impl Reader, full: &SyncSender<Result<Batch>>, spent: &Receiver<Batch>) {
    loop {
        let mut batch = spent.try_recv().unwrap_or_default();
        batch.clear();
        let (message, more) = match reader.fill(&mut batch) {
            Ok(more) => (Ok(batch), more),
            Err(error) => (Err(error), false),
        };
        if full.send(message).is_err() || !more {
            return;
        }
    }
}
