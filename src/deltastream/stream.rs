//! One connection's stream: messages in, lines into the queue, confirmations out.
//!
//! What is confirmed, and when (the contract of acknowledgement):
//! 1. never more than what the recorder reported durable;
//! 2. an idle position (a keepalive's) only when everything received is durable and no transaction
//!    is half received, and only after the recorder saved it in the stream's state;
//! 3. a keepalive in the middle of a backlog confirms nothing new;
//! 4. nothing beyond what it has confirmed already, before the server has proved to be the stream's
//!    (see [`super::proof`]);
//! 5. the server hears of us in time whatever the disk does: with a full queue this stops reading,
//!    it does not stop talking.

use super::Error;
use super::batch::{Batch, What};
use super::catalog::Reader;
use super::decode::{Decoder, Step};
use super::heartbeat::{Offset, Stamp};
use super::pgoutput::TypeNames;
use super::proof::Proof;
use super::session::Session;
use super::shared::Shared;
use super::side;
use crate::daystream::LastCommit;
use crate::failpoint;
use crate::libpq::{Message, wait};
use crate::limits;
use deltaflood::Lsn;
use std::time::{Duration, Instant};

/// How a stream ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// As asked.
    Done,
    /// To begin again on another connection: too many tables are known on this one.
    Again,
}

/// Whether the stream is to end, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Receiving,
    /// Nothing more is received; waiting for the disk.
    Finishing,
}

/// A stream on one connection.
pub(super) struct Stream<'a> {
    shared: &'a Shared,
    session: &'a mut Session,
    decoder: Decoder,
    batch: Batch,
    /// A batch for which the queue had no room.
    refused: Option<Batch>,
    /// The queue holds a batch, larger than all its room: the next one waits until it is written.
    held: bool,
    /// Everything before this was put in batches or was of no interest.
    have: Lsn,
    /// The last transaction that was put in batches, or is in the stream.
    last: Option<LastCommit>,
    proof: Proof,
    /// Everything before this is in the queue or was taken from it; the recorder will make it
    /// durable.
    handed: Lsn,
    /// End of the server's WAL as far as sent, told outside of transactions.
    passed: Lsn,
    /// Last flush position told to the server.
    told: Lsn,
    told_at: Option<Instant>,
    heard_at: Instant,
    heard: bool,
    reply: bool,
    idle_at: Instant,
    data_at: Instant,
    phase: Phase,
    full: bool,
    status_interval: Duration,
    trickle: Trickle,
    offset: Offset,
    reader: Reader,
}

/// Whether the server sends many small messages one by one, which costs both sides a switch of
/// processes for each: then a short pause lets more of them arrive together.
#[derive(Debug)]
struct Trickle {
    waited_at: Instant,
    /// Bytes received since.
    bytes: usize,
    /// Short waits for little data, one after the other.
    streak: u32,
}

impl Trickle {
    fn new(now: Instant) -> Trickle {
        Trickle { waited_at: now, bytes: 0, streak: 0 }
    }

