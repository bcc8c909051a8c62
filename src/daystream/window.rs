//! A piece of a segment in memory, line by line, read in large steps.
//!
//! Memory: the buffer's size, or that and the length of the longest line. What lies in the window
//! is not read again; [`Window::clear`] forgets it, for a file that was cut in the meantime.

use std::io;
use std::ops::Range;

use super::content::Content;
use super::stamp;
use crate::limits::LINE_BYTES_MAX;

/// A look for a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line's bytes in the window, without the line feed.
    Whole(Range<usize>),
    /// The beginning of a line that is longer than what may be taken into memory
    /// ([`Window::limit`]).
    Long(Range<usize>),
    /// The file ends within the line, or right where it would begin.
    Partial,
    /// The line is longer than a line can be, or fills the buffer and is not even like a line.
    TooLong {
        /// Whether it begins like a line.
        like_a_line: bool,
    },
}

/// A file's bytes from `start` on, as many as are in memory.
#[derive(Debug)]
pub(super) struct Window {
    file: Content,
    buffer: Vec<u8>,
    /// Number of valid bytes in the buffer.
    len: usize,
    /// Offset in the file of the buffer's first byte.
    start: u64,
    /// Bytes from this offset on are kept as long as there is room for half a buffer of them.
    keep: u64,
    /// Offset of the line that was looked for and is not whole yet.
    looked: u64,
    /// No line feed lies between that and this offset.
    searched: u64,
    /// The buffer's ordinary size.
    size: usize,
    /// The buffer does not grow beyond this for a line that may be longer.
    most: usize,
}

impl Window {
    pub(super) fn new(file: Content, size: usize) -> Window {
        let size = size.max(4096);
        Window {
            file,
            buffer: vec![0; size],
            len: 0,
            start: 0,
            keep: 0,
            looked: 0,
            searched: 0,
            size,
            most: LINE_BYTES_MAX,
        }
    }

    /// Takes no line of more than `most` bytes into memory: of a longer one there is
    /// [`Line::Long`], and [`Window::piece`].
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most.clamp(self.size, LINE_BYTES_MAX);
    }

    pub(super) const fn file(&self) -> &Content {
        &self.file
    }

    /// Another file takes this one's place; the buffer is used again.
    pub(super) fn replace(&mut self, file: Content) {
        self.file = file;
        self.clear();
    }

    /// Forgets what was read.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.start = 0;
        self.keep = 0;
        self.looked = u64::MAX;
    }

    /// Asks to keep the bytes from `offset` on; they are wanted again.
    pub(super) fn keep(&mut self, offset: u64) {
        self.keep = offset;
    }

    /// Offset of the first byte that was not read yet.
    pub(super) const fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// The bytes of a range found by [`Window::line`], until the next look.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Whether the file's bytes from `offset` on, up to what was read last, are all in memory.
    pub(super) const fn holds(&self, offset: u64) -> bool {
        offset >= self.start
    }

    /// The file's bytes from one offset to another, if all of them are in memory.
    pub(super) fn span(&self, from: u64, to: u64) -> Option<&[u8]> {
        let begin = usize::try_from(from.checked_sub(self.start)?).ok()?;
        let end = usize::try_from(to.checked_sub(self.start)?).ok()?;
        self.buffer.get(..self.len)?.get(begin..end)
    }

    /// The line that begins at `offset`, if all of it is in memory. Nothing is read or moved.
    pub(super) fn peek(&mut self, offset: u64) -> Option<Range<usize>> {
        if offset < self.start || offset > self.end() {
            return None;
        }
        if self.looked != offset {
            self.looked = offset;
            self.searched = offset;
        }
        let begin = (offset - self.start) as usize;
        let from = (self.searched - self.start) as usize;
        let unseen = self.buffer.get(from..self.len).unwrap_or_default();
        let Some(step) = memchr::memchr(b'\n', unseen) else {
            self.searched = self.end();
            return None;
        };
        self.looked = u64::MAX;
        Some(begin..from + step)
    }

    /// The line that begins at `offset` in the file.
    pub(super) fn line(&mut self, offset: u64) -> io::Result<Line> {
        if offset < self.start || offset > self.end() {
            self.len = 0;
            self.start = offset;
            self.looked = u64::MAX;
        }
        loop {
            if let Some(range) = self.peek(offset) {
                return Ok(Line::Whole(range));
            }
            if self.len == self.buffer.len() && !self.make_room(offset) {
                if self.most < LINE_BYTES_MAX && self.like_a_line(offset) {
                    let begin = (offset - self.start) as usize;
                    return Ok(Line::Long(begin..self.len));
                }
                return Ok(Line::TooLong { like_a_line: self.like_a_line(offset) });
            }
            if self.fill()? == 0 {
                return Ok(Line::Partial);
            }
        }
    }

    /// Some bytes from `offset` on, in place of all that is in memory before it; none at the file's
    /// end.
    pub(super) fn piece(&mut self, offset: u64) -> io::Result<&[u8]> {
        if offset < self.start || offset >= self.end() {
            self.len = 0;
            self.start = offset;
            self.looked = u64::MAX;
            self.fill()?;
        }
        let begin = (offset - self.start) as usize;
        Ok(self.buffer.get(begin..self.len).unwrap_or_default())
    }

    /// Reads what fits; 0 at the file's end.
    fn fill(&mut self) -> io::Result<usize> {
        let end = self.end();
        let room = self.buffer.get_mut(self.len..).unwrap_or_default();
        let read = self.file.read_at(room, end)?;
        self.len += read;
        Ok(read)
    }

    fn like_a_line(&self, offset: u64) -> bool {
        let begin = (offset - self.start) as usize;
        self.buffer.get(begin..self.len).unwrap_or_default().starts_with(stamp::PREFIX)
    }

    /// Makes room for more of the line at `offset`; false when it is too long.
    fn make_room(&mut self, offset: u64) -> bool {
        let half = (self.size / 2) as u64;
        let keep = if self.keep >= self.start && self.keep <= offset && offset - self.keep <= half {
            self.keep
        } else {
            offset
        };
        let gone = (keep - self.start) as usize;
        if gone > 0 {
            self.buffer.copy_within(gone..self.len, 0);
            self.len -= gone;
            self.start = keep;
            // NOTE: after a long line the buffer goes back to its ordinary size.
            if self.len < self.size && self.buffer.len() > self.size {
                self.buffer.truncate(self.size);
                self.buffer.shrink_to_fit();
            }
            if self.len < self.buffer.len() {
                return true;
            }
        }
        // NOTE: only what begins like a line may make the buffer grow: not a tail of zeros.
        if !self.like_a_line(offset) || self.len >= self.most {
            return false;
        }
        // NOTE: in steps: of the room that the vector takes beyond them nothing is touched.
        self.buffer.resize(self.buffer.len() + self.size, 0);
        true
    }
}
