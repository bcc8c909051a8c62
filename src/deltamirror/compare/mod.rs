//! PostgreSQL and the mirror compared at one position, while both go on.
//!
//! A round takes a snapshot of PostgreSQL, copies the tables under it into temporary tables, value
//! for value as `init` would, and joins them with the mirror's in one read transaction. A row that
//! differs is only a difference when the mirror has all that the snapshot sees, and nothing that it
//! does not see touched that row: so the mirror is waited for (a message written into the WAL says
//! when it is far enough), and the stream is read for the rows touched after the snapshot. What
//! stays open is looked at again in another round, under another snapshot.
//!
//! Limits: the temporary tables need the room of the tables on disk; [`KEYS_MAX`] differing rows
//! per table are told apart, beyond that the table differs and is not looked at again. On a
//! database without a WAL the mirror's writer waits while a round reads.

mod rows;
mod touched;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deltaflood::Lsn;

use self::rows::Found;
use super::definition::Definition;
use super::fill::Session;
use super::state::{self, StreamState, TableState};
use super::{Error, Place, StreamSource, verbs};
use crate::daystream::{self, Position, Source};
use crate::libpq::Conninfo;
use crate::limits;
use crate::schema::publication::Published;
use crate::sqlite::Db;

/// Differing rows per table that are told apart.
pub const KEYS_MAX: usize = 100_000;

/// Rounds at most.
const ROUNDS_MAX: u32 = 6;

/// What to compare.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// Tables as users write them, or as they are called in SQLite; none means all of the mirror.
    pub tables: Vec<String>,
    /// How long the mirror is waited for, over all rounds.
    pub wait: Duration,
    /// Differing rows that are named, per table.
    pub keys: usize,
}

impl Default for CompareOptions {
    fn default() -> CompareOptions {
        CompareOptions { tables: Vec::new(), wait: Duration::from_secs(10), keys: 20 }
    }
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// In PostgreSQL only.
    Missing,
    /// In the mirror only.
    Extra,
    /// In both, with other values.
    Different,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Missing => "missing",
            Kind::Extra => "extra",
            Kind::Different => "different",
        }
    }
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How.
    pub kind: Kind,
    /// The key as `column=value` pairs, or the whole row in a table without a key.
    pub key: String,
}

/// A table compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableComparison {
    /// Its name in SQLite.
    pub table: String,
    /// Rows in PostgreSQL, in the last round.
    pub rows: u64,
    /// Rows that differ.
    pub different: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Rows that were touched in every round, so that nothing can be said of them.
    pub unsettled: u64,
}

/// A table that PostgreSQL does not send any more: nothing is said of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Its name in SQLite.
    pub table: String,
    /// `dropped` or `unpublished`.
    pub why: deltaflood::Gone,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The tables, in the mirror's order.
    pub tables: Vec<TableComparison>,
    /// Tables that could not be compared, since PostgreSQL does not send them any more.
    pub gone: Vec<Absent>,
    /// Where the mirror was in the last round.
    pub position: Position,
    /// The LSN there.
    pub lsn: Lsn,
    /// Whether the mirror was seen to have all that PostgreSQL had. When it was not (nobody writes
    /// the stream, or applies it), rows may differ because they are still to come.
    pub reached: bool,
    /// Rounds needed.
    pub rounds: u32,
}

impl Comparison {
    /// Whether no row differs and none is open.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.different == 0 && table.unsettled == 0)
    }
}

