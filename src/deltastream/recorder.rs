//! The thread that owns the log: stamps and writes lines, makes them durable, says how far.
//!
//! Lines become visible to followers as soon as nothing more waits to be written, and durable at
//! most `sync_interval_ms` after their commit. The durable position moves only after the fsync of
//! everything before it.

use super::Error;
use super::batch::{Batch, What};
use super::heartbeat::Sending;
use super::pgoutput::Schema;
use super::queue::Taken;
use super::shared::Shared;
use super::status::Event;
use crate::daystream::heartbeat::{self, Beat};
use crate::daystream::{Commit, Identity, Position, Writer};
use crate::failpoint;
use crate::libpq::Oid;
use crate::limits::CLOCK_AHEAD_S;
use deltaflood::Lsn;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Written and not yet durable.
#[derive(Debug, Clone, Copy)]
struct Unsynced {
    /// The last heartbeat. The rest is of transactions that are none, but position and LSN.
    beat: Option<Beat>,
    count: u64,
    lines: u64,
    position: Position,
    lsn: Lsn,
    time_us: i64,
}

/// Owns the log.
pub(super) struct Recorder {
    shared: Arc<Shared>,
    writer: Writer,
    identity: Identity,
    /// Definitions of tables that the present segment has.
    seen: HashMap<Oid, Arc<Schema>>,
    /// Lines of the open transaction, and whether it has come to a table.
    lines: u64,
    described: bool,
    /// A heartbeat is the open transaction's last line.
    beat: Option<Beat>,
    unsynced: Option<Unsynced>,
    synced_at: Option<Instant>,
    /// It was said that the clock is far ahead.
    warned: bool,
}

impl Recorder {
    pub(super) fn new(shared: Arc<Shared>, writer: Writer, identity: Identity) -> Recorder {
        Recorder {
            shared,
            writer,
            identity,
            seen: HashMap::new(),
            lines: 0,
            described: false,
            beat: None,
            unsynced: None,
            synced_at: None,
            warned: false,
        }
    }

