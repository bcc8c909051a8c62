//! Where things are in a stream's folder: `DAY/CLOCK.SEQ.tsv`.
//!
//! A day folder is named by the UTC day, `2017-10-09`; a segment by the position of its first line.
//! Files and folders with other names are not part of the stream and are passed over.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Error, Position};

/// Name of the lock file, which also marks a folder as written by this library.
pub(super) const LOCK: &str = "lock";
/// Name of the state file.
pub(super) const STATE: &str = "stream.tsv";
/// Name of the file in which the capture says how it is.
pub(super) const CAPTURE: &str = "capture.tsv";
/// Name of the folder of registered readers.
pub(super) const READERS: &str = "readers";
/// Name of the file that is locked by whoever removes or compresses segments.
pub(super) const UPKEEP: &str = "upkeep";
/// Name of the file that says up to where retention has removed segments.
pub(super) const RETAINED: &str = "retained.tsv";

/// The last second of the year 9999.
const CLOCK_MAX: i64 = 253_402_300_799;

/// One segment of a stream, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The day folder's name.
    pub day: String,
    /// Position of the segment's first line.
    pub first: Position,
    /// Whether the file is compressed (`.tsv.zst`).
    pub compressed: bool,
}

impl Segment {
    /// The segment whose first line is at `first`.
    ///
    /// # Errors
    /// [`Error::Clock`] for a clock beyond the year 9999.
    pub(super) fn at(first: Position) -> Result<Segment, Error> {
        Ok(Segment { day: day_of(first.clock)?, first, compressed: false })
    }

    /// The path relative to the stream's folder.
    #[must_use]
    pub fn name(&self) -> String {
        let suffix = if self.compressed { "tsv.zst" } else { "tsv" };
        format!("{}/{}.{}.{suffix}", self.day, self.first.clock, self.first.seq)
    }

    /// The segment's files, plain and compressed: mostly one of them is there.
    pub(super) fn forms(&self) -> [Segment; 2] {
        [false, true].map(|compressed| Segment { compressed, ..self.clone() })
    }

    /// Where its compressed form is written before it gets its name.
    pub(super) fn unfinished(&self, dir: &Path) -> PathBuf {
        let packed = Segment { compressed: true, ..self.clone() };
        dir.join(format!("{}.new", packed.name()))
    }

    /// Whether the segment has a file, in one form or the other.
    pub(super) fn is_there(&self, dir: &Path) -> bool {
        self.forms().iter().any(|form| form.path(dir).symlink_metadata().is_ok())
    }

    /// Bytes of the segment's file; 0 when it is gone.
    pub(super) fn size(&self, dir: &Path) -> Result<u64, Error> {
        for form in self.forms() {
            let path = form.path(dir);
            match path.symlink_metadata() {
                Ok(meta) => return Ok(meta.len()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(&path, "look at", error)),
            }
        }
        Ok(0)
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }
}

/// The UTC day of a clock, as the day folder is named.
pub(super) fn day_of(clock: i64) -> Result<String, Error> {
    let moment = time::OffsetDateTime::from_unix_timestamp(clock);
    let date = moment.map_err(|_| Error::Clock { clock })?.date();
    Ok(format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()))
}

