//! Has the system write a file to its disk while it still grows.
//!
//! The fsync of a commit waits until everything is on disk. Begun early, most of that has happened
//! meanwhile, beside the work: it is the same writing, and the same fsync at the end. Linux only;
//! elsewhere nothing is begun early.

use std::cell::Cell;
use std::os::fd::RawFd;

use super::Db;

/// Bytes after which writing is begun.
const PIECE_BYTES: u64 = 4 << 20;

/// A file that grows.
#[derive(Debug)]
pub(super) struct Writeback {
    /// SQLite's own descriptor. One of ours, closed again, would end all of SQLite's locks on the
    /// file (`fcntl`: locks belong to process and file).
    fd: RawFd,
    /// Bytes from the start whose writing was begun.
    begun: Cell<u64>,
}

impl Writeback {
    /// For the file of a database; `None` where there is no such file or way.
    pub(super) fn of(db: &Db, schema: &str) -> Option<Writeback> {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::metadata(db.file_of(schema)?).ok()?;
        for entry in std::fs::read_dir("/proc/self/fd").ok()?.flatten() {
            let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if std::fs::metadata(entry.path())
                .is_ok_and(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
            {
                return Some(Writeback { fd, begun: Cell::new(0) });
            }
        }
        None
    }

    /// Begins to write what the file has got since the last call, if that is enough.
    pub(super) fn go_on(&self) {
        let (begun, bytes) = (self.begun.get(), size(self.fd));
        let new = bytes.saturating_sub(begun);
        if new >= PIECE_BYTES {
            begin(self.fd, begun, new);
            self.begun.set(bytes);
        }
    }
}

/// Bytes of an open file; 0 when that is unknown.
fn size(fd: RawFd) -> u64 {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: room for the answer; whatever the number stands for by now, fstat changes nothing.
    let done = unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
    if done != 0 {
        return 0;
    }
    // SAFETY: filled by fstat; before that all zero, which is valid for it.
    let stat = unsafe { stat.assume_init() };
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[cfg(target_os = "linux")]
fn begin(fd: RawFd, from: u64, bytes: u64) {
    let (Ok(from), Ok(bytes)) = (i64::try_from(from), i64::try_from(bytes)) else { return };
    // SAFETY: takes numbers only. Should the descriptor be another file's by now (a connection that
    // a thread has closed meanwhile), that file is written a little earlier. Errors come again, and
    // are heard, at the fsync.
    unsafe { libc::sync_file_range(fd, from, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
fn begin(_fd: RawFd, _from: u64, _bytes: u64) {}
