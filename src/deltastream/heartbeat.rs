//! Heartbeats of a capture: sent over an ordinary connection, known again in the stream.
//!
//! The thread here is never in the way of the capture: where the role may not send, or the server
//! does not answer, that is a word in the status, and is tried again.

use super::Error;
use super::receiver::side_connection;
use super::shared::Shared;
use crate::daystream::Position;
use crate::daystream::heartbeat::{self, Beat, Health};
use crate::libpq::{Guarded, wait};
use crate::limits::CLOCK_OFFSET_S;
use std::time::{Duration, Instant};

/// Its commit must not wait for a standby: a heartbeat measures the way to this stream.
const COMMIT: &str = "set local synchronous_commit = local";

/// Whether heartbeats are sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sending {
    /// Not asked for.
    #[default]
    Off,
    /// The first one is still to come.
    Waiting,
    /// The server took the last one.
    On,
    /// The server took none, or did not answer in time: its words.
    Refused(String),
}

impl Sending {
    /// The word for it in a status.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Sending::Off => "off",
            Sending::Waiting => "waiting",
            Sending::On => "on",
            Sending::Refused(_) => "refused",
        }
    }
}

/// What a capture knows of its heartbeats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pulse {
    /// Whether they are sent.
    pub sending: Sending,
    /// The last one that is durable in the stream, and when it was, by this machine's clock.
    pub last: Option<(Beat, i64)>,
    /// How much this machine's clock is ahead of the server's, in microseconds, as far as the
    /// server's messages tell: too large by the shortest time that one was on its way.
    pub offset_us: Option<i64>,
    /// When the first one was due that has not come back, by this machine's clock.
    pub(super) since_us: i64,
    pub(super) every_ms: u64,
}

impl Pulse {
    /// How changes get through to the stream, when the last that was none is from `changed_us`.
    #[must_use]
    pub fn health(&self, changed_us: Option<i64>) -> Health {
        let now = heartbeat::now_us();
        match (&self.sending, &self.last) {
            (Sending::Off, _) => Health::Unknown,
            (_, Some((beat, _))) => {
                Health::of(beat, beat.age_ms(now), self.lag_ms().unwrap_or(0), changed_us)
            }
            (Sending::On, None) if now - self.since_us > self.patience_us() => Health::Stalled,
            (_, None) => Health::Unknown,
        }
    }

    fn patience_us(&self) -> i64 {
        let ms = self.every_ms.saturating_mul(crate::limits::HEARTBEAT_MISSED);
        i64::try_from(ms).unwrap_or(0).saturating_mul(1000)
    }

    /// From commit on the server to durable in the stream, in milliseconds.
    #[must_use]
    pub fn lag_ms(&self) -> Option<u64> {
        self.last.map(|(beat, durable_us)| beat.capture_lag_ms() + beat.age_ms(durable_us))
    }
}

/// Knows heartbeats among the messages of a slot, and adds the capture's stamp.
#[derive(Debug, Clone, Default)]
pub struct Stamp {
    /// The slot whose capture this is.
    pub slot: String,
    /// See [`Pulse::offset_us`].
    pub offset_us: i64,
}

/// What a logical message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Anybody's.
    Message,
    /// The heartbeat of another slot's capture, which is nobody's business here.
    Other,
    /// Ours, as far as it is known before its commit.
    Own(Beat),
}

impl Stamp {
    /// Looks at a message.
    #[must_use]
    pub fn look(&self, prefix: &[u8], content: &[u8]) -> Seen {
        if prefix != heartbeat::PREFIX.as_bytes() {
            return Seen::Message;
        }
        if !heartbeat::is_of(content, &self.slot) {
            return Seen::Other;
        }
        let (position, received_us) = (Position::MIN, heartbeat::now_us());
        let (every_ms, commit_us, offset_us) = (0, 0, self.offset_us);
        Seen::Own(Beat { position, every_ms, commit_us, received_us, offset_us })
    }
}

/// The smallest difference between this machine's clock and the times in the server's messages.
#[derive(Debug, Default)]
pub(super) struct Offset {
    least: Option<(i64, Instant)>,
}

