//! Opening a stream for writing: where does it end?
//!
//! DURABILITY: only an incomplete tail (see the module `tail`) of the last segment is cut off; any
//! other damage is an error and nothing is changed. A segment that the cut leaves without any line
//! is removed, because its name promises a first line that will not come.
//!
//! What is found behind the last durable mark is written once more ([`rewrite`]): an fsync that
//! failed lets the kernel take bytes for written that are on no disk, and a later fsync succeeds.

use std::os::unix::fs::FileExt;
use std::path::Path;

use deltaflood::Lsn;

use super::content::Content;
use super::error::Damage;
use super::last::LastCommit;
use super::layout::{self, Segment};
use super::scan::{self, Boundary, Fault, Scan};
use super::seek::Place;
use super::storage::Storage;
use super::window::Window;
use super::{Error, Mark, link, mark, retained, tail};
use crate::limits::LOG_READER_BUFFER_BYTES;

/// Bytes that are written again in one step.
const REWRITE_BYTES: usize = 1 << 20;

/// The end of a stream.
#[derive(Debug, Clone, Default)]
pub(super) struct End {
    /// The segment to go on in, and its length in bytes.
    pub(super) segment: Option<(Segment, u64)>,
    /// The last transaction.
    pub(super) last: Option<Mark>,
    /// LSN of the last transaction in the last segment that has one.
    pub(super) lsn: Option<Lsn>,
    /// The chain behind the last transaction.
    pub(super) chain: u32,
    /// The last transaction.
    pub(super) commit: Option<LastCommit>,
    /// Bytes that were cut off.
    pub(super) cut: u64,
}

/// Refuses a folder whose segments have no commit lines: what this library would take for an
/// incomplete tail is another program's stream.
pub(super) fn refuse_foreign(dir: &Path) -> Result<(), Error> {
    if dir.join(layout::LOCK).symlink_metadata().is_ok() || !dir.is_dir() {
        return Ok(());
    }
    let Some(mut last) = layout::last(dir, None)? else {
        return Ok(());
    };
    let Some(file) = Content::open(dir, &mut last)? else {
        return Ok(());
    };
    match scan::has_commit(file, u64::MAX) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Foreign { dir: dir.to_owned() }),
        Err(error) => Err(Error::io(last.path(dir), "read", error)),
    }
}

/// Finds the stream's end, cutting off an incomplete tail. Up to `durable` the stream was whole
/// once: a tail that begins before it is damage.
pub(super) fn recover(storage: &Storage, dir: &Path, durable: Option<Mark>) -> Result<End, Error> {
    let mut cut = 0;
    // A segment was removed: the one before it was closed, and may have no tail of its own.
    let mut closed = false;
    while let Some(mut segment) = layout::last(dir, None)? {
        let Some(file) = Content::open(dir, &mut segment)? else {
            continue;
        };
        // NOTE: only closed segments are compressed.
        closed |= segment.compressed;
        let mut end = recover_segment(storage, dir, &segment, file, durable, closed)?;
        cut += end.cut;
        if matches!(end.segment, Some((_, 0))) {
            let path = segment.path(dir);
            storage.remove(&path)?;
            storage.sync_folder(&dir.join(&segment.day))?;
            closed = true;
            continue;
        }
        end.cut = cut;
        if closed {
            // NOTE: readers may have left this segment for the one that is gone: what comes now
            // has to be in a new one.
            end.segment = None;
        }
        return Ok(end);
    }
    // NOTE: positions go on behind those of what was removed.
    let last = retained::load(dir)?;
    if durable.is_some_and(|durable| is_lost(last, durable)) {
        let segment = layout::STATE.to_owned();
        return Err(Error::Corrupt { segment, byte: 0, damage: Damage::Lost });
    }
    let lsn = last.and_then(|last| last.lsn).or(durable.and_then(|durable| durable.lsn));
    Ok(End { cut, last, lsn, ..End::default() })
}

/// Whether a stream that ends with `is` has lost what was durable once.
fn is_lost(is: Option<Mark>, durable: Mark) -> bool {
    is.is_none_or(|is| {
        is.position < durable.position || is.position == durable.position && !is.may_be(&durable)
    })
}

