//! Heartbeats: small transactions that a capture has PostgreSQL write at a fixed pace, and that go
//! the whole way as changes do. Where they get through and how late tells *stalled* from *slow*
//! from *idle*.
//!
//! A heartbeat is a transaction of one `message` line and its commit line:
//! ```text
//! prefix pgsqlite.heartbeat content {every_ms 10000 id I slot S} received_us T offset_us O
//! ```
//! `received_us` is when the capture had it, by its own clock; `offset_us` how much that clock is
//! ahead of the server's, as far as the capture can tell; both are written by the capture. The
//! commit line's `_time` is the server's.

use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use deltaflood::{Change, Verb};

use super::remote::Link;
use super::{Entry, Error, Feed, Identity, Position, ReaderOptions, Source, Start};
use crate::limits::{HEARTBEAT_AHEAD_MS, HEARTBEAT_MISSED, HEARTBEAT_SLOW_MS, HEARTBEAT_TAIL_S};

/// Prefix of the logical message.
pub const PREFIX: &str = "pgsqlite.heartbeat";

/// Content of the message of a slot's capture, which is known by its `id`.
#[must_use]
pub fn content(slot: &str, every_ms: u64, id: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!("id {id} ") };
    format!("every_ms {every_ms} {id}slot {slot}")
}

/// The id of the capture that a message of this content comes from.
#[must_use]
pub fn id_of(content: &[u8]) -> Option<&[u8]> {
    let mut words = content.split(|byte| *byte == b' ').skip(2);
    (words.next() == Some(b"id")).then(|| words.next())?
}

/// Whether a message of this content comes from the capture of `slot`.
#[must_use]
pub fn is_of(content: &[u8], slot: &str) -> bool {
    let name = content.rsplit(|byte| *byte == b' ').next();
    name == Some(slot.as_bytes())
}

/// A heartbeat that has got through to a reader. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Position of its commit line.
    pub position: Position,
    /// Milliseconds between two of them.
    pub every_ms: u64,
    /// When it was committed, by the server's clock.
    pub commit_us: i64,
    /// When the capture had it, by the capture's clock.
    pub received_us: i64,
    /// How much the capture's clock is ahead of the server's.
    pub offset_us: i64,
}

impl Beat {
    /// From commit to capture, in milliseconds, the difference of the clocks taken off.
    #[must_use]
    pub fn capture_lag_ms(&self) -> u64 {
        let lag = self.received_us.saturating_sub(self.offset_us).saturating_sub(self.commit_us);
        u64::try_from(lag / 1000).unwrap_or(0)
    }

    /// Milliseconds from when the capture had it to `then_us`, by a clock like the capture's.
    #[must_use]
    pub fn age_ms(&self, then_us: i64) -> u64 {
        u64::try_from(then_us.saturating_sub(self.received_us) / 1000).unwrap_or(0)
    }

    /// Milliseconds from when the capture had it to `then_us`; negative when that clock is behind
    /// the capture's.
    #[must_use]
    pub const fn seen_ms(&self, then_us: i64) -> i64 {
        then_us.saturating_sub(self.received_us) / 1000
    }

    /// Whether it comes from the future of a clock: nobody can say by that clock how old it is.
    #[must_use]
    pub const fn is_ahead(&self, now_us: i64) -> bool {
        self.seen_ms(now_us) < -HEARTBEAT_AHEAD_MS
    }

    /// Milliseconds after which the next one is missed for good.
    #[must_use]
    pub const fn patience_ms(&self) -> u64 {
        self.every_ms.saturating_mul(HEARTBEAT_MISSED)
    }
}

/// Tells heartbeats from everything else, entry by entry.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heartbeats {
    open: Option<Beat>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No part of a heartbeat.
    Change,
    /// A heartbeat's line; more follows.
    Part,
    /// The end of a heartbeat.
    Beat(Beat),
}

