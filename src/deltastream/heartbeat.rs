//! Heartbeats of a capture: sent over an ordinary connection, known again in the stream.
//!
//! The thread here is never in the way of the capture: where the role may not send, or the server
//! does not answer, that is a word in the status, and is tried again.

use super::Error;
use super::catalog::{self, Meaning};
use super::persistence::{FINGERPRINT, TABLES, Turned, Watch};
use super::pgoutput::Schema;
use super::shared::Shared;
use super::side;
use crate::daystream::Position;
use crate::daystream::heartbeat::{self, Beat, Health};
use crate::libpq::{Guarded, PgResult, wait};
use crate::limits::{CLOCK_OFFSET_S, CLOCK_STEP_US, LOOK_AGAIN_MS, LOOK_MS};
use deltaflood::Change;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at the catalogs that somebody asks for.
const LOOK_PAUSE: Duration = Duration::from_millis(LOOK_MS);

/// Between two that see nothing yet, at most.
const LOOK_AGAIN: Duration = Duration::from_millis(LOOK_AGAIN_MS);

/// The snapshot that a statement sees by: which transactions.
const SNAPSHOT: &str = "pg_catalog.txid_current_snapshot()::pg_catalog.text";

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
    /// What only the capture knows: by which its word of the catalogs is known. Empty: none is.
    pub key: String,
    /// Milliseconds between two of its heartbeats; 0: it sends none.
    pub every_ms: u64,
    /// See [`Pulse::offset_us`].
    pub offset_us: i64,
    /// Transactions in which somebody has asked for a look at the catalogs; 0: outside of any.
    pub asked: Vec<u32>,
}

/// What a logical message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Anybody's.
    Message,
    /// The heartbeat of another capture, which is nobody's business here.
    Other,
    /// A heartbeat of this slot without an id, or of another pace: of this capture before it had
    /// one, or this one, or of somebody who would like to be it.
    Former,
    /// Ours, as far as it is known before its commit.
    Own(Beat),
    /// Our own word of definitions that the catalogs have: [`Stamp::definitions`].
    Definitions,
    /// Somebody asks for a look at the catalogs.
    Look,
}

impl Stamp {
    /// Looks at a message.
    #[must_use]
    pub fn look(&self, prefix: &[u8], content: &[u8]) -> Seen {
        if prefix == catalog::PREFIX.as_bytes() {
            return match catalog::meaning(content, (&self.id, &self.key), &self.slot) {
                Meaning::Lines(_) => Seen::Definitions,
                Meaning::Look => Seen::Look,
                Meaning::Nothing => Seen::Other,
            };
        }
        if prefix != heartbeat::PREFIX.as_bytes() {
            return Seen::Message;
        }
        if !heartbeat::is_of(content, &self.slot) {
            return Seen::Other;
        }
        match heartbeat::id_of(content) {
            None if !self.id.is_empty() => return Seen::Former,
            Some(id) if id != self.id.as_bytes() => return Seen::Other,
            // NOTE: what the id is, a role may read, and have a stream that stalls look alive by
            // the word that no heartbeat is due yet.
            Some(_) if self.every_ms > 0 && content != self.content().as_bytes() => {
                return Seen::Former;
            }
            _ => {}
        }
        let (position, received_us) = (Position::MIN, heartbeat::now_us());
        let (every_ms, commit_us, offset_us) = (0, 0, self.offset_us);
        Seen::Own(Beat { position, every_ms, commit_us, received_us, offset_us })
    }
}

impl Stamp {
    /// Of a capture.
    pub(super) fn of(slot: &str, shared: &Shared) -> Stamp {
        Stamp {
            slot: slot.to_owned(),
            id: shared.id().to_owned(),
            key: shared.key().to_owned(),
            every_ms: shared.options.heartbeat_ms,
            ..Stamp::default()
        }
    }

    /// What its own heartbeats are.
    fn content(&self) -> String {
        heartbeat::content(&self.slot, self.every_ms, &self.id)
    }

