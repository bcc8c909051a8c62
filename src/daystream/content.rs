//! A segment's text, whether its file is compressed or not.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::Error;
use super::layout::Segment;
use super::packed::Packed;
use super::storage::open_read;

/// An open segment. All offsets are those of the text.
#[derive(Debug)]
pub(super) enum Content {
    /// The file is the text.
    Plain(File),
    /// The file is compressed.
    Packed(Packed),
}

impl Content {
    /// Opens a segment, in whatever form it is there, and notes that form; `None` when it is gone.
    /// A segment is compressed while readers are at work: where the plain file was listed, there
    /// may be the other one now. Where there are both, the plain one counts.
    pub(super) fn open(dir: &Path, segment: &mut Segment) -> Result<Option<Content>, Error> {
        segment.compressed = false;
        if let Some(file) = open_read(&segment.path(dir))? {
            return Ok(Some(Content::Plain(file)));
        }
        segment.compressed = true;
        let path = segment.path(dir);
        let Some(file) = open_read(&path)? else {
            return Ok(None);
        };
        let packed = Packed::open(file, &segment.name());
        packed.map(|packed| Some(Content::Packed(packed))).map_err(|e| Error::io(path, "read", e))
    }

    const fn file(&self) -> &File {
        match self {
            Content::Plain(file) => file,
            Content::Packed(packed) => packed.file(),
        }
    }

    /// The same segment again, for a reader of its own.
    pub(super) fn try_clone(&self) -> io::Result<Content> {
        match self {
            Content::Plain(file) => file.try_clone().map(Content::Plain),
            Content::Packed(packed) => packed.try_clone().map(Content::Packed),
        }
    }

    /// Bytes of the text there are now.
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            Content::Plain(file) => Ok(file.metadata()?.len()),
            Content::Packed(packed) => Ok(packed.len()),
        }
    }

    /// Whether the file has lost its name.
    pub(super) fn is_gone(&self) -> io::Result<bool> {
        Ok(self.file().metadata()?.nlink() == 0)
    }

    /// Reads some bytes at `offset`; 0 at the end.
    pub(super) fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Content::Plain(file) => loop {
                match file.read_at(out, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => return read,
                }
            },
            Content::Packed(packed) => packed.read_at(out, offset),
        }
    }

    /// Reads as many bytes at `offset` as `out` takes; fewer at the end.
    pub(super) fn read_full_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset + done as u64)? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }
}
