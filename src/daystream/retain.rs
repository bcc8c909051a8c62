//! Retention: removing the oldest segments.
//!
//! What is removed is noted first (see the module `retained`). The last segment always stays,
//! nothing is removed from the middle, and what a registered reader has not confirmed stays too,
//! unless the caller says otherwise.

use std::path::Path;

use super::layout::Segment;
use super::registered::registered;
use super::storage::Storage;
use super::{Error, Mark, Position, layout, link, locate, lock, reader, retained};

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
    let whole = whole(dir, &segments)?;
    let (kept, sizes) = (segments.get(..whole).unwrap_or_default(), sizes);
    let mut count = surplus(kept, &sizes, keep, now);
    if for_readers {
        count = confirmed(dir, &segments, count)?;
    }
    let noted = retained::load(dir)?;
    let last = noted.map(|noted| noted.position);
    let mut removed = Removed { last, ..Removed::default() };
    let Some(newest) = count.checked_sub(1).and_then(|at| segments.get(at)) else {
        return Ok(removed);
    };
    let next = segments.get(count).map_or(newest.first, |segment| segment.first);
    let end = link::last_mark(dir, &mut newest.clone())?;
    let end = end.unwrap_or_else(|| Mark::at(link::before(next)));
    removed.last = removed.last.max(Some(end.position));
    if last.is_none_or(|noted| noted < end.position) {
        retained::save(dir, &end, storage)?;
    }
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

/// Number of the segments up to the last one in which a transaction ends. What is behind them holds
/// a part of one that is in progress, and is gone when its writer is.
fn whole(dir: &Path, segments: &[Segment]) -> Result<usize, Error> {
    let mut count = segments.len();
    while let Some(last) = count.checked_sub(1).and_then(|at| segments.get(at)) {
        if link::last_mark(dir, &mut last.clone())?.is_some() {
            break;
        }
        count -= 1;
    }
    Ok(count)
}

/// Number of the first `count` segments that every registered reader has confirmed.
fn confirmed(dir: &Path, segments: &[Segment], count: usize) -> Result<usize, Error> {
    let mut count = count;
    for reader in registered(dir)? {
        let confirmed =
            reader.confirmed.map(|mark| locate::reached(dir, mark)).transpose()?.flatten();
        let begun = segments.partition_point(|segment| Some(segment.first) <= confirmed);
        let Some(current) = begun.checked_sub(1).and_then(|at| segments.get(at)) else {
            return Ok(0);
        };
        if begun <= count {
            let last = link::last_mark(dir, &mut current.clone())?.map(|last| last.position);
            let whole = last.is_some() && confirmed >= last;
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
