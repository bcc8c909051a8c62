//! The mirrored tables, and what a line of the stream does to them.
//!
//! The caller holds the SQLite transaction and says where transactions of the stream begin and end;
//! here a line finds its table, is left out when the table's copy holds it already, and is applied
//! or makes an error that names its place. Lines of tables that are not in the mirror are counted
//! and otherwise not looked at: no byte of them reaches SQL.

use std::collections::HashMap;
use std::sync::Arc;

use deltaflood::{Change, Lsn, Verb};

use super::counts::Counts;
use super::error::{BadRow, Error, Place, Reason};
use super::policy::Policy;
use super::reload::due::{self, Due};
use super::snapshot::{BARRIER_PREFIX, Unproven};
use super::state::{self, TableState};
use super::tally::{Counter, Touched};
use super::target::Target;
use super::trouble::Trouble;
use super::{check, gone, held, kept};
use crate::daystream::Position;
use crate::schema::TableName;
use crate::sqlite::Db;

/// What to do with a row that cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Stop with an error; nothing of the row's transaction is applied.
    #[default]
    Stop,
    /// Keep it in `_deltamirror_error` and go on.
    Keep,
    /// Its table stands still before the row's transaction; the others go on.
    Suspend,
}

/// The tables and the transaction in hand.
#[derive(Debug)]
pub(super) struct Tables<'db> {
    db: &'db Db,
    on_error: OnError,
    pub(super) targets: Vec<Target<'db>>,
    /// By schema, TAB, table, both as they stand in a line.
    names: HashMap<Vec<u8>, usize>,
    /// The table of the line before: lines of one table tend to follow each other.
    recent: Recent,
    name: Vec<u8>,
    /// The transaction's number, and its commit.
    number: u64,
    lsn: Option<Lsn>,
    /// The table whose old row waits for its update.
    waiting: Option<usize>,
    /// The line that told it, where it may have to be kept.
    before: Vec<u8>,
    /// Tables with changes that are not committed yet.
    touched: Vec<usize>,
    counter: Counter<'db>,
    /// The file's schema is not what it was when the tables were made ready.
    pub(super) altered: bool,
    /// What the stream does not tell of a table can be copied again.
    pub(super) reloads: bool,
    /// The table is a copy that nobody has yet: one that is of no use is made again.
    pub(super) is_shadow: bool,
    pub(super) counts: Counts,
}

/// A table's name in a line and where it leads.
#[derive(Debug, Default)]
struct Recent {
    schema: Option<Vec<u8>>,
    table: Vec<u8>,
    target: Option<usize>,
}

