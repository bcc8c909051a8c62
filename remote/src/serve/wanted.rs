//! What one answer of lines is to hold.

use std::time::Duration;

use pgsqlite::daystream::{Position, Start, TableFilter};

/// How long an answer goes on at the stream's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It ends.
    No,
    /// Until there was something, or for this long.
    Wait(Duration),
    /// For ever.
    Yes,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where to begin.
    pub start: Start,
    /// A position beyond the stream's end is none to refuse.
    pub beyond: bool,
    /// Only these tables.
    pub tables: Option<TableFilter>,
    /// Without the commit lines of transactions that have no other line for it, but for the last
    /// one there is.
    pub sparse: bool,
    /// What to do at the end.
    pub follow: Follow,
    /// An empty line at the stream's end, and again after each such time.
    pub heartbeat: Option<Duration>,
    /// Compressed.
    pub zstd: bool,
}

/// What ends here or before is not wanted, though it may be still to come.
#[must_use]
pub fn floor(wanted: &Wanted) -> Option<Position> {
    let place = match wanted.start {
        Start::Clock(clock) => Position { clock: clock.max(0), seq: 0 },
        Start::At(position) => position,
        Start::Begin | Start::End | Start::After(_) => return None,
    };
    match (place.clock.checked_sub(1), place.seq.checked_sub(1)) {
        (_, Some(seq)) => Some(Position { seq, ..place }),
        (Some(clock), None) => Some(Position { clock, seq: u64::MAX }),
        (None, None) => None,
    }
}
