//! The SQLite transaction that holds what was applied, and the position with it.

use std::time::Instant;

use super::load::{Loaded, load};
use super::{Applier, Committed};
use crate::daystream::Position;
use crate::deltamirror::busy::{Patience, roll_back};
use crate::deltamirror::counts::Counts;
use crate::deltamirror::state::{StreamState, chain_value};
use crate::deltamirror::{Error, check};
use crate::failpoint;
use crate::sqlite::{self, Value};

/// The SQLite transaction in hand.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) began: Instant,
    pub(super) transactions: u64,
    /// Counts when it began.
    pub(super) before: Counts,
}

impl Applier<'_> {
    /// Begins an SQLite transaction; false when the mirror is not where it was left: it was read
    /// anew, and the feed must be moved.
    pub(super) fn begin(&mut self, patience: Patience<'_>) -> Result<bool, Error> {
        if self.db.is_replaced() {
            let file = self.db.file().unwrap_or_default().display().to_string();
            return Err(Error::Replaced { file });
        }
        self.bound_wal(patience)?;
        patience.begin(self.db)?;
        failpoint::pass(failpoint::MIRROR_BATCH_BEGUN);
        let moved = if self.stale { Ok(true) } else { self.is_moved() };
        if moved.inspect_err(|_| roll_back(self.db))? {
            roll_back(self.db);
            self.reload(patience)?;
            return Ok(false);
        }
        let before = self.tables.counts;
        self.batch = Some(Batch { began: Instant::now(), transactions: 0, before });
        Ok(true)
    }

    /// SQLite's WAL begins anew only when no reader is in it: one that stays makes it grow. Past a
    /// size it is waited for.
    fn bound_wal(&self, patience: Patience<'_>) -> Result<(), Error> {
        let bytes = self.wal.as_ref().and_then(|wal| Some(wal.metadata().ok()?.len()));
        let Some(bytes) = bytes.filter(|bytes| *bytes > self.options.wal_bytes_max) else {
            return Ok(());
        };
        patience.retry(|| {
            let sql = "PRAGMA main.wal_checkpoint(TRUNCATE)";
            if self.db.query_int(sql, &[])? == Some(0) {
                return Ok(());
            }
            let message = format!("a reader's open transaction holds a WAL of {bytes} bytes");
            Err(sqlite::Error::busy(message, sql).into())
        })
    }

    /// Whether the file's position, its tables, or anything of its schema, is not as in memory.
    pub(super) fn is_moved(&mut self) -> Result<bool, Error> {
        let mark = match &mut self.mark {
            Some(mark) => mark,
            slot => slot.insert(
                self.db.prepare("SELECT clock, seq, generation FROM main._deltamirror_stream")?,
            ),
        };
        mark.reset();
        let there = mark.step()?;
        let now = [0, 1, 2].map(|column| mark.column(column).as_int());
        mark.reset();
        let Position { clock, seq } = self.stream.position;
        let ours = [clock, seq as i64, self.stream.generation];
        if !there || now != ours.map(Some) {
            return Ok(true);
        }
        let schema = match &mut self.schema_now {
            Some(schema) => schema,
            slot => slot.insert(self.db.prepare("PRAGMA main.schema_version")?),
        };
        schema.reset();
        let there = schema.step()?;
        let now = schema.column(0).as_int();
        schema.reset();
        Ok(!there || now != Some(self.schema))
    }

    /// Reads the state anew. Counts go on.
    pub(super) fn reload(&mut self, patience: Patience<'_>) -> Result<(), Error> {
        let counts = self.tables.counts;
        let loaded = patience.retry(|| load(self.db, self.options))?;
        let Loaded { schema, mut stream, tables, paused } = loaded;
        self.paused = paused;
        self.passed = None;
        self.schema = schema;
        self.tables = tables;
        self.tables.counts = counts;
        self.reloaded = true;
        // The stream is where it was found this time.
        stream.stream.clone_from(&self.stream.stream);
        self.stream = stream;
        self.stale = false;
        self.forget();
        Ok(())
    }

    /// What is applied is what the file says.
    fn forget(&mut self) {
        self.position = self.stream.position;
        self.lsn = self.stream.lsn;
        self.chain = self.stream.chain;
        self.commit_time = self.stream.commit_time;
        self.commit_times.clear();
    }

    /// Rolls back the batch, if there is one.
    pub(super) fn abandon(&mut self) {
        self.tables.forget_waiting();
        if let Some(batch) = self.batch.take() {
            roll_back(self.db);
            self.tables.counts = batch.before;
            self.stale = true;
            self.forget();
        }
    }

    /// Commits the batch, if there is one; gives it up when that fails.
    pub(super) fn commit(
        &mut self,
        patience: Patience<'_>,
        on_commit: &mut dyn FnMut(&Committed<'_>),
    ) -> Result<(), Error> {
        let Some(before) = self.batch.as_ref().map(|batch| batch.before) else { return Ok(()) };
        // NOTE: a failed COMMIT has taken the rows back. Nothing may be written after it as if the
        // batch were there still, the position least of all.
        self.write(before, patience).inspect_err(|_| self.abandon())?;
        self.batch = None;
        self.passed = None;
        let tables = self.tables.take_touched();
        on_commit(&Committed {
            beat: self.heart.passed(),
            stream: &self.stream,
            counts: &self.tables.counts,
            suspended: None,
            tables: &tables,
            commit_times: &self.commit_times,
        });
        self.commit_times.clear();
        Ok(())
    }

    /// Writes the position and commits; `before` are the counts when the batch began.
    fn write(&mut self, before: Counts, patience: Patience<'_>) -> Result<(), Error> {
        let counts = self.tables.counts;
        let mut stream = self.stream.clone();
        stream.position = self.position;
        stream.lsn = self.lsn;
        stream.chain = self.chain;
        stream.commit_time = self.commit_time;
        stream.transactions += (counts.transactions - before.transactions) as i64;
        stream.changes += (counts.changes - before.changes) as i64;
        failpoint::pass(failpoint::MIRROR_POSITION_BEFORE);
        self.write_position(&stream)?;
        self.tables.write_counts()?;
        self.heart.save(self.db)?;
        self.tables.mark_live(stream.lsn)?;
        // What was altered here need not be looked at again.
        let schema =
            if self.tables.altered { check::schema_version(self.db)? } else { self.schema };
        failpoint::pass(failpoint::MIRROR_COMMIT_BEFORE);
        // DURABILITY: rows and position become durable together; what is lost with the power is
        // applied again from the stream.
        patience.commit(self.db)?;
        failpoint::pass(failpoint::MIRROR_COMMIT_AFTER);
        self.stream = stream;
        self.schema = schema;
        self.tables.altered = false;
        Ok(())
    }

    fn write_position(&mut self, stream: &StreamState) -> Result<(), Error> {
        let advance = match &mut self.advance {
            Some(advance) => advance,
            slot => slot.insert(self.db.prepare(
                "UPDATE main._deltamirror_stream SET clock = ?1, seq = ?2, lsn = ?3, \
                 commit_time = ?4, transactions = ?5, changes = ?6, stream = ?7, made = ?8, \
                 chain = ?9, chain_clock = ?1, chain_seq = ?2",
            )?),
        };
        let lsn = stream.lsn.to_string();
        advance.execute(&[
            stream.position.clock.into(),
            Value::Int(stream.position.seq as i64),
            lsn.as_str().into(),
            stream.commit_time.into(),
            stream.transactions.into(),
            stream.changes.into(),
            stream.stream.as_str().into(),
            Value::Int(stream.made as i64),
            chain_value(stream.chain),
        ])?;
        Ok(())
    }
}