/// Compares tables of the mirror with PostgreSQL. `source` is the stream, or `None` to look where
/// the mirror last read it; without any, rows touched meanwhile count as differences.
///
/// # Errors
/// [`Error::Drift`] when a table's definition is another one, [`Error::OtherServer`],
/// [`Error::OtherStream`] for a `source` that is not the mirror's,
/// [`Error::NotMirrored`], [`Error::NotInitialised`], [`Error::InTransaction`], and those of both
/// databases.
pub fn compare(
    conninfo: &Conninfo,
    db: &Db,
    source: Option<&StreamSource>,
    options: &CompareOptions,
    stop: &AtomicBool,
) -> Result<Comparison, Error> {
    if db.in_transaction() {
        return Err(Error::InTransaction);
    }
    let stream = verbs::mirror(db)?;
    let states = verbs::choose(state::tables(db)?, &options.tables)?;
    if options.tables.is_empty() {
        let tables = super::wanted::missing(db)?;
        super::wanted::check(db, &stream.stream)?;
        if !tables.is_empty() {
            let file = db.file().unwrap_or_default().display().to_string();
            return Err(Error::NotFilled { file, stream: stream.stream, tables, resync: "" });
        }
    }
    // Of another stream in the place of the mirror's nothing can be learned, as of none.
    let known = StreamSource::open(Source::parse(&stream.stream)).ok();
    let known = known.filter(|known| known.check_same_stream(&stream).is_ok());
    let source = source.or(known.as_ref());
    let mut open: Vec<Open> = states.into_iter().map(Open::new).collect();
    let named = !options.tables.is_empty();
    let mut run = Run { conninfo, db, source, stop, named, left: options.wait };
    let mut rounds = 0;
    loop {
        let outcome = run.round(&stream, &mut open, rounds)?;
        rounds += 1;
        let settled = open.iter().all(|table| table.is_settled());
        let given_up = rounds > 1 && !outcome.reached;
        if settled || given_up || rounds >= ROUNDS_MAX {
            // Equal at the first look: whether the mirror also comes to where PostgreSQL was is
            // waited for all the same, or a mirror that has nothing to do would look late.
            let reached = outcome.reached || (rounds == 1 && run.wait_for_mirror()?);
            let stream = state::stream(db)?.unwrap_or(outcome.stream);
            let (open, gone): (Vec<Open>, Vec<Open>) =
                open.into_iter().partition(|table| table.gone.is_none());
            return Ok(Comparison {
                tables: open.into_iter().map(|table| table.end(given_up, options.keys)).collect(),
                gone: gone.into_iter().filter_map(Open::absent).collect(),
                position: stream.position,
                lsn: stream.lsn,
                reached,
                rounds,
            });
        }
    }
}

/// A table whose comparison goes on.
struct Open {
    state: TableState,
    rows: u64,
    /// Rows that certainly differ.
    different: Vec<Found>,
    /// Rows that are to be looked at again; `None` before the first round: all of them.
    pending: Option<Vec<Found>>,
    /// Number of differing rows in the last round, when they are more than are told apart.
    too_many: u64,
    /// They are, and the mirror had all that the snapshot saw.
    many_differ: bool,
    /// PostgreSQL does not send it any more.
    gone: Option<deltaflood::Gone>,
}

impl Open {
    fn new(state: TableState) -> Open {
        Open {
            state,
            rows: 0,
            different: Vec::new(),
            pending: None,
            too_many: 0,
            many_differ: false,
            gone: None,
        }
    }

    fn absent(self) -> Option<Absent> {
        Some(Absent { table: self.state.name, why: self.gone? })
    }

    fn is_settled(&self) -> bool {
        self.many_differ || self.gone.is_some() || self.pending.as_ref().is_some_and(Vec::is_empty)
    }

    fn end(self, given_up: bool, keys: usize) -> TableComparison {
        let mut different = self.different;
        let mut unsettled = self.pending.unwrap_or_default();
        if given_up {
            different.append(&mut unsettled);
        }
        different.sort_by(|a, b| (&a.text, a.kind).cmp(&(&b.text, b.kind)));
        TableComparison {
            table: self.state.name,
            rows: self.rows,
            different: different.len() as u64 + self.too_many,
            differences: different
                .into_iter()
                .take(keys)
                .map(|found| Difference { kind: found.kind, key: found.text })
                .collect(),
            unsettled: unsettled.len() as u64,
        }
    }
}

