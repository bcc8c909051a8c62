//! Compressed text that can be read from anywhere: zstd's seekable format.
//!
//! Independent zstd frames, each of [`SEGMENT_FRAME_BYTES`] of text and with a checksum, and behind
//! them a skippable frame with the sizes of all: the *seek table*. Any zstd program decompresses
//! such a file. Source of the format: `contrib/seekable_format` of the zstd project, version 0.1.0.
//!
//! Nothing here trusts the file: a table is checked against the file's length before it is used, a
//! frame is decompressed into a buffer of the size that the table says, which has a limit.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use zstd_safe::{CCtx, CParameter, DCtx};

use super::error::Damage;
use crate::limits::{
    SEGMENT_COMPRESSION_LEVEL, SEGMENT_FRAME_BYTES, SEGMENT_FRAME_BYTES_MAX, SEGMENT_FRAMES_MAX,
};

/// Begins the skippable frame that holds the table.
const TABLE_MAGIC: u32 = 0x184D_2A5E;
/// Ends the file.
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
/// Magic number and size of a skippable frame.
const HEADER: usize = 8;
/// Number of frames, descriptor, magic number.
const FOOTER: usize = 9;
/// Bit of the descriptor: entries have a checksum.
const CHECKSUMS: u8 = 0x80;
/// Bits of the descriptor that must be zero.
const RESERVED: u8 = 0x7C;

/// What is wrong with a compressed segment; travels in an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("compressed segment {segment}, byte {byte} of its text: {damage}")]
pub(super) struct Broken {
    /// The segment, relative to the stream's folder.
    pub(super) segment: String,
    /// Offset in the text.
    pub(super) byte: u64,
    /// What is wrong there.
    pub(super) damage: Damage,
}

/// Where a frame begins: in the file, and in the text.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    file: u64,
    text: u64,
}

/// A compressed segment, open for reading.
pub(super) struct Packed {
    file: File,
    segment: Arc<str>,
    /// All frames, and the end.
    frames: Arc<[Frame]>,
    work: RefCell<Work>,
}

/// What was decompressed last, and the means.
struct Work {
    context: DCtx<'static>,
    compressed: Vec<u8>,
    text: Vec<u8>,
    /// Number of the frame in `text`.
    frame: Option<usize>,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("segment", &self.segment).finish_non_exhaustive()
    }
}

impl Packed {
    /// Reads the table of `file`, the segment called `segment`.
    pub(super) fn open(file: File, segment: &str) -> io::Result<Packed> {
        let frames = read_table(&file)?.ok_or_else(|| broken(segment, 0, Damage::SeekTable))?;
        Packed::with(file, segment.into(), frames.into())
    }

    fn with(file: File, segment: Arc<str>, frames: Arc<[Frame]>) -> io::Result<Packed> {
        let context = DCtx::try_create().ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory));
        let work =
            Work { context: context?, compressed: Vec::new(), text: Vec::new(), frame: None };
        Ok(Packed { file, segment, frames, work: RefCell::new(work) })
    }

    /// The same segment again, with a place of its own.
    pub(super) fn try_clone(&self) -> io::Result<Packed> {
        let file = self.file.try_clone()?;
        Packed::with(file, Arc::clone(&self.segment), Arc::clone(&self.frames))
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Bytes of the text.
    pub(super) fn len(&self) -> u64 {
        self.frames.last().map_or(0, |end| end.text)
    }

    /// Reads some bytes of the text at `offset`: up to the end of a frame; 0 at the end.
    pub(super) fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let next = self.frames.partition_point(|frame| frame.text <= offset);
        let number = next.wrapping_sub(1);
        let (Some(frame), Some(end)) = (self.frames.get(number), self.frames.get(next)) else {
            return Ok(0);
        };
        let mut work = self.work.borrow_mut();
        let work = &mut *work;
        let size = (end.text - frame.text) as usize;
        if work.frame != Some(number) {
            let length = (end.file - frame.file) as usize;
            work.compressed.resize(length, 0);
            let read = self.file.read_exact_at(&mut work.compressed, frame.file);
            read.map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => broken(&self.segment, frame.text, Damage::Frame),
                _ => error,
            })?;
            // NOTE: a reader that goes on and on has room for a whole frame: no copy.
            let direct = offset == frame.text && out.len() >= size;
            let whole = if direct {
                let out = out.get_mut(..size).unwrap_or_default();
                work.context.decompress(out, &work.compressed)
            } else {
                work.frame = None;
                work.text.resize(size, 0);
                work.context.decompress(work.text.as_mut_slice(), &work.compressed)
            };
            if whole != Ok(size) {
                return Err(broken(&self.segment, frame.text, Damage::Frame));
            }
            if direct {
                return Ok(size);
            }
            work.frame = Some(number);
        }
        let from = work.text.get((offset - frame.text) as usize..).unwrap_or_default();
        let count = from.len().min(out.len());
        let (Some(to), Some(from)) = (out.get_mut(..count), from.get(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        Ok(count)
    }
}

