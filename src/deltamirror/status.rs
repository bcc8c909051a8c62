//! How a mirror is, read from its file.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::busy::Patience;
use super::reload::due::{self, Due};
use super::state::{self, StreamState, TableState};
use super::suspended::{self, Suspended};
use super::{Error, FollowStatus, Gone, Passed, StreamSource};
use super::{first_fill, gone, kept, verbs, wanted, work};
pub(super) use crate::daystream::heartbeat::now_us;
use crate::daystream::heartbeat::{Health, Tail};
use crate::daystream::{Doing, Position, Source, Work};
use crate::error::{Class, Coded};
use crate::limits;
use crate::sqlite::Db;

/// What the file of a mirror says, and how far its stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorStatus {
    /// The stream and the position.
    pub stream: StreamState,
    /// The tables, by name.
    pub tables: Vec<TableState>,
    /// Tables that were asked for and are not filled yet, as PostgreSQL calls them.
    pub missing: Vec<String>,
    /// Tables that are to be reloaded.
    pub due: Vec<Due>,
    /// Tables that are in the stream no more, and why.
    pub gone: Vec<Gone>,
    /// Tables that stand still, and why.
    pub suspended: Vec<Suspended>,
    /// Whether the mirror is paused.
    pub paused: bool,
    /// Whether the first fill is over; before, the mirror is not followed.
    pub filled: bool,
    /// The version of the SQLite library in use.
    pub sqlite: String,
    /// Rows kept as not applied.
    pub errors: i64,
    /// End of the stream's last transaction; `None` when the stream is empty or cannot be read from
    /// here.
    pub end: Option<Position>,
    /// Milliseconds since the commit of the last applied transaction, 0 when the mirror is at the
    /// end of its stream; `None` when that cannot be known: the stream is not seen from here, the
    /// first fill is not over, nothing was applied yet, or the capture is stalled, and what it has
    /// missed nobody knows.
    pub lag_ms: Option<u64>,
    /// The stream's newest heartbeat.
    pub tail: Option<Tail>,
    /// The last heartbeat that the file says got here.
    pub beat: Option<Passed>,
    /// Who follows into the file, or how the last one ended.
    pub work: Work,
    /// Why the mirror cannot go on in its stream: code and message. Both empty: it can, or nobody
    /// knows, since the stream is not seen from here.
    pub barred: (String, String),
}

/// How changes get to a mirror, and where they do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// How.
    pub health: Health,
    /// Where it is stalled or slow: `capture` or `apply`; else empty.
    pub at: &'static str,
    /// Of the last heartbeat, from its commit to the capture, in milliseconds.
    pub capture_lag_ms: Option<u64>,
    /// Of the last heartbeat that got here, from the capture to here, in milliseconds; more when
    /// the next one is overdue. By the clocks of the two machines.
    pub apply_lag_ms: Option<u64>,
}

impl MirrorStatus {
    /// How changes get here; `follower` is how the follower of this process is, where there is one.
    /// Without, the file tells, which has a heartbeat only now and then.
    #[must_use]
    pub fn flow(&self, follower: Option<&FollowStatus>) -> Flow {
        let ended = follower.map_or(self.work.doing.has_ended(), FollowStatus::has_ended);
        let flow = self.flow_of(follower.and_then(|follower| follower.beat.as_ref()));
        // NOTE: what nobody applies, and what never will be, is neither slow nor idle.
        match flow.at {
            "capture" => flow,
            _ if ended || !self.barred.0.is_empty() => {
                Flow { health: Health::Stalled, at: "apply", ..flow }
            }
            _ => flow,
        }
    }

    fn flow_of(&self, follower: Option<&Passed>) -> Flow {
        let Some(tail) = &self.tail else {
            let (capture_lag_ms, apply_lag_ms) = (None, None);
            return Flow { health: Health::Unknown, at: "", capture_lag_ms, apply_lag_ms };
        };
        let now = now_us();
        let captured = Health::of_stream(Some(tail));
        let slack = if follower.is_some() { 0 } else { limits::MIRROR_BEAT_SAVE_MS };
        let passed = follower.or(self.beat.as_ref());
        let apply_lag_ms = passed.map(|Passed { beat, applied_us }| {
            let next = beat.age_ms(now).saturating_sub(beat.every_ms + slack);
            let waits = if beat.position < tail.beat.position { next } else { 0 };
            beat.age_ms(*applied_us).max(waits)
        });
        // NOTE: a mirror that was just made has seen none; that is no fault yet.
        let silent_ms = passed.map_or(0, |passed| passed.beat.age_ms(now));
        let waiting_ms = self.lag_ms.unwrap_or(0).max(apply_lag_ms.unwrap_or(0));
        let (health, at) = match captured {
            Health::Stalled | Health::Slow => (captured, "capture"),
            _ if silent_ms > tail.beat.patience_ms() + slack => (Health::Stalled, "apply"),
            _ if waiting_ms >= limits::HEARTBEAT_SLOW_MS => (Health::Slow, "apply"),
            _ => (captured, ""),
        };
        let capture_lag_ms = Some(tail.beat.capture_lag_ms());
        Flow { health, at, capture_lag_ms, apply_lag_ms }
    }