impl Heartbeats {
    /// Takes the next entry of a reader.
    pub fn take(&mut self, entry: &Entry<'_>) -> Kind {
        if let Some(mut beat) = self.open.take() {
            beat.position = entry.position;
            beat.commit_us = entry.change.time.unwrap_or(beat.received_us);
            return Kind::Beat(beat);
        }
        if entry.transaction.lines == 2 && !entry.end {
            self.open = read(&entry.change);
        }
        if self.open.is_some() { Kind::Part } else { Kind::Change }
    }
}

/// The heartbeat of a line, without position and commit time.
fn read(change: &Change<'_>) -> Option<Beat> {
    if change.verb != Verb::Message {
        return None;
    }
    let mut beat = None;
    for column in change.columns() {
        let (name, value) = column.ok()?;
        let value = value.decode();
        match name.raw() {
            b"prefix" if *value != *PREFIX.as_bytes() => return None,
            b"prefix" => {
                let position = Position::MIN;
                let (every_ms, commit_us, received_us, offset_us) = (0, 0, 0, 0);
                beat = Some(Beat { position, every_ms, commit_us, received_us, offset_us });
            }
            b"content" => beat.as_mut()?.every_ms = number(value.split(|b| *b == b' ').nth(1)?)?,
            b"received_us" => beat.as_mut()?.received_us = number(&value)?,
            b"offset_us" => beat.as_mut()?.offset_us = number(&value)?,
            _ => {}
        }
    }
    beat.filter(|beat| beat.every_ms > 0)
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The newest heartbeat of a stream, and what came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The heartbeat.
    pub beat: Beat,
    /// Commit time of the last transaction near it that is none, by the server's clock.
    pub changed_us: Option<i64>,
}

impl Tail {
    /// The tail of a stream; `None` when its end has no heartbeat: as far back as one must be by
    /// the pace that the stream tells, a minute at least.
    ///
    /// # Errors
    /// Those of [`Feed::open`] and [`Feed::next`].
    pub fn of(source: &Source) -> Result<Option<Tail>, Error> {
        let stop = AtomicBool::new(false);
        let open =
            |start| Feed::open(source, start, ReaderOptions::default(), Link::Patient, &stop);
        let at_end = open(Start::End)?;
        let Some(end) = at_end.position() else { return Ok(None) };
        let every_ms = match source {
            Source::Folder(dir) => Identity::load(dir)?.map(|identity| identity.heartbeat_ms),
            Source::Url(_) => at_end.identity().map(|identity| identity.heartbeat_ms),
        };
        drop(at_end);
        // What has been committed meanwhile, and the one that is late, come behind it.
        let pace_s = i64::try_from(every_ms.unwrap_or(0) / 1000).unwrap_or(i64::MAX);
        let most = pace_s.saturating_add(HEARTBEAT_TAIL_S);
        let mut back = HEARTBEAT_TAIL_S;
        loop {
            let from = Start::Clock(end.clock.saturating_sub(back));
            let (opened, is_all) = match open(from) {
                // NOTE: retention has come so near that this begins with a gap.
                Err(Error::Gap { .. }) => (open(Start::Begin)?, true),
                opened => (opened?, false),
            };
            let tail = Tail::read(opened)?;
            if tail.is_some() || is_all || back >= most {
                return Ok(tail);
            }
            back = back.saturating_mul(4).min(most);
        }
    }

    /// The newest heartbeat that comes yet.
    fn read(mut reader: Feed) -> Result<Option<Tail>, Error> {
        let (mut beats, mut last, mut changed_us) = (Heartbeats::default(), None, None);
        loop {
            reader.arrive()?;
            let Some(entry) = reader.next()? else { break };
            match beats.take(&entry) {
                Kind::Beat(beat) => last = Some(beat),
                Kind::Change if entry.end => changed_us = entry.change.time.max(changed_us),
                _ => {}
            }
        }
        Ok(last.map(|beat| Tail { beat, changed_us }))
    }
}

