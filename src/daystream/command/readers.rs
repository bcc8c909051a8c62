//! `daystream readers` and `daystream forget`: who reads a stream under a name, and how far.

use super::{folder, position_value, usage};
use crate::daystream::{self, Position, Registered, Storage};
use crate::tcl::{CmdResult, Exception, Flow, Interp, Obj};
use std::path::Path;

/// A dict of the registered readers.
pub(super) fn readers(_: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [dir] = words else { return Err(usage("daystream readers dir")) };
    let dir = folder(dir)?;
    let options = daystream::ReaderOptions::default();
    let end = daystream::Reader::open(&dir, daystream::Start::End, options)?.position();
    Ok(dict(&dir, end, daystream::registered(&dir)?)?.into())
}

/// The same for who asks for all there is to know of a stream, and may not be the user to whom the
/// readers belong: those that can be seen, and the names of the others.
pub(super) fn seen(dir: &Path, end: Option<Position>) -> CmdResult<(Obj, Vec<String>)> {
    let (found, unseen) = match daystream::registered_seen(dir) {
        Ok((found, unseen)) => (found, unseen.into_iter().map(|(name, _)| name).collect()),
        Err(daystream::Error::Permission { .. }) => (Vec::new(), vec!["*".to_owned()]),
        Err(error) => return Err(error.into()),
    };
    Ok((dict(dir, end, found)?, unseen))
}

/// Registered readers of the stream in `dir`, which ends at `end`: names and what is known.
fn dict(dir: &Path, end: Option<Position>, found: Vec<Registered>) -> CmdResult<Obj> {
    let mut entries = Vec::new();
    for reader in found {
        let lag_s = match (end, reader.confirmed) {
            (Some(end), Some(confirmed)) => Obj::int((end.clock - confirmed.position.clock).max(0)),
            _ => Obj::empty(),
        };
        let known = Obj::dict([
            ("position", position_value(reader.confirmed.map(|confirmed| confirmed.position))),
            ("saved", Obj::int(reader.saved)),
            ("active", reader.active.into()),
            ("lag_s", lag_s),
            ("lag_bytes", Obj::unsigned(daystream::bytes_behind(dir, reader.confirmed)?)),
        ]);
        entries.push((reader.name, known));
    }
    Ok(Obj::dict(entries))
}

/// Ends a registration.
pub(super) fn forget(_: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [dir, name] = words else { return Err(usage("daystream forget dir name")) };
    daystream::forget(&folder(dir)?, &name.as_text()?, &Storage::default())?;
    Ok(Obj::empty().into())
}
