//! One mirrored table: rows of the stream decoded, its statements prepared, its filter.

use deltaflood::{Change, Lsn, Text, list};

use super::definition::{Definition, Reason as ReloadReason, SchemaDiff, Step};
use super::error::Reason;
use super::gone::Gone;
use super::policy::Policy;
use super::row::{Row, describe};
use super::snapshot::Snapshot;
use super::sql::Shape;
use super::state::{self, TableState, TableStatus};
use super::statement::{Prepared, Updates};
use super::tally::Pending;
use super::trouble::Trouble;
use super::{Error, alter, check};
use crate::advice;
use crate::schema::TableName;
use crate::schema::ddl::Lookup;
use crate::schema::value::Kind;
use crate::sqlite::{Db, Value};

/// A column of the target.
#[derive(Debug)]
struct Column {
    /// The name as it stands in a line, escaped.
    raw: Vec<u8>,
    kind: Kind,
}

/// The old row of the update to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Waiting {
    /// There is none.
    #[default]
    No,
    /// A `replace` line told it.
    Known,
    /// A `replace` line told it, but could not be taken.
    Unknown,
}

/// A mirrored table.
#[derive(Debug)]
pub(super) struct Target<'db> {
    db: &'db Db,
    pub(super) state: TableState,
    shape: Shape,
    columns: Vec<Column>,
    /// Columns of the primary key in SQLite.
    primary_key: Vec<usize>,
    /// Columns of the row that find an old one.
    old_columns: Vec<usize>,
    /// Transactions that this holds are left out; `None` once the stream is past it.
    pub(super) snapshot: Option<Snapshot>,
    /// The last transaction that touched the table, and whether its copy holds that already.
    touched: Option<(u64, bool)>,
    insert: Option<Prepared<'db>>,
    delete: Option<Prepared<'db>>,
    updates: Updates<'db>,
    new: Row,
    old: Row,
    waiting: Waiting,
    /// The table is to be reloaded: its rows are those of before, as far as they can be followed.
    pub(super) is_due: bool,
    /// It is in the stream no more.
    pub(super) gone: Option<Gone>,
    /// Lines that it could not take meanwhile, and that are not written down yet.
    pub(super) passed_over: u64,
    /// Changes that are not committed yet.
    pub(super) pending: Pending,
    values: Vec<Value<'static>>,
}