/// Finds the end of one segment. With `closed`, a segment follows or followed: it has no tail.
fn recover_segment(
    storage: &Storage,
    dir: &Path,
    segment: &Segment,
    file: Content,
    durable: Option<Mark>,
    closed: bool,
) -> Result<End, Error> {
    let path = segment.path(dir);
    let io = |operation| {
        let path = path.clone();
        move |error| Error::io(path, operation, error)
    };
    let mut window = Window::new(file, LOG_READER_BUFFER_BYTES);
    let beginning = link::beginning(dir, segment.first)?;
    let mut scan = Scan::new(Boundary::Commit, segment.first, beginning);
    let mut commit = None;
    let mut lsn = beginning.before.and_then(|before| before.lsn);
    // Up to here it is known to be durable.
    let mut sure = beginning;
    let corrupt = |byte, damage| Error::Corrupt { segment: segment.name(), byte, damage };
    loop {
        match scan.step(&mut window) {
            Ok(Some(found)) => {
                lsn = found.last.lsn.or(lsn);
                commit = Some(found.start..found.end);
                if durable.is_some_and(|durable| durable.position >= found.last.position) {
                    sure = Place::behind(found.end, found.last);
                }
            }
            Ok(None) => break,
            Err(Fault::Io(error)) => return Err(io("read")(error)),
            Err(Fault::Damage(byte, damage)) => {
                let torn = !closed
                    && tail::is_torn(window.file(), &scan, byte, &damage).map_err(io("read"))?;
                if !torn {
                    return Err(corrupt(byte, damage));
                }
                break;
            }
        }
    }
    let length = window.file().len().map_err(io("look at"))?;
    if length > scan.start && closed {
        return Err(corrupt(scan.start, Damage::Incomplete));
    }
    let is = scan.before().or(retained::load(dir)?);
    if durable.is_some_and(|durable| is_lost(is, durable)) {
        return Err(corrupt(scan.start, Damage::Lost));
    }
    // NOTE: a closed segment was fsynced without an error before the next one began.
    if !closed && sure.offset < scan.start {
        let again = Scan::new(Boundary::Commit, segment.first, sure);
        rewrite(storage, &path, window.file(), again, scan.start)?;
    }
    if length > scan.start {
        let file = storage.open(&path, false)?;
        storage.truncate(&file, scan.start).map_err(io("cut"))?;
        // DURABILITY: the cut must not come undone once something else is written behind it.
        storage.sync(&file).map_err(io("fsync"))?;
    }
    let commit = commit.map(|at| LastCommit::read(window.file(), at.start, at.end));
    let commit = commit.transpose().map_err(io("read"))?.flatten();
    let earlier = beginning.before.and_then(|before| before.lsn);
    Ok(End {
        segment: Some((segment.clone(), scan.start)),
        last: scan.before(),
        lsn,
        chain: scan.place().chain.unwrap_or(mark::BEGINNING),
        commit: commit.map(|last| LastCommit { before: last.before.or(earlier), ..last }),
        cut: length - scan.start,
    })
}

/// Writes what lies between the scan's place and `end` once more, so that the next fsync covers it,
/// and scans it again: what no disk has can leave the kernel's memory at any time, what was just
/// written cannot.
fn rewrite(
    storage: &Storage,
    path: &Path,
    content: &Content,
    mut scan: Scan,
    end: u64,
) -> Result<(), Error> {
    let io = |operation| move |error| Error::io(path, operation, error);
    let file = storage.open(path, false)?;
    let most = usize::try_from(end - scan.start).unwrap_or(REWRITE_BYTES).min(REWRITE_BYTES);
    let mut bytes = vec![0; most];
    let mut at = scan.start;
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(most).min(most);
        let piece = bytes.get_mut(..left).unwrap_or_default();
        file.read_exact_at(piece, at).map_err(io("read"))?;
        storage.write(&file, piece, at).map_err(io("write"))?;
        at += left as u64;
    }
    let again = content.try_clone().map_err(io("open"))?;
    let mut window = Window::new(again, LOG_READER_BUFFER_BYTES);
    while let Ok(Some(_)) = scan.step(&mut window) {}
    if scan.start == end {
        return Ok(());
    }
    let lost = "its bytes have changed while it was read: a write to the disk has failed before; \
                start again";
    Err(io("read again")(std::io::Error::other(lost)))
}