    /// The word for what goes on with the file, as far as it is known; `follower` is how the
    /// follower of this process is.
    #[must_use]
    pub fn state(&self, follower: Option<&FollowStatus>) -> &'static str {
        match (follower, self.work.doing) {
            (Some(follower), _) => follower.state.word(),
            (None, Doing::Failed | Doing::Gone) => self.work.doing.word(),
            _ if self.paused => "paused",
            (None, doing) if doing.is_running() => doing.word(),
            _ if !self.filled => "unfilled",
            (None, Doing::None) => "ready",
            (None, doing) => doing.word(),
        }
    }
}

impl MirrorStatus {
    /// Code and words of what keeps the mirror from going on, or else of the last failure; both
    /// empty: none is known.
    #[must_use]
    pub fn last_error<'a>(&'a self, follower: Option<&'a FollowStatus>) -> (&'a str, &'a str) {
        let (code, error) = &self.barred;
        match follower {
            _ if !code.is_empty() => (code, error),
            Some(follower) => {
                (&follower.last_code, follower.last_error.as_deref().unwrap_or_default())
            }
            None => (&self.work.code, &self.work.message),
        }
    }
}

/// Reads the status; `source` is the stream, or `None` to look where the mirror last read it. In a
/// file without a WAL a follower may hold the lock for a moment, which is waited for.
///
/// # Errors
/// [`Error::NotInitialised`], [`Error::State`], [`Error::Busy`], [`Error::Sqlite`]; with a `source`
/// also those of the stream, and [`Error::OtherServer`].
pub fn status(db: &Db, source: Option<&StreamSource>) -> Result<MirrorStatus, Error> {
    let budget = Duration::from_millis(limits::MIRROR_BUSY_MS);
    Patience { budget, stop: &AtomicBool::new(false) }.retry(|| read(db, source))
}

fn read(db: &Db, source: Option<&StreamSource>) -> Result<MirrorStatus, Error> {
    let stream = verbs::mirror(db)?;
    let opened;
    let (source, end) = match source {
        Some(source) => {
            source.check_same_stream(&stream)?;
            (Some(source), Some(source.end()?.map(|mark| mark.position)))
        }
        None => {
            opened = StreamSource::open(Source::parse(&stream.stream)).ok();
            let known = opened.as_ref().filter(|source| source.check_same_stream(&stream).is_ok());
            (known, known.and_then(|source| Some(source.end().ok()?.map(|mark| mark.position))))
        }
    };
    let more = source.map_or(Ok(false), |source| source.has_more(stream.mark()));
    let barred = match &more {
        Err(error) if error.class() != Class::Retry => (error.code().list(), error.report()),
        _ => Default::default(),
    };
    let waits = |end| end > Some(stream.position) && *more.as_ref().unwrap_or(&true);
    let tail = end.and(source).and_then(|source| source.tail().ok().flatten());
    let is_stalled =
        tail.as_ref().is_some_and(|tail| Health::of_stream(Some(tail)) == Health::Stalled);
    let filled = !first_fill::goes_on(db)?;
    let lag_ms = end.filter(|_| filled).and_then(|end| match waits(end) {
        true => (stream.commit_time > 0).then(|| since_ms(stream.commit_time)),
        false => (!is_stalled).then_some(0),
    });
    Ok(MirrorStatus {
        missing: wanted::missing(db)?.iter().map(ToString::to_string).collect(),
        due: due::list(db)?,
        gone: gone::list(db)?,
        suspended: suspended::list(db)?,
        paused: verbs::is_paused(db)?,
        filled,
        sqlite: db.query_text("SELECT sqlite_version()", &[])?.unwrap_or_default(),
        tail,
        beat: state::beat(db)?,
        work: work::of(db)?,
        barred,
        tables: state::tables(db)?,
        errors: kept::count(db)?,
        end: end.flatten(),
        lag_ms,
        stream,
    })
}

/// Milliseconds since a time in microseconds since the Unix epoch; 0 when it is in the future, by
/// this machine's clock.
pub(super) fn since_ms(time_us: i64) -> u64 {
    u64::try_from(now_us().saturating_sub(time_us) / 1000).unwrap_or(0)
}
