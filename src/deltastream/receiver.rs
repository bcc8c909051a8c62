//! The thread that owns the connection: receives, renders, confirms; connects again when it breaks.

use super::batch::{Batch, What};
use super::capture::defect;
use super::catalog;
use super::compressor::Compressor;
use super::heartbeat;
use super::pgoutput::TypeNames;
use super::proof::Proof;
use super::recorder::Recorder;
use super::session::{self, Session};
use super::shared::Shared;
use super::side;
use super::status::Event;
use super::stream::{Ended, Stream};
use super::{Error, server};
use crate::advice;
use crate::daystream::{Doing, Identity, LastCommit, Notes, Work, Writer, WriterOptions, segments};
use crate::error::{Class, Coded};
use crate::failpoint;
use crate::libpq::{Guarded, wait};
use crate::limits;
use deltaflood::Lsn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Receives from a slot, over as many connections as it takes.
pub(super) struct Receiver<'a> {
    shared: &'a Arc<Shared>,
    /// The stream's identity, known once the first connection was made.
    identity: Option<Identity>,
    /// The writer, until the recorder has it.
    writer: Option<Writer>,
    /// Gives back the recorder: with it, the stream is locked.
    recorder: Option<JoinHandle<Recorder>>,
    heart: Option<JoinHandle<()>>,
    notes: Notes,
    /// It was noted that it waits.
    waiting: bool,
    /// Everything before this was handed to the recorder, or is in the stream.
    have: Lsn,
    /// The last transaction before it.
    last: Option<LastCommit>,
    types: TypeNames,
    backoff: Duration,
    /// Whether this capture has streamed.
    connected: bool,
    /// It has connected once more to learn a table's name.
    named: bool,
    /// Since when the slot is found in use.
    in_use_since: Option<Instant>,
    /// Milliseconds after which the server gives up a connection that says nothing.
    sender_timeout_ms: u64,
}