/// What a round saw.
struct Outcome {
    stream: StreamState,
    /// The mirror had all that the snapshot saw.
    reached: bool,
}

struct Run<'a> {
    conninfo: &'a Conninfo,
    db: &'a Db,
    source: Option<&'a StreamSource>,
    stop: &'a AtomicBool,
    /// The tables are named: each must be there.
    named: bool,
    /// What is left of the time to wait.
    left: Duration,
}

impl Run<'_> {
    fn round(
        &mut self,
        stream: &StreamState,
        open: &mut [Open],
        number: u32,
    ) -> Result<Outcome, Error> {
        let mut session = Session::open_for(self.conninfo, self.source, stream)?;
        // Before the snapshot: what it does not see and is in the stream by now is among them.
        let begun = session.begun()?;
        let end =
            self.source.map(|source| source.end()).transpose()?.flatten().map(|mark| mark.position);
        let all = self.sent(&session, open)?;
        let looked: Vec<usize> =
            (0..open.len()).filter(|at| open.get(*at).is_some_and(|o| !o.is_settled())).collect();
        let states: Vec<&TableState> =
            looked.iter().filter_map(|at| open.get(*at)).map(|open| &open.state).collect();
        let published = self.published(&session, all, stream, &states)?;
        let snapshot = session.snapshot(&published)?;
        let unseen = begun.iter().filter(|(xid, _)| !snapshot.sees(*xid));
        let begin = safe_start(end, unseen.map(|(_, since)| *since).min());
        // The first round looks at once: most often everything is equal, and that is certain.
        let reached = match number {
            0 => snapshot.lsn <= stream.lsn,
            _ => self.wait_for_mirror()?,
        };
        let ends = Ends { db: self.db };
        self.db.exec("BEGIN")?;
        let stream = state::stream(self.db)?
            .ok_or_else(|| Error::State { what: "the row of the stream is gone".to_owned() })?;
        let mut found = Vec::with_capacity(looked.len());
        for (published, state) in published.iter().zip(&states) {
            let compared = rows::compare(self.db, &mut session, published, state, self.stop)?;
            found.push(compared);
        }
        drop(ends);
        session.end()?;
        let any = found.iter().any(|compared| !compared.found.is_empty());
        let touched = match self.source {
            Some(source) if any => {
                let end = stream.position;
                match touched::since(source, begin, end, &snapshot, &states, self.stop) {
                    // What was removed may have touched any row.
                    Err(Error::Daystream(daystream::Error::Gap { .. })) => {
                        touched::Touched::all(states.len())
                    }
                    touched => touched?,
                }
            }
            _ => touched::Touched::nothing(states.len()),
        };
        for (table, (at, compared)) in looked.iter().zip(found).enumerate() {
            if let Some(open) = open.get_mut(*at) {
                open.settle(compared, reached, |key| touched.has(table, key));
            }
        }
        Ok(Outcome { stream, reached })
    }

    /// What PostgreSQL sends now; takes note of tables that it does not, unless they are named.
    fn sent(&self, session: &Session, open: &mut [Open]) -> Result<Vec<Published>, Error> {
        let all = match session.tables(&[]) {
            Err(Error::NoTables { .. }) if !self.named => Vec::new(),
            all => all?,
        };
        for table in open.iter_mut().filter(|table| !self.named && !table.is_settled()) {
            let TableState { source, definition, .. } = &table.state;
            // One that has another name by now is not gone.
            let is_it =
                |of: &Published| of.table.name == *source || definition.oid == Some(of.table.oid);
            if !all.iter().any(is_it) {
                table.gone = Some(absence(session, &table.state)?);
            }
        }
        Ok(all)
    }

    /// The tables as PostgreSQL publishes them now, in the order of `states`.
    fn published(
        &self,
        session: &Session,
        all: Vec<Published>,
        stream: &StreamState,
        states: &[&TableState],
    ) -> Result<Vec<Published>, Error> {
        let mut list = Vec::with_capacity(states.len());
        let place = Place { position: stream.position, lsn: Some(stream.lsn) };
        for state in states {
            let table = state.source.to_string();
            let published = all.iter().find(|p| p.table.name == state.source);
            let Some(mut published) = published.cloned() else {
                let detail = "it is no longer there, or no longer published".to_owned();
                return Err(Error::Drift { table, place, detail });
            };
            if !session.knows_stream() {
                // What the stream sends is not known from here: rows and columns are those that the
                // mirror was made with.
                let known = |name: &str| state.definition.columns.iter().any(|c| c.0 == name);
                published.table.columns.retain(|column| known(&column.name));
                published.row_filter.clone_from(&state.row_filter);
            }
            let now = Definition::of(&published.table);
            if let Some(detail) = state.definition.diff(&now).text() {
                return Err(Error::Drift { table, place, detail });
            }
            list.push(published);
        }
        Ok(list)
    }

    /// Writes a message into the WAL and waits until the mirror has passed it; false when the time
    /// is over before.
    fn wait_for_mirror(&mut self) -> Result<bool, Error> {
        let barrier = Session::barrier(self.conninfo)?;
        let started = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            if state::stream(self.db)?.is_some_and(|stream| stream.lsn > barrier) {
                self.left = self.left.saturating_sub(started.elapsed());
                return Ok(true);
            }
            if started.elapsed() >= self.left {
                self.left = Duration::ZERO;
                return Ok(false);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

impl Open {
    /// Takes what a round found: rows that are equal now are settled, rows that nobody touched and
    /// that differ as well.
    fn settle(&mut self, compared: rows::Compared, reached: bool, touched: impl Fn(&[u8]) -> bool) {
        self.rows = compared.rows;
        self.too_many = compared.too_many;
        if compared.too_many > 0 {
            // Told apart or not, they differ for certain only when none of them is still to come.
            self.many_differ = reached;
            return;
        }
        let before: Option<BTreeSet<Vec<u8>>> =
            self.pending.take().map(|found| found.into_iter().map(|found| found.key).collect());
        let mut pending = Vec::new();
        for found in compared.found {
            if before.as_ref().is_some_and(|before| !before.contains(&found.key)) {
                // It was equal in an earlier round, and whole transactions are applied: it is on
                // its way.
                continue;
            }
            if reached && !touched(&found.key) {
                self.different.push(found);
            } else {
                pending.push(found);
            }
        }
        self.pending = Some(pending);
    }
}

/// Why PostgreSQL does not send a table.
fn absence(session: &Session, state: &TableState) -> Result<deltaflood::Gone, Error> {
    let conn = &session.conn;
    let of = match state.definition.oid {
        Some(oid) => format!("c.oid = {oid}"),
        None => format!(
            "n.nspname = {} and c.relname = {}",
            conn.escape_literal(&state.source.schema)?,
            conn.escape_literal(&state.source.table)?
        ),
    };
    let found = conn.query(&format!(
        "select 1 from pg_catalog.pg_class c \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p') and {of}"
    ))?;
    Ok(if found.ntuples() == 0 { deltaflood::Gone::Dropped } else { deltaflood::Gone::Unpublished })
}

/// A position before which a snapshot sees all, if it sees what began before `oldest`, in seconds
/// since the Unix epoch; `end` is the stream's, before the snapshot was taken.
fn safe_start(end: Option<Position>, oldest: Option<i64>) -> Position {
    let Some(end) = end else { return Position::MIN };
    let begin = oldest.map_or(end.clock, |oldest| oldest.min(end.clock));
    Position { clock: (begin - limits::MIRROR_START_SLACK_S).max(0), seq: 0 }
}

/// Ends the read transaction, whatever happens.
struct Ends<'a> {
    db: &'a Db,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        super::busy::roll_back(self.db);
    }
}