    /// A wait has ended with something to read: whether to pause before it is read.
    fn pauses(&mut self, now: Instant) -> bool {
        let fast = now.duration_since(self.waited_at) < limits::TRICKLE_PAUSE * 2;
        let little = self.bytes < limits::TRICKLE_BYTES;
        self.streak = if fast { self.streak.saturating_add(1) } else { 0 };
        self.bytes = 0;
        little && self.streak >= limits::TRICKLE_STREAK
    }
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        session: &'a mut Session,
        types: TypeNames,
        have: Lsn,
        (last, proof): (Option<LastCommit>, Proof),
    ) -> Stream<'a> {
        let now = Instant::now();
        let quarter = match session.sender_timeout_ms / 4 {
            0 => limits::STATUS_INTERVAL_MS,
            quarter => quarter.min(limits::STATUS_INTERVAL_MS),
        };
        let mut decoder = Decoder::new(session.plugin, types, have, session.text);
        *decoder.stamp() = Stamp::of(&session.slot.name, shared);
        let reader = Reader::new(&session.publication, session.sender_timeout_ms);
        Stream {
            shared,
            session,
            decoder,
            batch: Batch::default(),
            refused: None,
            held: false,
            have,
            last,
            proof,
            handed: have,
            passed: Lsn(0),
            told: Lsn(0),
            told_at: None,
            heard_at: now,
            heard: false,
            reply: false,
            idle_at: now,
            data_at: now,
            phase: Phase::Receiving,
            full: false,
            status_interval: Duration::from_millis(quarter.max(1)),
            trickle: Trickle::new(now),
            offset: Offset::default(),
            reader,
        }
    }

    pub(super) fn has_half_transaction(&self) -> bool {
        self.decoder.has_half_transaction()
    }

    /// What was rendered and not handed over.
    pub(super) fn take_batch(&mut self) -> Batch {
        let mut batch = self.refused.take().unwrap_or_default();
        batch.append(std::mem::take(&mut self.batch));
        batch
    }

    pub(super) fn have(&self) -> Lsn {
        self.have
    }

    /// The tables of which one comes next, as far as that is known.
    pub(super) fn suspects(&self) -> Vec<String> {
        self.decoder.suspects()
    }

    /// The last transaction in the stream or on its way there.
    pub(super) fn last(&self) -> Option<LastCommit> {
        self.last
    }

    /// Whether the server said anything.
    pub(super) fn heard(&self) -> bool {
        self.heard
    }

    pub(super) fn into_types(self) -> TypeNames {
        self.decoder.into_types()
    }

    /// Streams until told to end, or until the connection or the recorder fails.
    pub(super) fn run(&mut self) -> Result<Ended, Error> {
        loop {
            if self.shared.has_failed() {
                return Ok(Ended::Done);
            }
            let more = self.receive()?;
            self.hand_over();
            self.reader.rest();
            self.offer_idle();
            self.acknowledge()?;
            if self.phase == Phase::Receiving && self.should_finish() {
                self.finish();
                continue;
            }
            if self.phase == Phase::Receiving && self.is_full() {
                self.full = true;
                self.finish();
                continue;
            }
            if self.phase == Phase::Finishing && self.is_done() {
                return self.close();
            }
            if !more || self.is_held() {
                self.wait()?;
            }
        }
    }

    /// Takes what has arrived, at most about a batch. True when there may be more.
    fn receive(&mut self) -> Result<bool, Error> {
        self.held = self.shared.queue.is_over();
        if self.is_held() || self.phase == Phase::Finishing {
            return Ok(false);
        }
        let now = Instant::now();
        let mut first = true;
        while self.batch.weight() < limits::CAPTURE_BATCH_BYTES {
            let message = self.session.link.try_receive()?;
            self.session.check_published()?;
            let Some(message) = message else { return Ok(false) };
            (self.heard_at, self.heard) = (now, true);
            self.clock(&message, now, first);
            first = false;
            match message {
                Message::Data(data) => {
                    self.trickle.bytes += data.payload().len();
                    if self.decode(data.payload())? {
                        self.data_at = now;
                    }
                }
                Message::Keepalive { wal_end, reply, .. } => {
                    self.keepalive(Lsn(wal_end), reply)?;
                }
                Message::End => return Err(Error::Ended),
            }
        }
        Ok(true)
    }

    /// Rule 3: what a keepalive says is remembered, and offered only once all before it is durable.
    fn keepalive(&mut self, wal_end: Lsn, reply: bool) -> Result<(), Error> {
        // NOTE: `wal_end` is what the server has decoded and handed over. A plugin that kept lines
        // back would lose them here; pgoutput and deltaflood write each when it is decoded.
        self.reply |= reply;
        if !self.decoder.in_transaction() {
            self.proof.passed(wal_end)?;
            self.passed = self.passed.max(wal_end);
        }
        let mut status = self.shared.status();
        status.wal_end = status.wal_end.max(wal_end);
        Ok(())
    }

    /// How far the clocks are apart, by a message that has not waited here: the first of many.
    fn clock(&mut self, message: &Message, now: Instant, first: bool) {
        let sent_us = match message {
            Message::Keepalive { sent_us, .. } => *sent_us,
            Message::Data(data) if first => data.sent_us,
            _ => return,
        };
        self.shared.clock.hear(sent_us);
        let offset_us = self.offset.take(sent_us, now);
        if std::mem::replace(&mut self.decoder.stamp().offset_us, offset_us) != offset_us {
            self.shared.status().pulse.offset_us = Some(offset_us);
        }
    }

    /// Renders a message. False when it was a heartbeat of somebody else.
    fn decode(&mut self, payload: &[u8]) -> Result<bool, Error> {
        let before = self.batch.weight();
        let step = loop {
            match self.decoder.decode(payload, &mut self.batch, self.have) {
                Ok(step) => break step,
                Err(super::decode::Stop::Types(keys)) => {
                    let conn = side::connection(&self.shared.options, self.shared)?;
                    self.decoder.types().ask(&conn, &keys)?;
                }
                Err(super::decode::Stop::Details(table)) => {
                    let described = self.reader.describe(self.shared, table);
                    self.decoder.learn(table, described);
                }
                Err(super::decode::Stop::Error(error)) => return Err(error),
            }
        };
        let asked = std::mem::take(&mut self.decoder.stamp().asked);
        if !asked.is_empty() {
            self.shared.ask(&asked);
        }
        if let Step::Committed { lsn, again } = step {
            let proven = again.map_or(Ok(()), |again| self.proof.again(again));
            let proven = proven.and_then(|()| self.proof.passed(lsn));
            proven.inspect_err(|_| self.give_up())?;
            self.remember();
            self.have = self.have.max(lsn);
            self.passed = self.passed.max(lsn);
            self.shared.status().received = lsn;
        }
        Ok(self.batch.weight() > before)
    }

    /// The server is another one: nothing of what it has sent may come into the stream. Before the
    /// proof that was dropped, or is this one transaction.
    fn give_up(&mut self) {
        (self.refused, self.batch) = (None, Batch::default());
        // Some of it may be in the queue already.
        self.batch.mark(What::Abandon);
    }

    /// Notes the transaction that has just ended, where it is one of the stream.
    fn remember(&mut self) {
        let Some(mark) = self.batch.marks.last() else { return };
        if let What::Commit { xid, lsn, time_us } = mark.what
            && self.last.is_none_or(|last| last.lsn < lsn)
        {
            let before = self.last.map(|last| last.lsn);
            self.last = Some(LastCommit { lsn, xid: Some(xid), time_us: Some(time_us), before });
        }
    }

    /// Puts what was rendered in the queue.
    fn hand_over(&mut self) {
        let batch = match self.refused.take() {
            Some(refused) => refused,
            None if self.batch.is_empty() => return,
            None => {
                self.decoder.new_batch();
                std::mem::take(&mut self.batch)
            }
        };
        failpoint::pass(failpoint::STREAM_RECEIVED);
        let commits = batch.last_commit();
        match self.shared.queue.push(batch) {
            Ok(()) => self.handed = self.handed.max(commits.unwrap_or_default()),
            Err(batch) => self.refused = Some(batch),
        }
    }

    /// Whether the disk is behind: nothing more is received for now.
    fn is_held(&self) -> bool {
        self.held || self.refused.is_some()
    }

    /// Nothing of ours is on its way to the disk, and no transaction is half received.
    fn is_quiet(&self) -> bool {
        self.refused.is_none()
            && self.batch.is_empty()
            && !self.decoder.in_transaction()
            && self.shared.durable() >= self.handed
    }

    /// Rule 2: has the recorder save an idle position, when it is time to.
    fn offer_idle(&mut self) {
        let durable = self.shared.durable();
        if !self.is_quiet() || self.passed <= durable {
            return;
        }
        let every = Duration::from_millis(self.shared.options.idle_confirm_ms);
        let far = self.passed.0 - durable.0 >= limits::IDLE_CONFIRM_BYTES;
        let finishing = self.phase == Phase::Finishing;
        // NOTE: a server that shuts down asks for an answer, and waits until all it sent is
        // confirmed.
        if far || finishing || self.reply || self.idle_at.elapsed() >= every {
            let mut batch = Batch::default();
            batch.mark(What::Idle { lsn: self.passed });
            if self.shared.queue.push(batch).is_ok() {
                self.idle_at = Instant::now();
                self.have = self.have.max(self.passed);
                self.handed = self.handed.max(self.passed);
            }
        }
    }

    /// Rules 1, 4 and 5: tells the server what is durable, when that is new or when it is time to
    /// say something.
    fn acknowledge(&mut self) -> Result<(), Error> {
        let durable = self.proof.may_confirm(self.shared.durable());
        let silent = self.silent()?;
        let ask = silent >= self.status_interval || self.wants_end();
        let due = self.told_at.is_none_or(|at| at.elapsed() >= self.interval());
        if durable <= self.told && !due && !self.reply {
            return Ok(());
        }
        failpoint::pass(failpoint::STREAM_ACK_BEFORE);
        let received = self.proof.may_confirm(self.have.max(durable));
        self.session.link.send_status(received.0, durable.0, ask && due)?;
        failpoint::pass(failpoint::STREAM_ACK_AFTER);
        (self.told, self.told_at, self.reply) = (durable, Some(Instant::now()), false);
        Ok(())
    }

    /// Whether the end of this capture depends on what the server says.
    fn wants_end(&self) -> bool {
        let options = &self.shared.options;
        options.until_lsn.is_some() || options.until_idle_ms.is_some()
    }

    fn interval(&self) -> Duration {
        if self.wants_end() {
            self.status_interval.min(Duration::from_millis(limits::END_POLL_MS))
        } else {
            self.status_interval
        }
    }

    /// How long the server has said nothing; not while it is this side that does not read.
    fn silent(&mut self) -> Result<Duration, Error> {
        if self.is_held() || self.phase == Phase::Finishing {
            self.heard_at = Instant::now();
        }
        let silent = self.heard_at.elapsed();
        let timeout_ms = self.shared.options.stall_timeout_ms;
        if timeout_ms > 0 && silent >= Duration::from_millis(timeout_ms) {
            return Err(Error::Stalled { timeout_ms });
        }
        Ok(silent)
    }

    /// Whether so many tables are known that it is better to begin again.
    fn is_full(&self) -> bool {
        !self.decoder.in_transaction() && self.decoder.tables() > self.shared.options.tables_max
    }

    /// Whether the capture was asked to end, or what it was asked to wait for has come.
    fn should_finish(&self) -> bool {
        if self.shared.stopping() {
            return true;
        }
        if self.decoder.in_transaction() || self.refused.is_some() || !self.batch.is_empty() {
            return false;
        }
        let options = &self.shared.options;
        if options.until_lsn.is_some_and(|lsn| self.passed >= lsn) {
            return true;
        }
        // NOTE: idle only once the server has read all WAL that was there when we came.
        let caught_up = self.passed.0 >= self.session.system.flush_lsn;
        options.until_idle_ms.is_some_and(|ms| {
            caught_up && self.is_quiet() && self.data_at.elapsed() >= Duration::from_millis(ms)
        })
    }

    /// Begins to end: a half transaction is taken back, the rest goes to the disk.
    fn finish(&mut self) {
        self.phase = Phase::Finishing;
        if self.decoder.has_half_transaction() {
            self.batch.mark(What::Abandon);
        }
        self.batch.mark(What::Sync);
        self.decoder.leave_transaction();
    }

    /// Everything received is durable, the idle position too.
    fn is_done(&self) -> bool {
        self.is_quiet() && self.passed <= self.shared.durable()
    }

    /// Says what is durable, and ends the stream in good order.
    fn close(&self) -> Result<Ended, Error> {
        let durable = self.proof.may_confirm(self.shared.durable());
        self.session.link.send_status(durable.0, durable.0, false)?;
        self.session.link.finish(Duration::from_millis(limits::STREAM_END_MS))?;
        Ok(if self.full { Ended::Again } else { Ended::Done })
    }

    /// Waits for the socket, for the recorder, for stop, or for the next thing that is due.
    fn wait(&mut self) -> Result<(), Error> {
        let told = self.told_at.map_or(Duration::ZERO, |at| at.elapsed());
        let mut timeout = self.interval().saturating_sub(told).max(Duration::from_millis(1));
        if self.passed > self.shared.durable() {
            let every = Duration::from_millis(self.shared.options.idle_confirm_ms);
            let idle = every.saturating_sub(self.idle_at.elapsed());
            timeout = timeout.min(idle.max(Duration::from_millis(1)));
        }
        let conn = self.session.link.conn();
        let read = !self.is_held() && self.phase == Phase::Receiving;
        let write = !conn.flush()?;
        let wake = Some(&self.shared.wake);
        let ready = wait(conn.socket(), read, write, wake, Some(timeout))?;
        if ready.woken {
            self.shared.wake.clear();
        }
        if ready.readable {
            if self.trickle.pauses(Instant::now()) {
                std::thread::sleep(limits::TRICKLE_PAUSE);
            }
            self.trickle.waited_at = Instant::now();
            self.session.link.conn().consume_input()?;
        }
        Ok(())
    }
}
