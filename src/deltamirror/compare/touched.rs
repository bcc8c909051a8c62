//! Rows that the stream touched after a snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use deltaflood::Verb;

use super::rows::{encode, key_columns};
use super::{StreamSource, TableState};
use crate::daystream::{Mark, Position};
use crate::deltamirror::Error;
use crate::deltamirror::Snapshot;
use crate::deltamirror::row::Row;
use crate::schema::value::Kind;

/// The rows of each table.
#[derive(Debug)]
pub(super) struct Touched {
    tables: Vec<Rows>,
}

/// Rows of one table.
#[derive(Debug, Default)]
struct Rows {
    keys: HashSet<Vec<u8>>,
    /// It cannot be told which: a truncate, or a row of which the stream has only a part.
    all: bool,
}

impl Touched {
    /// Nothing was touched.
    pub(super) fn nothing(tables: usize) -> Touched {
        Touched { tables: (0..tables).map(|_| Rows::default()).collect() }
    }

    /// Any row may have been touched.
    pub(super) fn all(tables: usize) -> Touched {
        let rows = |_| Rows { all: true, ..Rows::default() };
        Touched { tables: (0..tables).map(rows).collect() }
    }

    /// Whether the row with this key of the `table`-th table was touched.
    pub(super) fn has(&self, table: usize, key: &[u8]) -> bool {
        self.tables.get(table).is_some_and(|rows| rows.all || rows.keys.contains(key))
    }
}

/// A table whose lines are looked at.
struct Watched {
    columns: HashMap<Vec<u8>, (usize, Kind)>,
    /// The columns of the key; all, in a table without one.
    key: Vec<usize>,
}

impl Watched {
    fn new(state: &TableState) -> Watched {
        let columns = state.definition.columns.iter().zip(&state.base_types).enumerate();
        let columns = columns
            .map(|(at, ((name, _), oid))| (name.as_bytes().to_vec(), (at, Kind::from_oid(*oid))));
        let columns: HashMap<_, _> = columns.collect();
        let mut key = key_columns(state);
        if key.is_empty() {
            key = (0..columns.len()).collect();
        }
        Watched { columns, key }
    }
}

/// The rows touched by transactions that end behind `begin` and at or before `end`, and that the
/// snapshot does not hold.
pub(super) fn since(
    source: &StreamSource,
    begin: Position,
    end: Position,
    snapshot: &Snapshot,
    states: &[&TableState],
    stop: &AtomicBool,
) -> Result<Touched, Error> {
    let watched: Vec<Watched> = states.iter().map(|state| Watched::new(state)).collect();
    let mut touched = Touched::nothing(states.len());
    let mut row = Row::default();
    let mut reader = source.after(Mark::at(begin), stop)?;
    loop {
        reader.arrive()?;
        let Some(entry) = reader.next_unless(stop)? else { break };
        if entry.transaction.last > end {
            break;
        }
        let change = &entry.change;
        let held = change.xid.is_some_and(|xid| snapshot.holds(xid, entry.transaction.lsn));
        let (Some(table), false) = (change.table, held) else { continue };
        let schema = change.schema.map(|schema| schema.decode());
        let schema = schema.as_deref().unwrap_or(b"public");
        let of = |state: &&TableState| {
            state.source.schema.as_bytes() == schema && table.is(state.source.table.as_bytes())
        };
        let Some(at) = states.iter().position(of) else { continue };
        let (Some(watched), Some(rows)) = (watched.get(at), touched.tables.get_mut(at)) else {
            continue;
        };
        match change.verb {
            Verb::Truncate => rows.all = true,
            Verb::Schema | Verb::Commit | Verb::Message => {}
            Verb::Insert | Verb::Update | Verb::Replace | Verb::Delete => {
                match key(change, watched, &mut row) {
                    Some(key) => {
                        rows.keys.insert(key);
                    }
                    None => rows.all = true,
                }
            }
        }
    }
    Ok(touched)
}

/// The key in a line; `None` when the line does not tell all of it.
fn key(change: &deltaflood::Change<'_>, watched: &Watched, row: &mut Row) -> Option<Vec<u8>> {
    let line = change.line();
    row.clear(watched.columns.len());
    for pair in change.columns() {
        let (name, value) = pair.ok()?;
        let (at, kind) = *watched.columns.get(name.decode().as_ref())?;
        row.set(at, kind, value, line).ok()?;
    }
    let whole = watched.key.len() == watched.columns.len();
    if whole && change.unchanged.is_some() {
        return None;
    }
    let mut key = Vec::new();
    for column in &watched.key {
        if !whole && !row.has(*column) {
            return None;
        }
        encode(&mut key, row.value(*column, line));
    }
    Some(key)
}
