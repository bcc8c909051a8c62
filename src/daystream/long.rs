//! A line that is longer than what a reader takes into memory: its head is read, and the rest is
//! summed up as it goes by.

use std::io;

use super::window::Window;
use crate::limits::{LINE_BYTES_MAX, LINE_HEAD_BYTES};

/// A line that has only its head in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of the whole line, without its line feed.
    pub length: usize,
    /// CRC-32C of the whole line and its line feed.
    pub crc: u32,
}

/// How far a walk came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Behind the line's line feed.
    Over,
    /// To the file's end, within the line. A later step goes on there.
    Partial,
    /// Beyond what a line can be.
    TooLong,
}

/// A walk along the line that begins at `start`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    start: u64,
    /// Offset of the first byte that is not summed up.
    pub(super) at: u64,
    crc: u32,
}

impl Walk {
    pub(super) const fn new(start: u64) -> Walk {
        Walk { start, at: start, crc: 0 }
    }

    /// Goes on to the line's end, if it is there.
    pub(super) fn step(&mut self, window: &mut Window) -> io::Result<Step> {
        while self.at - self.start <= LINE_BYTES_MAX as u64 {
            let piece = window.piece(self.at)?;
            let feed = memchr::memchr(b'\n', piece);
            let of_line = feed.and_then(|feed| piece.get(..=feed)).unwrap_or(piece);
            self.crc = crc32c::crc32c_append(self.crc, of_line);
            self.at += of_line.len() as u64;
            if feed.is_some() {
                return Ok(Step::Over);
            }
            if of_line.is_empty() {
                return Ok(Step::Partial);
            }
        }
        Ok(Step::TooLong)
    }

    /// The sum of what comes before the line, whose sum is `before`, and of what was walked along.
    pub(super) fn sum(&self, before: u32) -> u32 {
        crc32c::crc32c_combine(before, self.crc, (self.at - self.start) as usize)
    }

    /// What was walked along, to the line feed.
    pub(super) fn cut(&self) -> Cut {
        let length = usize::try_from(self.at - self.start).unwrap_or(LINE_BYTES_MAX);
        Cut { length: length.saturating_sub(1), crc: self.crc }
    }
}

/// As much of a line's beginning as its head has to be in.
pub(super) fn head(line: &[u8]) -> &[u8] {
    line.get(..LINE_HEAD_BYTES).unwrap_or(line)
}
