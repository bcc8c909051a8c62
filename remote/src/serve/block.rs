//! A run of whole transactions in memory, shared by everybody who follows the stream.

use std::sync::OnceLock;

use bytes::Bytes;
use deltaflood::{Change, Verb};
use pgsqlite::daystream::remote::{Fault, Reason};
use pgsqlite::daystream::{Position, TableFilter};

use super::wanted::Wanted;
use crate::limits::ZSTD_LEVEL;

/// Whole transactions, as lines.
#[derive(Debug)]
pub struct Block {
    /// End of each transaction, and the offset behind its last line.
    ends: Vec<(Position, usize)>,
    bytes: Bytes,
    zstd: OnceLock<Bytes>,
}

impl Block {
    /// A block of the transactions that end at `ends` (positions, and offsets in `bytes`).
    #[must_use]
    pub fn new(ends: Vec<(Position, usize)>, bytes: Bytes) -> Block {
        Block { ends, bytes, zstd: OnceLock::new() }
    }

    /// End of the last transaction; `None` in an empty block.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.ends.last().map(|(position, _)| *position)
    }

    /// Number of bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The lines behind `at` that are wanted, compressed or not.
    ///
    /// # Errors
    /// `SERVER` where there is no memory to compress.
    pub fn after(&self, at: Option<Position>, wanted: &Wanted) -> Result<Bytes, Fault> {
        let (tables, zstd) = (wanted.tables.as_ref(), wanted.zstd);
        let whole = self.ends.iter().take_while(|(end, _)| Some(*end) <= at).last();
        let skip = whole.map_or(0, |(_, offset)| *offset);
        let rest = self.bytes.slice(skip.min(self.bytes.len())..);
        let of = |tables| filtered(&rest, tables, wanted.sparse);
        let rest = tables.map_or_else(|| rest.clone(), of);
        if !zstd {
            return Ok(rest);
        }
        if tables.is_some() || skip > 0 {
            return compress(&rest);
        }
        // NOTE: compressed once for all who take it so; two at the same time do it twice.
        if self.zstd.get().is_none() {
            let _ = self.zstd.set(compress(&rest)?);
        }
        Ok(self.zstd.get().cloned().unwrap_or_default())
    }
}

/// A zstd frame of its own: frames one behind the other are a zstd stream. Nothing of nothing.
///
/// # Errors
/// `SERVER` where there is no memory.
pub fn compress(bytes: &[u8]) -> Result<Bytes, Fault> {
    if bytes.is_empty() {
        return Ok(Bytes::new());
    }
    let packed = zstd::bulk::compress(bytes, ZSTD_LEVEL);
    packed.map(Bytes::from).map_err(|_| Fault::new(Reason::Server, "no memory to compress"))
}

fn filtered(lines: &Bytes, tables: &TableFilter, sparse: bool) -> Bytes {
    let mut out = Vec::new();
    // The transaction in hand has a line in `out`; the last one that has none, if it is the last.
    let (mut has_line, mut passed_over) = (false, None);
    let mut rest = &lines[..];
    while let Some(feed) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at(feed + 1);
        rest = after;
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        let change = Change::parse(body);
        if matches!(&change, Ok(change) if change.verb == Verb::Commit) {
            passed_over = (sparse && !has_line).then_some(line);
            has_line = false;
            if passed_over.is_some() {
                continue;
            }
        } else if change.map_or(true, |change| tables.passes(&change)) {
            has_line = true;
        } else {
            continue;
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(passed_over.unwrap_or_default());
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;
    use crate::serve::request;

    fn at(seq: u64) -> Option<Position> {
        Some(Position { clock: 1, seq })
    }

    #[test]
    fn gives_what_is_behind_a_position() {
        let text = "_c\t1\t_s\t0\t_table\ta\t_xid\t1\t_action\tdelete\tid\t1\n\
                    _c\t1\t_s\t1\t_xid\t1\t_action\tcommit\n\
                    _c\t1\t_s\t2\t_table\tb\t_xid\t2\t_action\tdelete\tid\t1\n\
                    _c\t1\t_s\t3\t_xid\t2\t_action\tcommit\n";
        let first = text.match_indices('\n').nth(1).unwrap().0 + 1;
        let ends = vec![(at(1).unwrap(), first), (at(3).unwrap(), text.len())];
        let block = Block::new(ends, Bytes::from(text));
        assert_eq!(block.last(), at(3));
        let all = request::wanted(&"/s".parse().unwrap(), &HeaderMap::new()).unwrap();
        let packed = Wanted { zstd: true, ..all.clone() };
        for (position, skip) in [(None, 0), (at(0), 0), (at(1), first), (at(3), text.len())] {
            let rest = &text.as_bytes()[skip..];
            assert_eq!(block.after(position, &all).unwrap(), rest);
            let packed = block.after(position, &packed).unwrap();
            assert!(packed.is_empty() == rest.is_empty());
            if !packed.is_empty() {
                assert_eq!(zstd::decode_all(&packed[..]).unwrap(), rest);
            }
        }
        let lines: Vec<_> = text.lines().collect();
        for (sparse, table, wanted) in [
            (false, "b", &[1, 2, 3][..]),
            (true, "b", &[2, 3]),
            (true, "a", &[0, 1, 3]),
            (true, "c", &[3]),
        ] {
            let tables = Some(TableFilter::new().with("public", table));
            let only = Wanted { tables, sparse, ..all.clone() };
            let wanted: String = wanted.iter().map(|line| format!("{}\n", lines[*line])).collect();
            assert_eq!(block.after(None, &only).unwrap(), wanted.as_bytes(), "{table}");
        }
    }
}
