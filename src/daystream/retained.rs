//! Retention: removing the oldest segments, and saying so.
//!
//! The file `retained.tsv` holds the position of the last line that was removed. It is durable
//! before the first segment goes, so that a reader that comes too late learns of the gap instead of
//! jumping over it. A segment that somebody removes by hand leaves no such trace.
//!
//! The last segment always stays, nothing is removed from the middle, and what a registered reader
//! has not confirmed stays too, unless the caller says otherwise.

use std::io::Read;
use std::path::Path;

use deltaflood::pairs;

use super::layout::Segment;
use super::registered::registered;
use super::storage::{Storage, open_read};
use super::{Error, Position, identity, layout, lock, reader};

/// The last removed position; `None` when nothing was ever removed.
pub(super) fn load(dir: &Path) -> Result<Option<Position>, Error> {
    let path = dir.join(layout::RETAINED);
    let Some(file) = open_read(&path)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let read = file.take(4096).read_to_end(&mut text);
    read.map_err(|error| Error::io(&path, "read", error))?;
    let mut words = String::new();
    for pair in pairs(text.strip_suffix(b"\n").unwrap_or(&text)) {
        let (key, value) = pair.map_err(|error| Error::State {
            path: path.clone(),
            byte: error.byte,
            why: error.kind.text(),
        })?;
        if matches!(key.raw(), b"clock" | b"seq") {
            words.push_str(&String::from_utf8_lossy(value.raw()));
            words.push(' ');
        }
    }
    let position = words.parse();
    position.map(Some).map_err(|_| Error::State { path, byte: 0, why: "expected clock and seq" })
}

/// `GAP` when lines behind `last` were removed; a reader that has read nothing wants all there is.
pub(super) fn check(dir: &Path, last: Option<Position>) -> Result<(), Error> {
    match (last, load(dir)?) {
        (Some(wanted), Some(removed)) if removed > wanted => Err(Error::Gap { wanted, removed }),
        _ => Ok(()),
    }
}

/// The first segment that was not removed. One that is still there while its removal is under way,
/// or was cut short, is removed.
pub(super) fn first(dir: &Path) -> Result<Option<Segment>, Error> {
    match load(dir)? {
        Some(removed) => layout::next(dir, removed),
        None => layout::first(dir),
    }
}

/// What to keep; without any bound, everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Keep what was written within this many times 86,400 seconds.
    pub days: Option<u32>,
    /// Keep the newest segments whose sizes sum up to no more than this, in bytes.
    pub bytes: Option<u64>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Number of segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Position of the last line that was removed, now or ever.
    pub last: Option<Position>,
}

/// Removes the oldest segments of the stream in `dir` that `keep` does not ask to keep, at the time
/// `now` (seconds since the Unix epoch), and that every registered reader has confirmed. A writer
/// and readers may be at work.
///
/// # Errors
/// `UPKEEP` when another process removes or compresses segments, `STATE` when a registered reader's
/// position cannot be read; those of the file system. Segments that were to go may be left.
pub fn retain(dir: &Path, keep: Keep, now: i64, storage: &Storage) -> Result<Removed, Error> {
    remove(dir, keep, now, true, storage)
}

/// As [`retain`], whatever registered readers have confirmed. One that has not read what went is
/// told so: `GAP`.
///
/// # Errors
/// Those of [`retain`].
pub fn retain_regardless(
    dir: &Path,
    keep: Keep,
    now: i64,
    storage: &Storage,
) -> Result<Removed, Error> {
    remove(dir, keep, now, false, storage)
}

fn remove(
    dir: &Path,
    keep: Keep,
    now: i64,
    for_readers: bool,
    storage: &Storage,
) -> Result<Removed, Error> {
    reader::check_folder(dir)?;
    let _lock = lock::upkeep(storage, dir)?;
    let segments = layout::all(dir)?;
    let mut sizes = Vec::with_capacity(segments.len());
    for segment in &segments {
        sizes.push(segment.size(dir)?);
    }
    let mut count = surplus(&segments, &sizes, keep, now);
    if for_readers {
        count = confirmed(dir, &segments, count)?;
    }
    let mut removed = Removed { last: load(dir)?, ..Removed::default() };
    let Some(last) = count.checked_sub(1).and_then(|at| segments.get(at)) else {
        return Ok(removed);
    };
    let next = segments.get(count).map_or(last.first, |segment| segment.first);
    let end =
        reader::last_position(dir, &mut last.clone())?.unwrap_or_else(|| reader::before(next));
    removed.last = removed.last.max(Some(end));
    let text = format!("clock\t{}\tseq\t{}\n", end.clock, end.seq);
    // DURABILITY: what is gone is known to be gone before it goes.
    identity::replace(dir, layout::RETAINED, text.as_bytes(), storage)?;
    for (segment, size) in segments.iter().zip(&sizes).take(count) {
        for form in segment.forms() {
            storage.remove(&form.path(dir))?;
        }
        // What a compression left that was killed.
        storage.remove(&segment.unfinished(dir))?;
        // DURABILITY: one after the other, or a power loss brings an older one back, and behind it
        // a gap that nobody is told of.
        storage.sync_folder(&dir.join(&segment.day))?;
        removed.segments += 1;
        removed.bytes += size;
    }
    let kept = segments.get(count).map(|segment| segment.day.as_str());
    let mut days: Vec<_> = segments.iter().take(count).map(|s| s.day.as_str()).collect();
    days.dedup();
    for day in days.into_iter().filter(|day| Some(*day) != kept) {
        // NOTE: a folder with other files in it stays.
        let _ = std::fs::remove_dir(dir.join(day));
    }
    Ok(removed)
}

/// Number of the first `count` segments that every registered reader has confirmed.
fn confirmed(dir: &Path, segments: &[Segment], count: usize) -> Result<usize, Error> {
    let mut count = count;
    for reader in registered(dir)? {
        let begun = segments.partition_point(|segment| Some(segment.first) <= reader.confirmed);
        let Some(current) = begun.checked_sub(1).and_then(|at| segments.get(at)) else {
            return Ok(0);
        };
        if begun <= count {
            let last = reader::last_position(dir, &mut current.clone())?;
            let whole = last.is_some() && reader.confirmed >= last;
            count = if whole { begun } else { begun - 1 };
        }
    }
    Ok(count)
}

/// Number of segments, from the oldest on, that need not be kept.
fn surplus(segments: &[Segment], sizes: &[u64], keep: Keep, now: i64) -> usize {
    let mut total: u64 = sizes.iter().sum();
    let mut count = 0;
    // NOTE: a segment's lines are older than the next one's first; the last segment has no next.
    for (pair, size) in segments.windows(2).zip(sizes) {
        let old = keep.days.is_some_and(|days| {
            let age = i64::from(days) * 86_400;
            pair.last().is_some_and(|next| next.first.clock < now.saturating_sub(age))
        });
        let large = keep.bytes.is_some_and(|bytes| total > bytes);
        if !old && !large {
            break;
        }
        total -= size;
        count += 1;
    }
    count
}
