//! What others have asked of the mirror meanwhile, and tables that stand still.

use std::sync::Arc;

use super::{Applier, Committed};
use crate::deltamirror::busy::{Patience, roll_back};
use crate::deltamirror::{Error, state, suspended, verbs};
use crate::error::{Class, Coded};

impl Applier<'_> {
    /// Whether the mirror is paused, by the last look.
    pub(in crate::deltamirror) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether somebody waits for the place where the mirror is. Asked at heartbeats: between them
    /// every transaction writes its place.
    pub(super) fn is_awaited(&mut self) -> Result<bool, Error> {
        match self.watch.is_changed(self.db) {
            // Looked at again at the next.
            Err(Error::Sqlite(_)) | Ok(_) => Ok(self.watch.is_awaited()),
            Err(error) => Err(error),
        }
    }

    /// Looks, with nothing to apply, whether others have changed the file: tables and pauses are
    /// read again, and a place that is waited for is written down.
    ///
    /// # Errors
    /// Those of [`Applier::run`].
    pub(in crate::deltamirror) fn look(
        &mut self,
        patience: Patience<'_>,
        on_commit: &mut dyn FnMut(&Committed<'_>),
    ) -> Result<(), Error> {
        match self.watch.is_changed(self.db) {
            Ok(true) => self.look_again(patience).inspect_err(|_| self.watch.forget())?,
            Ok(false) => {}
            // A locked file is no trouble for one who has nothing to write.
            Err(error) if error.class() == Class::Retry => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Some(passed) = self.passed.filter(|_| self.watch.is_awaited())
            && !self.paused
            && self.begin(patience)?
        {
            self.position = passed.last;
            self.lsn = passed.lsn.unwrap_or(self.lsn);
            self.chain = passed.chain;
            self.commit(patience, on_commit)?;
        }
        Ok(())
    }

    fn look_again(&mut self, patience: Patience<'_>) -> Result<(), Error> {
        if self.stale || patience.retry(|| self.is_moved())? {
            self.reload(patience)?;
        }
        Ok(())
    }

    /// The table that an error is about stands still from here on, and the others go on.
    pub(super) fn suspend(
        &mut self,
        error: Error,
        patience: Patience<'_>,
        on_commit: &mut dyn FnMut(&Committed<'_>),
    ) -> Result<(), Error> {
        let table = match &error {
            Error::Row(row) => row.table.clone(),
            Error::Drift { table, .. } => table.clone(),
            _ => return Err(error),
        };
        let Some(table) = patience.retry(|| self.name_in_file(&table))? else { return Err(error) };
        patience.begin(self.db)?;
        let noted = self.note(&table, &error).inspect_err(|_| roll_back(self.db))?;
        patience.commit(self.db)?;
        self.reload(patience)?;
        if noted {
            let (stream, counts) = (&self.stream, &self.tables.counts);
            let error = Arc::new(error);
            on_commit(&Committed {
                beat: self.heart.passed(),
                stream,
                counts,
                suspended: Some((&table, &error)),
                tables: &[],
                commit_times: &[],
            });
        }
        Ok(())
    }

    /// The name that the file has for a table: a transaction that was given up may have renamed it.
    fn name_in_file(&self, table: &str) -> Result<Option<String>, Error> {
        let target = self.tables.targets.iter().find(|target| target.state.name == table);
        let oid = target.and_then(|target| target.state.definition.oid);
        let mut there = state::tables(self.db)?;
        let named = there.iter().position(|state| state.name == table);
        let is_it = |state: &state::TableState| oid.is_some() && state.definition.oid == oid;
        let at = named.or_else(|| there.iter().position(is_it));
        Ok(at.map(|at| there.swap_remove(at).name))
    }

    /// Notes in the file that a table stands still; false when another process has moved the mirror
    /// meanwhile: then the same transaction is met again, or not at all.
    fn note(&self, table: &str, error: &Error) -> Result<bool, Error> {
        let stream = verbs::mirror(self.db)?;
        if (stream.position, stream.generation) != (self.stream.position, self.stream.generation) {
            return Ok(false);
        }
        let (reason, message) = (error.code().reason, error.report());
        suspended::note(self.db, table, stream.mark(), reason, &message)?;
        state::raise_generation(self.db)?;
        Ok(true)
    }
}
