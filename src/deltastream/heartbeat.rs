//! Heartbeats of a capture: sent over an ordinary connection, known again in the stream.
//!
//! The thread here is never in the way of the capture: where the role may not send, or the server
//! does not answer, that is a word in the status, and is tried again.

use super::Error;
use super::persistence::{FINGERPRINT, TABLES, Turned, Watch};
use super::shared::Shared;
use super::side;
use crate::daystream::Position;
use crate::daystream::heartbeat::{self, Beat, Health};
use crate::libpq::{Guarded, PgResult, wait};
use crate::limits::{CLOCK_OFFSET_S, CLOCK_STEP_US};
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
            (_, Some((beat, _))) if beat.is_ahead(now) => Health::Unknown,
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
    /// The capture's own id, see [`crate::daystream::Identity::id`]; empty: it has none.
    pub id: String,
    /// See [`Pulse::offset_us`].
    pub offset_us: i64,
}

/// What a logical message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Anybody's.
    Message,
    /// The heartbeat of another capture, which is nobody's business here.
    Other,
    /// A heartbeat of this slot without an id: of this capture before it had one, or of somebody
    /// who would like to be it.
    Former,
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
        match heartbeat::id_of(content) {
            None if !self.id.is_empty() => return Seen::Former,
            Some(id) if id != self.id.as_bytes() => return Seen::Other,
            _ => {}
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
    /// This machine's clock when it was looked at last.
    clock: Option<(i64, Instant)>,
}

impl Offset {
    /// Takes the time of a message that has just come. Old differences are forgotten: clocks drift.
    pub(super) fn take(&mut self, sent_us: i64, now: Instant) -> i64 {
        self.take_at(sent_us, now, heartbeat::now_us())
    }

    /// As [`Offset::take`], by a clock that says `now_us`. A clock that was set meanwhile, which is
    /// one that differs from what has gone by, makes all differences old.
    fn take_at(&mut self, sent_us: i64, now: Instant, now_us: i64) -> i64 {
        if let Some((then_us, then)) = self.clock.replace((now_us, now)) {
            let gone = i64::try_from(now.saturating_duration_since(then).as_micros());
            let wanted = then_us.saturating_add(gone.unwrap_or(i64::MAX));
            if (now_us.saturating_sub(wanted)).abs() > CLOCK_STEP_US {
                self.least = None;
            }
        }
        let new = now_us.saturating_sub(sent_us);
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
    let mut watch = Watch::default();
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
        // After the status: what the heartbeat says may be in the stream already.
        let looked = conn.as_ref().map_or(Ok(()), |conn| look(shared, conn, &mut watch));
        if let Err(error @ Error::Unlogged { .. }) = looked {
            shared.fail(error);
            return;
        }
        // NOTE: what else went wrong on the connection, the next heartbeat tells.
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
        none => none.insert(side::connection(options, shared)?),
    };
    let content =
        conn.escape_literal(&heartbeat::content(&options.slot, options.heartbeat_ms, shared.id()))?;
    let prefix = heartbeat::PREFIX;
    let sql =
        format!("{COMMIT}; select pg_catalog.pg_logical_emit_message(true, '{prefix}', {content})");
    ask(shared, conn, &sql).map(drop)
}

/// Looks for tables that went out of the WAL or came into it.
fn look(shared: &Shared, conn: &Guarded<'_>, watch: &mut Watch) -> Result<(), Error> {
    let Some(taken) = shared.taken() else { return Ok(()) };
    let text = |answer: Option<PgResult>| answer.and_then(|answer| answer.text(0, 0));
    let Some(fingerprint) = text(ask(shared, conn, FINGERPRINT)?) else { return Ok(()) };
    if !watch.is_new(&fingerprint) {
        return Ok(());
    }
    let Some(tables) = ask(shared, conn, TABLES)? else { return Ok(()) };
    match watch.take(fingerprint, &tables, taken) {
        Some(Turned { table, turned }) => Err(Error::Unlogged { table, turned }),
        None => Ok(()),
    }
}

/// Asks within the time that a connection may take.
fn ask(shared: &Shared, conn: &Guarded<'_>, sql: &str) -> Result<Option<PgResult>, Error> {
    side::ask(shared, conn, sql, Duration::from_millis(shared.options.connect_timeout_ms))
}

/// Whether a capture is to send heartbeats: not one that is to end by itself.
pub(super) fn is_wanted(options: &super::Options) -> bool {
    options.heartbeat_ms > 0 && options.until_lsn.is_none() && options.until_idle_ms.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_makes_old_differences_count_no_more() {
        let (mut offset, begin) = (Offset::default(), Instant::now());
        let at = |second: u64| begin + Duration::from_secs(second);
        let us = |second: i64| second * 1_000_000;
        assert_eq!(offset.take_at(us(100), at(0), us(105)), us(5));
        assert_eq!(offset.take_at(us(107), at(10), us(115)), us(5), "a message on its way");
        assert_eq!(offset.take_at(us(120), at(20), us(185)), us(65), "a minute forward");
        assert_eq!(offset.take_at(us(130), at(30), us(75)), us(-55), "and back");
        assert_eq!(offset.take_at(us(440), at(340), us(385)), us(-55));
    }
}