impl<'db> Target<'db> {
    /// From the mirror's state; looks whether the table is what the state says.
    pub(super) fn new(db: &'db Db, state: TableState) -> Result<Target<'db>, Error> {
        let Layout { shape, columns, primary_key } = Layout::of(db, &state)?;
        Ok(Target {
            db,
            old_columns: shape.old_columns(),
            snapshot: (state.status == TableStatus::Ready).then(|| state.snapshot.clone()),
            touched: None,
            state,
            shape,
            columns,
            primary_key,
            insert: None,
            delete: None,
            updates: Updates::default(),
            new: Row::default(),
            old: Row::default(),
            waiting: Waiting::No,
            is_due: false,
            gone: None,
            passed_over: 0,
            pending: Pending::default(),
            values: Vec::new(),
        })
    }

    /// How the table is now, with what the stream has told of it.
    pub(super) fn into_state(self) -> TableState {
        let status = if self.snapshot.is_some() { TableStatus::Ready } else { TableStatus::Live };
        let snapshot = self.snapshot.unwrap_or(self.state.snapshot);
        TableState { status, snapshot, ..self.state }
    }

    /// The table in the file, or what is known of it, is another one now.
    fn lay_out(&mut self) -> Result<(), Error> {
        let Layout { shape, columns, primary_key } = Layout::of(self.db, &self.state)?;
        self.old_columns = shape.old_columns();
        (self.shape, self.columns, self.primary_key) = (shape, columns, primary_key);
        self.insert = None;
        self.delete = None;
        self.updates.clear();
        Ok(())
    }

    /// Whether an old row waits for its update.
    pub(super) fn has_old(&self) -> bool {
        self.waiting != Waiting::No
    }

    /// Forgets an old row that waits.
    pub(super) fn forget_old(&mut self) {
        self.waiting = Waiting::No;
    }

    /// Whether the table's copy holds the transaction in hand, the `number`-th: found out once for
    /// each.
    #[inline]
    pub(super) fn holds(&mut self, number: u64, xid: Option<u32>, lsn: Option<Lsn>) -> bool {
        match self.touched {
            Some((touched, held)) if touched == number => held,
            _ => {
                let snapshot = self.snapshot.as_ref();
                let held = snapshot.is_some_and(|s| xid.is_some_and(|xid| s.holds(xid, lsn)));
                self.touched = Some((number, held));
                held
            }
        }
    }

    /// Takes a `schema` line that the table's copy does not hold; true when the file's schema is
    /// another one now. `reloads`: what the stream does not tell can be had otherwise.
    pub(super) fn define(&mut self, change: &Change<'_>, reloads: bool) -> Result<bool, Trouble> {
        if self.is_due {
            let is_another = |oid: &u32| change.oid.is_some_and(|now| now != *oid);
            return match self.state.definition.oid.filter(is_another) {
                Some(_) => self.forget_oid().map(|()| false),
                None => Ok(false),
            };
        }
        let Some(now) = Definition::from_change(change) else {
            return Err(Trouble::Drift("its definition cannot be read".to_owned()));
        };
        let was = &self.state.definition;
        let diff = was.diff(&now);
        if diff == SchemaDiff::Replaced && reloads && self.state.policy == Policy::Follow {
            self.forget_oid()?;
            return Err(Trouble::Drift(diff.text().unwrap_or_default()));
        }
        let steps = match &diff {
            // NOTE: what came with a partition, or went with one, the stream does not tell.
            SchemaDiff::Reload(ReloadReason::Partitions) if !reloads => &[],
            diff => self.state.policy.steps(diff).map_err(Trouble::Drift)?,
        };
        let now = was.followed_by(now);
        if now == *was {
            return Ok(false);
        }
        if reloads && self.state.policy == Policy::Follow && was.has_other_parts(&now) {
            let reason = SchemaDiff::Reload(ReloadReason::Partitions).text();
            return Err(Trouble::Drift(reason.unwrap_or_default()));
        }
        if reloads && self.has_other_key(steps, &now) {
            return Err(Trouble::Drift("its primary key is another one".to_owned()));
        }
        if steps.is_empty() && now.key == was.key {
            self.state.definition = now;
            state::write_shape(self.db, &self.state).map_err(Trouble::of)?;
            return Ok(false);
        }
        let before = self.state.clone();
        self.db.exec("SAVEPOINT _deltamirror_alter")?;
        let altered = self.alter(steps, now);
        if altered.is_err() && self.db.in_transaction() {
            self.db.exec("ROLLBACK TO _deltamirror_alter")?;
            self.state = before;
            self.lay_out().map_err(Trouble::of)?;
        }
        if self.db.in_transaction() {
            self.db.exec("RELEASE _deltamirror_alter")?;
        }
        altered.map(|()| true)
    }

    /// It is going to be copied from another table of its name: where the one of before goes does
    /// not matter any more.
    fn forget_oid(&mut self) -> Result<(), Trouble> {
        self.state.definition.oid = None;
        state::write_shape(self.db, &self.state).map_err(Trouble::of)
    }

    /// Whether the key that the table has in SQLite is not the source's any more.
    fn has_other_key(&self, steps: &[Step], now: &Definition) -> bool {
        let (Some(was), Some(is)) = (&self.state.definition.details, &now.details) else {
            return false;
        };
        let renamed = |key: &[u8]| {
            let to = steps.iter().find_map(|step| match step {
                Step::Rename { from, to } if from.as_bytes() == key => Some(to.as_bytes()),
                _ => None,
            });
            to.unwrap_or(key).to_vec()
        };
        let was: Vec<Vec<u8>> = was.primary.iter().map(|key| renamed(key)).collect();
        !self.state.primary_key.is_empty() && was != is.primary
    }

    fn alter(&mut self, steps: &[Step], now: Definition) -> Result<(), Trouble> {
        alter::take(self.db, &mut self.state, steps, now)?;
        self.lay_out().map_err(Trouble::of)?;
        let Shape { lookup, rowid, .. } = &self.shape;
        alter::by_identity(self.db, &self.state, lookup, *rowid)
    }

    /// Takes the name that the table has at its source now.
    pub(super) fn rename(&mut self, source: TableName) -> Result<(), Trouble> {
        alter::table(self.db, &mut self.state, source)?;
        self.lay_out().map_err(Trouble::of)
    }

    /// Decodes the columns of a line into a row.
    fn decode(&mut self, change: &Change<'_>, old: bool) -> Result<(), Trouble> {
        let row = if old { &mut self.old } else { &mut self.new };
        row.clear(self.columns.len());
        let line = change.line();
        let mut next = 0;
        for pair in change.columns() {
            let (key, value) = pair.map_err(Trouble::Line)?;
            // Columns come in order, those that are NULL left out: look on from the last one.
            let at = match find(&self.columns, next, key) {
                Some(at) => at,
                None if self.is_due => continue,
                None => return Err(unknown(key)),
            };
            if row.has(at) {
                let message = format!("column \"{}\" is there twice", lossy(key));
                return Err(Trouble::Row { reason: Reason::Order, message });
            }
            let Some(column) = self.columns.get(at) else { return Err(unknown(key)) };
            if let Err(error) = row.set(at, column.kind, value, line) {
                let message = format!("column \"{}\" is {error}", lossy(key));
                return Err(Trouble::Row { reason: Reason::Value, message });
            }
            next = at + 1;
        }
        Ok(())
    }

    /// Applies an `insert` line.
    pub(super) fn insert(&mut self, change: &Change<'_>) -> Result<(), Trouble> {
        self.decode(change, false)?;
        self.has_all(change)?;
        self.keeps_key(&[])?;
        let prepared = match &mut self.insert {
            Some(prepared) => prepared,
            slot => slot.insert(Prepared::new(self.db, self.shape.insert())?),
        };
        match prepared.run(&mut self.values, &self.new, &self.new, change.line())? {
            1 => Ok(()),
            rows => Err(not_stored(rows)),
        }
    }

    /// Keeps the old row of a `replace` line for the update that follows.
    pub(super) fn replace(&mut self, change: &Change<'_>) -> Result<(), Trouble> {
        // The update that follows must not be taken for one of the row that it makes.
        self.waiting = Waiting::Unknown;
        self.decode(change, true)?;
        self.has_all(change)?;
        self.old.detach(change.line());
        self.waiting = Waiting::Known;
        Ok(())
    }

    /// Applies an `update` line, to the row of the `replace` line before it if there was one.
    pub(super) fn update(&mut self, change: &Change<'_>) -> Result<(), Trouble> {
        let waiting = std::mem::take(&mut self.waiting);
        self.decode(change, false)?;
        if waiting == Waiting::Unknown {
            return Err(Trouble::Row {
                reason: Reason::Order,
                message: "the line before, which says what row is meant, was not taken".to_owned(),
            });
        }
        let with_old = waiting == Waiting::Known;
        let unchanged = match change.unchanged {
            Some(names) => self.unchanged(names)?,
            None => Vec::new(),
        };
        self.require_key(if with_old { &self.old } else { &self.new }, with_old)?;
        self.keeps_key(&unchanged)?;
        let updates = &mut self.updates;
        let Some(update) = updates.of(self.db, &self.shape, with_old, unchanged)? else {
            return Ok(());
        };
        let old = if with_old { &self.old } else { &self.new };
        // The old row was detached from its line: it never looks into this one.
        let changed = update.run(&mut self.values, &self.new, old, change.line())?;
        one_row(changed, "update")
    }

    /// Applies a `delete` line.
    pub(super) fn delete(&mut self, change: &Change<'_>) -> Result<(), Trouble> {
        self.decode(change, false)?;
        self.has_all(change)?;
        self.require_key(&self.new, true)?;
        let prepared = match &mut self.delete {
            Some(prepared) => prepared,
            slot => slot.insert(Prepared::new(self.db, self.shape.delete())?),
        };
        let changed = prepared.run(&mut self.values, &self.new, &self.new, change.line())?;
        one_row(changed, "delete")
    }

    /// Applies a `truncate` line.
    pub(super) fn truncate(&mut self) -> Result<(), Trouble> {
        self.db.exec(&self.shape.truncate())?;
        Ok(())
    }

    /// The key of the row in hand, for a message.
    pub(super) fn key_text(&self, line: &[u8]) -> String {
        let columns = if self.shape.lookup == Lookup::Row { &[] } else { &*self.old_columns };
        let name = |c: usize| self.shape.columns.get(c).map_or("", String::as_str);
        let row = if self.waiting == Waiting::Known { &self.old } else { &self.new };
        describe(columns.iter().map(|c| (name(*c), row.value(*c, line))))
    }

    /// The columns of an `_unchanged` list.
    fn unchanged(&self, names: Text<'_>) -> Result<Vec<usize>, Trouble> {
        let decoded = names.decode();
        let mut columns = Vec::new();
        for name in list::names(&decoded) {
            let name = name.map_err(|_| Trouble::Row {
                reason: Reason::Order,
                message: "the list in _unchanged is malformed".to_owned(),
            })?;
            let position = self.shape.columns.iter().position(|c| c.as_bytes() == name.as_ref());
            match position {
                Some(at) => columns.push(at),
                None if self.is_due => {}
                None => {
                    let name = String::from_utf8_lossy(&name);
                    return Err(Trouble::Drift(format!("column \"{name}\" is new")));
                }
            }
        }
        Ok(columns)
    }

    /// A row that is new here, or names an old one, needs all its values. A row that an update
    /// brought into the publication's row filter comes as an insert, without those that did not
    /// change and are stored out of line.
    #[inline]
    fn has_all(&self, change: &Change<'_>) -> Result<(), Trouble> {
        let Some(names) = change.unchanged else { return Ok(()) };
        let Some(column) = self.unchanged(names)?.first().copied() else { return Ok(()) };
        let column = self.shape.columns.get(column).map_or("", String::as_str);
        let message = format!(
            "the stream does not have the value of column \"{column}\", which was not changed \
             when the row came into the row filter: `ALTER TABLE {} REPLICA IDENTITY FULL` \
             makes PostgreSQL send it from then on",
            advice::table(&self.state.source.to_string())
        );
        Err(Trouble::Row { reason: Reason::Missing, message })
    }

    /// No part of the table's primary key may be NULL: SQLite would make up a number.
    #[inline]
    fn keeps_key(&self, unchanged: &[usize]) -> Result<(), Trouble> {
        let lacks = |c: &&usize| !self.new.has(**c) && !unchanged.contains(*c);
        match self.primary_key.iter().find(lacks) {
            None => Ok(()),
            Some(column) => {
                let column = self.shape.columns.get(*column).map_or("", String::as_str);
                Err(Trouble::Drift(format!(
                    "column \"{column}\" is NULL, and was in the primary key, which is gone"
                )))
            }
        }
    }

    /// An old row must be known by its whole key, and a table by whole rows needs the old one.
    fn require_key(&self, row: &Row, is_old: bool) -> Result<(), Trouble> {
        let fine = match &self.shape.lookup {
            Lookup::Never => false,
            Lookup::Row => is_old,
            Lookup::Key(_) => self.old_columns.iter().all(|c| row.has(*c)),
        };
        if fine && self.shape.lookup == Lookup::Row && self.shape.rowid.is_none() {
            let detail = "its columns in the file hide every name of the row number (rowid, \
                          _rowid_, oid), without which one of several equal rows cannot be told";
            return Err(Trouble::Drift(detail.to_owned()));
        }
        if fine {
            return Ok(());
        }
        let message = "the line does not tell which row is meant".to_owned();
        Err(Trouble::Row { reason: Reason::Order, message })
    }
}

/// How lines become rows of the table.
struct Layout {
    shape: Shape,
    columns: Vec<Column>,
    primary_key: Vec<usize>,
}

impl Layout {
    /// Looks whether the table is what the state says.
    fn of(db: &Db, state: &TableState) -> Result<Layout, Error> {
        let rowid = check::columns(db, state)?;
        let escaped = |name: &str| {
            let mut raw = Vec::with_capacity(name.len());
            deltaflood::write::escape(&mut raw, name.as_bytes());
            raw
        };
        let names: Vec<String> = state.definition.columns.iter().map(|c| c.0.clone()).collect();
        let columns = names
            .iter()
            .zip(&state.base_types)
            .map(|(name, oid)| Column { raw: escaped(name), kind: Kind::from_oid(*oid) });
        let columns: Vec<Column> = columns.collect();
        let lookup = lookup(state);
        let at = |name: &String| names.iter().position(|column| column == name);
        let primary_key = state.primary_key.iter().filter_map(at).collect();
        let numeric = |c: &usize| columns.get(*c).is_some_and(|c| c.kind == Kind::Numeric);
        let loose = (0..columns.len()).filter(numeric).collect();
        let shape = Shape { table: state.name.clone(), columns: names, loose, lookup, rowid };
        Ok(Layout { shape, columns, primary_key })
    }
}

/// How old rows of a table are found, from its state.
pub(super) fn lookup(state: &TableState) -> Lookup {
    let identity = &state.definition.key;
    let key = &state.primary_key;
    if !key.is_empty() && key.iter().all(|column| identity.contains(column)) {
        return Lookup::Key(key.clone());
    }
    if identity.is_empty() {
        return Lookup::Never;
    }
    if state.definition.columns.iter().all(|(name, _)| identity.contains(name)) {
        return Lookup::Row;
    }
    Lookup::Key(identity.clone())
}

/// The column called `key`, looked for from `next` on.
#[inline]
fn find(columns: &[Column], next: usize, key: Text<'_>) -> Option<usize> {
    let ahead = columns.get(next..).unwrap_or_default();
    let found = ahead.iter().position(|column| column.raw == key.raw()).map(|at| at + next);
    found.or_else(|| columns.iter().position(|column| column.raw == key.raw()))
}

/// An update or delete changes one row, or it is an error, whatever the reason.
#[inline]
fn one_row(changed: u64, verb: &str) -> Result<(), Trouble> {
    let (reason, message) = match changed {
        1 => return Ok(()),
        0 => (Reason::NoRow, format!("there is no such row to {verb}")),
        rows => (Reason::Many, format!("the {verb} of one row changed {rows}")),
    };
    Err(Trouble::Row { reason, message })
}

#[cold]
fn not_stored(rows: u64) -> Trouble {
    let message = format!("{rows} rows were stored: a trigger or view is in the table's place");
    Trouble::Row { reason: Reason::Conflict, message }
}

fn unknown(key: Text<'_>) -> Trouble {
    Trouble::Drift(format!("column \"{}\" is new", lossy(key)))
}

fn lossy(text: Text<'_>) -> String {
    String::from_utf8_lossy(&text.decode()).into_owned()
}
