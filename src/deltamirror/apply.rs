//! Transactions of the stream into transactions of SQLite, exactly once.
//!
//! Rows and position are written in one SQLite transaction, which may hold several of the stream:
//! as many as come without waiting, up to a number of changes and a time. Whoever reads the file
//! sees whole transactions of the source, in commit order. When one of several fails, all are
//! rolled back and applied again one by one, so that only the one that fails is missing.
//!
//! A transaction is skipped when its LSN is not beyond the mirror's: reading again from any earlier
//! position changes nothing. When another process moves the mirror, or fills a table anew, that is
//! seen at the beginning of the next SQLite transaction, and reading goes on from there. So is each
//! change of the file's schema, as of a column that somebody adds: tables are looked at again.

mod batch;
mod load;
mod look;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deltaflood::{Lsn, Verb};

use self::batch::Batch;
use self::load::{Loaded, load};
use super::busy::Patience;
use super::counts::Counts;
use super::heart::{Heart, Passed};
use super::request::Watch;
use super::state::StreamState;
use super::tables::{OnError, Tables};
use super::tally::Touched;
use super::{Error, StreamSource, format};
use crate::daystream::{self, Feed, Position, Transaction};
use crate::schema::TableName;
use crate::sqlite::{Db, Stmt};
use crate::{failpoint, limits};

/// How to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What to do with a row that cannot be applied.
    pub on_error: OnError,
    /// How long to wait for a locked database.
    pub busy: Duration,
    /// Changes after which an SQLite transaction is committed at the next end of a transaction.
    pub batch_changes: u64,
    /// Time after which it is.
    pub batch_time: Duration,
    /// Who applies can reload a table from PostgreSQL.
    pub reloads: bool,
    /// Size of SQLite's WAL, in bytes, past which it must begin anew before more is written.
    pub wal_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            on_error: OnError::Stop,
            busy: Duration::from_millis(limits::MIRROR_BUSY_MS),
            reloads: false,
            batch_changes: limits::MIRROR_BATCH_CHANGES,
            batch_time: Duration::from_millis(limits::MIRROR_BATCH_MS),
            wal_bytes_max: limits::MIRROR_WAL_BYTES_MAX,
        }
    }
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything that is there is applied.
    End,
    /// The next transaction ends beyond the position that was asked for.
    Until,
    /// Stopped by the caller, between two transactions.
    Stopped,
    /// The mirror is paused.
    Paused,
    /// A batch is committed, and somebody else wants to use the connection; there is more.
    GivesWay,
}

/// How long lines from another host are waited for before it is looked whether to stop.
const STARVED: Duration = Duration::from_millis(100);

/// What became of one transaction of the stream.
enum Step {
    /// On to the next one.
    Next,
    /// There is none, or none wanted.
    Ended(Ended),
    /// The mirror is not where it was left: read on from where it is now.
    Moved,
    /// What comes next is on its way from another host.
    Starved,
}

/// What a commit in SQLite made visible.
#[derive(Debug)]
pub(super) struct Committed<'a> {
    /// The last heartbeat up to here, and when it got here.
    pub(super) beat: Option<Passed>,
    pub(super) stream: &'a StreamState,
    pub(super) counts: &'a Counts,
    /// A table that stands still from now on, and why.
    pub(super) suspended: Option<(&'a str, &'a Arc<Error>)>,
    /// Tables that it changed.
    pub(super) tables: &'a [Touched],
    /// Commit times of its transactions, microseconds since the Unix epoch.
    pub(super) commit_times: &'a [i64],
}