impl Offset {
    /// Takes the time of a message that has just come. Old differences are forgotten: clocks drift.
    pub(super) fn take(&mut self, sent_us: i64, now: Instant) -> i64 {
        let new = heartbeat::now_us().saturating_sub(sent_us);
        let kept = self.least.filter(|(least, at)| {
            *least <= new && now.duration_since(*at) < Duration::from_secs(CLOCK_OFFSET_S)
        });
        self.least.insert(kept.unwrap_or((new, now))).0
    }
}

/// Sends heartbeats until the capture ends.
pub(super) fn run(shared: &Shared) {
    let every = Duration::from_millis(shared.options.heartbeat_ms);
    {
        let mut status = shared.status();
        status.pulse.sending = Sending::Waiting;
        status.pulse.every_ms = shared.options.heartbeat_ms;
    }
    let mut conn = None;
    let mut due = every;
    while !is_quit(shared, due) {
        let began = Instant::now();
        let sent = beat(shared, &mut conn);
        let mut status = shared.status();
        let pulse = &mut status.pulse;
        if pulse.sending != Sending::On {
            pulse.since_us = heartbeat::now_us();
        }
        pulse.sending = match sent {
            Ok(()) => Sending::On,
            Err(error) => {
                conn = None;
                Sending::Refused(crate::error::Coded::report(&error))
            }
        };
        drop(status);
        due = every.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
    }
}

/// Sleeps; true when the capture ends.
fn is_quit(shared: &Shared, sleep: Duration) -> bool {
    // A wait that fails only makes the next heartbeat come early.
    let woken = wait(None, false, false, Some(&shared.quit), Some(sleep));
    shared.stopping() || shared.has_failed() || woken.is_ok_and(|ready| ready.woken)
}

/// Sends one. A connection that was lost since the last one (a server may end sessions that are
/// idle) is made again at once.
fn beat(shared: &Shared, conn: &mut Option<Guarded<'static>>) -> Result<(), Error> {
    let had = conn.is_some();
    match beat_once(shared, conn) {
        Err(_) if had && conn.as_ref().is_some_and(|conn| conn.is_lost()) => {
            *conn = None;
            beat_once(shared, conn)
        }
        sent => sent,
    }
}

/// Sends one, over the connection that there is or a new one.
fn beat_once(shared: &Shared, conn: &mut Option<Guarded<'static>>) -> Result<(), Error> {
    let options = &shared.options;
    let conn = match conn {
        Some(conn) => conn,
        none => none.insert(side_connection(options, shared)?),
    };
    let content = conn.escape_literal(&heartbeat::content(&options.slot, options.heartbeat_ms))?;
    let prefix = heartbeat::PREFIX;
    let sql =
        format!("{COMMIT}; select pg_catalog.pg_logical_emit_message(true, '{prefix}', {content})");
    ask(shared, conn, &sql)
}

/// Runs a statement; ended by the capture's end, or when it takes longer than a connection may.
fn ask(shared: &Shared, conn: &Guarded<'_>, sql: &str) -> Result<(), Error> {
    let limit = Duration::from_millis(shared.options.connect_timeout_ms);
    let began = Instant::now();
    conn.send_query(sql)?;
    loop {
        while !conn.is_busy() {
            match conn.get_result() {
                Some(result) => result.into_ok().map(drop)?,
                None => return Ok(()),
            }
        }
        let left = limit.saturating_sub(began.elapsed());
        let ready = wait(conn.socket(), true, false, Some(&shared.quit), Some(left))?;
        if ready.woken || left.is_zero() {
            let timeout_ms = shared.options.connect_timeout_ms;
            return Err(Error::Stalled { timeout_ms });
        }
        conn.consume_input()?;
    }
}

/// Whether a capture is to send heartbeats: not one that is to end by itself.
pub(super) fn is_wanted(options: &super::Options) -> bool {
    options.heartbeat_ms > 0 && options.until_lsn.is_none() && options.until_idle_ms.is_none()
}
