//! Reading a whole stream: what is in it, and is it sound?

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use deltaflood::Verb;

use super::heartbeat::{Heartbeats, Kind, Tail};
use super::{
    Damage, Entry, Error, Feed, Identity, Mark, Position, Reader, ReaderOptions, Segment, Source,
    Start, layout, reader, remote, retained,
};

/// What a stream holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// Position of the first line.
    pub first: Option<Position>,
    /// Position of the last complete transaction's last line.
    pub last: Option<Position>,
    /// Number of segments.
    pub segments: u64,
    /// Number of those that are compressed.
    pub compressed: u64,
    /// Bytes of all segment files, an incomplete tail included.
    pub bytes: u64,
    /// Number of complete transactions that are no heartbeats.
    pub transactions: u64,
    /// Number of heartbeats.
    pub heartbeats: u64,
    /// The last of them.
    pub tail: Option<Tail>,
    /// Number of the transactions' lines.
    pub lines: u64,
    /// Commit time of the last transaction, microseconds since the Unix epoch.
    pub changed_us: Option<i64>,
    /// Number of lines of each table, by schema and name.
    pub tables: BTreeMap<(String, String), u64>,
}

/// The segments of the stream in `dir`, in order; the last one is the one being written.
///
/// # Errors
/// Those of the file system.
pub fn segments(dir: &Path) -> Result<Vec<Segment>, Error> {
    layout::all(dir)
}

/// Reads the whole stream in `dir` and counts.
///
/// # Errors
/// Those of [`Reader::open`] and [`Reader::next`].
pub fn info(dir: &Path) -> Result<Info, Error> {
    walk(dir, false).and_then(|(info, damage)| damage.map_or(Ok(info), Err))
}

/// Reads the whole stream in `dir` and checks everything: stamps, order, names of segments,
/// numbers of lines, checksums, and every field of every line. Gives what is there before the first
/// damage, and the first damage.
///
/// # Errors
/// Those of [`Reader::open`].
pub fn verify(dir: &Path) -> Result<(Info, Option<Error>), Error> {
    walk(dir, true)
}

fn walk(dir: &Path, thorough: bool) -> Result<(Info, Option<Error>), Error> {
    let mut info = Info::default();
    reader::check_folder(dir)?;
    for segment in layout::all(dir)? {
        let size = segment.size(dir)?;
        info.first = info.first.or(Some(segment.first).filter(|_| size > 0));
        info.segments += 1;
        info.compressed += u64::from(segment.compressed);
        info.bytes += size;
    }
    // NOTE: before the stream, which may grow: up to here it was durable.
    let end = Identity::load_all(dir)?.and_then(|(_, state)| state.end);
    let mut reader = Reader::open(dir, Start::Begin, ReaderOptions::default())?;
    let mut beats = Heartbeats::default();
    let damage = loop {
        match step(&mut reader, &mut info, &mut beats, thorough) {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
    };
    if info.last.is_none() {
        info.first = None;
    }
    let damage = match end {
        Some(end) if thorough && damage.is_none() => check_end(dir, &reader, end)?,
        _ => damage,
    };
    Ok((info, damage))
}

/// What is wrong with the end of a stream that was durable up to `durable` once, and was read to
/// its end.
fn check_end(dir: &Path, reader: &Reader, durable: Mark) -> Result<Option<Error>, Error> {
    let end = reader.mark().or(retained::load(dir)?);
    if end.is_some_and(|end| end.position > durable.position || end.may_be(&durable)) {
        return Ok(None);
    }
    let last = layout::last(dir, None)?;
    let byte = last.as_ref().map_or(Ok(0), |segment| segment.size(dir))?;
    let segment = last.map_or_else(|| layout::STATE.to_owned(), |segment| segment.name());
    Ok(Some(Error::Corrupt { segment, byte, damage: Damage::Lost }))
}

/// Takes in one line; false at the end.
fn step(
    reader: &mut Reader,
    info: &mut Info,
    beats: &mut Heartbeats,
    thorough: bool,
) -> Result<bool, Error> {
    let mut wrong = None;
    let Some(entry) = reader.next()? else {
        return Ok(false);
    };
    if thorough && let Err(error) = entry.change.validate() {
        wrong = Some((entry.change.line().len(), error));
    } else {
        take(&entry, info, beats);
    }
    match wrong {
        Some((length, error)) => {
            Err(reader.corrupt_line(length, error.byte, Damage::Line(error.kind)))
        }
        None => Ok(true),
    }
}

/// Counts a line.
fn take(entry: &Entry<'_>, info: &mut Info, beats: &mut Heartbeats) {
    let kind = beats.take(entry);
    if entry.end {
        info.last = Some(entry.position);
    }
    match kind {
        Kind::Part => return,
        Kind::Beat(beat) => {
            info.heartbeats += 1;
            let changed_us = info.changed_us;
            info.tail = Some(Tail { beat, changed_us });
            return;
        }
        Kind::Change => info.lines += 1,
    }
    if entry.end {
        info.transactions += 1;
        info.changed_us = info.changed_us.max(entry.change.time);
        if let Some(tail) = &mut info.tail {
            tail.changed_us = info.changed_us;
        }
    }
    if entry.change.verb != Verb::Commit
        && let Some(table) = entry.change.table
    {
        let schema = entry.change.schema.map(|schema| schema.decode());
        let schema = schema.as_deref().unwrap_or(b"public");
        count(&mut info.tables, schema, &table.decode());
    }
}

/// The same as [`info`], of a stream on another host: every line comes from there.
///
/// # Errors
/// [`Error::Remote`].
pub fn info_from(url: &str) -> Result<Info, Error> {
    walk_from(url, false).and_then(|(info, damage)| damage.map_or(Ok(info), Err))
}

/// The same as [`verify`], of a stream on another host. Its server checks each transaction when it
/// reads it, and the client once more what has come.
///
/// # Errors
/// [`Error::Remote`] when there is no first answer.
pub fn verify_from(url: &str) -> Result<(Info, Option<Error>), Error> {
    walk_from(url, true)
}

fn walk_from(url: &str, thorough: bool) -> Result<(Info, Option<Error>), Error> {
    let remote::Hello { segments, compressed, bytes, .. } = remote::ask(url)?;
    let mut info = Info { segments, compressed, bytes, ..Info::default() };
    let (source, stop) = (Source::Url(url.to_owned()), AtomicBool::new(false));
    let options = ReaderOptions::default();
    let mut beats = Heartbeats::default();
    let mut feed = Feed::open(&source, Start::Begin, options, remote::Link::Patient, &stop)?;
    let mut step = || -> Result<bool, Error> {
        feed.arrive()?;
        let Some(entry) = feed.next()? else { return Ok(false) };
        info.first = info.first.or(Some(entry.position));
        if thorough && let Err(error) = entry.change.validate() {
            return Err(remote::bad_line(url, entry.position, error));
        }
        take(&entry, &mut info, &mut beats);
        Ok(true)
    };
    let damage = loop {
        match step() {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
    };
    Ok((info, damage))
}

fn count(tables: &mut BTreeMap<(String, String), u64>, schema: &[u8], table: &[u8]) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    *tables.entry((text(schema), text(table))).or_default() += 1;
}