/// Applies a stream to one database.
#[derive(Debug)]
pub(super) struct Applier<'db> {
    db: &'db Db,
    options: Options,
    /// Where SQLite keeps a WAL, if it does.
    wal: Option<PathBuf>,
    /// What the file says.
    stream: StreamState,
    /// The version of the file's schema that the tables were looked at in.
    schema: i64,
    /// Beyond it: what the batch in hand has applied.
    position: Position,
    lsn: Lsn,
    chain: Option<u32>,
    commit_time: i64,
    commit_times: Vec<i64>,
    tables: Tables<'db>,
    /// Tables that readers are asked for: those of the mirror, under all their names so far.
    asked: HashSet<TableName>,
    /// The tables were read again since it was last seen whether a reader takes them all.
    reloaded: bool,
    batch: Option<Batch>,
    /// Transactions that end at or before this are committed one by one, after a failure.
    single_until: Option<Position>,
    /// A batch was given up: what is in memory of the tables may be ahead of the file.
    stale: bool,
    /// After each commit somebody else gets the connection for a while.
    pub(super) gives_way: bool,
    /// A transaction of the stream is begun, and not all of it is applied.
    open: bool,
    /// The line in hand.
    failing: Position,
    mark: Option<Stmt<'db>>,
    schema_now: Option<Stmt<'db>>,
    advance: Option<Stmt<'db>>,
    heart: Heart,
    /// The last heartbeat that is not written down: everything up to it is applied.
    passed: Option<Transaction>,
    paused: bool,
    watch: Watch<'db>,
}

