//! Applying what a stream has, once, on the calling thread.

use std::sync::atomic::AtomicBool;

use super::apply::{Applier, Ended, Options};
use super::busy::Patience;
use super::counts::Counts;
use super::state::StreamState;
use super::verbs::Declined;
use super::{Error, StreamSource, work};
use crate::daystream::Position;
use crate::limits;
use crate::sqlite::{Cache, Db};

/// What an [`apply`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Where the mirror is now.
    pub stream: StreamState,
    /// What was done.
    pub counts: Counts,
    /// Why it ended.
    pub ended: Ended,
}

/// Applies what the stream has, up to and including `until` (`None`: to its end), on the calling
/// thread. Nothing of it is left on the connection afterwards.
///
/// # Errors
/// See [`Error`]. What was applied before the error stays; the mirror can go on from there.
pub fn apply(
    db: &Db,
    source: &StreamSource,
    until: Option<Position>,
    options: Options,
    stop: &AtomicBool,
) -> Result<Applied, Error> {
    if db.in_transaction() {
        return Err(Error::InTransaction);
    }
    let patience = Patience { budget: options.busy, stop };
    let _cache = patience.retry(|| Ok(Cache::enlarge(db, "main", limits::MIRROR_CACHE_BYTES)?))?;
    let go = || {
        let mut applier = Applier::open(db, options, patience)?;
        let mut reader = applier.reader(source, stop)?;
        let ended = applier.run(source, &mut reader, until, patience, &mut |_| {})?;
        if ended == Ended::Paused {
            let file = db.file().map_or("the database".into(), |file| file.display().to_string());
            return Err(Declined::Paused { file }.into());
        }
        Ok(Applied { stream: applier.stream().clone(), counts: *applier.counts(), ended })
    };
    let applied = go();
    work::note_end(db, applied.as_ref().err());
    applied
}
