//! The file operations of the writer, in one place, so that a test can make the N-th one fail.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;

/// A kind of file operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A folder is made.
    Folder,
    /// A file is made.
    Create,
    /// Bytes are written.
    Write,
    /// A file is made durable.
    Sync,
    /// A folder's entries are made durable.
    SyncFolder,
    /// A file is cut.
    Truncate,
    /// A file is renamed.
    Rename,
    /// A file is removed.
    Remove,
}

/// Called before each operation; an error takes the operation's place. A failed write has written
/// half of its bytes.
pub type Fault = Arc<dyn Fn(Operation) -> io::Result<()> + Send + Sync>;

/// An operation that was done: what a test needs to work out what a power loss may leave. Files are
/// known by their inode numbers, which a file made later can have again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A folder was made; one that was there is not told.
    Folder(PathBuf),
    /// A file was made.
    Create(PathBuf, u64),
    /// Bytes were written at an offset.
    Write(u64, u64, Vec<u8>),
    /// A file's bytes and length are durable.
    Sync(u64),
    /// A file's fsync failed: what was written to it before may never be on the disk, and no later
    /// fsync covers it.
    SyncFailed(u64),
    /// A folder's entries are durable.
    SyncFolder(PathBuf),
    /// A file was cut at a length.
    Truncate(u64, u64),
    /// A file was renamed.
    Rename(PathBuf, PathBuf),
    /// A file was removed; one that was not there is not told.
    Remove(PathBuf),
}

/// Hears of each operation that was done.
pub type Trace = Arc<dyn Fn(Done) + Send + Sync>;

/// The real file system, or one that fails when a test says so, or tells what it does.
#[derive(Clone, Default)]
pub struct Storage {
    fault: Option<Fault>,
    trace: Option<Trace>,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("faulty", &self.fault.is_some()).finish()
    }
}

/// Flags of every open: no symbolic link is followed, no FIFO blocks, no child inherits.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;

impl Storage {
    /// A file system whose operations pass through `fault` first.
    #[must_use]
    pub fn with_fault(fault: Fault) -> Storage {
        Storage { fault: Some(fault), trace: None }
    }

    /// A file system that tells `trace` what was done.
    #[must_use]
    pub fn with_trace(trace: Trace) -> Storage {
        Storage { fault: None, trace: Some(trace) }
    }

    /// The same file system, with operations that pass through `fault` first.
    #[must_use]
    pub fn and_fault(self, fault: Fault) -> Storage {
        Storage { fault: Some(fault), ..self }
    }

    /// Tells the trace, where there is one.
    fn tell(&self, done: impl FnOnce() -> Done) {
        if let Some(trace) = &self.trace {
            trace(done());
        }
    }

    fn pass(&self, operation: Operation) -> io::Result<()> {
        self.fault.as_ref().map_or(Ok(()), |fault| fault(operation))
    }

    /// Makes a folder of mode 0750; one that is there already is good.
    pub(super) fn folder(&self, path: &Path) -> Result<(), Error> {
        let made = self.pass(Operation::Folder).and_then(|()| {
            match DirBuilder::new().mode(0o750).create(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                made => made.inspect(|()| self.tell(|| Done::Folder(path.to_owned()))),
            }
        });
        made.map_err(|error| Error::io(path, "make folder", error))
    }

    /// Makes a file of mode 0640, which must not be there, for writing and reading.
    pub(super) fn create(&self, path: &Path) -> Result<File, Error> {
        let made = self.pass(Operation::Create).and_then(|()| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o640).custom_flags(FLAGS);
            options.open(path)
        });
        let file = made.map_err(|error| Error::io(path, "create", error))?;
        self.tell(|| Done::Create(path.to_owned(), inode(&file)));
        Ok(file)
    }

    /// Opens a file for writing and reading, making it (mode 0640) when `create` says so.
    pub(super) fn open(&self, path: &Path, create: bool) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).mode(0o640).custom_flags(FLAGS);
        let new = self.trace.is_some() && path.symlink_metadata().is_err();
        let file = options.open(path).map_err(|error| Error::io(path, "open", error))?;
        if new {
            self.tell(|| Done::Create(path.to_owned(), inode(&file)));
        }
        regular(file, path)
    }

    /// Writes all of `bytes` at `offset`.
    pub(super) fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.pass(Operation::Write) {
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            file.write_all_at(half, offset)?;
            return Err(error);
        }
        file.write_all_at(bytes, offset)?;
        self.tell(|| Done::Write(inode(file), offset, bytes.to_owned()));
        Ok(())
    }

    /// Makes a file's bytes and length durable.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        let failed = |_: &io::Error| self.tell(|| Done::SyncFailed(inode(file)));
        self.pass(Operation::Sync).and_then(|()| file.sync_data()).inspect_err(failed)?;
        self.tell(|| Done::Sync(inode(file)));
        Ok(())
    }

    /// Makes a folder's entries durable.
    pub(super) fn sync_folder(&self, path: &Path) -> Result<(), Error> {
        let synced = self
            .pass(Operation::SyncFolder)
            .and_then(|()| File::open(path).and_then(|folder| folder.sync_all()));
        synced.map_err(|error| Error::io(path, "fsync folder", error))?;
        self.tell(|| Done::SyncFolder(path.to_owned()));
        Ok(())
    }

    /// Cuts a file at `length`.
    pub(super) fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.pass(Operation::Truncate)?;
        file.set_len(length)?;
        self.tell(|| Done::Truncate(inode(file), length));
        Ok(())
    }

    /// Renames a file, replacing `to`.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let renamed = self.pass(Operation::Rename).and_then(|()| std::fs::rename(from, to));
        renamed.map_err(|error| Error::io(from, "rename", error))?;
        self.tell(|| Done::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// Removes a file; one that is gone already is good.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Error> {
        let removed = self.pass(Operation::Remove).and_then(|()| std::fs::remove_file(path));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(path, "remove", error))
            }
            removed => {
                if removed.is_ok() {
                    self.tell(|| Done::Remove(path.to_owned()));
                }
                Ok(())
            }
        }
    }
}

/// What a trace knows a file by; 0 when the system does not tell.
fn inode(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.ino())
}

/// Opens a file for reading; `None` when it is not there.
pub(super) fn open_read(path: &Path) -> Result<Option<File>, Error> {
    match OpenOptions::new().read(true).custom_flags(FLAGS).open(path) {
        Ok(file) => regular(file, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, "open", error)),
    }
}

/// The file, if it is one: no folder, FIFO, socket or device.
fn regular(file: File, path: &Path) -> Result<File, Error> {
    let kind = file.metadata().map_err(|error| Error::io(path, "look at", error))?;
    if kind.is_file() {
        Ok(file)
    } else {
        Err(Error::Refused { path: path.to_owned(), why: "it is not a regular file" })
    }
}
