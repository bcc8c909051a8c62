//! One writer per stream: a flock on the file `lock`, held as long as the writer lives.
//!
//! The lock is the kernel's: it goes with the process, however that ends. Network file systems
//! without flock are not supported.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::storage::{Storage, open_read};
use super::{Error, layout};

/// How often a lock that is held is tried again, and how long after.
const LOOKS: u32 = 10;
const LOOK: Duration = Duration::from_millis(5);

/// The held lock.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Whether the locked file still has this name.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let mark = |meta: Metadata| (meta.dev(), meta.ino());
        let there = path.symlink_metadata().map(mark).ok();
        there.is_some() && there == self.file.metadata().map(mark).ok()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // NOTE: closing is not enough. A process forked elsewhere in this one holds the same open
        // file, and with it the lock, until it becomes another program.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Makes the folder when it is not there, sees that it is safe to write in, and locks it.
pub(super) fn acquire(storage: &Storage, dir: &Path) -> Result<Lock, Error> {
    match dir.parent() {
        Some(parent) if !dir.exists() => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            if !parent.is_dir() {
                return Err(Error::NotFound { dir: parent.to_owned() });
            }
            storage.folder(dir)?;
            storage.sync_folder(parent)?;
        }
        _ => {}
    }
    check_folder(dir)?;
    let lock = hold_soon(storage, &dir.join(layout::LOCK), || std::thread::sleep(LOOK))?;
    lock.ok_or_else(|| Error::Locked { dir: dir.to_owned() })
}

/// As [`hold`], but tries again after a `pause`: somebody may only look whether a writer is there.
fn hold_soon(
    storage: &Storage,
    path: &Path,
    mut pause: impl FnMut(),
) -> Result<Option<Lock>, Error> {
    for _ in 0..LOOKS {
        if let Some(lock) = hold(storage, path)? {
            return Ok(Some(lock));
        }
        pause();
    }
    Ok(None)
}

/// Locks the stream for whoever removes or compresses segments: one at a time, and the user whose
/// stream it is. What another one wrote here, root for one, the stream's own user could not read.
pub(super) fn upkeep(storage: &Storage, dir: &Path) -> Result<Lock, Error> {
    check_folder(dir)?;
    let locked = hold(storage, &dir.join(layout::UPKEEP))?;
    locked.ok_or_else(|| Error::Upkeep { dir: dir.to_owned() })
}

/// Locks the file `path`, making it when it is not there; `None` when somebody else has it locked.
pub(super) fn hold(storage: &Storage, path: &Path) -> Result<Option<Lock>, Error> {
    let new = path.symlink_metadata().is_err();
    let file = storage.open(path, true)?;
    if let Some(folder) = path.parent().filter(|_| new) {
        // DURABILITY: before the first segment. Without the name `lock` a power loss leaves what
        // looks like another program's stream.
        storage.sync_folder(folder)?;
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock { file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(Error::io(path, "lock", error.into())),
    }
}

/// Whether somebody has the file `path` locked.
pub(super) fn is_held(path: &Path) -> Result<bool, Error> {
    let Some(file) = open_read(path)? else {
        return Ok(false);
    };
    // NOTE: shared, so that two who look at the same time do not see each other.
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            drop(Lock { file });
            Ok(false)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(Error::io(path, "lock", error.into())),
    }
}

/// Refuses a folder that others could write in.
pub(super) fn check_folder(dir: &Path) -> Result<(), Error> {
    let refused = |why| Err(Error::Refused { path: dir.to_owned(), why });
    let meta = dir.metadata().map_err(|error| Error::io(dir, "look at", error))?;
    if !meta.is_dir() {
        return refused("it is not a folder");
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return refused("it belongs to another user: do this as that user");
    }
    if meta.mode() & 0o002 != 0 {
        return refused("everybody may write in it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_keeps_no_writer_out() {
        let dir = tempfile::tempdir().unwrap();
        let (storage, path) = (Storage::default(), dir.path().join(layout::LOCK));
        drop(hold(&storage, &path).unwrap());
        let file = open_read(&path).unwrap().unwrap();
        flock(&file, FlockOperation::NonBlockingLockShared).unwrap();
        let mut looks = Some(Lock { file });
        let lock = hold_soon(&storage, &path, || drop(looks.take())).unwrap();
        assert!(lock.is_some());
        assert!(hold_soon(&storage, &path, || {}).unwrap().is_none());
    }
}
