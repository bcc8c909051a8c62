//! A table that stands still is fed from where it stands until it is where the mirror is, in short
//! transactions, while the others are followed.

use std::time::{Duration, Instant};

use crate::daystream::{Feed, Mark};
use crate::deltamirror::busy::{Patience, roll_back};
use crate::deltamirror::state::{self, StreamState, TableState};
use crate::deltamirror::suspended::{self, Suspended};
use crate::deltamirror::tables::{OnError, Tables};
use crate::deltamirror::target::Target;
use crate::deltamirror::{Error, StreamSource};
use crate::limits::{MIRROR_GAP_MS, MIRROR_SLICE_MS};
use crate::sqlite::Db;

/// One table on its way.
pub(super) struct Behind<'a> {
    db: &'a Db,
    source: &'a StreamSource,
    /// Its name in SQLite.
    pub(super) table: String,
    patience: Patience<'a>,
    /// Transactions of the stream at most, in the next slice.
    room: u64,
}

/// What one transaction of SQLite brought.
struct Slice {
    /// The table is where the mirror is, and is one of it again.
    is_there: bool,
    /// Its name now.
    table: String,
}

impl<'a> Behind<'a> {
    /// A table of `source`'s mirror.
    pub(super) fn new(
        db: &'a Db,
        source: &'a StreamSource,
        table: String,
        patience: Patience<'a>,
    ) -> Behind<'a> {
        Behind { db, source, table, patience, room: u64::MAX }
    }

    /// Brings the table to where the mirror is; false when the stream, for as long as a lock is
    /// waited for, does not have all that the mirror has.
    ///
    /// # Errors
    /// That of the first transaction that cannot be applied: the table stands still before it.
    pub(super) fn catch_up(&mut self) -> Result<bool, Error> {
        let mut came_on = Instant::now();
        loop {
            // NOTE: the feed is opened outside of the transaction: it may take a network.
            let Some(from) = self.place()? else { return Ok(true) };
            let mut feed = self.source.after(from.mark, self.patience.stop)?;
            feed.arrive()?;
            let mut done = 0;
            self.patience.begin_eagerly(self.db)?;
            match self.slice(&mut feed, &from, &mut done).inspect_err(|_| roll_back(self.db)) {
                Ok(slice) => {
                    self.patience.commit(self.db)?;
                    self.room = u64::MAX;
                    self.table = slice.table;
                    if slice.is_there {
                        return Ok(true);
                    }
                }
                // What is before the transaction that failed can be applied.
                Err(Error::Row(_) | Error::Drift { .. } | Error::Line { .. }) if done > 0 => {
                    self.room = done;
                }
                Err(error) => return Err(error),
            }
            if done > 0 {
                came_on = Instant::now();
            } else if came_on.elapsed() >= self.patience.budget {
                return Ok(false);
            } else {
                std::thread::sleep(Duration::from_millis(MIRROR_GAP_MS));
            }
        }
    }

    /// Where the table stands; `None` when it stands still no longer.
    fn place(&self) -> Result<Option<Suspended>, Error> {
        let list = self.patience.retry(|| suspended::list(self.db))?;
        Ok(list.into_iter().find(|suspended| suspended.table == self.table))
    }

    /// Applies transactions to the table, in the transaction in hand; `done` counts them.
    fn slice(&self, feed: &mut Feed, from: &Suspended, done: &mut u64) -> Result<Slice, Error> {
        let mirror = super::mirror(self.db)?;
        // Others may have been faster.
        let slice = |is_there, table: &str| Ok(Slice { is_there, table: table.to_owned() });
        let (now, table) = (self.place()?, self.state()?);
        let (Some(now), Some(table)) = (now, table) else { return slice(true, &self.table) };
        if now.mark != from.mark {
            return slice(false, &self.table);
        }
        let mut tables = Tables::new(self.db, vec![table], OnError::Stop)?;
        // NOTE: a definition that is later than the table's copy is trouble, as with any copy that
        // is brought to the mirror's place.
        tables.is_shadow = true;
        let mut mark = from.mark;
        let there = self.feed(feed, &mirror, &mut tables, &mut mark, done)?;
        tables.write_counts()?;
        let target = tables.targets.pop().map(Target::into_state);
        let name = target.map_or_else(|| self.table.clone(), |state| state.name);
        if there {
            suspended::lift(self.db, &name)?;
            state::raise_generation(self.db)?;
        } else {
            suspended::move_to(self.db, &name, mark)?;
        }
        slice(there, &name)
    }

    fn state(&self) -> Result<Option<TableState>, Error> {
        let states = state::tables(self.db)?;
        Ok(states.into_iter().find(|state| state.name == self.table))
    }

    /// Applies what comes next; true when there is nothing more that the mirror has. The end of a
    /// stream on another host is that of the moment when it was told: the mirror may be past it.
    fn feed(
        &self,
        feed: &mut Feed,
        mirror: &StreamState,
        tables: &mut Tables<'_>,
        mark: &mut Mark,
        done: &mut u64,
    ) -> Result<bool, Error> {
        let began = Instant::now();
        let mut begun = false;
        loop {
            feed.arrive()?;
            let Some(entry) = feed.next()? else { return Ok(mirror.is_up_to(*mark)) };
            let transaction = entry.transaction;
            if !begun {
                if !mirror.has(&transaction) {
                    return Ok(true);
                }
                if self.patience.stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return Err(Error::Stopped);
                }
                tables.begin(transaction.lsn);
            }
            tables.line(entry.position, &entry.change)?;
            begun = !entry.end;
            if entry.end {
                tables.end(transaction.last)?;
                let lsn = transaction.lsn.or(mark.lsn);
                *mark = Mark { position: transaction.last, lsn, chain: transaction.chain };
                *done += 1;
                let slice = Duration::from_millis(MIRROR_SLICE_MS);
                if *done >= self.room || began.elapsed() >= slice {
                    return Ok(false);
                }
            }
        }
    }
}
