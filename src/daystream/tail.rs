//! What follows the last sound transaction of a stream: an incomplete tail, or damage?
//!
//! A crash leaves a transaction that was cut off anywhere, or, when the machine went down, one
//! whose end is zeros or garbage. Such a tail is *incomplete*: nobody was told that it is durable,
//! and PostgreSQL sends it again. It is told from damage like this. Behind the last sound
//! transaction
//!
//! - lines that are all sound, and then the end of the file, perhaps in mid-line: incomplete;
//! - a malformed line (or bytes without any line feed), and behind it no commit line and no sound
//!   line at all: incomplete;
//! - a hole of zeros in the transaction that is wrong, where sectors were not written: incomplete.
//!   A machine that goes down may have written later sectors and not earlier ones. No line holds a
//!   zero byte; a hole ends at a sector's end, and begins at one or behind a line, where what was
//!   durable ended;
//! - a malformed line that itself ends as a commit line does: damage;
//! - a malformed line with a sound line behind it: damage;
//! - sound lines in the wrong order, a wrong number of lines, a wrong checksum: damage.
//!
//! What this cannot tell from a transaction that was torn there: a change in the last 16 bytes of
//! the stream's very last commit line, or of the line feed before it. The stream is then shorter by
//! that transaction, and deltastream finds that PostgreSQL was told more than the stream holds.

use std::io;

use deltaflood::Change;

use super::content::Content;
use super::error::Damage;
use super::scan::Scan;
use super::stamp;

/// Bytes read in one step.
const STEP: usize = 1 << 18;
/// A longer line is passed over: a sound transaction behind the fault ends with a commit line,
/// which is short.
const LINE: usize = 1 << 20;

/// Bytes that a disk writes as a whole; larger ones are multiples of it.
const SECTOR: u64 = 512;

/// Whether what a scan stopped at is an incomplete tail. `fault` is the first wrong byte.
pub(super) fn is_torn(
    file: &Content,
    scan: &Scan,
    fault: u64,
    damage: &Damage,
) -> io::Result<bool> {
    let malformed = matches!(damage, Damage::Line(_) | Damage::Stamp | Damage::TooLong);
    Ok(malformed && is_incomplete(file, scan.at, fault)? || has_hole(file, scan.start, scan.at)?)
}

/// Whether sectors are missing in the transaction that begins at `start` and goes on at least to
/// `line`: up to the next commit line or the end of the file.
fn has_hole(file: &Content, start: u64, line: u64) -> io::Result<bool> {
    let commit = stamp::COMMIT.iter().fold(0, |last, &byte| last << 8 | u128::from(byte));
    let mask = (1 << (8 * stamp::COMMIT.len())) - 1;
    let mut step = vec![0; STEP];
    // The last bytes before `at`, and whether they are zeros that may be a hole.
    let mut last = u128::from(b'\n');
    let mut zeros = None;
    let mut at = start;
    loop {
        let read = file.read_at(&mut step, at)?;
        if read == 0 {
            return Ok(zeros == Some(true));
        }
        for &byte in step.get(..read).unwrap_or_default() {
            if byte == 0 {
                let begins = at.is_multiple_of(SECTOR) || last & 0xFF == u128::from(b'\n');
                zeros = zeros.or(Some(begins));
            } else if zeros.take() == Some(true) && at.is_multiple_of(SECTOR) {
                return Ok(true);
            }
            if byte == b'\n' && at >= line && last & mask == commit {
                return Ok(false);
            }
            last = last << 8 | u128::from(byte);
            at += 1;
        }
    }
}

/// Whether what begins at `line` (the beginning of the first malformed line, or one of the sound
/// lines of its transaction) is an incomplete tail. `fault` is the first wrong byte.
fn is_incomplete(file: &Content, line: u64, fault: u64) -> io::Result<bool> {
    let mut step = vec![0; STEP];
    let mut carry: Vec<u8> = Vec::new();
    let mut overlong = false;
    let mut at = line;
    let mut line_start = line;
    loop {
        let read = file.read_at(&mut step, at)?;
        if read == 0 {
            return Ok(true);
        }
        let mut rest = step.get(..read).unwrap_or_default();
        while let Some(feed) = memchr::memchr(b'\n', rest) {
            let (piece, after) = rest.split_at(feed);
            if !overlong {
                carry.extend_from_slice(piece);
                let line_end = at + (read - after.len()) as u64;
                if tells_damage(&carry, line_start, line_end, fault) {
                    return Ok(false);
                }
            }
            rest = after.get(1..).unwrap_or_default();
            line_start = at + (read - rest.len()) as u64;
            carry.clear();
            overlong = false;
        }
        overlong |= carry.len() + rest.len() > LINE;
        if overlong {
            carry.clear();
        } else {
            carry.extend_from_slice(rest);
        }
        at += read as u64;
    }
}

/// Whether a line, of which there is all, shows that more was written behind the fault than a
/// tear.
fn tells_damage(line: &[u8], start: u64, end: u64, fault: u64) -> bool {
    if end < fault {
        return false;
    }
    if line.ends_with(stamp::COMMIT) {
        return true;
    }
    start > fault && stamp::read(line).is_ok() && Change::parse(line).is_ok()
}
