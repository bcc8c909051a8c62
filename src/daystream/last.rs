//! The last transaction of a stream, as its commit line tells it.

use std::io;

use deltaflood::{Change, Lsn, Verb};

use super::content::Content;

/// Bytes before a transaction's end that hold its commit line.
const TAIL: usize = 1024;

/// The last transaction of a stream: what a server must have that claims to be its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastCommit {
    /// End of its commit record.
    pub lsn: Lsn,
    /// Its transaction id.
    pub xid: Option<u32>,
    /// Commit time, microseconds since the Unix epoch.
    pub time_us: Option<i64>,
    /// End of the commit record of the transaction before it, where that is known.
    pub before: Option<Lsn>,
}

impl LastCommit {
    /// Of the transaction between two offsets; `None` when its commit tells no LSN.
    pub(super) fn read(content: &Content, start: u64, end: u64) -> io::Result<Option<LastCommit>> {
        let Some(last) = LastCommit::ending_at(content, end)? else { return Ok(None) };
        let before = LastCommit::ending_at(content, start)?.map(|before| before.lsn);
        Ok(Some(LastCommit { before, ..last }))
    }

    fn ending_at(content: &Content, end: u64) -> io::Result<Option<LastCommit>> {
        let length = usize::try_from(end).unwrap_or(TAIL).min(TAIL);
        let mut tail = vec![0; length];
        let mut at = 0;
        while let Some(rest) = tail.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match content.read_at(rest, end - (length - at) as u64)? {
                0 => return Ok(None),
                read => at += read,
            }
        }
        let Some((&b'\n', lines)) = tail.split_last() else { return Ok(None) };
        let line = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let Ok(commit) = Change::parse(line) else { return Ok(None) };
        let lsn = commit.lsn.filter(|_| commit.verb == Verb::Commit);
        let last = |lsn| LastCommit { lsn, xid: commit.xid, time_us: commit.time, before: None };
        Ok(lsn.map(last))
    }
}
