//! Batches from a reader: on the same thread, or from a thread that reads ahead.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use super::batch::Batch;
use super::raw_lines::LineConverter;
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
pub(super) struct Filler<R> {
    reader: R,
    failed: Option<Error>,
    more: bool,
}

impl<R: Reader> Filler<R> {
    pub(super) fn new(reader: R) -> Self {
        Filler { reader, failed: None, more: true }
    }

    /// The next batch, in the memory of `batch`; converted, unless that can be left to others.
    pub(super) fn next(&mut self, mut batch: Batch, convert: bool) -> Result<Option<Batch>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if !self.more {
            return Ok(None);
        }
        batch.clear();
        match self.reader.fill(&mut batch) {
            Ok(more) => self.more = more,
            Err(error) => self.fail(error, &mut batch),
        }
        if convert && let Err(error) = self.reader.convert(&mut batch) {
            self.fail(error, &mut batch);
        }
        match self.failed.take() {
            Some(error) if batch.is_empty() => Err(error),
            failed => {
                self.failed = failed;
                Ok(Some(batch))
            }
        }
    }

    fn fail(&mut self, error: Error, batch: &mut Batch) {
        self.more = false;
        self.failed = Some(error);
        batch.drop_partial_row();
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
        self.0.next(spent, true)
    }
}

/// A batch whose rows are written, for its memory.
struct Spent {
    batch: Batch,
    /// It came as a huge one, whatever it has now: lines that are converted change their room.
    huge: bool,
}

/// Receives what other threads have read.
pub(super) struct Ahead<'s> {
    full: Receiver<Result<Batch>>,
    spent: std::sync::mpsc::Sender<Spent>,
    /// The batch handed out last came as a huge one.
    huge: bool,
    /// Batches in `full`.
    waiting: &'s AtomicUsize,
    /// For batches that come as lines.
    converter: Option<LineConverter>,
    /// The error of a row after those handed out last.
    failed: Option<Error>,
}

impl Batches for Ahead<'_> {
    fn next(&mut self, spent: Batch) -> Result<Option<Batch>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        // The reader may have ended; then nobody needs the memory.
        let huge = std::mem::take(&mut self.huge);
        let _ = self.spent.send(Spent { batch: spent, huge });
        // A reader that ended without a word came to the end.
        let Ok(received) = self.full.recv() else { return Ok(None) };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut batch = received?;
        self.huge = batch.is_huge();
        let converted = self.converter.as_mut().map_or(Ok(()), |c| c.convert(&mut batch));
        if let Err(error) = converted {
            batch.drop_partial_row();
            if batch.is_empty() {
                return Err(error);
            }
            self.failed = Some(error);
        }
        Ok(Some(batch))
    }
}

/// Runs `work` with batches that a thread of its own reads ahead. `make` makes the reader on that
/// thread; `cancel` stops a reader that waits for the server when `work` has failed. With a
/// `converter` for lines of a COPY the batches may be converted here, when no others wait.
///
/// # Errors
/// Those of `make`, of the reader (through `work`), of `work`, or no thread. A panic of the reader
/// goes on here.
pub(super) fn read_ahead<R, T>(
    make: impl FnOnce() -> Result<R> + Send,
    cancel: Option<Cancel>,
    converter: Option<LineConverter>,
    work: impl FnOnce(&mut Ahead<'_>) -> Result<T>,
) -> Result<T>
where
    R: Reader,
{
    read_ahead_by(vec![(make, cancel)], converter, work)
}

/// As [`read_ahead`], by several readers, each on a thread of its own. Their batches come in no
/// order. The first one that fails ends the others.
///
/// # Errors
/// As [`read_ahead`].
pub(super) fn read_ahead_by<R, T>(
    makers: Vec<(impl FnOnce() -> Result<R> + Send, Option<Cancel>)>,
    converter: Option<LineConverter>,
    work: impl FnOnce(&mut Ahead<'_>) -> Result<T>,
) -> Result<T>
where
    R: Reader,
{
    let (full_sender, full) = sync_channel(IMPORT_BATCHES_WAITING);
    let (spent, spent_receiver) = channel();
    let spent_receiver = Mutex::new(spent_receiver);
    let (waiting, lines) = (AtomicUsize::new(0), converter.is_some());
    thread::scope(|scope| {
        // Gone before the threads are waited for, whatever happens: without a receiver a reader's
        // next batch is its last.
        let waiting = &waiting;
        let mut ahead = Ahead { full, spent, huge: false, waiting, converter, failed: None };
        let mut reading = Vec::with_capacity(makers.len());
        for (make, cancel) in makers {
            let full = Full { sender: full_sender.clone(), waiting, lines };
            let spent = &spent_receiver;
            let thread = thread::Builder::new()
                .name("pgsqlite-read".to_owned())
                .spawn_scoped(scope, move || match make() {
                    Ok(reader) => pump(Filler::new(reader), &full, spent),
                    Err(error) => {
                        full.send(Err(error));
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

/// Where a reader's batches go.
struct Full<'s> {
    sender: SyncSender<Result<Batch>>,
    waiting: &'s AtomicUsize,
    /// Can lines be converted on the other side?
    lines: bool,
}

impl Full<'_> {
    /// Enough batches wait: the reader has the time to convert.
    fn has_enough(&self) -> bool {
        !self.lines || self.waiting.load(Ordering::Relaxed) >= IMPORT_BATCHES_WAITING / 2
    }

    /// Hands over; `false` when nobody wants more.
    fn send(&self, batch: Result<Batch>) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.send(batch).is_ok()
    }
}

fn pump(mut filler: Filler<impl Reader>, full: &Full<'_>, spent: &Mutex<Receiver<Spent>>) {
    let given = || Some(spent.try_lock().ok()?.try_recv().ok()?.batch);
    let mut room = None;
    while let Some(next) =
        filler.next(room.take().or_else(given).unwrap_or_default(), full.has_enough()).transpose()
    {
        let failed = next.is_err();
        // NOTE: held from before it is sent, so that no other reader takes what comes back.
        let waits = next
            .as_ref()
            .is_ok_and(Batch::is_huge)
            .then(|| spent.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if !full.send(next) || failed {
            return;
        }
        // Until the huge row is in SQLite, so that there is one of them in memory for each reader;
        // then its room. Where nobody wants more, there is none.
        room = waits.and_then(|spent| Some(spent.iter().find(|spent| spent.huge)?.batch));
    }
}
