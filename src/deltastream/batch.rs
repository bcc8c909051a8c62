//! What travels from the receiver to the recorder: rendered lines, and what to do between them.

use super::pgoutput::Schema;
use crate::daystream::Identity;
use crate::daystream::heartbeat::Beat;
use deltaflood::Lsn;
use std::sync::Arc;

/// Lines without stamp, each ended by LF, and marks at places between them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The lines.
    pub lines: Vec<u8>,
    /// The marks, by rising place.
    pub marks: Vec<Mark>,
}

/// Something between two lines.
#[derive(Debug)]
pub struct Mark {
    /// Offset into the lines, in bytes: the mark comes before the line that begins there.
    pub at: usize,
    /// What it says.
    pub what: What,
}

/// What a mark says.
#[derive(Debug)]
pub enum What {
    /// The next lines are of this table; its `schema` line goes first where readers have not seen
    /// it.
    Table {
        /// The transaction.
        xid: u32,
        /// The definition.
        schema: Arc<Schema>,
    },
    /// A definition that the capture found in the catalogs: its `schema` line goes here.
    Schema {
        /// The transaction.
        xid: u32,
        /// The definition.
        schema: Arc<Schema>,
    },
    /// The next line is a heartbeat of this capture.
    Beat(Beat),
    /// The transaction is complete.
    Commit {
        /// The transaction, 0 for a message outside any.
        xid: u32,
        /// End of its commit record.
        lsn: Lsn,
        /// Commit time, microseconds since the Unix epoch.
        time_us: i64,
    },
    /// The connection broke within a transaction: what was written of it is to be taken back.
    Abandon,
    /// Nothing of interest up to this position: make it durable, so that it may be confirmed.
    Idle {
        /// End of the WAL that the server has gone past.
        lsn: Lsn,
    },
    /// Everything before is to be made durable at once.
    Sync,
    /// The stream's identity has changed (publication, timeline): it is to be saved.
    Identity(Box<Identity>),
}

impl Batch {
    /// Appends a mark after the lines so far.
    pub fn mark(&mut self, what: What) {
        self.marks.push(Mark { at: self.lines.len(), what });
    }

    /// Appends another batch.
    pub fn append(&mut self, mut other: Batch) {
        let at = self.lines.len();
        self.lines.append(&mut other.lines);
        self.marks.extend(other.marks.into_iter().map(|m| Mark { at: m.at + at, ..m }));
    }

    /// End of the last complete transaction in it.
    #[must_use]
    pub fn last_commit(&self) -> Option<Lsn> {
        self.marks.iter().rev().find_map(|mark| match mark.what {
            What::Commit { lsn, .. } => Some(lsn),
            _ => None,
        })
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.marks.is_empty()
    }

    /// What it counts for against the cap on queued bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.lines.len() + self.marks.len() * size_of::<Mark>()
    }
}