impl<'db> Applier<'db> {
    /// Reads the mirror's state.
    ///
    /// # Errors
    /// [`Error::NotInitialised`], [`Error::NotFilled`], [`Error::Due`], [`Error::Format`],
    /// [`Error::State`],
    /// [`Error::Sqlite`].
    pub(super) fn open(
        db: &'db Db,
        options: Options,
        patience: Patience<'_>,
    ) -> Result<Applier<'db>, Error> {
        format::upgrade(db, patience)?;
        let Loaded { schema, stream, tables, paused } = patience.retry(|| load(db, options))?;
        let beside = |file: PathBuf| {
            let mut name = file.into_os_string();
            name.push("-wal");
            PathBuf::from(name)
        };
        Ok(Applier {
            db,
            options,
            wal: db.file().map(beside),
            position: stream.position,
            lsn: stream.lsn,
            chain: stream.chain,
            commit_time: stream.commit_time,
            commit_times: Vec::new(),
            stream,
            schema,
            tables,
            asked: HashSet::new(),
            reloaded: false,
            batch: None,
            single_until: None,
            stale: false,
            gives_way: false,
            open: false,
            failing: Position::MIN,
            mark: None,
            schema_now: None,
            advance: None,
            heart: Heart::default(),
            passed: None,
            paused,
            watch: Watch::default(),
        })
    }

    pub(super) fn stream(&self) -> &StreamState {
        &self.stream
    }

    /// Number of tables in the mirror.
    pub(super) fn tables(&self) -> usize {
        self.tables.targets.len()
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.tables.counts
    }

    /// A reader of the mirror's tables that begins behind what is applied.
    ///
    /// # Errors
    /// [`Error::OtherServer`], [`Error::OtherStream`], [`Error::Gap`], [`Error::Daystream`].
    pub(super) fn reader(&mut self, of: &StreamSource, stop: &AtomicBool) -> Result<Feed, Error> {
        of.check_same_stream(&self.stream)?;
        of.name().clone_into(&mut self.stream.stream);
        if let Some(made) = of.made() {
            self.stream.made = made;
        }
        self.asked.extend(self.tables.sources().cloned());
        let feed = of.after_of(Some(&mut self.asked.iter()), self.stream.mark(), stop);
        feed.map_err(|error| self.gap(of, error))
    }

    /// Whether the last reader takes all tables of the mirror: not one that came into the file
    /// since, or that has another name since.
    fn reads_all(&self) -> bool {
        self.tables.sources().all(|source| self.asked.contains(source))
    }

    /// A gap, with what helps.
    fn gap(&self, of: &StreamSource, error: Error) -> Error {
        let Error::Daystream(daystream::Error::Gap { removed, .. }) = error else { return error };
        let tables = self.tables.targets.iter().map(|target| target.state.source.clone());
        Error::Gap {
            file: self.db.file().unwrap_or_default().display().to_string(),
            stream: of.name().to_owned(),
            tables: tables.collect(),
            // Not the place before the first of all, which reading from there looks for.
            source: Box::new(daystream::Error::Gap { wanted: self.stream.position, removed }),
        }
    }

    /// Applies transactions until there are no more, or the one that ends beyond `until`. The
    /// reader can be used again only when there were no more, or when it gives way.
    ///
    /// # Errors
    /// Nothing of the transaction that failed is applied, everything before it is.
    pub(super) fn run(
        &mut self,
        source: &StreamSource,
        reader: &mut Feed,
        until: Option<Position>,
        patience: Patience<'_>,
        on_commit: &mut dyn FnMut(&Committed<'_>),
    ) -> Result<Ended, Error> {
        if std::mem::take(&mut self.reloaded) && !self.reads_all() {
            *reader = self.reader(source, patience.stop)?;
        }
        loop {
            let result = self.transaction(reader, until, patience, on_commit);
            let result = match result {
                Ok(Step::Next) if self.gives_way && self.batch.is_none() => {
                    return Ok(Ended::GivesWay);
                }
                Ok(Step::Next) => continue,
                Ok(Step::Ended(ended)) => {
                    return self.commit(patience, on_commit).map(|()| ended);
                }
                Ok(Step::Starved) => {
                    // NOTE: no transaction of SQLite stands open while the network is slow.
                    self.commit(patience, on_commit)?;
                    reader.wait(Some(STARVED), None)?;
                    continue;
                }
                Ok(Step::Moved) => Ok(()),
                Err(error) => self.recover(error, patience, on_commit),
            };
            result?;
            *reader = self.reader(source, patience.stop)?;
        }
    }

    /// Applies the next transaction.
    fn transaction(
        &mut self,
        reader: &mut Feed,
        until: Option<Position>,
        patience: Patience<'_>,
        on_commit: &mut dyn FnMut(&Committed<'_>),
    ) -> Result<Step, Error> {
        if patience.stop.load(Ordering::Relaxed) {
            return Ok(Step::Ended(Ended::Stopped));
        }
        if self.paused && self.batch.is_none() {
            return Ok(Step::Ended(Ended::Paused));
        }
        let mut lines = 0u64;
        let mut repeated = false;
        self.open = false;
        if !reader.knows_next()? {
            return Ok(Step::Starved);
        }
        loop {
            let entry =
                reader.next_unless(patience.stop).map_err(|error| stopped(error, patience))?;
            let Some(entry) = entry else { return Ok(Step::Ended(Ended::End)) };
            let transaction = entry.transaction;
            if !self.open {
                if until.is_some_and(|until| transaction.last > until) {
                    return Ok(Step::Ended(Ended::Until));
                }
                if self.heart.begins(&entry) {
                    return self.beat(reader, patience, on_commit);
                }
                repeated = self.has(&transaction);
                if !repeated && self.batch.is_none() && !self.begin(patience)? {
                    return Ok(Step::Moved);
                }
                self.tables.begin(transaction.lsn);
                self.open = true;
            }
            if !repeated {
                self.failing = entry.position;
                let defines = entry.change.verb == Verb::Schema;
                self.tables.line(entry.position, &entry.change)?;
                failpoint::pass(failpoint::MIRROR_LINE);
                if defines && !self.reads_all() {
                    // NOTE: its rows, from here on, have a name that was not asked for.
                    self.asked.extend(self.tables.sources().cloned());
                    self.abandon();
                    return Ok(Step::Moved);
                }
            }
            if entry.end {
                let time = entry.change.time;
                return self.finish(&transaction, time, repeated, patience, on_commit);
            }
            lines += 1;
            if lines.is_multiple_of(4096) && patience.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
        }
    }

    /// A heartbeat has begun. It changes nothing: with changes before it that are not committed yet
    /// it waits for them, else it has got here, and is written down now and then.
    fn beat(
        &mut self,
        reader: &mut Feed,
        patience: Patience<'_>,
        on_commit: &mut dyn FnMut(&Committed<'_>),
    ) -> Result<Step, Error> {
        let entry = reader.next_unless(patience.stop).map_err(|error| stopped(error, patience))?;
        let Some(entry) = entry else { return Ok(Step::Ended(Ended::End)) };
        let transaction = entry.transaction;
        self.heart.ends(&entry);
        if self.has(&transaction) {
            return Ok(Step::Next);
        }
        if self.batch.is_none() {
            if !self.heart.is_due() && !self.is_awaited()? {
                self.passed = Some(transaction);
                let (stream, counts) = (&self.stream, &self.tables.counts);
                let beat = self.heart.passed();
                on_commit(&Committed {
                    beat,
                    stream,
                    counts,
                    suspended: None,
                    tables: &[],
                    commit_times: &[],
                });
                return Ok(Step::Next);
            }
            if !self.begin(patience)? {
                return Ok(Step::Moved);
            }
        }
        self.position = transaction.last;
        self.lsn = transaction.lsn.unwrap_or(self.lsn);
        self.chain = transaction.chain;
        Ok(Step::Next)
    }

    /// Whether the transaction is applied already: by its LSN, since a stream whose machine went
    /// down may have got it again at another position; by its position where there is no LSN.
    fn has(&self, transaction: &Transaction) -> bool {
        match transaction.lsn {
            Some(lsn) => lsn <= self.lsn,
            None => transaction.last <= self.position,
        }
    }

    /// The transaction's last line is applied.
    fn finish(
        &mut self,
        transaction: &Transaction,
        time: Option<i64>,
        repeated: bool,
        patience: Patience<'_>,
        on_commit: &mut dyn FnMut(&Committed<'_>),
    ) -> Result<Step, Error> {
        if repeated {
            self.open = false;
            self.tables.counts.repeated += 1;
            return Ok(Step::Next);
        }
        self.tables.end(transaction.last)?;
        self.open = false;
        self.position = transaction.last;
        self.lsn = transaction.lsn.unwrap_or(self.lsn);
        self.chain = transaction.chain;
        if let Some(time) = time {
            self.commit_time = time;
            self.commit_times.push(time);
        }
        if let Some(batch) = &mut self.batch {
            batch.transactions += 1;
        }
        match self.is_full(transaction.last) {
            None => {}
            Some(gap) => {
                self.commit(patience, on_commit)?;
                // NOTE: who waits for the file would sleep through a moment that is shorter.
                std::thread::sleep(gap);
            }
        }
        Ok(Step::Next)
    }

    /// Whether the batch is to be committed, now that a transaction has ended at `end`, and for how
    /// long the file is left to others then.
    fn is_full(&mut self, end: Position) -> Option<Duration> {
        if let Some(single_until) = self.single_until {
            if end >= single_until {
                self.single_until = None;
            }
            return Some(Duration::ZERO);
        }
        let batch = self.batch.as_ref()?;
        let full = self.tables.counts.changes - batch.before.changes >= self.options.batch_changes
            || batch.began.elapsed() >= self.options.batch_time;
        full.then_some(Duration::from_millis(limits::MIRROR_GAP_MS))
    }

    /// After a failure: gives up the transaction that failed. When there were others in the batch,
    /// they are applied again one by one, if the failure is that of a line; else they are committed
    /// when that is possible, and the error goes on.
    fn recover(
        &mut self,
        error: Error,
        patience: Patience<'_>,
        on_commit: &mut dyn FnMut(&Committed<'_>),
    ) -> Result<(), Error> {
        let others = self.batch.as_ref().is_some_and(|batch| batch.transactions > 0);
        let of_line = matches!(error, Error::Row(_) | Error::Drift { .. } | Error::Line { .. });
        if others && !self.open {
            // Between two transactions (a damaged stream): what is whole stays.
            self.commit(patience, on_commit)?;
            return Err(error);
        }
        self.abandon();
        if others && of_line {
            self.reload(patience)?;
            self.single_until = Some(self.failing);
            return Ok(());
        }
        match self.options.on_error {
            OnError::Suspend => self.suspend(error, patience, on_commit),
            OnError::Stop | OnError::Keep => Err(error),
        }
    }
}

/// The error of a reader, which it may have given only because it was stopped.
fn stopped(error: daystream::Error, patience: Patience<'_>) -> Error {
    let asked = patience.stop.load(Ordering::Relaxed);
    if asked && matches!(error, daystream::Error::Remote { .. }) {
        return Error::Stopped;
    }
    error.into()
}