/// How changes get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// There are no heartbeats to tell by.
    #[default]
    Unknown,
    /// No heartbeat for several intervals.
    Stalled,
    /// Heartbeats come, and late.
    Slow,
    /// Heartbeats come, and nothing else.
    Idle,
    /// Heartbeats come in time, and so do changes.
    Live,
}

impl Health {
    /// The word for it in a status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Stalled => "stalled",
            Health::Slow => "slow",
            Health::Idle => "idle",
            Health::Live => "live",
        }
    }

    /// By the newest heartbeat, which has got here `age_ms` ago and was `lag_ms` late, and the
    /// commit time of the last transaction that was none.
    #[must_use]
    pub fn of(beat: &Beat, age_ms: u64, lag_ms: u64, changed_us: Option<i64>) -> Health {
        let every_us = i64::try_from(beat.every_ms).unwrap_or(0).saturating_mul(1000);
        let quiet = beat.commit_us.saturating_sub(every_us);
        if age_ms > beat.patience_ms() {
            Health::Stalled
        } else if lag_ms >= HEARTBEAT_SLOW_MS {
            Health::Slow
        } else if changed_us.is_none_or(|changed| changed < quiet) {
            Health::Idle
        } else {
            Health::Live
        }
    }

    /// Of a stream, by its tail, now.
    #[must_use]
    pub fn of_stream(tail: Option<&Tail>) -> Health {
        tail.map_or(Health::Unknown, |Tail { beat, changed_us }| {
            let now = now_us();
            if beat.is_ahead(now) {
                return Health::Unknown;
            }
            Health::of(beat, beat.age_ms(now), beat.capture_lag_ms(), *changed_us)
        })
    }
}

/// Microseconds since the Unix epoch, by this machine's clock.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat() -> Beat {
        let position = Position::MIN;
        let (commit_us, received_us) = (100_000_000, 103_500_000);
        Beat { position, every_ms: 10_000, commit_us, received_us, offset_us: 3_400_000 }
    }

    #[test]
    fn the_difference_of_clocks_is_no_lag() {
        assert_eq!(beat().capture_lag_ms(), 100);
        assert_eq!(Beat { offset_us: 9_000_000, ..beat() }.capture_lag_ms(), 0);
        assert_eq!(beat().age_ms(104_500_000), 1000);
        assert_eq!((beat().seen_ms(103_400_000), beat().is_ahead(103_400_000)), (-100, false));
        assert!(beat().is_ahead(100_000_000));
    }

    #[test]
    fn stalled_slow_idle_and_live_are_told_apart() {
        let health = |age, lag, changed| Health::of(&beat(), age, lag, changed);
        assert_eq!(health(30_001, 0, None), Health::Stalled);
        assert_eq!(health(30_000, HEARTBEAT_SLOW_MS, None), Health::Slow);
        assert_eq!(health(0, 0, None), Health::Idle);
        assert_eq!(health(0, 0, Some(89_999_999)), Health::Idle);
        assert_eq!(health(0, 0, Some(90_000_000)), Health::Live);
    }

    #[test]
    fn a_message_is_of_its_slot() {
        assert!(is_of(content("flights", 10_000, "").as_bytes(), "flights"));
        assert!(!is_of(content("my_flights", 10_000, "").as_bytes(), "flights"));
        assert_eq!(id_of(content("flights", 10_000, "0a").as_bytes()), Some(b"0a".as_slice()));
        assert_eq!(id_of(content("flights", 10_000, "").as_bytes()), None);
        let line = format!(
            "_xid\t7\t_action\tmessage\tprefix\t{PREFIX}\tcontent\t{}\treceived_us\t5\toffset_us\t-2",
            content("s", 250, "0a")
        );
        let read = read(&Change::parse(line.as_bytes()).unwrap()).unwrap();
        assert_eq!((read.every_ms, read.received_us, read.offset_us), (250, 5, -2));
    }
}
