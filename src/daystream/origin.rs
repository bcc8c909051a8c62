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
    /// The folder.
    folder: Option<FolderMark>,
}

/// What tells a folder from another one under its name: device and inode.
pub(super) type FolderMark = (u64, u64);

/// The mark of the folder `dir` as it is now; `None` when there is none.
pub(super) fn folder_mark(dir: &Path) -> Option<FolderMark> {
    use std::os::unix::fs::MetadataExt;
    let meta = dir.metadata().ok()?;
    meta.is_dir().then(|| (meta.dev(), meta.ino()))
}

impl Origin {
    /// Of the stream in `dir` as it is now. A state file that cannot be read keeps nobody from
    /// reading the stream.
    pub(super) fn of(dir: &Path) -> Origin {
        let (seen, folder) = (Identity::mark(dir), folder_mark(dir));
        let made = seen.and_then(|_| made(dir).ok().flatten());
        Origin { made, seen, folder }
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
        let (now, folder) = (Identity::mark(dir), folder_mark(dir));
        if now == self.seen && folder == self.folder {
            return Ok(());
        }
        if folder.is_none() {
            return Err(Error::NotFound { dir: dir.to_owned() });
        }
        let Some(known) = self.made else {
            if folder != self.folder {
                return Err(Error::Changed { dir: dir.to_owned() });
            }
            self.made = made(dir).ok().flatten();
            self.seen = now;
            return Ok(());
        };
        match Identity::load(dir)? {
            Some(identity) if identity.made == known => {}
            Some(_) => return Err(Error::Changed { dir: dir.to_owned() }),
            None => return Err(Error::NotFound { dir: dir.to_owned() }),
        }
        // NOTE: a copy of the folder in its place, with the same stream in it.
        (self.seen, self.folder) = (now, folder);
        Ok(())
    }
}

fn made(dir: &Path) -> Result<Option<u64>, Error> {
    let identity = Identity::load(dir)?;
    Ok(identity.map(|identity| identity.made).filter(|made| *made > 0))
}