    /// Writes what comes until the queue is closed.
    ///
    /// # Errors
    /// Those of the log; what is not durable then was never confirmed.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        loop {
            match self.shared.queue.take(self.sync_due()) {
                Taken::Batch(batch) => {
                    self.write(&batch)?;
                    drop(batch);
                    if self.shared.queue.written() {
                        self.shared.wake.raise();
                    }
                }
                Taken::Nothing => {}
                Taken::Closed => break,
            }
            if self.shared.queue.is_empty() {
                self.writer.flush()?;
            }
            if self.sync_due().is_some_and(|due| due.is_zero()) {
                self.sync()?;
            }
        }
        self.writer.abandon()?;
        self.sync()
    }

    /// How long until the next fsync is due; `None` when there is nothing to make durable.
    fn sync_due(&self) -> Option<Duration> {
        self.unsynced?;
        let interval = Duration::from_millis(self.shared.options.sync_interval_ms);
        let waited = self.synced_at.map_or(interval, |at| at.elapsed());
        Some(interval.saturating_sub(waited))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut rest = batch.lines.as_slice();
        let mut at = 0;
        for mark in &batch.marks {
            let (lines, after) = rest.split_at_checked(mark.at - at).unwrap_or((rest, &[]));
            self.write_lines(lines)?;
            (rest, at) = (after, mark.at);
            self.mark(&mark.what)?;
        }
        self.write_lines(rest)
    }

    fn write_lines(&mut self, lines: &[u8]) -> Result<(), Error> {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            self.writer.line(lines.get(from..end).unwrap_or_default())?;
            from = end + 1;
            self.lines += 1;
        }
        Ok(())
    }

    fn mark(&mut self, what: &What) -> Result<(), Error> {
        match what {
            What::Table { xid, schema } => self.describe(*xid, schema),
            What::Schema { xid, schema } => self.define(*xid, schema),
            What::Beat(beat) => {
                self.beat = Some(*beat);
                Ok(())
            }
            What::Commit { xid, lsn, time_us } => self.commit(*xid, *lsn, *time_us),
            What::Abandon => {
                (self.lines, self.described, self.beat) = (0, false, None);
                Ok(self.writer.abandon()?)
            }
            What::Idle { lsn } => self.confirm_idle(*lsn),
            What::Sync => self.sync(),
            What::Identity(identity) => {
                let confirmed = self.identity.confirmed.max(identity.confirmed);
                self.save(Identity { confirmed, ..Identity::clone(identity) })
            }
        }
    }

    /// Writes a table's `schema` line where the segment has not got it.
    fn describe(&mut self, xid: u32, schema: &Arc<Schema>) -> Result<(), Error> {
        // NOTE: not with its first line, which may be a message's. A table that is forgotten is
        // described once more, which does no harm.
        let many = self.seen.len() > self.shared.options.tables_max;
        if !std::mem::replace(&mut self.described, true) && (self.writer.begin()?.fresh || many) {
            self.seen.clear();
        }
        let seen = self.seen.get(&schema.relation);
        if seen.is_some_and(|old| Arc::ptr_eq(old, schema) || old == schema) {
            return Ok(());
        }
        self.writer.line(&schema.line(xid))?;
        self.lines += 1;
        self.seen.insert(schema.relation, Arc::clone(schema));
        Ok(())
    }

    /// Writes the `schema` line of a table that may be without changes.
    ///
    /// NOTE: always, so that its transaction has a line.
    fn define(&mut self, xid: u32, schema: &Arc<Schema>) -> Result<(), Error> {
        self.seen.remove(&schema.relation);
        self.describe(xid, schema)?;
        // One that is in the stream no more is described when it comes again.
        if schema.is_gone() {
            self.seen.remove(&schema.relation);
        }
        Ok(())
    }

    fn commit(&mut self, xid: u32, lsn: Lsn, time_us: i64) -> Result<(), Error> {
        let commit = Commit { xid: Some(xid), lsn: Some(lsn), time_us: Some(time_us) };
        let lines = std::mem::take(&mut self.lines);
        self.described = false;
        // A message of the same kind inside a larger transaction is no heartbeat.
        let beat = self.beat.take().filter(|_| lines == 1);
        if let Some(position) = self.writer.commit(commit)? {
            failpoint::pass(failpoint::STREAM_COMMIT);
            let mut unsynced = self.unsynced.take().unwrap_or(Unsynced {
                beat: None,
                count: 0,
                lines: 0,
                position,
                lsn,
                time_us,
            });
            (unsynced.position, unsynced.lsn) = (position, lsn);
            if let Some(beat) = beat {
                unsynced.beat = Some(Beat { position, commit_us: time_us, ..beat });
            } else {
                unsynced.count += 1;
                unsynced.lines += lines;
                unsynced.time_us = time_us;
            }
            self.unsynced = Some(unsynced);
        }
        Ok(())
    }

    /// Makes everything written durable and says so.
    fn sync(&mut self) -> Result<(), Error> {
        failpoint::pass(failpoint::STREAM_SYNC_BEFORE);
        // DURABILITY: before the position that the receiver confirms to the server moves.
        self.writer.sync()?;
        // What goes into a folder that was removed or replaced is gone: it may not be confirmed.
        self.writer.check_place()?;
        self.synced_at = Some(Instant::now());
        failpoint::pass(failpoint::STREAM_SYNC_AFTER);
        let Some(unsynced) = self.unsynced.take() else { return Ok(()) };
        let Unsynced { beat, count, lines, position, lsn, time_us } = unsynced;
        self.shared.set_durable(lsn);
        self.warn_of_clock();
        if let Some(beat) = beat {
            let mut status = self.shared.status();
            let every_ms = status.pulse.every_ms;
            status.pulse.last = Some((Beat { every_ms, ..beat }, heartbeat::now_us()));
            if status.pulse.sending == Sending::Waiting {
                // It got through before the server told its sender so.
                status.pulse.sending = Sending::On;
            }
            status.position = Some(position);
        }
        if count > 0 {
            self.shared.tell(&Event::Transactions { count, lines, position, lsn, time_us });
        }
        Ok(())
    }

    /// Says once that this machine's clock is far ahead.
    fn warn_of_clock(&mut self) {
        let Some(ahead) = self.shared.clock.ahead_s() else {
            self.warned = false;
            return;
        };
        if !std::mem::replace(&mut self.warned, true) {
            let message = format!(
                "this machine's clock is {ahead} s ahead of the server's: lines are stamped no more \
                 than {CLOCK_AHEAD_S} s ahead of that one; set the clock right (timedatectl)"
            );
            self.shared.tell(&Event::Warning { message: &message });
        }
    }

    /// Nothing of interest up to `lsn`: saved in the stream's state before it may be confirmed, or
    /// the slot would be ahead of the stream after a crash.
    fn confirm_idle(&mut self, lsn: Lsn) -> Result<(), Error> {
        self.sync()?;
        // DURABILITY: file, rename and folder, before the server may forget what is before `lsn`.
        self.save(Identity { confirmed: Some(lsn), ..self.identity.clone() })?;
        failpoint::pass(failpoint::STREAM_IDLE_SAVED);
        self.shared.set_durable(lsn);
        Ok(())
    }

    fn save(&mut self, identity: Identity) -> Result<(), Error> {
        self.writer.save_identity(&identity)?;
        self.identity = identity;
        Ok(())
    }
}
