//! A `schema` line of a transaction that a table's copy holds.
//!
//! Its columns are those of its place in the stream, which is before the copy. The details beside
//! them were read from the catalog when the line was written: that may be after the copy, and then
//! no other line tells what became of the table since. So such a line is passed over only where it
//! tells nothing new, or what it tells is surely of a time before the copy.

use deltaflood::{Change, Lsn, Verb};

use super::definition::{Definition, SchemaDiff};
use super::snapshot::Snapshot;
use super::target::Target;
use super::trouble::Trouble;

impl Target<'_> {
    /// What a `schema` line that the table's copy holds tells beyond it.
    pub(super) fn news(&self, change: &Change<'_>) -> Option<String> {
        let snapshot = self.snapshot.as_ref().filter(|_| !self.is_due)?;
        news(&self.state.definition, snapshot, &Definition::from_change(change)?)
    }
}

/// What `line` tells of a table that its copy, which was made under `snapshot` and is `copy`, may
/// not have yet; `None` where the copy has it all.
fn news(copy: &Definition, snapshot: &Snapshot, line: &Definition) -> Option<String> {
    let (Some(was), Some(is)) = (&copy.details, &line.details) else { return None };
    let diff = copy.diff(line);
    if matches!(diff, SchemaDiff::Same | SchemaDiff::Identity) {
        return None;
    }
    let news = diff.text().unwrap_or_default();
    if copy.oid != line.oid {
        return Some(news);
    }
    // Numbers of columns only rise.
    if is.natts != was.natts {
        return (is.natts > was.natts).then_some(news);
    }
    let stamps = |of: &deltaflood::Details| -> Vec<(u16, u32)> {
        of.attnums.iter().copied().zip(of.stamps.iter().copied()).collect()
    };
    let (before, now) = (stamps(was), stamps(is));
    let is_gone = before.iter().any(|(number, _)| !is.attnums.contains(number));
    if is_gone || was.labels != is.labels || was.filter != is.filter {
        return Some(news);
    }
    // The copy has the last row of the catalog that its snapshot sees: another one that the
    // snapshot sees is of before.
    let mut others = now.iter().filter(|column| !before.contains(column)).peekable();
    let is_later = others.peek().is_none() || others.any(|(_, stamp)| !snapshot.sees(*stamp));
    is_later.then_some(news)
}

/// The trouble with a line that does not tell its transaction, which ends at `lsn`, where the table
/// was copied under `snapshot`; `None` where the copy surely does not hold it.
#[inline]
pub(super) fn unknown(
    snapshot: Option<&Snapshot>,
    change: &Change<'_>,
    lsn: Option<Lsn>,
) -> Option<Trouble> {
    let snapshot = snapshot.filter(|_| change.xid.is_none() && change.verb != Verb::Schema)?;
    if lsn.is_some_and(|lsn| lsn > snapshot.lsn) {
        return None;
    }
    let why = "its lines have no number of their transaction (_xid), and whether the copy holds \
               them cannot be told; have the plugin print it (include-xids=on)";
    Some(Trouble::Drift(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltaflood::{Details, TypeId};

    /// Columns as number and stamp, of a table that is known as `oid`.
    fn table(
        columns: &[(u16, u32)],
        change: impl FnOnce(&mut Definition, &mut Details),
    ) -> Definition {
        let mut definition = Definition {
            columns: columns.iter().map(|c| (format!("c{}", c.0), "text".to_owned())).collect(),
            oid: Some(7),
            ..Definition::default()
        };
        let mut details = Details {
            natts: columns.iter().map(|c| c.0).max().unwrap_or_default(),
            attnums: columns.iter().map(|c| c.0).collect(),
            types: columns.iter().map(|_| TypeId { base: 25, modifier: None }).collect(),
            stamps: columns.iter().map(|c| c.1).collect(),
            storage: b"1".to_vec(),
            kind: b'r',
            identity: b'd',
            ..Details::default()
        };
        change(&mut definition, &mut details);
        definition.details = Some(details);
        definition
    }

    #[test]
    fn what_is_surely_of_before_the_copy_is_no_news() {
        let snapshot = Snapshot::parse("100:110:103", "0/1000", "0").unwrap();
        let copy = table(&[(1, 50), (2, 105)], |_, _| {});
        let news = |line: &Definition| news(&copy, &snapshot, line).is_some();
        assert!(!news(&copy));
        assert!(!news(&Definition { details: None, ..copy.clone() }));
        // Before a column came, and before one was altered.
        assert!(!news(&table(&[(1, 50)], |_, _| {})));
        let storage = |d: &mut Details| d.storage = b"2".to_vec();
        assert!(!news(&table(&[(1, 50), (2, 90)], |_, d| storage(d))));
        // After it: another column, one altered, one gone, an enum's label, the filter.
        assert!(news(&table(&[(1, 50), (2, 105), (3, 115)], |_, _| {})));
        for unseen in [103, 112] {
            assert!(news(&table(&[(1, 50), (2, unseen)], |_, d| storage(d))));
        }
        assert!(news(&table(&[(1, 50)], |_, d| d.natts = 2)));
        assert!(news(&table(&[(1, 50), (2, 105)], |_, d| d.filter = Some(b"a".to_vec()))));
        assert!(news(&table(&[(1, 50), (2, 105)], |table, _| table.oid = Some(8))));
        let renamed = |stamp| table(&[(1, 50), (2, stamp)], |t, _| t.columns[1].0 = "d".to_owned());
        assert!(news(&renamed(112)) && !news(&renamed(101)));
    }
}
