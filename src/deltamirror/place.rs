//! Where in the stream a transaction ends, for messages and codes.

use crate::daystream::Position;
use deltaflood::Lsn;

/// Where in the stream a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Position of the line in question.
    pub position: Position,
    /// End of the transaction's commit record; `None` in a stream without commit lines.
    pub lsn: Option<Lsn>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "position {} {}", self.position.clock, self.position.seq)?;
        match self.lsn {
            Some(lsn) => write!(f, " (LSN {lsn})"),
            None => Ok(()),
        }
    }
}
