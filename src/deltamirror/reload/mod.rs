//! Reload: the rows of a table copied again, or for the first time, while the mirror goes on and
//! readers read.
//!
//! What is to be done is in the file ([`due`]), who does it is the follower, between two batches of
//! the stream, for [`limits::RELOAD_SLICE_MS`] at a time. The path of a row:
//!
//! ```text
//! PostgreSQL ─COPY─► thread (copy) ─pieces, converted─► channel ─slices─► shadow table
//! stream ─lines since before the snapshot, without those that it holds─► shadow (feed)
//! shadow, exactly where the mirror is ─one transaction─► in the table's place (swap)
//! ```
//!
//! 1. A thread with a connection of its own notes the place of the stream, waits for those who
//!    wrote before, takes a snapshot and what proves it, and copies ([`copy`]). The channel is
//!    bounded: PostgreSQL waits for SQLite, nothing is gathered.
//! 2. The follower makes the shadow `_deltamirror_new_NAME`, empty and with all its indexes, after
//!    a rehearsal of the end: what the user made and the new table cannot have is refused before a
//!    row is copied. Then it inserts pieces, slice by slice, each in a transaction of its own.
//! 3. It feeds the shadow from the stream, up to where the mirror is ([`feed`]), and waits until
//!    the mirror has passed what proves the copy: so it has all that the snapshot holds, and no
//!    reader sees the table ahead of the others.
//! 4. In one transaction, at one place of the stream: the shadow in the table's place
//!    ([`super::swap`]), its row in `_deltamirror_table`, the generation, and it is due no longer.
//! 5. What is left of the old table is removed in slices ([`sweep`]).
//!
//! Killed anywhere it begins again: the shadow is removed, the old table was never touched. Each
//! slice makes sure that it is still the one who is at it: asked for again, or done by somebody
//! else, it gives up. What hinders it (no connection, a view in the way) is noted and told, and it
//! is tried again after a pause that grows; the mirror goes on.
//!
//! The old table is followed in its old shape meanwhile; what does not fit it is passed over and
//! counted ([`super::tables`]).

mod copy;
pub(super) mod due;
mod feed;
mod place;
mod sweep;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::copy::{Copy, Message};
use self::feed::{Feeding, Reached};
use self::place::Made;
use super::busy::{Patience, roll_back};
use super::state;
use super::swap::{Mode, Put};
use super::{Error, StreamSource, copied};
use crate::libpq::Conninfo;
use crate::pg_sqlite;
use crate::schema::TableName;
use crate::sqlite::Db;
use crate::{failpoint, limits};

pub(super) use self::copy::Raise;
pub use self::due::{Due, request};

/// What it needs of the one who follows.
#[derive(Debug, Clone)]
pub struct Reloading {
    /// Where rows are copied from.
    pub conninfo: Conninfo,
    /// How they come into a table that is there; `None`: by difference where it has triggers.
    pub fill: Option<Mode>,
}

/// What it tells.
#[derive(Debug)]
pub(super) enum Told<'a> {
    /// It begins.
    Begun { table: &'a str, reason: &'a str },
    /// Rows so far.
    Rows { table: &'a str, rows: u64 },
    /// The new copy is in place.
    Done { table: &'a str, rows: u64, put: &'a Put },
    /// It is tried again after a pause.
    Hindered { table: &'a str, error: Error, pause: Duration },
}

/// When it wants to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// At once.
    Now,
    /// When it is raised, when the mirror has moved, or after that time.
    Later(Option<Duration>),
}

/// How long it waits for a lock: somebody else writes, and it has time.
const PATIENCE: Duration = Duration::from_millis(50);

/// The reloads of a mirror, one after the other.
pub(super) struct Reloads<'db> {
    db: &'db Db,
    with: Reloading,
    source: StreamSource,
    raise: Raise,
    /// Where SQLite keeps a WAL, and the size past which it is waited for.
    wal: Option<(PathBuf, u64)>,
    current: Option<Current<'db>>,
    /// Tables that were hindered.
    pauses: HashMap<TableName, Pause>,
    /// There may be something to remove.
    sweeps: bool,
}