impl<'db> Tables<'db> {
    /// Makes the tables ready for lines.
    ///
    /// # Errors
    /// [`Error::State`] when a table in the file is not what the mirror made.
    pub(super) fn new(
        db: &'db Db,
        states: Vec<TableState>,
        on_error: OnError,
    ) -> Result<Tables<'db>, Error> {
        let mut targets = Vec::with_capacity(states.len());
        let mut names = HashMap::new();
        for state in states {
            names.insert(line_name(&state.source), targets.len());
            targets.push(Target::new(db, state)?);
        }
        gone::mark(db, &mut targets)?;
        Ok(Tables {
            db,
            on_error,
            targets,
            names,
            recent: Recent::default(),
            name: Vec::new(),
            number: 0,
            lsn: None,
            waiting: None,
            before: Vec::new(),
            touched: Vec::new(),
            counter: Counter::default(),
            altered: false,
            reloads: false,
            is_shadow: false,
            counts: Counts::default(),
        })
    }

    /// Their names at the source.
    pub(super) fn sources(&self) -> impl Iterator<Item = &TableName> {
        self.targets.iter().map(|target| &target.state.source)
    }

    /// Tells which of them are to be reloaded: what such a table cannot take is passed over.
    pub(super) fn set_due(&mut self, due: &[Due]) {
        for target in &mut self.targets {
            target.is_due = due.iter().any(|due| due.source == target.state.source);
        }
    }

    /// A transaction of the stream begins.
    pub(super) fn begin(&mut self, lsn: Option<Lsn>) {
        self.number += 1;
        self.lsn = lsn;
        self.forget_waiting();
    }

    /// The transaction ends: no old row may be left waiting for its update.
    ///
    /// # Errors
    /// [`Error::Row`].
    pub(super) fn end(&mut self, position: Position) -> Result<(), Error> {
        self.counts.transactions += 1;
        match self.waiting {
            Some(target) => self.left_waiting(target, position),
            None => Ok(()),
        }
    }

    /// Forgets an old row that waits: its transaction is given up.
    pub(super) fn forget_waiting(&mut self) {
        if let Some(target) = self.waiting.take().and_then(|at| self.targets.get_mut(at)) {
            target.forget_old();
        }
    }

    /// Tables whose snapshot the stream has passed need no filter any more.
    ///
    /// # Errors
    /// [`Error::Unproven`] when it has passed what the copy waits for, [`Error::Sqlite`].
    pub(super) fn mark_live(&mut self, lsn: Lsn) -> Result<(), Error> {
        for target in &mut self.targets {
            let Some(snapshot) = &target.snapshot else { continue };
            if let Some(barrier) = &snapshot.barrier {
                if barrier.lsn < lsn {
                    let table = target.state.name.clone();
                    let copy = Unproven { table, barrier: barrier.lsn, lsn };
                    return Err(Error::Unproven(Box::new(copy)));
                }
            } else if snapshot.lsn < lsn {
                state::mark_live(self.db, &target.state.name)?;
                target.snapshot = None;
            }
        }
        Ok(())
    }

    /// Writes down what changed in each table since the last commit.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub(super) fn write_counts(&mut self) -> Result<(), Error> {
        for target in self.touched.iter().filter_map(|at| self.targets.get(*at)) {
            self.counter.add(self.db, &target.state.name, &target.pending)?;
        }
        let passed = self.targets.iter_mut().filter(|target| target.passed_over > 0);
        for target in passed {
            due::passed_over(
                self.db,
                &target.state.source,
                std::mem::take(&mut target.passed_over),
            )?;
        }
        Ok(())
    }

    /// The same is committed: tells it, and begins again.
    pub(super) fn take_touched(&mut self) -> Vec<Touched> {
        let mut list = Vec::with_capacity(self.touched.len());
        for at in self.touched.drain(..) {
            let Some(target) = self.targets.get_mut(at) else { continue };
            let tally = std::mem::take(&mut target.pending).tally;
            list.push(Touched { table: Arc::from(target.state.name.as_str()), tally });
        }
        list
    }

    /// Applies one line.
    ///
    /// # Errors
    /// [`Error::Drift`], [`Error::Row`], [`Error::Line`], [`Error::Sqlite`].
    #[inline]
    pub(super) fn line(&mut self, position: Position, change: &Change<'_>) -> Result<(), Error> {
        let place = Place { position, lsn: self.lsn };
        if !change.verb.has_table() {
            return if change.verb == Verb::Message { self.message(change) } else { Ok(()) };
        }
        let Some(at) = self.target(change) else {
            self.counts.other_tables += 1;
            return match change.verb {
                Verb::Schema => self.renamed(place, change),
                _ => Ok(()),
            };
        };
        if let Some(waiting) = self.waiting.take()
            && (waiting != at || change.verb != Verb::Update)
        {
            self.left_waiting(waiting, position)?;
        }
        let Some(target) = self.targets.get_mut(at) else { return Ok(()) };
        if target.holds(self.number, change.xid, self.lsn) {
            if change.verb != Verb::Schema {
                self.counts.held += 1;
                return Ok(());
            }
            // NOTE: what the copy was made from is newer than the columns, not than all details.
            let news = (self.is_shadow || self.reloads && target.state.policy == Policy::Follow)
                .then(|| target.news(change));
            return match news.flatten() {
                Some(news) => self.trouble(Trouble::Drift(news), at, place, false, change.line()),
                None => Ok(()),
            };
        }
        let had_old = target.has_old();
        let unknown = held::unknown(target.snapshot.as_ref(), change, self.lsn);
        let applied = match (unknown, change.verb) {
            (Some(trouble), _) => Err(trouble),
            (None, Verb::Schema) => gone::or_define(self.db, target, place, change, self.reloads),
            (None, _) => apply(target, change).map(|()| false),
        };
        match applied {
            Ok(altered) => {
                self.altered |= altered;
                self.waiting = target.has_old().then_some(at);
                if counts_as_change(change.verb) {
                    self.counts.changes += 1;
                    if target.pending.last.is_none() {
                        self.touched.push(at);
                    }
                    target.pending.count(change.verb, position);
                }
                if change.verb == Verb::Replace && self.on_error == OnError::Keep {
                    change.line().clone_into(&mut self.before);
                }
                Ok(())
            }
            Err(trouble) => {
                // What told the old row is with the update, taken or not.
                let with_old = change.verb == Verb::Update && had_old;
                if change.verb == Verb::Replace {
                    change.line().clone_into(&mut self.before);
                }
                self.waiting = target.has_old().then_some(at);
                self.trouble(trouble, at, place, with_old, change.line())
            }
        }
    }

    /// A message: what a copied table may wait for.
    fn message(&mut self, change: &Change<'_>) -> Result<(), Error> {
        let mut columns = change.columns().filter_map(Result::ok).map(|(_, value)| value.decode());
        let (Some(prefix), Some(content)) = (columns.next(), columns.next()) else { return Ok(()) };
        if *prefix != *BARRIER_PREFIX.as_bytes() {
            return Ok(());
        }
        for target in &mut self.targets {
            let Some(snapshot) = &mut target.snapshot else { continue };
            if snapshot.barrier.as_ref().is_some_and(|b| b.token.as_bytes() == &*content) {
                state::forget_barrier(self.db, &target.state.name)?;
                snapshot.barrier = None;
            }
        }
        Ok(())
    }

    /// A table that is not in the mirror by this name may be one of it under a new name; so may one
    /// that is gone.
    fn renamed(&mut self, place: Place, change: &Change<'_>) -> Result<(), Error> {
        let Some(oid) = change.oid else { return Ok(()) };
        let is_it = |t: &Target<'_>| t.state.definition.oid == Some(oid);
        let Some(at) = self.targets.iter().position(is_it) else { return Ok(()) };
        let Some(target) = self.targets.get_mut(at) else { return Ok(()) };
        if target.holds(self.number, change.xid, self.lsn) {
            return Ok(());
        }
        if change.gone().is_some() {
            let told = gone::or_define(self.db, target, place, change, self.reloads);
            return told.map(drop).or_else(|error| self.trouble(error, at, place, false, b""));
        }
        let (was, policy) = (line_name(&target.state.source), target.state.policy);
        let renamed = name_of(change).and_then(|source| {
            policy.renames(&format!("its name is \"{source}\" now")).map_err(Trouble::Drift)?;
            target.rename(source)
        });
        match renamed {
            Ok(()) => {}
            Err(Trouble::Drift(_)) if target.is_due => return Ok(()),
            Err(Trouble::Drift(detail)) => {
                return Err(Error::Drift { table: target.state.name.clone(), place, detail });
            }
            Err(trouble) => return self.trouble(trouble, at, place, false, change.line()),
        }
        self.altered = true;
        self.names.remove(&was);
        self.names.insert(line_name(&target.state.source), at);
        self.recent = Recent::default();
        match gone::or_define(self.db, target, place, change, self.reloads) {
            Ok(_) => Ok(()),
            Err(trouble) => self.trouble(trouble, at, place, false, change.line()),
        }
    }

    /// The table a line is about.
    #[inline]
    fn target(&mut self, change: &Change<'_>) -> Option<usize> {
        let Some(table) = change.table else { return self.qualified(change) };
        let schema = change.schema.map(|schema| schema.raw());
        if self.recent.table == table.raw() && self.recent.schema.as_deref() == schema {
            return self.recent.target;
        }
        self.name.clear();
        self.name.extend_from_slice(schema.unwrap_or(b"public"));
        self.name.push(b'\t');
        self.name.extend_from_slice(table.raw());
        let target = self.names.get(&self.name).copied();
        self.recent =
            Recent { schema: schema.map(<[u8]>::to_vec), table: table.raw().to_vec(), target };
        target
    }

    /// The table of a line that has only its qualified name.
    fn qualified(&self, change: &Change<'_>) -> Option<usize> {
        let name = change.qualified_table?.decode();
        let name = TableName::parse(std::str::from_utf8(&name).ok()?).ok()?;
        self.names.get(&line_name(&name)).copied()
    }

    fn left_waiting(&mut self, target: usize, position: Position) -> Result<(), Error> {
        let place = Place { position, lsn: self.lsn };
        let message = "the line before said which row the next update rewrites, and none came";
        let trouble = Trouble::Row { reason: Reason::Order, message: message.to_owned() };
        if let Some(target) = self.targets.get_mut(target) {
            target.forget_old();
        }
        self.trouble(trouble, target, place, false, b"")
    }

    /// Turns trouble into an error, or keeps it and goes on.
    #[cold]
    fn trouble(
        &mut self,
        trouble: Trouble,
        target: usize,
        place: Place,
        with_old: bool,
        line: &[u8],
    ) -> Result<(), Error> {
        let Some(target) = self.targets.get_mut(target) else { return Ok(()) };
        // NOTE: a trigger of the user's may have ended the transaction: there is none to go on in.
        if target.is_due
            && matches!(trouble, Trouble::Row { .. } | Trouble::Drift(_))
            && self.db.in_transaction()
        {
            target.passed_over += 1;
            self.counts.passed_over += 1;
            return Ok(());
        }
        if let Some(reason) = trouble.reload(&target.state).filter(|_| self.reloads)
            && self.db.in_transaction()
        {
            // NOTE: the line that tells of it is no row: of those, none is passed over so far.
            due::ask(self.db, &target.state.source, &reason)?;
            target.is_due = true;
            let is_row = Change::parse(line).is_ok_and(|change| change.verb != Verb::Schema);
            target.passed_over += u64::from(is_row);
            self.counts.passed_over += u64::from(is_row);
            return Ok(());
        }
        let table = target.state.name.clone();
        let (reason, message) = match trouble {
            Trouble::Drift(detail) => return Err(Error::Drift { table, place, detail }),
            Trouble::Line(source) => return Err(Error::Line { place, source }),
            Trouble::Sqlite(error) => return Err(Error::Sqlite(error)),
            Trouble::Row { reason, message } => (reason, message),
        };
        let own = match reason {
            Reason::Conflict => check::own_unique(self.db, &table, &message)?,
            _ => None,
        };
        let message = match own {
            Some(index) => format!(
                "{message}: by the index \"{index}\", which is not the mirror's; PostgreSQL takes \
                 the row, if only until its transaction ends: make the index again without UNIQUE"
            ),
            None => message,
        };
        let key = target.key_text(line);
        let row = BadRow { place, table, key, reason, message };
        // NOTE: a trigger of the user's that says RAISE(ROLLBACK) ends the transaction: there is
        // none to go on in. A line that has changed several rows is taken back with the
        // transaction, which nothing else does.
        let goes_on = self.db.in_transaction() && row.reason != Reason::Many;
        match self.on_error {
            OnError::Keep if goes_on => {
                self.counts.errors += 1;
                kept::keep(self.db, &row, if with_old { &self.before } else { b"" }, line)
            }
            OnError::Keep | OnError::Stop | OnError::Suspend => Err(Error::Row(Box::new(row))),
        }
    }
}

