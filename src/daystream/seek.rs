//! Finding a place in a segment: a binary search for the line, then back to the beginning of its
//! transaction.
//!
//! There is no index to lose. A place is never behind what is looked for, and can be before it: the
//! reader passes over whole transactions. A search that comes upon anything that is not a sound
//! line gives the segment's beginning, and reading from there finds the damage and names it.

use std::io;

use deltaflood::{Change, Verb};

use super::content::Content;
use super::{Mark, Position, stamp};
use crate::limits::LINE_BYTES_MAX;

/// Bytes read at a place that the search looks at.
const PROBE: usize = 64 << 10;
/// Bytes of a line that hold its stamp.
const HEAD: usize = 64;

/// Where a transaction begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset in the segment, in bytes.
    pub(super) offset: u64,
    /// The transaction before it, when that is known.
    pub(super) before: Option<Mark>,
    /// The stream's chain before it, when that is known.
    pub(super) chain: Option<u32>,
}

impl Place {
    /// Behind a transaction.
    pub(super) const fn behind(offset: u64, before: Mark) -> Place {
        Place { offset, before: Some(before), chain: before.chain }
    }
}

/// The beginning of a segment.
pub(super) const BEGIN: Place = Place { offset: 0, before: None, chain: None };

/// The transaction that holds the first line for which `beyond` (which rises with the position) is
/// true, or the end of the last transaction when there is none.
pub(super) fn find(file: &Content, beyond: &dyn Fn(Position) -> bool) -> io::Result<Place> {
    match first_line(file, beyond)? {
        Some(line) => after_commit(file, line),
        None => Ok(BEGIN),
    }
}

/// The end of the last whole transaction of a segment with commit lines.
pub(super) fn end(file: &Content) -> io::Result<Place> {
    after_commit(file, file.len()?)
}

/// The end of the last whole line of a segment.
pub(super) fn end_of_lines(file: &Content) -> io::Result<u64> {
    line_start(file, 0, file.len()?)
}

/// Offset of the first line for which `beyond` is true; `None` when a malformed line is met.
fn first_line(file: &Content, beyond: &dyn Fn(Position) -> bool) -> io::Result<Option<u64>> {
    let mut head = [0; HEAD];
    // NOTE: every line that begins before `low` is not beyond; a line that begins at `high` is, or
    // `high` is the end.
    let (mut low, mut high) = (0u64, file.len()?);
    while low < high {
        let start = line_start(file, low, low + (high - low) / 2)?;
        let there = file.read_full_at(&mut head, start)?;
        let head = head.get(..there).unwrap_or_default();
        let most = if head.starts_with(stamp::PREFIX) { LINE_BYTES_MAX } else { PROBE };
        match line_end(file, start, most as u64)? {
            End::At(end) => match stamp::read(head) {
                Ok((position, _)) if beyond(position) => high = start,
                Ok(_) => low = end,
                Err(_) => return Ok(None),
            },
            // NOTE: what has no end is not part of the stream: everything is before it.
            End::Partial if start == low => break,
            End::Partial => high = start,
            End::TooFar => return Ok(None),
        }
    }
    Ok(Some(low))
}

/// Where a line ends.
enum End {
    /// Behind its line feed.
    At(u64),
    /// The file ends before.
    Partial,
    /// Not within what a line can be.
    TooFar,
}

/// The end of the line that begins at `start`. A line can have gibibytes: it is not taken into
/// memory.
fn line_end(file: &Content, start: u64, most: u64) -> io::Result<End> {
    let mut chunk = vec![0; 4096];
    let mut at = start;
    while at - start < most {
        let there = file.read_full_at(&mut chunk, at)?;
        if let Some(feed) = memchr::memchr(b'\n', chunk.get(..there).unwrap_or_default()) {
            return Ok(End::At(at + feed as u64 + 1));
        }
        if there < chunk.len() {
            return Ok(End::Partial);
        }
        at += there as u64;
        chunk.resize(PROBE, 0);
    }
    Ok(End::TooFar)
}

/// Beginning of the line that holds the byte at `at`, looking back to `low`, where a line begins.
fn line_start(file: &Content, low: u64, at: u64) -> io::Result<u64> {
    let mut chunk = vec![0; 4096];
    let mut end = at;
    while end > low {
        let begin = end.saturating_sub(chunk.len() as u64).max(low);
        let piece = chunk.get_mut(..(end - begin) as usize).unwrap_or_default();
        read(file, piece, begin)?;
        if let Some(feed) = memchr::memrchr(b'\n', piece) {
            return Ok(begin + feed as u64 + 1);
        }
        end = begin;
        chunk.resize(PROBE, 0);
    }
    Ok(low)
}

/// Reads all of `piece`; zeros where the file was cut in the meantime.
fn read(file: &Content, piece: &mut [u8], at: u64) -> io::Result<()> {
    if file.read_full_at(piece, at)? < piece.len() {
        piece.fill(0);
    }
    Ok(())
}

/// Goes back from `from`, where a line or the end is, to behind the nearest commit line.
fn after_commit(file: &Content, from: u64) -> io::Result<Place> {
    let mut mark = stamp::COMMIT.to_vec();
    mark.push(b'\n');
    let mut chunk = vec![0; PROBE];
    let mut end = from;
    while end > 0 {
        let begin = end.saturating_sub(chunk.len() as u64);
        let piece = chunk.get_mut(..(end - begin) as usize).unwrap_or_default();
        read(file, piece, begin)?;
        let Some(hit) = memchr::memmem::rfind(piece, &mark) else {
            // NOTE: the mark may lie across the border of two chunks.
            end = if begin == 0 { 0 } else { begin + mark.len() as u64 - 1 };
            continue;
        };
        let offset = begin + (hit + mark.len()) as u64;
        if let Some(before) = commit_at(file, offset)? {
            return Ok(Place::behind(offset, before));
        }
        end = offset - 1;
    }
    Ok(BEGIN)
}

/// The transaction whose commit line ends at `end`; `None` for a line that only looks like one.
fn commit_at(file: &Content, end: u64) -> io::Result<Option<Mark>> {
    let start = line_start(file, 0, end - 1)?;
    let length = usize::try_from(end - 1 - start).unwrap_or(usize::MAX);
    // NOTE: a commit line has some 200 bytes.
    if length > PROBE {
        return Ok(None);
    }
    let mut line = vec![0; length];
    read(file, &mut line, start)?;
    let commit = Change::parse(&line).ok().filter(|change| change.verb == Verb::Commit);
    let stamp = stamp::read(&line).ok();
    Ok(commit.zip(stamp).map(|(commit, (position, _))| Mark::of(position, &commit)))
}
