//! The segment that is being written: its file, and the bytes that are not in it yet.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::layout::Segment;
use super::storage::Storage;
use super::{Error, Position};
use crate::failpoint;

/// The output of a writer. The first failed write, cut or fsync poisons it.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) storage: Storage,
    dir: PathBuf,
    segment: Option<Segment>,
    /// None until the segment's first bytes are written.
    file: Option<File>,
    /// Bytes in the file.
    written: u64,
    /// Bytes behind them, in memory.
    pub(super) buffer: Vec<u8>,
    /// The file has bytes that may not be durable.
    unsynced: bool,
    /// The day folder has an entry that may not be durable, and so may the stream's folder.
    unsynced_folder: bool,
    poisoned: bool,
}

impl Output {
    /// Goes on at the end of `segment`, which has the given length.
    pub(super) fn resume(
        storage: Storage,
        dir: PathBuf,
        segment: Option<(Segment, u64)>,
    ) -> Result<Output, Error> {
        let mut output = Output {
            storage,
            dir,
            segment: None,
            file: None,
            written: 0,
            buffer: Vec::new(),
            unsynced: false,
            unsynced_folder: false,
            poisoned: false,
        };
        if let Some((segment, length)) = segment {
            output.file = Some(output.storage.open(&segment.path(&output.dir), false)?);
            output.written = length;
            output.segment = Some(segment);
            // DURABILITY: nobody knows whether what a crashed writer left was fsynced; the first
            // sync covers it.
            output.unsynced = true;
            output.unsynced_folder = true;
        }
        Ok(output)
    }

    /// `POISONED` after a failure.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.poisoned { Err(Error::Poisoned) } else { Ok(()) }
    }

    /// Whether everything that was committed is durable.
    pub(super) fn is_durable(&self) -> bool {
        self.buffer.is_empty() && !self.unsynced && !self.unsynced_folder && !self.poisoned
    }

    /// Bytes of the segment, in the file and in memory.
    pub(super) fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn path(&self) -> PathBuf {
        self.segment.as_ref().map_or_else(|| self.dir.clone(), |segment| segment.path(&self.dir))
    }

    /// Passes a result on; an error poisons.
    fn guard<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.poisoned |= result.is_err();
        result
    }

    fn guard_io<T>(&mut self, operation: &'static str, result: io::Result<T>) -> Result<T, Error> {
        let path = self.path();
        self.guard(result.map_err(|error| Error::io(path, operation, error)))
    }

    /// Sees to it that a transaction at `first` can be appended; true when it begins a segment.
    pub(super) fn prepare(&mut self, first: Position, segment_bytes: u64) -> Result<bool, Error> {
        let next = Segment::at(first)?;
        let empty = self.length() == 0;
        let full = self.length() >= segment_bytes;
        if let Some(segment) = &self.segment
            && !empty
            && !full
            && segment.day == next.day
        {
            return Ok(false);
        }
        if !empty {
            // DURABILITY: a closed segment is durable, so that only the last one can have a tail.
            self.sync()?;
            failpoint::pass(failpoint::LOG_SEGMENT_CUT);
        }
        self.file = None;
        self.written = 0;
        self.segment = Some(next);
        Ok(true)
    }

    /// Makes the segment's file, and the day's folder.
    fn create(&mut self) -> Result<(), Error> {
        let Some(segment) = self.segment.clone() else {
            return Ok(());
        };
        let day = self.dir.join(&segment.day);
        self.storage.folder(&day)?;
        let meta = day.symlink_metadata().map_err(|error| Error::io(&day, "look at", error))?;
        if !meta.is_dir() {
            return Err(Error::Refused { path: day, why: "it is not a folder" });
        }
        self.unsynced_folder = true;
        self.file = Some(self.storage.create(&segment.path(&self.dir))?);
        failpoint::pass(failpoint::LOG_SEGMENT_CREATED);
        Ok(())
    }

    /// Writes what is in memory to the file.
    pub(super) fn write_out(&mut self) -> Result<(), Error> {
        self.write_out_with(&[])
    }

    /// Writes what is in memory to the file, and `behind` behind it, which may be too large to be
    /// copied there.
    pub(super) fn write_out_with(&mut self, behind: &[u8]) -> Result<(), Error> {
        self.check()?;
        if self.buffer.is_empty() && behind.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let created = self.create();
            self.guard(created)?;
        }
        if let Some(file) = &self.file {
            self.unsynced = true;
            let length = self.buffer.len() as u64;
            let written = self.storage.write(file, &self.buffer, self.written);
            let written = written.and_then(|()| match behind {
                [] => Ok(()),
                more => self.storage.write(file, more, self.written + length),
            });
            self.guard_io("write", written)?;
        }
        failpoint::pass(failpoint::LOG_WRITTEN);
        self.written += (self.buffer.len() + behind.len()) as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        self.write_out()?;
        failpoint::pass(failpoint::LOG_SYNC_BEFORE);
        if self.unsynced
            && let Some(file) = &self.file
        {
            // DURABILITY: bytes and length of the segment, before any position in it is
            // acknowledged.
            let synced = self.storage.sync(file);
            self.guard_io("fsync", synced)?;
            self.unsynced = false;
        }
        if self.unsynced_folder
            && let Some(segment) = &self.segment
        {
            // DURABILITY: the segment's name in the day folder, and the day folder's in the
            // stream's: without them a power loss takes the whole file.
            let day = self.dir.join(&segment.day);
            let folders = self.storage.sync_folder(&day);
            let folders = folders.and_then(|()| self.storage.sync_folder(&self.dir));
            self.guard(folders)?;
            self.unsynced_folder = false;
        }
        failpoint::pass(failpoint::LOG_SYNC_AFTER);
        Ok(())
    }

    /// Sees that the segment's path still names the open file.
    pub(super) fn check_place(&self) -> Result<(), Error> {
        let (Some(file), path) = (&self.file, self.path()) else { return Ok(()) };
        let inode = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let same = file.metadata().and_then(|open| {
            let named = path.symlink_metadata()?;
            Ok(inode(open) == inode(named))
        });
        let other = || io::Error::other("another file is in its place: what is written is lost");
        match same {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::io(path, "find", other())),
            Err(error) => Err(Error::io(path, "find", error)),
        }
    }

    /// Cuts the segment at `length`; an empty file is removed.
    pub(super) fn cut(&mut self, length: u64) -> Result<(), Error> {
        if length >= self.written {
            let keep = usize::try_from(length - self.written).unwrap_or(usize::MAX);
            self.buffer.truncate(keep);
            return Ok(());
        }
        self.buffer.clear();
        if let Some(file) = &self.file {
            let cut = self.storage.truncate(file, length);
            // DURABILITY: the cut must not come undone once something else is written behind it:
            // sectors of both would stand side by side.
            let cut = cut.and_then(|()| self.storage.sync(file));
            self.guard_io("cut", cut)?;
        }
        self.written = length;
        if length == 0 {
            // DURABILITY: the removed segment must not come back, without its transaction, beside
            // the next one.
            let path = self.path();
            let removed = self.storage.remove(&path);
            let folder = path.parent().unwrap_or(&self.dir);
            let removed = removed.and_then(|()| self.storage.sync_folder(folder));
            self.guard(removed)?;
            self.unsynced_folder = false;
            self.unsynced = false;
            self.file = None;
        }
        Ok(())
    }
}
