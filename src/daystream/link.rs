//! What stands before a segment: the end of the transaction before its first one.

use std::path::Path;

use super::content::Content;
use super::layout::{self, Segment};
use super::seek::{self, Place};
use super::{Error, Mark, Position, mark, retained};

/// The position right before `position`.
pub(super) fn before(position: Position) -> Position {
    match position.seq.checked_sub(1) {
        Some(seq) => Position { seq, ..position },
        None => Position { clock: position.clock - 1, seq: u64::MAX },
    }
}

/// The last transaction that ends in a segment; `None` when none does, or the segment is gone.
pub(super) fn last_mark(dir: &Path, segment: &mut Segment) -> Result<Option<Mark>, Error> {
    let Some(file) = Content::open(dir, segment)? else {
        return Ok(None);
    };
    let end = seek::end(&file).map_err(|error| Error::io(segment.path(dir), "read", error))?;
    Ok(end.before)
}

/// The beginning of the segment named `first`, and what is known of what stands before it: the end
/// of the segment before, or what retention has noted, or that nothing ever stood there.
pub(super) fn beginning(dir: &Path, first: Position) -> Result<Place, Error> {
    let mut at = first;
    while at > Position::MIN
        && let Some(mut segment) = layout::last(dir, Some(before(at)))?
    {
        if let Some(last) = last_mark(dir, &mut segment)? {
            return Ok(Place::behind(0, last));
        }
        at = segment.first;
    }
    // NOTE: after the folders were listed: what is gone by then is in the note.
    let chain = match retained::load(dir)? {
        Some(removed) if removed.position < first => removed.chain,
        // The segment itself is being removed.
        Some(_) => None,
        None => Some(mark::BEGINNING),
    };
    Ok(Place { chain, ..seek::BEGIN })
}