/// A table that was hindered, until it is tried again, or asked for again.
struct Pause {
    until: Instant,
    length: Duration,
    /// When what was hindered was asked for.
    asked_us: i64,
}

/// The one that goes on.
struct Current<'db> {
    source: TableName,
    /// Its name in SQLite.
    name: String,
    /// Used once.
    maker: String,
    asked_us: i64,
    fill: Option<Mode>,
    rows: u64,
    told: u64,
    stage: Stage<'db>,
}

enum Stage<'db> {
    /// The thread copies.
    Copying { copy: Copy, made: Option<Box<Made>>, pending: Option<Message> },
    /// Everything copied is there.
    Feeding(Box<Feeding<'db>>),
    /// It came to nothing.
    Over,
}

/// What became of a slice.
enum Slice {
    Go(Next),
    /// Somebody else is at it now, or it is not to be done any more.
    GivenUp,
}

impl<'db> Reloads<'db> {
    /// For the mirror in `db`; `raise` wakes the follower, `wal_bytes_max` is the size of SQLite's
    /// WAL past which nothing more is written.
    pub(super) fn new(
        db: &'db Db,
        with: Reloading,
        source: StreamSource,
        raise: Raise,
        wal_bytes_max: u64,
    ) -> Reloads<'db> {
        let wal = db.file().map(|file| {
            let mut name = file.into_os_string();
            name.push("-wal");
            (PathBuf::from(name), wal_bytes_max / 2)
        });
        let (current, pauses) = (None, HashMap::new());
        Reloads { db, with, source, raise, wal, current, pauses, sweeps: true }
    }

    /// Whether it is at something, and the stream should not keep it waiting for long.
    pub(super) const fn is_busy(&self) -> bool {
        self.current.is_some() || self.sweeps
    }

    /// Goes on for a slice, between two batches.
    pub(super) fn step(
        &mut self,
        stop: &std::sync::atomic::AtomicBool,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Next {
        let patience = Patience { budget: PATIENCE, stop };
        let went = self.slice(patience, tell);
        if self.db.in_transaction() {
            roll_back(self.db);
        }
        match went {
            Ok(Slice::Go(next)) => next,
            Ok(Slice::GivenUp) => {
                (self.current, self.sweeps) = (None, true);
                Next::Now
            }
            // At its beginning: nothing is lost.
            Err(Error::Busy { .. }) => Next::Later(Some(PATIENCE)),
            Err(Error::Stopped) => Next::Later(None),
            Err(error) => self.hindered(error, patience, tell),
        }
    }

    fn slice(
        &mut self,
        patience: Patience<'_>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Slice, Error> {
        if !self.has_room()? {
            return Ok(Slice::Go(Next::Later(Some(Duration::from_millis(100)))));
        }
        match &mut self.current {
            None if self.sweeps => self.sweep(patience),
            None => self.begin(patience, tell),
            Some(Current { stage: Stage::Copying { .. }, .. }) => self.copy(patience, tell),
            Some(_) => self.feed(patience, tell),
        }
    }

    /// A reader that stays keeps SQLite's WAL from beginning anew: then the changes of the stream
    /// come first.
    fn has_room(&self) -> Result<bool, Error> {
        let Some((wal, most)) = self.wal.as_ref().filter(|_| self.is_busy()) else {
            return Ok(true);
        };
        if wal.metadata().is_ok_and(|wal| wal.len() > *most) {
            let sql = "PRAGMA main.wal_checkpoint(TRUNCATE)";
            return Ok(self.db.query_int(sql, &[])? == Some(0));
        }
        Ok(true)
    }

    /// Removes a part of what is no longer needed.
    fn sweep(&mut self, patience: Patience<'_>) -> Result<Slice, Error> {
        let Some(table) = sweep::left(self.db)? else {
            self.sweeps = false;
            return Ok(Slice::Go(Next::Now));
        };
        patience.begin(self.db)?;
        sweep::sweep(self.db, &table, slice_time())?;
        commit(self.db, patience)?;
        failpoint::pass(failpoint::RELOAD_SWEPT);
        Ok(Slice::Go(Next::Now))
    }

    /// Begins with the next table, if there is one.
    fn begin(
        &mut self,
        patience: Patience<'_>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Slice, Error> {
        let due = due::list(self.db)?;
        self.pauses.retain(|table, pause| {
            due.iter().any(|due| due.source == *table && due.asked_us == pause.asked_us)
        });
        let now = Instant::now();
        let waits = |due: &Due| self.pauses.get(&due.source).map(|pause| pause.until);
        let Some(next) = due.iter().find(|due| waits(due).is_none_or(|until| until <= now)) else {
            let soonest = due.iter().filter_map(waits).min();
            return Ok(Slice::Go(Next::Later(soonest.map(|until| until - now))));
        };
        let maker = used_once();
        patience.begin(self.db)?;
        if !due::begin(self.db, &next.source, &maker)? {
            return Ok(Slice::GivenUp);
        }
        commit(self.db, patience)?;
        let name = next.name();
        tell(Told::Begun { table: &name, reason: &next.reason });
        let limit = self.db.length_limit();
        let (source, rows, told) = (next.source.clone(), 0, 0);
        let copy = Copy::start(&self.with.conninfo, &self.source, &source, limit, &self.raise);
        let (stage, started) = match copy {
            Ok(copy) => (Stage::Copying { copy, made: None, pending: None }, Ok(())),
            Err(error) => (Stage::Over, Err(error)),
        };
        let (asked_us, fill) = (next.asked_us, next.fill.or(self.with.fill));
        self.current = Some(Current { source, name, maker, asked_us, fill, rows, told, stage });
        started.map(|()| Slice::Go(Next::Later(None)))
    }

    /// Takes what the thread has copied.
    fn copy(
        &mut self,
        patience: Patience<'_>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Slice, Error> {
        let db = self.db;
        let Some(Current { source, name, maker, rows, told, stage, .. }) = &mut self.current else {
            return Ok(Slice::GivenUp);
        };
        let Stage::Copying { copy, made, pending } = stage else { return Ok(Slice::GivenUp) };
        let (began, mut open, mut next) = (Instant::now(), false, Next::Now);
        while began.elapsed() < slice_time() {
            // NOTE: it stays where it is while the file is locked.
            let Some(message) = pending.take().or_else(|| copy.take()) else {
                next = Next::Later(None);
                break;
            };
            match message {
                Message::Failed(error) => return Err(*error),
                Message::Done if open => {
                    *pending = Some(Message::Done);
                    break;
                }
                Message::Done => {
                    if let Err(error) = patience.begin(db) {
                        *pending = Some(Message::Done);
                        return Err(error);
                    }
                    let Some(made) = made.take() else { break };
                    let Made { begun, shadow, .. } = *made;
                    if !due::go_on(db, source, maker, *rows)? {
                        return Ok(Slice::GivenUp);
                    }
                    copied::index_rows(db, &shadow, &begun.published, *rows)?;
                    commit(db, patience)?;
                    failpoint::pass(failpoint::RELOAD_COPIED);
                    let feeding = Feeding::new(db, &shadow.name, &begun, *rows)?;
                    *stage = Stage::Feeding(Box::new(feeding));
                    return Ok(Slice::Go(Next::Now));
                }
                Message::Begun(begun) => {
                    if let Err(error) = patience.begin(db) {
                        *pending = Some(Message::Begun(begun));
                        return Err(error);
                    }
                    if !due::go_on(db, source, maker, 0)? {
                        return Ok(Slice::GivenUp);
                    }
                    *made = Some(Box::new(place::make(db, *begun, source, name)?));
                    commit(db, patience)?;
                    failpoint::pass(failpoint::RELOAD_BEGUN);
                }
                Message::Rows(piece) => {
                    if !open && let Err(error) = patience.begin(db) {
                        *pending = Some(Message::Rows(piece));
                        return Err(error);
                    }
                    if !open && !due::go_on(db, source, maker, *rows)? {
                        return Ok(Slice::GivenUp);
                    }
                    open = true;
                    let Some(made) = made else { continue };
                    let Made { into, columns, .. } = &**made;
                    let inserted = pg_sqlite::pieces::insert(db, into, columns, piece);
                    *rows +=
                        inserted.map_err(|source| Error::Copy { table: name.clone(), source })?;
                }
            }
        }
        if open {
            due::go_on(db, source, maker, *rows)?;
            failpoint::pass(failpoint::RELOAD_ROWS_BEFORE);
            commit(db, patience)?;
            failpoint::pass(failpoint::RELOAD_ROWS_AFTER);
        }
        if *rows >= *told + limits::MIRROR_PROGRESS_ROWS {
            *told = *rows;
            tell(Told::Rows { table: name, rows: *rows });
        }
        Ok(Slice::Go(next))
    }

    /// Takes what the stream has brought since, and ends it where the mirror is.
    fn feed(
        &mut self,
        patience: Patience<'_>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Slice, Error> {
        let db = self.db;
        let Some(Current { source, maker, rows, stage, .. }) = &mut self.current else {
            return Ok(Slice::GivenUp);
        };
        let Stage::Feeding(feeding) = stage else { return Ok(Slice::GivenUp) };
        patience.begin(db)?;
        if !due::go_on(db, source, maker, *rows)? {
            return Ok(Slice::GivenUp);
        }
        let Some(stream) = state::stream(db)? else {
            return Err(Error::State { what: "the row of the stream is gone".to_owned() });
        };
        let reached = feeding.take(&self.source, &stream, patience, slice_time())?;
        failpoint::pass(failpoint::RELOAD_FED);
        if reached == Reached::Here {
            return self.put(patience, tell);
        }
        commit(db, patience)?;
        Ok(Slice::Go(match reached {
            Reached::Starved => Next::Later(Some(Duration::from_millis(100))),
            Reached::Unproven => Next::Later(Some(Duration::from_millis(500))),
            Reached::More | Reached::Here => Next::Now,
        }))
    }

    /// Puts the shadow in the table's place, in the transaction in hand, and commits.
    fn put(
        &mut self,
        patience: Patience<'_>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Slice, Error> {
        self.sweeps = true;
        let Some(current) = &mut self.current else { return Ok(Slice::GivenUp) };
        let Stage::Feeding(feeding) = std::mem::replace(&mut current.stage, Stage::Over) else {
            return Ok(Slice::GivenUp);
        };
        let name = current.name.clone();
        let put = place::put(self.db, &current.source, &name, *feeding, current.fill)?;
        failpoint::pass(failpoint::RELOAD_SWAP_BEFORE);
        commit(self.db, patience)?;
        failpoint::pass(failpoint::RELOAD_SWAP_AFTER);
        let rows = current.rows;
        self.pauses.remove(&current.source);
        self.current = None;
        tell(Told::Done { table: &name, rows, put: &put });
        Ok(Slice::Go(Next::Now))
    }

    /// Ends what goes on, and tries it again after a pause.
    fn hindered(
        &mut self,
        error: Error,
        patience: Patience<'_>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Next {
        let [least, most] = limits::RELOAD_PAUSE_MS.map(Duration::from_millis);
        self.sweeps = true;
        let Some(Current { source, name, asked_us, .. }) = self.current.take() else {
            return Next::Later(Some(least));
        };
        let pause = self.pauses.get(&source).map_or(least, |last| (last.length * 2).min(most));
        let until = Instant::now() + pause;
        self.pauses.insert(source.clone(), Pause { until, length: pause, asked_us });
        let noted = patience.begin(self.db).and_then(|()| {
            due::hindered(self.db, &source, &error)?;
            commit(self.db, patience)
        });
        if noted.is_err() {
            roll_back(self.db);
        }
        tell(Told::Hindered { table: &name, error, pause });
        Next::Now
    }
}

fn slice_time() -> Duration {
    Duration::from_millis(limits::RELOAD_SLICE_MS)
}

/// Commits. What was taken from the thread or the stream is lost when that fails.
fn commit(db: &Db, patience: Patience<'_>) -> Result<(), Error> {
    let budget = Duration::from_millis(limits::MIRROR_BUSY_MS);
    match (Patience { budget, ..patience }).commit(db) {
        Err(Error::Busy { source, .. }) => Err(Error::Sqlite(source)),
        committed => committed,
    }
}

/// A word that nobody else has.
fn used_once() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
