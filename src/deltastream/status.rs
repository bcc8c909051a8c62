//! What a capture tells while it runs: state, counts, events.

use super::Error;
use super::heartbeat::Pulse;
use crate::daystream::heartbeat::Health;
use crate::daystream::{Compressed, Position};
use crate::error::Coded;
use deltaflood::Lsn;
use std::time::Duration;

/// What a capture is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Opening the stream, connecting for the first time.
    #[default]
    Starting,
    /// Receiving.
    Streaming,
    /// The connection broke; waiting to connect again.
    Waiting,
    /// Ended as asked.
    Stopped,
    /// Ended by an error.
    Failed,
}

impl State {
    /// The lower-case word of this state.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Streaming => "streaming",
            State::Waiting => "waiting",
            State::Stopped => "stopped",
            State::Failed => "failed",
        }
    }
}

/// A capture's state and counts. Counts begin with the capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Transactions that are durable.
    pub transactions: u64,
    /// Their lines, without commit lines.
    pub lines: u64,
    /// Connections made.
    pub connections: u64,
    /// Position of the last durable line.
    pub position: Option<Position>,
    /// Everything before this is durable or of no interest; what the server is told.
    pub durable: Lsn,
    /// End of the last transaction received.
    pub received: Lsn,
    /// End of the WAL as last told by the server.
    pub wal_end: Lsn,
    /// Commit time of the last durable transaction, microseconds since the Unix epoch.
    pub commit_time_us: Option<i64>,
    /// Since when, microseconds since the Unix epoch.
    pub since_us: i64,
    /// Last error, with its causes; empty when there was none.
    pub error: String,
    /// Its code, as a Tcl list.
    pub code: String,
    /// Its heartbeats. They are no transactions of the counts above.
    pub pulse: Pulse,
}

impl Status {
    /// How changes get through to the stream. Through a capture that has ended none do.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.state {
            State::Stopped | State::Failed => Health::Stalled,
            _ => self.pulse.health(self.commit_time_us),
        }
    }

    pub(super) fn set_error(&mut self, error: &Error) {
        (self.error, self.code) = (error.report(), error.code().list());
    }
}

/// Something that happened. Events come from the capture's threads, in order of each.
#[derive(Debug)]
pub enum Event<'a> {
    /// Connected and receiving from this position.
    Streaming {
        /// From where.
        from: Lsn,
    },
    /// The connection broke, or could not be made; another attempt follows.
    Retrying {
        /// Why.
        error: &'a Error,
        /// After how long.
        after: Duration,
    },
    /// The server is on a new timeline that continues the stream's.
    Timeline {
        /// The stream's timeline so far.
        from: u32,
        /// The server's.
        to: u32,
    },
    /// The server warns of something in what it sends, or a clock is far ahead.
    Warning {
        /// In its words.
        message: &'a str,
    },
    /// Transactions became durable.
    Transactions {
        /// How many since the last such event.
        count: u64,
        /// Their lines, without commit lines.
        lines: u64,
        /// Position of the last.
        position: Position,
        /// End of the last one's commit record.
        lsn: Lsn,
        /// The last one's commit time, microseconds since the Unix epoch.
        time_us: i64,
    },
    /// Closed segments were compressed.
    Compressed {
        /// How many, and how large they were and are.
        done: Compressed,
    },
    /// Closed segments could not be compressed; that is tried again.
    NotCompressed {
        /// Why.
        error: &'a Error,
    },
    /// Ended as asked; everything received is durable.
    Stopped,
    /// Ended by an error.
    Failed {
        /// The error.
        error: &'a Error,
    },
}

/// Hears of events, on the capture's threads: it must not block for long.
pub type Listener = Box<dyn Fn(&Event<'_>) + Send + Sync>;
