//! The SQLite tables made from the PostgreSQL schema, and filled while the stream runs on.
//!
//! All tables of a run are copied under one snapshot. Each is made, filled, brought up to the
//! mirror's position and noted in one SQLite transaction, so that a run that is killed leaves whole
//! tables or none: run again, it keeps those that are ready. Tables can be added to a mirror that
//! is live, and one can be filled anew (`resync`), while readers see the old rows until the last
//! moment: a new copy takes the place of the table ([`swap`]).
//!
//! What is to be filled is noted first: a mirror whose first fill is not over is not followed, and
//! says what is missing.

use std::sync::atomic::AtomicBool;

use super::busy::{Patience, roll_back};
use super::copied;
use super::fill::{Session, quoted_name};
use super::filling::{Filled, InitOptions, Progress};
use super::first_fill::{self, Unlogged};
use super::own;
use super::reload::due;
use super::snapshot::Snapshot;
use super::source::StreamSource;
use super::state::{self, StreamState, TableState};
use super::swap::{self, Mode};
use super::tables::{OnError, Tables};
use super::target::Target;
use super::{Error, Policy};
use super::{format, indexes, wanted};
use crate::daystream::{self, Mark, Position};
use crate::failpoint;
use crate::libpq::Conninfo;
use crate::schema::publication::Published;
use crate::schema::secondary::Indexes;
use crate::schema::{self, ddl};
use crate::sqlite::{Db, quote_identifier};

/// Makes and fills tables; those that are ready are kept, unless they are to be filled anew.
///
/// # Errors
/// Those of the name checks ([`schema::Error`]), [`Error::NotPublished`], [`Error::OtherServer`],
/// [`Error::TableExists`], [`Error::Writers`], [`Error::Busy`], [`Error::Copy`], ... Tables filled
/// before the error stay.
pub fn init(
    db: &Db,
    conninfo: &Conninfo,
    source: &StreamSource,
    options: &InitOptions,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Vec<Filled>, Error> {
    if db.in_transaction() {
        return Err(Error::InTransaction);
    }
    let patience = Patience { budget: options.busy, stop };
    let session = Session::open(conninfo, source)?;
    let mut published = session.tables(&options.tables)?;
    if options.tables.is_empty() {
        // What was taken out comes back only when it is named.
        let removed = patience.retry(|| wanted::removed_ones(db))?;
        published.retain(|p| !removed.contains(&p.table.name));
    }
    // Before it is looked who writes to the tables: a transaction that has written to them and is
    // not seen by the snapshot, if only because it waits for a synchronous standby, began to write
    // after that look. So its commit comes behind this place.
    let begin = source.here(stop)?;
    let (resync, policy, indexes) = (options.resync, options.policy, options.indexes);
    let start = Start { source, begin, published: &published, resync, policy, indexes };
    let (wanted, changes_stream) = prepare_state(db, &start, patience)?;
    if wanted.is_empty() {
        patience.retry(|| first_fill::end(db))?;
        return Ok(Vec::new());
    }
    session.wait_for_writers(&wanted, options.writers, stop, progress)?;
    let mut snapshot = session.snapshot(&wanted)?;
    // NOTE: after the snapshot, before anything is copied by it.
    snapshot.barrier = Session::prove(conninfo, source)?;
    // What is copied is what the snapshot shows, also of the definitions: read them again under it.
    let names: Vec<String> = wanted.iter().map(|p| quoted_name(&p.table.name)).collect();
    let wanted = session.tables(&names)?;
    let wanted = patience.retry(|| missing(db, &wanted, &state::tables(db)?, resync))?;
    let fill = options.fill;
    let mut run = Run {
        db,
        source,
        changes_stream,
        session,
        snapshot,
        begin,
        resync,
        fill,
        policy,
        patience,
        progress,
    };
    let mut filled = Vec::with_capacity(wanted.len());
    for published in &wanted {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        filled.extend(run.fill(published)?);
    }
    run.session.end()?;
    run.advance()?;
    run.can_go_on()?;
    Ok(filled)
}

/// Where a fill starts from.
struct Start<'a> {
    source: &'a StreamSource,
    /// The place of the stream behind which everything comes that the copy does not have.
    begin: Mark,
    /// The tables that are asked for.
    published: &'a [Published],
    resync: bool,
    policy: Option<Policy>,
    indexes: Option<Indexes>,
}