fn broken(segment: &str, byte: u64, damage: Damage) -> io::Error {
    let segment = segment.to_owned();
    io::Error::new(io::ErrorKind::InvalidData, Broken { segment, byte, damage })
}

/// The little-endian number in a piece of four bytes.
fn number(piece: Option<&[u8]>) -> Option<u32> {
    piece?.try_into().ok().map(u32::from_le_bytes)
}

/// The frames of a file; `None` when it does not end with a sound table.
fn read_table(file: &File) -> io::Result<Option<Vec<Frame>>> {
    let length = file.metadata()?.len();
    let Some(footer_at) = length.checked_sub(FOOTER as u64) else { return Ok(None) };
    let mut footer = [0; FOOTER];
    file.read_exact_at(&mut footer, footer_at)?;
    let (count, magic) = (number(footer.get(..4)), number(footer.get(5..)));
    let descriptor = footer.get(4).copied().unwrap_or(RESERVED);
    let Some(count) = count.map(|count| count as usize) else { return Ok(None) };
    if magic != Some(SEEKABLE_MAGIC) || descriptor & RESERVED != 0 || count > SEGMENT_FRAMES_MAX {
        return Ok(None);
    }
    let entry = if descriptor & CHECKSUMS == 0 { 8 } else { 12 };
    let size = HEADER + count * entry + FOOTER;
    let Some(frames_end) = length.checked_sub(size as u64) else { return Ok(None) };
    let mut table = vec![0; size - FOOTER];
    file.read_exact_at(&mut table, frames_end)?;
    let (header, entries) = table.split_at(HEADER);
    let sizes = entries.chunks_exact(entry).map(|e| (number(e.get(..4)), number(e.get(4..8))));
    let good = number(header.get(..4)) == Some(TABLE_MAGIC)
        && number(header.get(4..)).map(|n| n as usize) == Some(size - HEADER);
    Ok(if good { frames_of(sizes, frames_end) } else { None })
}

/// Places from sizes; `None` when a frame is too large, or they do not add up to `end`.
fn frames_of(
    sizes: impl Iterator<Item = (Option<u32>, Option<u32>)>,
    end: u64,
) -> Option<Vec<Frame>> {
    let mut at = Frame::default();
    let mut frames = vec![at];
    for (compressed, text) in sizes {
        let (compressed, text) = (compressed? as usize, text? as usize);
        let bound = zstd_safe::compress_bound(text) + FOOTER;
        if text > SEGMENT_FRAME_BYTES_MAX || compressed > bound {
            return None;
        }
        at = Frame { file: at.file + compressed as u64, text: at.text + text as u64 };
        frames.push(at);
    }
    (at.file == end).then_some(frames)
}

/// Makes a compressed segment, piece by piece.
pub(super) struct Packer {
    context: CCtx<'static>,
    sizes: Vec<(u32, u32)>,
}

impl Packer {
    pub(super) fn new() -> io::Result<Packer> {
        let context = CCtx::try_create().ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory));
        let mut context = context?;
        for parameter in [
            CParameter::CompressionLevel(SEGMENT_COMPRESSION_LEVEL),
            CParameter::ChecksumFlag(true),
        ] {
            context.set_parameter(parameter).map_err(failed)?;
        }
        Ok(Packer { context, sizes: Vec::new() })
    }

    /// Compresses `text`, at most [`SEGMENT_FRAME_BYTES`], to a frame, which replaces what is in
    /// `out`. False when there is no place for another frame in the table.
    pub(super) fn frame(&mut self, text: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        out.clear();
        if self.sizes.len() >= SEGMENT_FRAMES_MAX || text.len() > SEGMENT_FRAME_BYTES {
            return Ok(false);
        }
        out.reserve(zstd_safe::compress_bound(text.len()));
        self.context.compress2(out, text).map_err(failed)?;
        let size = |size: usize| u32::try_from(size).map_err(io::Error::other);
        self.sizes.push((size(out.len())?, size(text.len())?));
        Ok(true)
    }

    /// The table, which replaces what is in `out`.
    pub(super) fn table(&self, out: &mut Vec<u8>) {
        out.clear();
        let count = self.sizes.len() as u32;
        let size = count * 8 + FOOTER as u32;
        out.extend_from_slice(&TABLE_MAGIC.to_le_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        for (compressed, text) in &self.sizes {
            out.extend_from_slice(&compressed.to_le_bytes());
            out.extend_from_slice(&text.to_le_bytes());
        }
        out.extend_from_slice(&count.to_le_bytes());
        out.push(0);
        out.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
    }
}

fn failed(code: zstd_safe::ErrorCode) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}
