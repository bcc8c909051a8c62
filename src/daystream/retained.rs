//! What retention leaves behind: the file `retained.tsv` with the position of the last line that was
//! removed, written before the first segment is.
//!
//! By it a reader that comes too late learns so, instead of jumping over what is gone.

use std::io::Read;
use std::path::Path;

use deltaflood::pairs;

use super::storage::open_read;
use super::{Error, Position, layout};

/// The last removed position; `None` when nothing was ever removed.
pub(super) fn load(dir: &Path) -> Result<Option<Position>, Error> {
    let path = dir.join(layout::RETAINED);
    let Some(file) = open_read(&path)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let read = file.take(4096).read_to_end(&mut text);
    read.map_err(|error| Error::io(&path, "read", error))?;
    let mut words = Vec::new();
    for pair in pairs(text.strip_suffix(b"\n").unwrap_or(&text)) {
        let (key, value) = pair.map_err(|error| Error::State {
            path: path.clone(),
            byte: error.byte,
            why: error.kind.text(),
        })?;
        words.push((key.raw(), String::from_utf8_lossy(value.raw())));
    }
    match words.as_slice() {
        [(b"clock", clock), (b"seq", seq)] => format!("{clock} {seq}").parse().map(Some),
        _ => "".parse().map(Some),
    }
    .map_err(|_| Error::State { path, byte: 0, why: "expected clock and seq" })
}

/// `GAP` when lines behind `last` were removed; a reader that has read nothing wants all there is.
pub(super) fn check(dir: &Path, last: Option<Position>) -> Result<(), Error> {
    match (last, load(dir)?) {
        (Some(wanted), Some(removed)) if removed > wanted => Err(Error::Gap { wanted, removed }),
        _ => Ok(()),
    }
}
