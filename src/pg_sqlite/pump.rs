//! Batches from a reader: on the same thread, or from a thread that reads ahead.

use std::sync::Mutex;
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

/// A reader's rows in batches; those before a bad one come first, then the error.
struct Filler<R> {
    reader: R,
    failed: Option<Error>,
    more: bool,
}

impl<R: Reader> Filler<R> {
    fn new(reader: R) -> Self {
        Filler { reader, failed: None, more: true }
    }

    fn next(&mut self, mut batch: Batch) -> Result<Option<Batch>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if !self.more {
            return Ok(None);
        }
        batch.clear();
        match self.reader.fill(&mut batch) {
            Ok(more) => self.more = more,
            Err(error) => {
                self.more = false;
                batch.drop_partial_row();
                if batch.cells() == 0 {
                    return Err(error);
                }
                self.failed = Some(error);
            }
        }
        Ok(Some(batch))
    }
}

/// Reads when a batch is asked for.
pub(super) struct Here<R>(Filler<R>);

impl<R: Reader> Here<R> {
    pub(super) fn new(reader: R) -> Self {
        Here(Filler::new(reader))
    }
}

impl<R: Reader> Batches for Here<R> {
    fn next(&mut self, spent: Batch) -> Result<Option<Batch>> {
        self.0.next(spent)
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
    read_ahead_by(vec![(make, cancel)], work)
}

/// As [`read_ahead`], by several readers, each on a thread of its own. Their batches come in no
/// order. The first one that fails ends the others.
///
/// # Errors
/// As [`read_ahead`].
pub(super) fn read_ahead_by<R, T>(
    makers: Vec<(impl FnOnce() -> Result<R> + Send, Option<Cancel>)>,
    work: impl FnOnce(&mut Ahead) -> Result<T>,
) -> Result<T>
where
    R: Reader,
{
    let (full_sender, full) = sync_channel(IMPORT_BATCHES_WAITING);
    let (spent, spent_receiver) = channel();
    let spent_receiver = Mutex::new(spent_receiver);
    thread::scope(|scope| {
        // Gone before the threads are waited for, whatever happens: without a receiver a reader's
        // next batch is its last.
        let mut ahead = Ahead { full, spent };
        let mut reading = Vec::with_capacity(makers.len());
        for (make, cancel) in makers {
            let (full, spent) = (full_sender.clone(), &spent_receiver);
            let thread = thread::Builder::new()
                .name("pgsqlite-read".to_owned())
                .spawn_scoped(scope, move || match make() {
                    Ok(reader) => pump(Filler::new(reader), &full, spent),
                    Err(error) => {
                        let _ = full.send(Err(error));
                    }
                })
                .map_err(|error| Error::Thread { message: error.to_string() })?;
            reading.push((thread, cancel));
        }
        // The end has come when the last reader's own is gone.
        drop(full_sender);
        let result = work(&mut ahead);
        drop(ahead);
        if result.is_err() {
            for (thread, cancel) in &reading {
                if let (false, Some(cancel)) = (thread.is_finished(), cancel) {
                    // Best effort: without it the reader ends with the next batch.
                    let _ = cancel.cancel();
                }
            }
        }
        let mut panic = None;
        for (thread, _) in reading {
            panic = thread.join().err().or(panic);
        }
        match panic {
            None => result,
            Some(payload) => std::panic::resume_unwind(payload),
        }
    })
}

fn pump(
    mut filler: Filler<impl Reader>,
    full: &SyncSender<Result<Batch>>,
    spent: &Mutex<Receiver<Batch>>,
) {
    let room = || spent.try_lock().ok().and_then(|spent| spent.try_recv().ok());
    while let Some(next) = filler.next(room().unwrap_or_default()).transpose() {
        let failed = next.is_err();
        if full.send(next).is_err() || failed {
            return;
        }
    }
}
