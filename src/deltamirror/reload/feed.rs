//! A shadow brought to where the mirror is, from the stream.

use std::time::{Duration, Instant};

use super::copy::Begun;
use crate::daystream::{self, Feed, Mark};
use crate::deltamirror::busy::Patience;
use crate::deltamirror::snapshot::Unproven;
use crate::deltamirror::state::{StreamState, TableState};
use crate::deltamirror::tables::{OnError, Tables};
use crate::deltamirror::target::Target;
use crate::deltamirror::{Error, Policy, StreamSource, copied};
use crate::sqlite::Db;

/// A shadow that holds its copy, and how far the stream is in it.
#[derive(Debug)]
pub(super) struct Feeding<'db> {
    tables: Tables<'db>,
    reader: Option<Feed>,
    /// Everything up to here is in it.
    mark: Mark,
    /// A transaction of the stream is begun, and not all of it is in it.
    open: bool,
    /// The stream brings what proves the copy.
    has_barrier: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// There is more that can be taken at once.
    More,
    /// More is on its way from another host.
    Starved,
    /// It is where the mirror is, and the copy is not proven yet.
    Unproven,
    /// It is where the mirror is.
    Here,
}

impl<'db> Feeding<'db> {
    /// Of a shadow called `shadow`, into which `rows` were copied.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Sqlite`].
    pub(super) fn new(
        db: &'db Db,
        shadow: &str,
        begun: &Begun,
        rows: u64,
    ) -> Result<Feeding<'db>, Error> {
        let mut state = copied::state(&begun.published, shadow, &begun.snapshot, rows);
        let has_barrier = state.snapshot.barrier.is_some();
        // Altered meanwhile, it is of no use: the reload begins again.
        state.policy = Policy::Stop;
        let mut tables = Tables::new(db, vec![state], OnError::Stop)?;
        (tables.reloads, tables.is_shadow) = (true, true);
        Ok(Feeding { tables, reader: None, mark: begun.begin, open: false, has_barrier })
    }

    /// Takes what the mirror, which is at `stream`, has of it, for as long as `budget`. In a
    /// transaction; what it says of the shadow counts once that is committed.
    ///
    /// # Errors
    /// Those of a line ([`Error::Drift`], [`Error::Row`], ...): the shadow is of no use then.
    /// [`Error::Unproven`], [`Error::Daystream`].
    pub(super) fn take(
        &mut self,
        source: &StreamSource,
        stream: &StreamState,
        patience: Patience<'_>,
        budget: Duration,
    ) -> Result<Reached, Error> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            // NOTE: a shadow does not live on under another name (`Policy::Stop`).
            slot => {
                let feed = {
                    let mut tables = self.tables.sources();
                    source.after_of(Some(&mut tables), self.mark, patience.stop)
                };
                match feed {
                    Ok(reader) => slot.insert(reader),
                    Err(Error::Daystream(daystream::Error::Empty { .. })) => {
                        return self.here(stream);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let began = Instant::now();
        let mut lines = 0_u32;
        loop {
            if !reader.knows_next()? {
                return Ok(Reached::Starved);
            }
            let Some(entry) = reader.next()? else {
                // NOTE: the end of a stream on another host is that of the moment when it was told:
                // the mirror may be past it.
                if stream.is_up_to(self.mark) {
                    break;
                }
                self.reader = None;
                return Ok(Reached::Starved);
            };
            if !self.open {
                // NOTE: the reader has passed its beginning: it is read again from where the mirror
                // is now.
                if !stream.has(&entry.transaction) {
                    break;
                }
                self.tables.begin(entry.transaction.lsn);
            }
            self.tables.line(entry.position, &entry.change)?;
            let entry_ends = entry.end;
            self.open = !entry_ends;
            if entry_ends {
                let mark = entry.transaction.mark();
                self.mark = Mark { lsn: mark.lsn.or(self.mark.lsn), ..mark };
                self.tables.end(mark.position)?;
            }
            lines = lines.wrapping_add(1);
            // Nobody reads the shadow: it may stand in the middle of a transaction.
            // Lines of other tables are not given, whole transactions of them are.
            if (entry_ends || lines.is_multiple_of(64)) && began.elapsed() >= budget {
                return Ok(Reached::More);
            }
        }
        self.here(stream)
    }

    /// The shadow is where the mirror is.
    fn here(&mut self, stream: &StreamState) -> Result<Reached, Error> {
        self.reader = None;
        self.mark = stream.mark();
        let Some(target) = self.tables.targets.first() else {
            return Err(Error::Defect { what: "a shadow without a table".to_owned() });
        };
        let snapshot = target.snapshot.as_ref();
        match snapshot.and_then(|snapshot| snapshot.barrier.as_ref()) {
            Some(barrier) if barrier.lsn < stream.lsn => {
                let (table, lsn) = (target.state.source.to_string(), stream.lsn);
                Err(Error::Unproven(Box::new(Unproven { table, barrier: barrier.lsn, lsn })))
            }
            Some(_) => Ok(Reached::Unproven),
            // What proves it comes behind all that the snapshot holds. Where the stream cannot
            // bring it, the mirror may be behind: then the table waits in its place for the others.
            None if !self.has_barrier && !self.is_past(stream) => Ok(Reached::Unproven),
            None => Ok(Reached::Here),
        }
    }

    /// Whether the mirror has all that the snapshot holds.
    fn is_past(&self, stream: &StreamState) -> bool {
        let target = self.tables.targets.first();
        target.and_then(|t| t.snapshot.as_ref()).is_none_or(|s| s.lsn <= stream.lsn)
    }

    /// The state of the table, under its own name.
    pub(super) fn into_state(mut self, name: &str) -> Option<TableState> {
        let state = self.tables.targets.pop().map(Target::into_state)?;
        Some(TableState { name: name.to_owned(), policy: Policy::default(), ..state })
    }
}
