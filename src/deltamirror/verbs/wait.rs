//! Waiting until a mirror has what the caller has written: read your own writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deltaflood::Lsn;

use super::pause::is_paused;
use super::{Declined, change, mirror, named};
use crate::daystream::Position;
use crate::deltamirror::busy::Patience;
use crate::deltamirror::fill::Session;
use crate::deltamirror::reload::due;
use crate::deltamirror::request::{self, Watch};
use crate::deltamirror::state::{self, TableStatus};
use crate::deltamirror::status::now_us;
use crate::deltamirror::{Error, suspended};
use crate::libpq::Conninfo;
use crate::sqlite::Db;

/// The pauses between two looks at the file.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// How long the file is only looked at, before those who follow are asked to write down where they
/// are.
const ASK_AFTER: Duration = Duration::from_millis(200);

/// What is waited for: all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Awaited {
    /// Everything that was committed before this LSN, as `pg_current_wal_insert_lsn()` gives it
    /// after a commit.
    pub lsn: Option<Lsn>,
    /// Everything up to this position of the stream.
    pub position: Option<Position>,
    /// This table, as users write it, is live: the stream has passed its copy, no other copy is to
    /// be made, and it does not stand still.
    pub table: Option<String>,
    /// How long at most; `None`: for ever.
    pub timeout: Option<Duration>,
}

impl Awaited {
    fn words(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.lsn.map(|lsn| format!("LSN {lsn}")));
        words.extend(self.position.map(|p| format!("position {} {}", p.clock, p.seq)));
        words.extend(self.table.as_ref().map(|table| format!("table {table} live")));
        words.join(", ")
    }
}

/// An LSN behind everything that is committed now: writes a message into the WAL, which the stream
/// brings.
///
/// # Errors
/// [`Error::Postgres`].
pub fn written(conninfo: &Conninfo) -> Result<Lsn, Error> {
    // The message's transaction ends beyond what is returned.
    Ok(Lsn(Session::barrier(conninfo)?.0.saturating_add(1)))
}

/// A request that ends with the wait.
struct Asked<'a> {
    db: &'a Db,
    patience: Patience<'a>,
    id: i64,
    at: i64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        // What stays ends by itself.
        let _ = change(self.db, self.patience, || request::withdraw(self.db, self.id));
    }
}

/// Waits. Returns where the mirror is then.
///
/// # Errors
/// [`Declined::Late`] when the time is over, [`Declined::Suspended`] when the table stands still,
/// [`Error::Stopped`], [`Error::NotInitialised`], [`Error::Sqlite`].
pub fn wait(db: &Db, awaited: &Awaited, stop: &AtomicBool) -> Result<(Position, Lsn), Error> {
    if db.in_transaction() {
        return Err(Error::InTransaction);
    }
    let never = AtomicBool::new(false);
    let patience = Patience { budget: Duration::from_millis(500), stop: &never };
    let began = Instant::now();
    let mut watch = Watch::default();
    let mut asked: Option<Asked<'_>> = None;
    let mut pause = PAUSE;
    loop {
        if patience.retry(|| watch.is_changed(db))? && patience.retry(|| is_there(db, awaited))? {
            let stream = patience.retry(|| mirror(db))?;
            return Ok((stream.position, stream.lsn));
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let waited = began.elapsed();
        if awaited.timeout.is_some_and(|timeout| waited >= timeout) {
            return Err(late(db, awaited, waited)?);
        }
        let over = asked.as_ref().is_none_or(|a| now_us() > a.at + request::LASTS_US / 2);
        // NOTE: a table is live from the first place that is written down behind its copy.
        if over && waited >= ASK_AFTER {
            drop(asked.take());
            // Where the file cannot be written, or not now, places come when they come.
            let id = change(db, patience, || request::ask(db, &awaited.words()));
            asked = id.ok().map(|id| Asked { db, patience, id, at: now_us() });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether the mirror is there, by its file.
fn is_there(db: &Db, awaited: &Awaited) -> Result<bool, Error> {
    let stream = mirror(db)?;
    if let Some(name) = &awaited.table
        && !is_live(db, name)?
    {
        return Ok(false);
    }
    Ok(awaited.lsn.is_none_or(|lsn| stream.lsn >= lsn)
        && awaited.position.is_none_or(|position| stream.position >= position))
}

/// Whether the table is live; one that is not in the mirror may come.
fn is_live(db: &Db, name: &str) -> Result<bool, Error> {
    let states = state::tables(db)?;
    let Some(state) = states.iter().find(|s| named::is_meant(&s.source, &s.name, name)) else {
        return Ok(false);
    };
    if let Some(standing) = suspended::list(db)?.into_iter().find(|s| s.table == state.name) {
        let file = db.file().unwrap_or_default().display().to_string();
        let (table, position) = (standing.table, standing.mark.position);
        let refused = Declined::Suspended { table, position, message: standing.message, file };
        return Err(refused.into());
    }
    let is_due = due::list(db)?.iter().any(|due| due.source == state.source);
    Ok(state.status == TableStatus::Live && !is_due)
}

fn late(db: &Db, awaited: &Awaited, waited: Duration) -> Result<Error, Error> {
    let stream = mirror(db)?;
    let file = db.file().unwrap_or_default().display().to_string();
    if is_paused(db)? {
        return Ok(Declined::Paused { file }.into());
    }
    Ok(Declined::Late {
        wanted: awaited.words(),
        waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        position: stream.position,
        lsn: stream.lsn,
        file,
    }
    .into())
}