impl Receiver<'_> {
    /// Receives until told to end.
    pub(super) fn run(shared: &Arc<Shared>) -> Result<(), Error> {
        let options = &shared.options;
        let segment_bytes = options.segment_bytes;
        let is_empty = || segments(&options.stream).map(|found| found.is_empty());
        if Identity::load(&options.stream)?.is_none() && (!options.stream.is_dir() || is_empty()?) {
            return Err(Error::NoStream { dir: options.stream.clone() });
        }
        let clock = Box::new(shared.clock.clone());
        let writer_options = WriterOptions { segment_bytes, clock, ..WriterOptions::default() };
        let writer = Writer::open(&options.stream, writer_options)?;
        let notes = Notes::new(&options.stream);
        notes.say(&Work::now(Doing::Running));
        let identity = Identity::load(&options.stream)?;
        let confirmed = identity.as_ref().and_then(|i| i.confirmed).unwrap_or_default();
        let have = writer.last_lsn().unwrap_or_default().max(confirmed);
        // NOTE: the stream is ours, and whole, from here on.
        let _compressor = Compressor::start(shared)?;
        shared.set_durable(have);
        shared.status().position = writer.last_position();
        let mut receiver = Receiver {
            shared,
            identity,
            last: writer.found(),
            writer: Some(writer),
            recorder: None,
            heart: None,
            notes,
            waiting: false,
            have,
            types: TypeNames::default(),
            backoff: Duration::from_millis(limits::RECONNECT_MIN_MS),
            connected: false,
            named: false,
            in_use_since: None,
            sender_timeout_ms: 0,
        };
        let ended = receiver.connections();
        shared.queue.close();
        // NOTE: the wake stays raised: whatever waits for the server now gives up.
        shared.quit();
        if let Some(heart) = receiver.heart.take() {
            let _ = heart.join();
        }
        let recorder = receiver.recorder.take().map(JoinHandle::join);
        let ended = shared.take_failure().map_or(ended, Err);
        // NOTE: while the stream is locked. The next capture has a word of its own.
        receiver.notes.say(&match &ended {
            Ok(()) => Work::now(Doing::Stopped),
            Err(error) => Work::because(Doing::Failed, error),
        });
        drop(recorder);
        ended
    }

    /// One connection after the other.
    fn connections(&mut self) -> Result<(), Error> {
        while !self.shared.stopping() && !self.shared.has_failed() {
            let error = match self.connection() {
                Ok(Ended::Done) => return Ok(()),
                Ok(Ended::Again) => continue,
                Err(_) if self.shared.stopping() || self.shared.has_failed() => return Ok(()),
                Err(error) => error,
            };
            if self.may_name(&error) {
                continue;
            }
            if !self.may_retry(&error) {
                return Err(error);
            }
            self.notes.say(&Work::because(Doing::Waiting, &error));
            self.waiting = true;
            self.shared.tell(&Event::Retrying { error: &error, after: self.backoff });
            self.pause(self.backoff)?;
            let longest = Duration::from_millis(limits::RECONNECT_MAX_MS);
            self.backoff = (self.backoff * 2).min(longest);
        }
        Ok(())
    }

    /// Whether to connect once more, only to learn which table `error` is of: a new connection
    /// describes no others than those that come before its change.
    fn may_name(&mut self, error: &Error) -> bool {
        let Error::TooLong(value) = error else { return false };
        value.tables.len() > 1 && !std::mem::replace(&mut self.named, true)
    }

    /// Whether to connect again after `error`.
    fn may_retry(&mut self, error: &Error) -> bool {
        if error.class() != Class::Retry {
            return false;
        }
        match error {
            // Its holder may be the server's end of a connection that died, with its process or our
            // own last one, of which the server hears at its time limit.
            Error::SlotInUse { .. } => {
                let own = if self.connected { 2 * self.sender_timeout_ms } else { 0 };
                let wait_ms = self.shared.options.slot_wait_ms.max(own);
                let since = *self.in_use_since.get_or_insert_with(Instant::now);
                since.elapsed() < Duration::from_millis(wait_ms)
            }
            // Never connected: wrong parameters rather than a server that is away, unless it says
            // it starts.
            Error::Postgres(e) if !self.connected => {
                matches!(e.sqlstate(), Some("57P03" | "53300"))
            }
            // A standby that takes over is promoted soon; one given at the start may be meant to
            // stay.
            Error::Standby => self.connected,
            _ => true,
        }
    }

    /// Waits before the next attempt, ended by stop or a failed recorder.
    fn pause(&self, pause: Duration) -> Result<(), Error> {
        let started = Instant::now();
        while let Some(left) = pause.checked_sub(started.elapsed()) {
            if wait(None, false, false, Some(&self.shared.quit), Some(left))?.woken {
                break;
            }
        }
        Ok(())
    }

    /// Connects, and receives until the connection ends.
    fn connection(&mut self) -> Result<Ended, Error> {
        let shared = Arc::clone(self.shared);
        let mut session = Session::open(&shared.options, self.identity.as_ref(), &shared.quit)?;
        self.ready(&session).map_err(|error| session.explain(error))?;
        let told = Arc::clone(&shared);
        let warned = move |message: &str| told.tell(&Event::Warning { message });
        // NOTE: where the plugin is asked for tables by name, some may have been added since.
        let strict = session.tables.is_empty();
        let proof = Proof::new(self.last, session.slot.confirmed, self.have, strict);
        session.start(proof.from(), shared.options.oversize_skip, warned)?;
        (self.in_use_since, self.connected) = (None, true);
        self.sender_timeout_ms = session.sender_timeout_ms;
        failpoint::pass(failpoint::STREAM_STARTED);
        if std::mem::take(&mut self.waiting) {
            self.notes.say(&Work::now(Doing::Running));
        }
        shared.tell(&Event::Streaming { from: self.have });
        self.start_heart()?;
        let types = std::mem::take(&mut self.types);
        let mut stream = Stream::new(&shared, &mut session, types, self.have, (self.last, proof));
        let ended = stream.run();
        let half = stream.has_half_transaction();
        let batch = stream.take_batch();
        let heard = stream.heard();
        let suspects = stream.suspects();
        self.have = stream.have();
        self.last = stream.last();
        self.types = stream.into_types();
        if heard {
            self.backoff = Duration::from_millis(limits::RECONNECT_MIN_MS);
        }
        if ended.is_err() {
            self.leave(batch, half);
        }
        ended.map_err(|error| session.explain_at(error, self.have, suspects))
    }

    /// Compares slot and stream, and on the first connection starts the recorder.
    fn ready(&mut self, session: &Session) -> Result<(), Error> {
        let options = &self.shared.options;
        let side = side::connection(options, self.shared)?;
        session.prepare(&side, &options.tables, &mut self.types)?;
        self.shared.set_taken(session.taken(&side)?);
        self.shared.set_scope(session.scope());
        if let Some(position) = self.writer.as_ref().and_then(Writer::last_position) {
            self.warn_of_stamp(&side, position.clock)?;
        }
        drop(side);
        if self.identity.is_some() || self.have > Lsn(0) {
            session.check_position(self.have, self.identity.as_ref())?;
        } else {
            // A new stream begins where the slot stands.
            self.have = session.slot.confirmed;
        }
        let mut identity = self.identity.clone().unwrap_or_default();
        identity.system_id = session.system.system_id;
        identity.database.clone_from(&session.system.database);
        identity.slot.clone_from(&session.slot.name);
        session.plugin.name().clone_into(&mut identity.plugin);
        identity.publication.clone_from(&session.publication);
        // NOTE: a capture with an end has none, and is not the one whose pace is asked for.
        if heartbeat::is_wanted(options) || options.heartbeat_ms == 0 {
            identity.heartbeat_ms = options.heartbeat_ms;
        }
        if identity.confirmed.is_none() {
            identity.confirmed = Some(self.have);
        }
        if identity.made == 0 {
            identity.made = session::now_made();
        }
        self.shared.set_id(*identity.id.get_or_insert_with(session::new_id));
        let key = catalog::key(&options.stream, self.shared.id());
        self.shared.set_key(key.unwrap_or_else(session::new_key));
        let from = std::mem::replace(&mut identity.timeline, session.system.timeline);
        if self.identity.as_ref() != Some(&identity) {
            self.save(&identity)?;
            if from != 0 && from != identity.timeline {
                let to = identity.timeline;
                self.shared.tell(&Event::Timeline { from, to });
            }
        }
        self.identity = Some(identity.clone());
        match self.writer.take() {
            Some(writer) => self.start_recorder(writer, identity),
            None => Ok(()),
        }
    }

    /// Says where the stream was stamped by a clock far ahead: its seconds do not go back.
    fn warn_of_stamp(&self, side: &Guarded<'_>, clock: i64) -> Result<(), Error> {
        let ahead = clock.saturating_sub(server::clock(side)?);
        if ahead > limits::CLOCK_AHEAD_S {
            let message = format!(
                "the stream's last line is stamped {ahead} s ahead of the server's clock, and until \
                 that time comes every line is stamped so: -from CLOCK and retention by age go by \
                 these stamps. To be rid of it {}",
                advice::begin_again()
            );
            self.shared.tell(&Event::Warning { message: &message });
        }
        Ok(())
    }

    /// DURABILITY: the identity is in the stream before anything is received under it.
    fn save(&self, identity: &Identity) -> Result<(), Error> {
        if let Some(writer) = &self.writer {
            writer.save_identity(identity)?;
        } else {
            let mut batch = Batch::default();
            batch.mark(What::Identity(Box::new(identity.clone())));
            self.push(batch);
        }
        Ok(())
    }

    fn start_recorder(&mut self, writer: Writer, identity: Identity) -> Result<(), Error> {
        self.shared.set_durable(self.have);
        let shared = Arc::clone(self.shared);
        let mut recorder = Recorder::new(Arc::clone(self.shared), writer, identity);
        let thread = std::thread::Builder::new()
            .name("deltastream-log".to_owned())
            .spawn(move || {
                let run = std::panic::catch_unwind(AssertUnwindSafe(|| recorder.run()));
                if let Err(error) = run.unwrap_or_else(|_| Err(defect())) {
                    shared.fail(error);
                }
                recorder
            })
            .map_err(|source| Error::System { what: "a thread", source })?;
        self.recorder = Some(thread);
        Ok(())
    }

    /// Starts the heartbeats, where they are wanted and not there yet.
    fn start_heart(&mut self) -> Result<(), Error> {
        if self.heart.is_some() || !heartbeat::is_wanted(&self.shared.options) {
            return Ok(());
        }
        let shared = Arc::clone(self.shared);
        let thread = std::thread::Builder::new().name("deltastream-beat".to_owned());
        let thread = thread.spawn(move || heartbeat::run(&shared));
        self.heart = Some(thread.map_err(|source| Error::System { what: "a thread", source })?);
        Ok(())
    }

    /// Hands over what was rendered before the connection ended, and takes back a half transaction.
    fn leave(&self, batch: Batch, half: bool) {
        let mut batch = batch;
        if half {
            batch.mark(What::Abandon);
        }
        if !batch.is_empty() {
            self.push(batch);
        }
    }

    /// Puts a batch in the queue, waiting for room as long as somebody makes some.
    fn push(&self, batch: Batch) {
        let mut batch = batch;
        while let Err(back) = self.shared.queue.push(batch) {
            batch = back;
            if self.shared.has_failed() {
                return;
            }
            let second = Some(Duration::from_secs(1));
            // A wait that fails only makes this loop turn faster.
            let _ = wait(None, false, false, Some(&self.shared.wake), second);
            self.shared.wake.clear();
        }
    }
}