/// Makes the mirror's own tables and notes the stream, when that was not done before, and notes
/// what is to be filled. Returns that, and, where what is there came from another stream, up to
/// where of that.
fn prepare_state(
    db: &Db,
    start: &Start<'_>,
    patience: Patience<'_>,
) -> Result<(Vec<Published>, Option<Mark>), Error> {
    format::upgrade(db, patience)?;
    patience.retry(|| first_fill::repair(db))?;
    patience.begin(db)?;
    // NOTE: looked at in the transaction that makes it: of two at once, the one that has waited
    // here finds what the other has made.
    let prepared = prepare_in_transaction(db, start);
    if prepared.is_err() {
        roll_back(db);
    }
    let prepared = prepared?;
    patience.commit(db)?;
    failpoint::pass(failpoint::MIRROR_INIT_STATE);
    Ok(prepared)
}

fn prepare_in_transaction(
    db: &Db,
    start: &Start<'_>,
) -> Result<(Vec<Published>, Option<Mark>), Error> {
    let Start { source, begin, published, resync, policy, indexes } = *start;
    let stream = state::stream(db)?;
    let another = match &stream {
        None => None,
        Some(stream) => match source.check_same_stream(stream) {
            Err(Error::OtherStream { .. }) => Some(stream.mark()),
            checked => checked.map(|()| None)?,
        },
    };
    if stream.is_none() {
        format::create(db)?;
        let mut stream = StreamState {
            stream: source.name().to_owned(),
            made: source.made().unwrap_or_default(),
            system_id: source.system_id().unwrap_or_default(),
            database: source.database().unwrap_or_default(),
            position: Position::MIN,
            lsn: deltaflood::Lsn(0),
            chain: None,
            commit_time: 0,
            transactions: 0,
            changes: 0,
            generation: 1,
        };
        stream.move_to(begin);
        state::write_stream(db, &stream)?;
        first_fill::begin(db)?;
    }
    let known = state::tables(db)?;
    let wanted = missing(db, published, &known, resync)?;
    let is_wanted = |state: &TableState| wanted.iter().any(|p| p.table.name == state.source);
    if another.is_some() && !known.iter().all(is_wanted) {
        return Err(Error::OtherStream { stream: source.name().to_owned() });
    }
    if let Some(policy) = policy {
        let asked = |state: &&TableState| published.iter().any(|p| p.table.name == state.source);
        for state in known.iter().filter(asked).filter(|state| state.policy != policy) {
            state::write_policy(db, &state.name, policy)?;
            state::raise_generation(db)?;
        }
    }
    // Those that are there stay as they are until they are filled again.
    let there = |p: &&Published| !known.iter().any(|state| state.source == p.table.name);
    wanted::set(db, wanted.iter().filter(there).map(|p| &p.table.name))?;
    if let Some(asked) = indexes {
        wanted.iter().try_for_each(|p| indexes::note(db, &p.table.name, asked))?;
    }
    Ok((wanted, another))
}

/// The tables that are to be filled; checks that all of them can live in this file.
fn missing(
    db: &Db,
    published: &[Published],
    known: &[TableState],
    resync: bool,
) -> Result<Vec<Published>, Error> {
    ddl::check_names(published.iter().map(|p| &p.table))?;
    let mut wanted = Vec::new();
    for entry in published {
        let name = ddl::sqlite_name(&entry.table.name);
        let state = known.iter().find(|state| state.name.eq_ignore_ascii_case(&name));
        match state {
            Some(state) if state.source != entry.table.name => {
                return Err(Error::Schema(schema::Error::TableCollision {
                    first: state.source.to_string(),
                    second: entry.table.name.to_string(),
                    sqlite_name: name,
                }));
            }
            Some(_) if !resync => {}
            Some(_) => wanted.push(entry.clone()),
            None => {
                let sql = "SELECT count(*) FROM main.sqlite_master WHERE name = ?1 COLLATE NOCASE";
                if db.query_int(sql, &[name.as_str().into()])? != Some(0) {
                    return Err(Error::TableExists { table: name });
                }
                wanted.push(entry.clone());
            }
        }
    }
    Ok(wanted)
}