/// What the line of a row, or a truncate, does to its table.
#[inline]
fn apply(target: &mut Target<'_>, change: &Change<'_>) -> Result<(), Trouble> {
    match change.verb {
        Verb::Insert => target.insert(change),
        Verb::Update => target.update(change),
        Verb::Replace => target.replace(change),
        Verb::Delete => target.delete(change),
        Verb::Truncate => target.truncate(),
        Verb::Schema | Verb::Commit | Verb::Message => Ok(()),
    }
}

/// The name of a line's table.
fn name_of(change: &Change<'_>) -> Result<TableName, Trouble> {
    let text = |text: deltaflood::Text<'_>| String::from_utf8(text.decode().into_owned()).ok();
    let schema = change.schema.map_or_else(|| Some("public".to_owned()), text);
    match (schema, change.table.and_then(text)) {
        (Some(schema), Some(table)) => Ok(TableName::new(schema, table)),
        _ => Err(Trouble::Drift("its name cannot be read".to_owned())),
    }
}

const fn counts_as_change(verb: Verb) -> bool {
    matches!(verb, Verb::Insert | Verb::Update | Verb::Delete | Verb::Truncate)
}

/// Schema and table as they stand in a line, with a TAB between.
fn line_name(name: &TableName) -> Vec<u8> {
    let mut out = Vec::new();
    deltaflood::write::escape(&mut out, name.schema.as_bytes());
    out.push(b'\t');
    deltaflood::write::escape(&mut out, name.table.as_bytes());
    out
}
