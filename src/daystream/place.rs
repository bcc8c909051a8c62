//! Whether the stream that a writer has open is still where it was.
//!
//! A folder can be removed, moved or replaced, and its file system can be unmounted or mounted
//! over, while a process goes on writing into files that nobody will find again.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::{Error, layout};

/// The place of a stream that is open for writing.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
    /// Device and inode of the file `lock`, which every writer has and nobody replaces.
    lock: Option<(u64, u64)>,
}

impl Place {
    pub(super) const fn new(dir: PathBuf, lock: Option<(u64, u64)>) -> Place {
        Place { dir, lock }
    }

    /// Sees that the folder of this name is the one that was opened.
    ///
    /// # Errors
    /// `REPLACED` when it is another one, or none.
    pub fn check(&self) -> Result<(), Error> {
        let now = self.dir.join(layout::LOCK).symlink_metadata();
        if self.lock == now.ok().map(|meta| (meta.dev(), meta.ino())) {
            return Ok(());
        }
        Err(Error::Replaced { dir: self.dir.clone() })
    }
}