/// One run of filling tables, under one snapshot.
struct Run<'a> {
    db: &'a Db,
    source: &'a StreamSource,
    /// The mirror was made from another stream, which it has up to here, and goes over to this one
    /// when all its tables are filled from it.
    changes_stream: Option<Mark>,
    session: Session,
    snapshot: Snapshot,
    /// A position behind which everything comes that the snapshot does not hold.
    begin: Mark,
    resync: bool,
    fill: Option<Mode>,
    policy: Option<Policy>,
    patience: Patience<'a>,
    progress: &'a mut dyn FnMut(&Progress<'_>),
}

impl Run<'_> {
    /// When every table of the mirror was filled under this snapshot, the stream is needed from
    /// before the snapshot only: an older position, of which the stream may have removed what
    /// follows, is moved there.
    fn advance(&self) -> Result<(), Error> {
        self.patience.begin(self.db)?;
        let advanced = self.advance_in_transaction();
        if advanced.is_err() {
            roll_back(self.db);
        }
        advanced?;
        self.patience.commit(self.db)
    }

    /// The stream has what follows the copy: retention may have gone on while it was made.
    fn can_go_on(&self) -> Result<(), Error> {
        let Some(stream) = state::stream(self.db)? else { return Ok(()) };
        match self.source.after(stream.mark(), self.patience.stop) {
            Ok(_) | Err(Error::Daystream(daystream::Error::Empty { .. })) => Ok(()),
            Err(Error::Daystream(source @ daystream::Error::Gap { .. })) => Err(Error::Gap {
                file: self.db.file().unwrap_or_default().display().to_string(),
                stream: self.source.name().to_owned(),
                tables: state::tables(self.db)?.into_iter().map(|table| table.source).collect(),
                source: Box::new(source),
            }),
            Err(error) => Err(error),
        }
    }

    fn advance_in_transaction(&self) -> Result<(), Error> {
        first_fill::end(self.db)?;
        let tables = state::tables(self.db)?;
        let all = tables.iter().all(|table| table.snapshot.is_of_moment(&self.snapshot));
        if all {
            wanted::gone_over(self.db)?;
        }
        match (state::stream(self.db)?, self.changes_stream) {
            // NOTE: what others have applied meanwhile, from the old stream to tables that were
            // filled already, comes again in the new one.
            (Some(stream), Some(was)) if !all || stream.mark() != was => {
                Err(Error::OtherStream { stream: self.source.name().to_owned() })
            }
            (Some(mut stream), Some(_)) => {
                // Positions and LSNs begin anew: after the server was restored, with lower ones.
                self.source.name().clone_into(&mut stream.stream);
                stream.made = self.source.made().unwrap_or_default();
                stream.generation += 1;
                stream.move_to(self.begin);
                state::write_stream(self.db, &stream)
            }
            (Some(mut stream), None) if all && stream.position < self.begin.position => {
                stream.move_to(self.begin);
                state::write_stream(self.db, &stream)
            }
            _ => Ok(()),
        }
    }

    /// Makes and fills one table, in one SQLite transaction; `None` when another process has done
    /// that meanwhile.
    fn fill(&mut self, published: &Published) -> Result<Option<Filled>, Error> {
        let unlogged = Unlogged::begin(self.db, self.session.bytes(&published.table)?)?;
        self.patience.begin(self.db)?;
        // NOTE: looked at again in the transaction that makes it: since the last look others may
        // have made a table of the name, or have filled it.
        let one = std::slice::from_ref(published);
        let wanted = state::tables(self.db).and_then(|k| missing(self.db, one, &k, self.resync));
        let filled = match wanted {
            Ok(wanted) if wanted.is_empty() => Ok(None),
            Ok(_) => self.fill_in_transaction(published, unlogged.as_ref()).map(Some),
            Err(error) => Err(error),
        };
        if !matches!(filled, Ok(Some(_))) {
            roll_back(self.db);
        }
        let Some(filled) = filled? else { return Ok(None) };
        failpoint::pass(failpoint::MIRROR_INIT_COMMIT_BEFORE);
        self.patience.commit(self.db)?;
        failpoint::pass(failpoint::MIRROR_INIT_COMMIT_AFTER);
        if let Some(unlogged) = unlogged {
            unlogged.finish()?;
        }
        (self.progress)(&Progress::Ready { table: &filled.table, rows: filled.rows });
        Ok(Some(filled))
    }

    fn fill_in_transaction(
        &mut self,
        published: &Published,
        unlogged: Option<&Unlogged<'_>>,
    ) -> Result<Filled, Error> {
        let table = &published.table;
        let name = ddl::sqlite_name(&table.name);
        own::check_temporary(self.db, &name)?;
        let known = state::tables(self.db)?.into_iter().find(|state| state.name == name);
        let old = match format::has_table(self.db, &name)? {
            true => known,
            false => None,
        };
        if old.is_some() {
            // Before a row is copied.
            swap::rehearse(self.db, table, &name, old.as_ref())?;
        }
        let shadow = swap::make_shadow(self.db, table, &name, old.as_ref())?;
        if !shadow.left_out.is_empty() {
            (self.progress)(&Progress::LeftOut { table: &name, indexes: &shadow.left_out });
        }
        failpoint::pass(failpoint::MIRROR_INIT_TABLE_MADE);
        let rows = self.copy(published, [&shadow.name, &name], unlogged)?;
        // Sorted in one go.
        shadow.index(self.db)?;
        copied::index_rows(self.db, &shadow, published, rows)?;
        failpoint::pass(failpoint::MIRROR_INIT_COPIED);
        let state = copied::state(published, &shadow.name, &self.snapshot, rows);
        let mut state = TableState { name: name.clone(), ..self.catch_up(state)? };
        if let Some(old) = &old {
            copied::inherit(&mut state, old);
        }
        state.policy = self.policy.unwrap_or(state.policy);
        failpoint::pass(failpoint::MIRROR_INIT_CAUGHT_UP);
        let mode = match &old {
            Some(old) => swap::mode(self.db, old, &state, self.fill)?,
            None => Mode::Replace,
        };
        let put = swap::put(self.db, &name, old.as_ref(), mode)?;
        if let Some(left) = &put.left {
            self.db.exec(&format!("DROP TABLE main.{}", quote_identifier(left)))?;
        }
        if !put.unfired.is_empty() {
            let unfired = Progress::Unfired { table: &name, triggers: &put.unfired };
            (self.progress)(&unfired);
        }
        state::write_table(self.db, &state)?;
        state::has_new_rows(self.db, &name)?;
        wanted::filled(self.db, &state.source)?;
        due::forget(self.db, &state.source)?;
        if self.changes_stream.is_some() {
            wanted::go_over(self.db, self.source.name())?;
        }
        state::raise_generation(self.db)?;
        Ok(Filled { table: name, rows, changed: put.changed })
    }

    fn copy(
        &mut self,
        published: &Published,
        [into, name]: [&str; 2],
        unlogged: Option<&Unlogged<'_>>,
    ) -> Result<u64, Error> {
        let progress = &mut self.progress;
        let mut report = |rows| {
            if let Some(unlogged) = unlogged {
                unlogged.go_on();
            }
            progress(&Progress::Rows { table: name, rows });
        };
        self.session.copy(self.db, published, ("main", into), self.patience.stop, &mut report)
    }

    /// Applies to this table alone what the mirror has applied to the others since before the
    /// snapshot, and what the snapshot does not hold. Returns how the table is then.
    fn catch_up(&self, table: TableState) -> Result<TableState, Error> {
        let stream = state::stream(self.db)?;
        let Some(stream) = stream else {
            return Err(Error::State { what: "the row of the stream is gone".to_owned() });
        };
        if stream.position <= self.begin.position || self.changes_stream.is_some() {
            return Ok(table);
        }
        let mut tables = Tables::new(self.db, vec![table], OnError::Stop)?;
        tables.is_shadow = true;
        let mut reader = self.source.after(self.begin, self.patience.stop)?;
        let mut begun = false;
        loop {
            reader.arrive()?;
            let Some(entry) = reader.next_unless(self.patience.stop)? else { break };
            if !begun {
                if !stream.has(&entry.transaction) {
                    break;
                }
                if self.patience.stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return Err(Error::Stopped);
                }
                tables.begin(entry.transaction.lsn);
            }
            tables.line(entry.position, &entry.change)?;
            begun = !entry.end;
            if entry.end {
                tables.end(entry.transaction.last)?;
            }
        }
        let gone = || Error::Defect { what: "the table that was filled is gone".to_owned() };
        tables.targets.pop().map(Target::into_state).ok_or_else(gone)
    }
}
