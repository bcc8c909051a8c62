//! Which stream a reader reads. A folder may be removed and another stream made in its place, of
//! which nobody knows what lies between the two: a reader does not go over from one to the other.

use std::path::Path;

use super::Error;
use super::identity::{Identity, StateMark};

/// The stream that was opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    made: Option<u64>,
    /// The state file that told so.
    seen: Option<StateMark>,
}

impl Origin {
    /// Of the stream in `dir` as it is now. A state file that cannot be read keeps nobody from
    /// reading the stream.
    pub(super) fn of(dir: &Path) -> Origin {
        let seen = Identity::mark(dir);
        let made = seen.and_then(|_| made(dir).ok().flatten());
        Origin { made, seen }
    }

    /// When the stream was made, microseconds since the Unix epoch; `None` when it does not tell.
    pub(super) const fn made(&self) -> Option<u64> {
        self.made
    }

    /// Sees that the stream is the one that was opened. Call it *after* opening a segment: while
    /// the old state file is there, no segment of another stream is.
    ///
    /// # Errors
    /// `CHANGED`, `NOTFOUND`, `STATE`, and those of the file system.
    pub(super) fn check(&mut self, dir: &Path) -> Result<(), Error> {
        let now = Identity::mark(dir);
        if now == self.seen {
            return Ok(());
        }
        let Some(known) = self.made else {
            self.made = made(dir).ok().flatten();
            self.seen = now;
            return Ok(());
        };
        match Identity::load(dir)? {
            Some(identity) if identity.made == known => {}
            Some(_) => return Err(Error::Changed { dir: dir.to_owned() }),
            None => return Err(Error::NotFound { dir: dir.to_owned() }),
        }
        self.seen = now;
        Ok(())
    }
}

fn made(dir: &Path) -> Result<Option<u64>, Error> {
    let identity = Identity::load(dir)?;
    Ok(identity.map(|identity| identity.made).filter(|made| *made > 0))
}
