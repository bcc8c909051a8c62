//! What could not be applied is tried again: tables that stand still, and kept rows.

use super::behind::Behind;
use super::errors::{Which, chosen};
use super::{change, mirror, named};
use crate::daystream::Source;
use crate::deltamirror::busy::Patience;
use crate::deltamirror::kept::{self, Kept};
use crate::deltamirror::state::{self, TableState};
use crate::deltamirror::suspended::{self, Suspended};
use crate::deltamirror::tables::{OnError, Tables};
use crate::deltamirror::{Error, StreamSource};
use crate::error::Coded;
use crate::limits::MIRROR_SLICE_MS;
use crate::sqlite::Db;
use deltaflood::Change;
use std::time::{Duration, Instant};

/// What a [`retry`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retried {
    /// Kept rows that are applied now.
    pub applied: u64,
    /// Kept rows that still cannot be.
    pub left: u64,
    /// Tables that are followed again, by their names in SQLite.
    pub live: Vec<String>,
    /// Tables that still stand still, where and why.
    pub suspended: Vec<Suspended>,
}

/// Tries again: tables that stand still are fed from where they stand; kept rows are applied, each
/// once, to the tables as they are now, in the order in which they were kept. `source` is the
/// stream, or `None` to look where the mirror last read it; kept rows do not need it.
///
/// # Errors
/// Those of the stream, as `DAYSTREAM GAP` when it no longer has what a table needs;
/// [`Error::NotInitialised`], [`Error::Busy`], [`Error::NotMirrored`]. A row that cannot be applied
/// is none: what is left is told.
pub fn retry(
    db: &Db,
    source: Option<&StreamSource>,
    which: &Which,
    patience: Patience<'_>,
) -> Result<Retried, Error> {
    if db.in_transaction() {
        return Err(Error::InTransaction);
    }
    let stream = patience.retry(|| mirror(db))?;
    if let Which::Tables(names) = which {
        super::choose(state::tables(db)?, names)?;
    }
    let mut retried = Retried::default();
    let standing = standing(db, which)?;
    if !standing.is_empty() {
        let opened;
        let source = match source {
            Some(source) => source,
            None => {
                opened = StreamSource::open(Source::parse(&stream.stream))?;
                &opened
            }
        };
        source.check_same_stream(&stream)?;
        for table in standing {
            let mut behind = Behind::new(db, source, table, patience);
            match behind.catch_up() {
                Ok(true) => retried.live.push(behind.table),
                Ok(false) => {
                    let standing = suspended::list(db)?.into_iter();
                    retried.suspended.extend(standing.filter(|s| s.table == behind.table));
                }
                Err(error @ (Error::Row(_) | Error::Drift { .. } | Error::Line { .. })) => {
                    retried.suspended.extend(still(db, &behind.table, &error, patience)?);
                }
                Err(error) => return Err(error),
            }
        }
    }
    rows(db, which, patience, &mut retried)?;
    Ok(retried)
}

/// The tables that stand still and are meant.
fn standing(db: &Db, which: &Which) -> Result<Vec<String>, Error> {
    let states = state::tables(db)?;
    let is_meant = |suspended: &Suspended| match which {
        Which::All => true,
        Which::Ids(_) => false,
        Which::Tables(names) => states
            .iter()
            .filter(|state| state.name == suspended.table)
            .any(|state| names.iter().any(|n| named::is_meant(&state.source, &state.name, n))),
    };
    let list = suspended::list(db)?;
    Ok(list.into_iter().filter(is_meant).map(|suspended| suspended.table).collect())
}

/// The table still stands still, where it has come to, for this reason.
fn still(
    db: &Db,
    table: &str,
    error: &Error,
    patience: Patience<'_>,
) -> Result<Option<Suspended>, Error> {
    change(db, patience, || {
        let list = suspended::list(db)?;
        let Some(found) = list.into_iter().find(|s| s.table == table) else { return Ok(None) };
        let (reason, message) = (error.code().reason.to_owned(), error.report());
        suspended::note(db, table, found.mark, &reason, &message)?;
        Ok(Some(Suspended { reason, message, ..found }))
    })
}

/// Applies kept rows again, in short transactions.
fn rows(
    db: &Db,
    which: &Which,
    patience: Patience<'_>,
    retried: &mut Retried,
) -> Result<(), Error> {
    // Each is looked at once, whatever is kept meanwhile.
    let mut todo = patience.retry(|| chosen(db, which))?.into_iter().peekable();
    while todo.peek().is_some() {
        change(db, patience, || {
            let states = running(db)?;
            let mut tables = Tables::new(db, states, OnError::Stop)?;
            let began = Instant::now();
            for id in todo.by_ref() {
                let Some(kept) = kept::get(db, id)? else { continue };
                match row(db, &mut tables, &kept)? {
                    true => retried.applied += 1,
                    false => retried.left += 1,
                }
                if began.elapsed() >= Duration::from_millis(MIRROR_SLICE_MS) {
                    break;
                }
            }
            tables.write_counts()
        })?;
    }
    Ok(())
}

/// The tables that are followed: a row of one that stands still has to wait for it.
fn running(db: &Db) -> Result<Vec<TableState>, Error> {
    let standing = suspended::list(db)?;
    let mut states = state::tables(db)?;
    states.retain(|state| standing.iter().all(|suspended| suspended.table != state.name));
    Ok(states)
}

/// Applies a kept row; false when that cannot be.
fn row(db: &Db, tables: &mut Tables<'_>, kept: &Kept) -> Result<bool, Error> {
    if !kept.whole {
        return Ok(false);
    }
    if tables.targets.iter().all(|target| target.state.name != kept.table) {
        return Ok(false);
    }
    db.exec("SAVEPOINT kept")?;
    let others = tables.counts.other_tables;
    match again(tables, kept) {
        // Its line has a name that the table had before.
        Ok(()) if tables.counts.other_tables != others => {
            db.exec("ROLLBACK TO kept; RELEASE kept")?;
            Ok(false)
        }
        Ok(()) => {
            kept::forget(db, kept.id)?;
            db.exec("RELEASE kept")?;
            Ok(true)
        }
        Err(error @ (Error::Row(_) | Error::Drift { .. } | Error::Line { .. })) => {
            tables.forget_waiting();
            db.exec("ROLLBACK TO kept; RELEASE kept")?;
            let message = match &error {
                Error::Row(row) => row.message.clone(),
                error => error.report(),
            };
            kept::explain(db, kept.id, error.code().reason, &message)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn again(tables: &mut Tables<'_>, kept: &Kept) -> Result<(), Error> {
    let place = crate::deltamirror::Place { position: kept.position, lsn: kept.lsn };
    let parse = |line| Change::parse(line).map_err(|source| Error::Line { place, source });
    tables.begin(kept.lsn);
    if !kept.before.is_empty() {
        tables.line(kept.position, &parse(kept.before.as_bytes())?)?;
    }
    let change = parse(kept.line.as_bytes())?;
    tables.line(kept.position, &change)?;
    if change.verb == deltaflood::Verb::Replace {
        // The update that it belongs to has it, too.
        tables.forget_waiting();
    }
    tables.end(kept.position)
}