    /// The definitions in the content of a message that is [`Seen::Definitions`].
    #[must_use]
    pub fn definitions(&self, content: &[u8]) -> Vec<Arc<Schema>> {
        let Meaning::Lines(lines) = catalog::meaning(content, (&self.id, &self.key), &self.slot)
        else {
            return Vec::new();
        };
        let read = |line: &Vec<u8>| Some(Arc::new(Schema::of(&Change::parse(line).ok()?)?));
        lines.iter().filter_map(read).collect()
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
    let mut heart = Heart::default();
    // What was altered while no capture ran.
    if let Err(error) = heart.look(shared) {
        shared.fail(error);
        return;
    }
    let mut next = Instant::now() + every;
    let (mut patience, mut again) = (LOOK_PAUSE, None);
    loop {
        let until = again.map_or(next, |again: Instant| again.min(next));
        if pause(shared, until.saturating_duration_since(Instant::now())) {
            return heart.catalog.keep(shared);
        }
        // NOTE: any role may ask for looks, as often as it likes: that must keep no heartbeat from
        // being sent.
        let beat = Instant::now() >= next;
        if beat {
            next = Instant::now() + every;
            heart.beat(shared);
        }
        // After the status: what the heartbeat says may be in the stream already.
        let looked = match heart.look(shared) {
            Ok(looked) => looked,
            Err(error) => return shared.fail(error),
        };
        // NOTE: who asked and is not seen yet, or held what was to be looked at, is not forgotten.
        // A look that failed is left to the next heartbeat.
        let open = looked && shared.asked().is_open();
        again = open.then(|| Instant::now() + patience);
        patience = if open { (patience * 2).min(LOOK_AGAIN) } else { LOOK_PAUSE };
        if !beat {
            // Who asks meanwhile is heard afterwards. A wait that fails only makes it come early.
            let _ = wait(None, false, false, Some(&shared.quit), Some(LOOK_PAUSE));
        }
    }
}

/// Sleeps until something is due, a look is asked for, or the capture ends. True: it ends.
fn pause(shared: &Shared, sleep: Duration) -> bool {
    // A wait that fails only makes the next heartbeat come early.
    let woken = wait(None, false, false, Some(&shared.heart), Some(sleep));
    let quit = wait(None, false, false, Some(&shared.quit), Some(Duration::ZERO));
    if shared.stopping() || shared.has_failed() || quit.is_ok_and(|ready| ready.woken) {
        return true;
    }
    if woken.is_ok_and(|ready| ready.woken) {
        shared.heart.clear();
    }
    false
}

/// The connection, and what was seen over it.
#[derive(Default)]
struct Heart {
    conn: Option<Guarded<'static>>,
    logged: Watch,
    catalog: catalog::Watch,
}

impl Heart {
    /// Sends a heartbeat, and puts in the status whether the server took it.
    fn beat(&mut self, shared: &Shared) {
        let sent = self.send(shared);
        let mut status = shared.status();
        let pulse = &mut status.pulse;
        if pulse.sending != Sending::On {
            pulse.since_us = heartbeat::now_us();
        }
        pulse.sending = match sent {
            Ok(()) => Sending::On,
            Err(error) => {
                self.lose();
                Sending::Refused(crate::error::Coded::report(&error))
            }
        };
    }

    /// Gives the connection up.
    fn lose(&mut self) {
        self.conn = None;
        self.catalog.lose();
    }

    /// Sends one. A connection that was lost since the last one (a server may end sessions that are
    /// idle) is made again at once.
    fn send(&mut self, shared: &Shared) -> Result<(), Error> {
        let had = self.conn.is_some();
        match send_once(shared, &mut self.conn) {
            Err(_) if had && self.conn.as_ref().is_some_and(|conn| conn.is_lost()) => {
                self.lose();
                send_once(shared, &mut self.conn)
            }
            sent => sent,
        }
    }

    /// Looks for tables that went out of the WAL or came into it, and at what else was altered
    /// without a word. False: that could not be done, which costs the connection; the next
    /// heartbeat tells why.
    ///
    /// # Errors
    /// `STREAM UNLOGGED`.
    fn look(&mut self, shared: &Shared) -> Result<bool, Error> {
        match self.try_look(shared) {
            Err(error @ Error::Unlogged { .. }) => Err(error),
            Err(_) => {
                self.lose();
                Ok(false)
            }
            Ok(()) => Ok(true),
        }
    }

    fn try_look(&mut self, shared: &Shared) -> Result<(), Error> {
        let conn = match &self.conn {
            Some(conn) => conn,
            None => self.conn.insert(side::connection(&shared.options, shared)?),
        };
        let question = catalog::Watch::question(shared, conn)?;
        let question = format!("{FINGERPRINT}, {question}, {SNAPSHOT}");
        let Some(answer) = ask(shared, conn, &question)? else { return Ok(()) };
        if let (Some(logged), Some(taken)) = (answer.text(0, 0), shared.taken())
            && self.logged.is_new(&logged)
            && let Some(tables) = ask(shared, conn, TABLES)?
            && let Some(Turned { table, turned }) = self.logged.take(logged, &tables, taken)
        {
            return Err(Error::Unlogged { table, turned });
        }
        if self.catalog.look(shared, conn, answer.text(0, 1))? {
            shared.asked().looked(&answer.text(0, 2).unwrap_or_default());
        }
        Ok(())
    }
}

/// Sends a heartbeat, over the connection that there is or a new one.
fn send_once(shared: &Shared, conn: &mut Option<Guarded<'static>>) -> Result<(), Error> {
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
