//! What a mirror is told to do, by any process, whoever follows meanwhile.
//!
//! A verb is one SQLite transaction, or several short ones, on whatever connection the caller has:
//! it takes its turn between two batches of a follower, who leaves others a moment there, and
//! raises the generation, so that the follower looks again before it writes next. So a verb works
//! whether anybody follows or not, and has happened when it returns.
//!
//! - [`remove`]: tables leave the mirror;
//! - [`resync()`]: tables are copied again, or come into the mirror;
//! - [`tables`], [`missing`], [`errors`]: what is there, what is still to come, what was kept;
//! - [`retry`], [`discard`]: kept rows and tables that stand still;
//! - [`pause`], [`resume`]: nothing is applied in between;
//! - [`wait()`]: until the mirror has what the caller has written.

mod behind;
mod declined;
mod errors;
mod list;
mod named;
mod pause;
mod remove;
mod resync;
mod retry;
mod wait;

pub use declined::Declined;
pub use errors::{Kept, Which, discard, errors};
pub use list::{Listed, missing, tables};
pub(super) use named::choose;
pub(super) use pause::is_paused;
pub use pause::{pause, resume};
pub use remove::remove;
pub use resync::{Asked, Maker, Purpose, resync, to_resync};
pub use retry::{Retried, retry};
pub use wait::{Awaited, wait, written};

use super::busy::{Patience, roll_back};
use super::state::{self, StreamState};
use super::{Error, format};
use crate::sqlite::Db;

/// The mirror in a file.
///
/// # Errors
/// [`Error::NotInitialised`] where there is none, and those of [`state::stream`].
pub(super) fn mirror(db: &Db) -> Result<StreamState, Error> {
    state::stream(db)?.ok_or_else(|| {
        let file = db.file().map_or("the database".into(), |file| file.display().to_string());
        Error::NotInitialised { file }
    })
}

/// Changes what the file says of the mirror, in one transaction.
///
/// # Errors
/// [`Error::InTransaction`], [`Error::NotInitialised`], [`Error::Busy`], those of `action`: then
/// nothing was changed.
fn change<T>(
    db: &Db,
    patience: Patience<'_>,
    action: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if db.in_transaction() {
        return Err(Error::InTransaction);
    }
    patience.retry(|| mirror(db))?;
    format::upgrade(db, patience)?;
    patience.begin_eagerly(db)?;
    let done = action().inspect_err(|_| roll_back(db))?;
    patience.commit(db)?;
    Ok(done)
}
