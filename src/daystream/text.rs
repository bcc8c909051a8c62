//! A line in its file, for who hands it on in pieces: it can have gibibytes, and need not be held.

use std::ops::Range;
use std::path::PathBuf;

use super::content::Content;
use super::{Error, Position, Segment};

/// A line that a reader has checked, where it stands: [`Reader::text`](super::Reader::text).
#[derive(Debug)]
pub struct Text {
    dir: PathBuf,
    segment: Segment,
    range: Range<u64>,
}

impl Text {
    pub(super) const fn new(dir: PathBuf, segment: Segment, range: Range<u64>) -> Text {
        Text { dir, segment, range }
    }

    /// The next bytes, at most `most`; none behind the line feed. No file is open between two
    /// calls. Nothing is checked again: sum up what comes, and compare.
    ///
    /// # Errors
    /// `GAP` when the segment is gone; those of the file system.
    pub fn next(&mut self, most: usize) -> Result<Vec<u8>, Error> {
        let step = (self.range.end - self.range.start).min(most as u64);
        let mut bytes = vec![0; usize::try_from(step).unwrap_or(most)];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        let Some(file) = Content::open(&self.dir, &mut self.segment)? else {
            let removed = self.segment.first;
            return Err(Error::Gap { wanted: Position::MIN, removed });
        };
        let read = file.read_full_at(&mut bytes, self.range.start);
        let read = read.map_err(|error| Error::io(self.segment.path(&self.dir), "read", error))?;
        bytes.truncate(read);
        if bytes.is_empty() {
            // NOTE: the file was cut below a line that was sound.
            let (segment, byte) = (self.segment.name(), self.range.start);
            return Err(Error::Corrupt { segment, byte, damage: super::Damage::Shorter });
        }
        self.range.start += read as u64;
        Ok(bytes)
    }
}
