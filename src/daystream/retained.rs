//! What retention has removed: the file `retained.tsv`.
//!
//! It holds the position of the last line that was removed, and the LSN of its transaction and the
//! stream's chain behind it, where they are known. It is durable before the first segment goes, so
//! that a reader that comes too late learns of the gap instead of jumping over it. A segment that
//! somebody removes by hand leaves no such trace.

use std::io::Read;
use std::path::Path;

use deltaflood::pairs;

use super::layout::Segment;
use super::storage::{Storage, open_read};
use super::{Error, Mark, Position, identity, layout, mark};

/// The last removed transaction's end; `None` when nothing was ever removed.
pub(super) fn load(dir: &Path) -> Result<Option<Mark>, Error> {
    let path = dir.join(layout::RETAINED);
    let Some(file) = open_read(&path)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let read = file.take(4096).read_to_end(&mut text);
    read.map_err(|error| Error::io(&path, "read", error))?;
    let state = |byte, why| Error::State { path: path.clone(), byte, why };
    let (mut words, mut lsn, mut chain) = (String::new(), None, None);
    for pair in pairs(text.strip_suffix(b"\n").unwrap_or(&text)) {
        let (key, value) = pair.map_err(|error| state(error.byte, error.kind.text()))?;
        let value = String::from_utf8_lossy(value.raw()).into_owned();
        match key.raw() {
            b"clock" | b"seq" => {
                words.push_str(&value);
                words.push(' ');
            }
            b"lsn" => lsn = Some(value.parse().map_err(|_| state(0, "malformed lsn"))?),
            b"chain" => {
                let known = mark::parse_chain(&value);
                chain = Some(known.ok_or_else(|| state(0, "malformed chain"))?);
            }
            _ => {}
        }
    }
    let position = words.parse();
    let position = position.map_err(|_| state(0, "expected clock and seq"))?;
    Ok(Some(Mark { position, lsn, chain }))
}

/// Notes durably what is about to be removed.
pub(super) fn save(dir: &Path, removed: &Mark, storage: &Storage) -> Result<(), Error> {
    let Mark { position: Position { clock, seq }, lsn, chain } = removed;
    let mut text = format!("clock\t{clock}\tseq\t{seq}");
    if let Some(lsn) = lsn {
        text.push_str(&format!("\tlsn\t{lsn}"));
    }
    if let Some(chain) = chain {
        text.push_str(&format!("\tchain\t{}", mark::chain_text(*chain)));
    }
    text.push('\n');
    // DURABILITY: what is gone is known to be gone before it goes.
    identity::replace(dir, layout::RETAINED, text.as_bytes(), storage)
}

/// `GAP` when lines behind `last` were removed; a reader that has read nothing wants all there is.
pub(super) fn check(dir: &Path, last: Option<Position>) -> Result<(), Error> {
    match (last, load(dir)?) {
        (Some(wanted), Some(Mark { position: removed, .. })) if removed > wanted => {
            Err(Error::Gap { wanted, removed })
        }
        _ => Ok(()),
    }
}

/// The first segment that was not removed. One that is still there while its removal is under way,
/// or was cut short, is removed.
pub(super) fn first(dir: &Path) -> Result<Option<Segment>, Error> {
    match load(dir)? {
        Some(removed) => layout::next(dir, removed.position),
        None => layout::first(dir),
    }
}
