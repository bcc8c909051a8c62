//! Compressing closed segments: `CLOCK.SEQ.tsv` becomes `CLOCK.SEQ.tsv.zst`, the same text.
//!
//! The compressed file is written under another name, made durable, read back and compared, and
//! renamed; only when its name is durable the plain file goes. A crash in between leaves the plain
//! file, which counts as long as it is there, and the next call begins anew. Writer and readers may
//! be at work: a reader that has the plain file open goes on in it.

use std::fs::File;
use std::io;
use std::path::Path;

use super::content::Content;
use super::layout::Segment;
use super::packed::{Packed, Packer};
use super::storage::{Storage, open_read};
use super::{Error, layout, lock, reader};
use crate::failpoint;
use crate::limits::SEGMENT_FRAME_BYTES;

/// Which segments to compress; the last one, which is being written, never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All closed ones.
    Closed,
    /// Those that have no line written since this time, in seconds since the Unix epoch.
    Before(i64),
}

/// What was compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compressed {
    /// Number of segments.
    pub segments: u64,
    /// Their bytes before.
    pub text_bytes: u64,
    /// Their bytes after.
    pub bytes: u64,
}

/// Compresses segments of the stream in `dir`. `go_on` is asked before each megabyte or so; what
/// it stops is left as it was.
///
/// # Errors
/// `UPKEEP` when another process removes or compresses segments, `FOREIGN` for a stream that
/// another program may be writing, those of the file system. Every segment is there in one of its
/// forms, whatever happens.
pub fn compress(
    dir: &Path,
    which: Which,
    storage: &Storage,
    go_on: &dyn Fn() -> bool,
) -> Result<Compressed, Error> {
    reader::check_folder(dir)?;
    if !layout::is_ours(dir) {
        return Err(Error::Foreign { dir: dir.to_owned() });
    }
    let _lock = lock::upkeep(storage, dir)?;
    let mut done = Compressed::default();
    for pair in layout::all(dir)?.windows(2) {
        let [segment, next] = pair else { continue };
        let due = match which {
            Which::Closed => true,
            Which::Before(clock) => next.first.clock < clock,
        };
        if segment.compressed || !due {
            continue;
        }
        if !go_on() {
            break;
        }
        if let Some((text_bytes, bytes)) = replace(dir, segment, storage, go_on)? {
            done.segments += 1;
            done.text_bytes += text_bytes;
            done.bytes += bytes;
        }
    }
    Ok(done)
}

/// Compresses one segment; bytes before and after, or `None` when it stays as it is.
fn replace(
    dir: &Path,
    plain: &Segment,
    storage: &Storage,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<(u64, u64)>, Error> {
    let packed = Segment { compressed: true, ..plain.clone() };
    let (from, to) = (plain.path(dir), packed.path(dir));
    let beside = plain.unfinished(dir);
    let Some(text) = open_read(&from)?.map(Content::Plain) else {
        return Ok(None);
    };
    storage.remove(&beside)?;
    let file = storage.create(&beside)?;
    let written = write(&text, &file, storage, go_on);
    let size = match written.map_err(|error| Error::io(&beside, "write", error)) {
        Ok(Some(size)) => size,
        unfinished => {
            // NOTE: on a full disk the room is wanted now, not when the next call begins.
            storage.remove(&beside)?;
            return unfinished;
        }
    };
    failpoint::pass(failpoint::COMPRESS_WRITTEN);
    // DURABILITY: the bytes before the name, and both before the plain file goes.
    storage.sync(&file).map_err(|error| Error::io(&beside, "fsync", error))?;
    let same = compare(&text, file, &packed.name());
    if !same.map_err(|error| Error::io(&beside, "read back", error))? {
        let why = io::Error::from(io::ErrorKind::InvalidData);
        storage.remove(&beside)?;
        return Err(Error::io(&beside, "read back what was written to", why));
    }
    failpoint::pass(failpoint::COMPRESS_SYNCED);
    storage.rename(&beside, &to)?;
    failpoint::pass(failpoint::COMPRESS_RENAMED);
    storage.sync_folder(&dir.join(&plain.day))?;
    failpoint::pass(failpoint::COMPRESS_NAMED);
    storage.remove(&from)?;
    failpoint::pass(failpoint::COMPRESS_REMOVED);
    Ok(Some(size))
}

/// Writes the compressed form of `text` to `file`; `None` when that was stopped, or `text` is too
/// large.
fn write(
    text: &Content,
    file: &File,
    storage: &Storage,
    go_on: &dyn Fn() -> bool,
) -> io::Result<Option<(u64, u64)>> {
    let mut packer = Packer::new()?;
    let (mut piece, mut out) = (vec![0; SEGMENT_FRAME_BYTES], Vec::new());
    let (mut from, mut to) = (0, 0);
    loop {
        let count = text.read_full_at(&mut piece, from)?;
        if count == 0 {
            break;
        }
        let piece = piece.get(..count).unwrap_or_default();
        if !go_on() || !packer.frame(piece, &mut out)? {
            return Ok(None);
        }
        storage.write(file, &out, to)?;
        from += count as u64;
        to += out.len() as u64;
    }
    packer.table(&mut out);
    storage.write(file, &out, to)?;
    Ok(Some((from, to + out.len() as u64)))
}

/// Whether the compressed `file` holds `text`.
fn compare(text: &Content, file: File, name: &str) -> io::Result<bool> {
    let packed = Packed::open(file, name)?;
    let (mut is, mut should) = (vec![0; SEGMENT_FRAME_BYTES], vec![0; SEGMENT_FRAME_BYTES]);
    let mut at = 0;
    loop {
        let count = packed.read_at(&mut is, at)?;
        let piece = should.get_mut(..count.max(1)).unwrap_or_default();
        let there = text.read_full_at(piece, at)?;
        if there != count || is.get(..count) != should.get(..count) {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
        at += count as u64;
    }
}