/// Whether a name is that of a day folder.
fn is_day(name: &str) -> bool {
    name.len() == 10
        && name.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// A canonical decimal number.
fn number<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

/// The segment that a file name in a day folder stands for.
fn segment_of(day: &str, name: &str) -> Option<Segment> {
    let (stem, compressed) = match name.strip_suffix(".tsv") {
        Some(stem) => (stem, false),
        None => (name.strip_suffix(".tsv.zst")?, true),
    };
    let (clock, seq) = stem.split_once('.')?;
    let first = Position { clock: number::<u64>(clock)?.try_into().ok()?, seq: number(seq)? };
    Some(Segment { day: day.to_owned(), first, compressed })
}

/// The names in a folder; none when it is gone.
fn names(path: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(path, "list", error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io(path, "list", error))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// The day folders of a stream, in order.
pub(super) fn days(dir: &Path) -> Result<Vec<String>, Error> {
    let mut days = names(dir)?;
    days.retain(|name| is_day(name));
    days.sort_unstable();
    Ok(days)
}

/// The segments of a day, in order; of a segment that is there compressed and not, the latter.
///
/// While a folder is listed, a segment can get its compressed name and lose its plain one, and
/// neither be in the list. What one list misses so, the next one has: only together are they whole.
pub(super) fn segments(dir: &Path, day: &str) -> Result<Vec<Segment>, Error> {
    let folder = dir.join(day);
    let names = [names(&folder)?, names(&folder)?];
    let names = names.iter().flatten();
    let mut found: Vec<_> = names.filter_map(|name| segment_of(day, name)).collect();
    found.sort_unstable_by_key(|segment| (segment.first, segment.compressed));
    found.dedup_by_key(|segment| segment.first);
    Ok(found)
}

/// All segments of a stream, in order.
pub(super) fn all(dir: &Path) -> Result<Vec<Segment>, Error> {
    let mut found = Vec::new();
    for day in days(dir)? {
        found.append(&mut segments(dir, &day)?);
    }
    Ok(found)
}

/// The first segment whose position is beyond `after`.
pub(super) fn next(dir: &Path, after: Position) -> Result<Option<Segment>, Error> {
    let today = day_of(after.clock.min(CLOCK_MAX))?;
    for day in days(dir)?.into_iter().filter(|day| *day >= today) {
        let found = segments(dir, &day)?.into_iter().find(|segment| segment.first > after);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The first segment.
pub(super) fn first(dir: &Path) -> Result<Option<Segment>, Error> {
    for day in days(dir)? {
        if let Some(segment) = segments(dir, &day)?.into_iter().next() {
            return Ok(Some(segment));
        }
    }
    Ok(None)
}

/// Whether the stream has the files that only this library writes.
pub(super) fn is_ours(dir: &Path) -> bool {
    [LOCK, STATE].iter().any(|name| dir.join(name).symlink_metadata().is_ok())
}

/// The segment that holds `position`, or the first one when all are behind it.
pub(super) fn at(dir: &Path, position: Position) -> Result<Option<Segment>, Error> {
    match last(dir, Some(position))? {
        Some(segment) => Ok(Some(segment)),
        None => first(dir),
    }
}

/// The last segment whose position is not beyond `limit`, or the last of all.
pub(super) fn last(dir: &Path, limit: Option<Position>) -> Result<Option<Segment>, Error> {
    // NOTE: no position is beyond the last day; a limit may be.
    let until = limit.map(|limit| day_of(limit.clock.min(CLOCK_MAX))).transpose()?;
    for day in days(dir)?.into_iter().rev() {
        if until.as_ref().is_some_and(|until| day > *until) {
            continue;
        }
        let inside = |segment: &Segment| limit.is_none_or(|limit| segment.first <= limit);
        let found = segments(dir, &day)?.into_iter().rev().find(inside);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_utc_days() {
        assert_eq!(day_of(0).unwrap(), "1970-01-01");
        assert_eq!(day_of(1_507_507_199).unwrap(), "2017-10-08");
        assert_eq!(day_of(1_507_507_200).unwrap(), "2017-10-09");
        assert_eq!(day_of(1_709_164_800).unwrap(), "2024-02-29");
        assert!(day_of(i64::MAX).is_err());
    }

    #[test]
    fn only_canonical_names_are_segments() {
        let name = |name| segment_of("2017-10-09", name).map(|segment| segment.name());
        for good in ["1507507200.0.tsv", "1507518000.17.tsv.zst", "0.18446744073709551615.tsv"] {
            assert_eq!(name(good), Some(format!("2017-10-09/{good}")));
        }
        for bad in ["1.tsv", "01.0.tsv", "1.+0.tsv", "-1.0.tsv", "1.0.tsv.tmp", "1.0", ".0.tsv"] {
            assert_eq!(name(bad), None, "{bad}");
        }
        assert!(is_day("2017-10-09") && !is_day("2017-1-09") && !is_day("lock"));
    }
}
