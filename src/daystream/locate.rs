//! Finding a transaction again by the mark that somebody has kept.

use std::path::Path;

use deltaflood::Lsn;

use super::content::Content;
use super::layout::{self, Segment};
use super::{Error, Mark, Position, link, retained, seek};

/// The segment with the first transaction whose LSN is beyond `lsn`, or the last one.
pub(super) fn with_lsn(dir: &Path, lsn: Lsn) -> Result<Option<Segment>, Error> {
    let mut all = layout::all(dir)?;
    while all.len() > 1 {
        let before = all.len() - 2;
        let end = all.get_mut(before).map(|segment| link::last_mark(dir, segment)).transpose()?;
        if end.flatten().and_then(|end| end.lsn).is_some_and(|end| end <= lsn) {
            break;
        }
        all.pop();
    }
    Ok(all.pop())
}

/// The transaction that ends at `position`, or the last one before it in its segment.
fn at_or_before(dir: &Path, position: Position) -> Result<Option<Mark>, Error> {
    let Some(mut segment) = layout::last(dir, Some(position))? else { return Ok(None) };
    let Some(file) = Content::open(dir, &mut segment)? else { return Ok(None) };
    let place = seek::find(&file, &|other| other > position);
    Ok(place.map_err(|error| Error::io(segment.path(dir), "read", error))?.before)
}

/// The mark of the transaction that ends at `position`; without more than that where none does.
pub(super) fn mark_at(dir: &Path, position: Position) -> Result<Mark, Error> {
    let there = at_or_before(dir, position)?.filter(|there| there.position == position);
    Ok(there.unwrap_or(Mark::at(position)))
}

/// Up to where the stream as it is now holds nothing but what `mark` has behind it. That is not
/// the mark's position when the stream's machine went down before that was durable, and other
/// transactions stand there now.
pub(super) fn reached(dir: &Path, mark: Mark) -> Result<Option<Position>, Error> {
    let position = Some(mark.position);
    if retained::load(dir)?.is_some_and(|removed| removed.position >= mark.position) {
        return Ok(position);
    }
    let Some(lsn) = mark.lsn else { return Ok(position) };
    if at_or_before(dir, mark.position)?.is_some_and(|there| there.may_be(&mark)) {
        return Ok(position);
    }
    // NOTE: to the beginning of the segment: less than there is, never more.
    let Some(segment) = with_lsn(dir, lsn)? else { return Ok(None) };
    let before = link::beginning(dir, segment.first)?.before;
    Ok(before.map(|before| before.position))
}
