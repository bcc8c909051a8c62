//! What became of a table, by the attribute numbers of its columns: PostgreSQL never gives one
//! twice.

use deltaflood::{Details, TypeId};

use super::diff::{Reason, SchemaDiff, Step};
use super::{Definition, UNSURE};

/// A definition that has details.
#[derive(Clone, Copy)]
pub(super) struct Detailed<'a> {
    definition: &'a Definition,
    details: &'a Details,
}

/// A column of it.
#[derive(Clone, Copy)]
struct Column<'a> {
    name: &'a str,
    kind: &'a str,
    number: u16,
    id: TypeId,
    stamp: u32,
}

impl<'a> Detailed<'a> {
    /// `None` without details that are of these columns.
    pub(super) fn of(definition: &'a Definition) -> Option<Detailed<'a>> {
        let details = definition.details.as_ref()?;
        let columns = definition.columns.len();
        let lengths = [details.attnums.len(), details.types.len(), details.stamps.len()];
        lengths.iter().all(|len| *len == columns).then_some(Detailed { definition, details })
    }

    fn columns(self) -> impl Iterator<Item = Column<'a>> {
        let Detailed { definition, details } = self;
        let columns = definition.columns.iter().zip(&details.attnums);
        let more = details.types.iter().zip(&details.stamps);
        columns.zip(more).map(|(((name, kind), number), (id, stamp))| Column {
            name,
            kind,
            number: *number,
            id: *id,
            stamp: *stamp,
        })
    }

    fn column(self, number: u16) -> Option<Column<'a>> {
        self.columns().find(|column| column.number == number)
    }

    /// What rows of before have in a column that they lack, in PostgreSQL's text.
    fn missing(self, column: Column<'_>) -> Option<&'a [u8]> {
        let found = self.details.missing.iter().find(|(name, _)| name == column.name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// What became of the columns in `now`, and of the rows.
    pub(super) fn diff(self, now: Detailed<'_>) -> SchemaDiff {
        match self.steps(now) {
            Ok(steps) if steps.is_empty() => SchemaDiff::Same,
            Ok(steps) => SchemaDiff::Steps(steps),
            Err(reason) => SchemaDiff::Reload(reason),
        }
    }

    fn steps(self, now: Detailed<'_>) -> Result<Vec<Step>, Reason> {
        self.same_rows(now)?;
        let mut steps = Vec::new();
        let gone = self.columns().filter(|column| now.column(column.number).is_none());
        steps.extend(gone.map(|column| Step::Drop { column: column.name.to_owned() }));
        let both = || self.columns().filter_map(|was| Some((was, now.column(was.number)?)));
        let renamed = both().filter(|(was, is)| was.name != is.name);
        steps.extend(
            renamed.map(|(was, is)| Step::Rename {
                from: was.name.to_owned(),
                to: is.name.to_owned(),
            }),
        );
        for (was, is) in both().filter(|(was, is)| was.id != is.id) {
            let column = is.name.to_owned();
            let (from, to) = (was.kind.to_owned(), is.kind.to_owned());
            if !self.stored_as(now) || !same_text(was.id, is.id) {
                return Err(Reason::Retyped { column, was: from, now: to });
            }
            steps.push(Step::Retype { column, was: from, now: to });
        }
        steps.extend(self.added(now)?);
        if steps.is_empty() && self.has_other_parts(now) {
            return Err(Reason::Partitions);
        }
        Ok(steps)
    }

    /// Whether a partition came or went, or was written again, beside whatever else was altered.
    pub(super) fn has_other_parts(self, now: Detailed<'_>) -> bool {
        now.details.kind == b'p' && !self.stored_as(now)
    }

    /// Whether lines without details came since.
    fn is_unsure(self) -> bool {
        self.details.storage.starts_with(UNSURE)
    }

    /// Whether no statement has written the rows again.
    fn stored_as(self, now: Detailed<'_>) -> bool {
        fn told(storage: &[u8]) -> &[u8] {
            storage.strip_prefix(UNSURE).unwrap_or(storage)
        }
        told(&self.details.storage) == told(&now.details.storage)
    }

    /// Columns that stayed have the values that they had.
    fn same_rows(self, now: Detailed<'_>) -> Result<(), Reason> {
        let (was, is) = (self.details, now.details);
        if is.natts < was.natts {
            return Err(Reason::Numbers);
        }
        let label = was.labels.iter().find_map(|(id, was)| {
            let (_, is) = is.labels.iter().find(|(other, _)| other == id)?;
            (is != was).then(|| String::from_utf8_lossy(was).into_owned())
        });
        if let Some(label) = label {
            return Err(Reason::Label { label });
        }
        if was.filter != is.filter {
            return Err(Reason::Filter);
        }
        if self.stored_as(now) {
            return Ok(());
        }
        let altered = self.columns().find(|column| {
            // NOTE: VACUUM FULL stores what rows lacked, and says so in the column's row.
            let filled = self.missing(*column).is_some();
            now.column(column.number).is_some_and(|is| {
                is.stamp != column.stamp && !(filled && now.missing(is).is_none())
            })
        });
        altered.map_or(Ok(()), |column| Err(Reason::Rewritten { column: column.name.to_owned() }))
    }

    /// The columns that are new, where it is known what rows of before have in them.
    fn added(self, now: Detailed<'_>) -> Result<Vec<Step>, Reason> {
        let (was, is) = (self.details, now.details);
        let new: Vec<Column<'_>> =
            now.columns().filter(|column| self.column(column.number).is_none()).collect();
        let unknown = |column: &Column<'_>| Reason::New {
            column: column.name.to_owned(),
            kind: column.kind.to_owned(),
        };
        // NOTE: of a number that was given before, rows have values that were not sent.
        if let Some(column) = new.iter().find(|column| column.number <= was.natts) {
            return Err(unknown(column));
        }
        if !new.is_empty() && usize::from(is.natts - was.natts) != new.len() {
            return Err(Reason::Numbers);
        }
        let step = |column: &Column<'_>| {
            let value = now.missing(*column);
            // NOTE: a partitioned table has no rows of its own, and does not tell what those of
            // its partitions lack.
            let known = value.is_some() || self.stored_as(now) && is.kind == b'r';
            if !known || self.is_unsure() {
                return Err(unknown(column));
            }
            let (column, kind) = (column.name.to_owned(), column.kind.to_owned());
            Ok(Step::Add { column, kind, value: value.map(<[u8]>::to_vec) })
        };
        new.iter().map(step).collect()
    }
}

/// Whether every value prints the same in both types, if it was not written again.
fn same_text(one: TypeId, other: TypeId) -> bool {
    // text, varchar, and xml, which is text that was checked; bit and varbit.
    let kin: [&[u32]; 2] = [&[25, 142, 1043], &[1560, 1562]];
    let both = |oids: &&[u32]| oids.contains(&one.base) && oids.contains(&other.base);
    one.base == other.base || kin.iter().any(both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deltamirror::definition::Definition;

    /// Columns as `name number type stamp`; the rest by `change`.
    fn table(columns: &[(&str, u16, u32, u32)], change: impl FnOnce(&mut Details)) -> Definition {
        let text = |oid: u32| format!("type {oid}");
        let mut details = Details {
            natts: columns.iter().map(|c| c.1).max().unwrap_or_default(),
            attnums: columns.iter().map(|c| c.1).collect(),
            types: columns.iter().map(|c| TypeId { base: c.2, modifier: None }).collect(),
            stamps: columns.iter().map(|c| c.3).collect(),
            storage: b"1".to_vec(),
            kind: b'r',
            identity: b'd',
            ..Details::default()
        };
        change(&mut details);
        Definition {
            columns: columns.iter().map(|c| (c.0.to_owned(), text(c.2))).collect(),
            oid: Some(7),
            details: Some(details),
            ..Definition::default()
        }
    }

    fn two() -> Definition {
        table(&[("a", 1, 23, 5), ("b", 2, 25, 5)], |_| {})
    }

    fn text(was: &Definition, now: &Definition) -> String {
        format!("{:?}", was.diff(now))
    }

    fn missing(details: &mut Details, name: &str, value: &str) {
        details.missing.push((name.into(), value.into()));
    }

    #[test]
    fn columns_are_the_same_by_number() {
        let now = table(&[("b", 1, 23, 6), ("a", 2, 25, 6)], |_| {});
        let rename = |from: &str, to: &str| Step::Rename { from: from.into(), to: to.into() };
        assert_eq!(two().diff(&now), SchemaDiff::Steps(vec![rename("a", "b"), rename("b", "a")]));
        // Another column of the same name, in the same place.
        let now = table(&[("a", 1, 23, 5), ("b", 3, 25, 6)], |_| {});
        let add = |value: Option<&str>| Step::Add {
            column: "b".into(),
            kind: "type 25".into(),
            value: value.map(|value| value.as_bytes().to_vec()),
        };
        let drop = Step::Drop { column: "b".into() };
        assert_eq!(two().diff(&now), SchemaDiff::Steps(vec![drop.clone(), add(None)]));
        let now = table(&[("a", 1, 23, 5), ("b", 3, 25, 6)], |d| missing(d, "b", "x"));
        assert_eq!(two().diff(&now), SchemaDiff::Steps(vec![drop, add(Some("x"))]));
    }

    #[test]
    fn what_rows_of_before_have_is_never_guessed() {
        let three = [("a", 1, 23, 5), ("b", 2, 25, 5), ("c", 3, 25, 6)];
        let reload = |now: &Definition, says: &str| {
            let diff = two().diff(now);
            let text = diff.text().unwrap_or_default();
            assert!(matches!(diff, SchemaDiff::Reload(_)) && text.contains(says), "{diff:?}");
        };
        // A volatile default.
        reload(&table(&three, |d| d.storage = b"2".to_vec()), "\"c\" type 25 is new");
        // One came and went meanwhile, perhaps under the name of this one.
        reload(&table(&three, |d| d.natts = 4), "came and went");
        // The publication has it from now on.
        let of_before = table(&[("a", 1, 23, 5), ("b", 2, 25, 5)], |d| d.natts = 3);
        assert!(matches!(of_before.diff(&table(&three, |_| {})), SchemaDiff::Reload(_)));
        // Partitions do not tell what their rows lack.
        reload(&table(&three, |d| d.kind = b'p'), "\"c\" type 25 is new");
        reload(&table(&[("a", 1, 20, 6), ("b", 2, 25, 5)], |_| {}), "was type 23 and is type 20");
        reload(
            &table(&[("a", 1, 23, 6), ("b", 2, 25, 5)], |d| d.storage = b"2".to_vec()),
            "rewritten",
        );
        reload(
            &table(&[("a", 1, 23, 5), ("b", 2, 25, 5)], |d| d.filter = Some(b"a".into())),
            "fil",
        );
        let label = |text: &str| {
            table(&[("a", 1, 23, 5)], |d| d.labels = vec![(9, b"same".into()), (10, text.into())])
        };
        assert!(text(&label("sad"), &label("blue")).contains("Label"), "ALTER TYPE RENAME VALUE");
        let more = table(&[("a", 1, 23, 5)], |d| {
            d.labels = vec![(9, b"same".into()), (10, b"sad".into()), (11, b"new".into())];
        });
        assert_eq!(label("sad").diff(&more), SchemaDiff::Same);
    }

    #[test]
    fn rows_that_were_written_again_are_the_same_where_no_column_was_altered() {
        let vacuum = table(&[("a", 1, 23, 5), ("b", 2, 25, 5)], |d| d.storage = b"2".to_vec());
        assert_eq!(two().diff(&vacuum), SchemaDiff::Same);
        // VACUUM FULL stores what rows lacked.
        let lacks = table(&[("a", 1, 23, 5), ("b", 2, 25, 5)], |d| missing(d, "b", "x"));
        let stored = table(&[("a", 1, 23, 5), ("b", 2, 25, 9)], |d| d.storage = b"2".to_vec());
        assert_eq!(lacks.diff(&stored), SchemaDiff::Same);
        // A constant that is still told is of rows of before, whoever wrote them.
        let now = table(&[("a", 1, 23, 5), ("b", 2, 25, 5), ("c", 3, 25, 6)], |d| {
            d.storage = b"2".to_vec();
            missing(d, "c", "x");
        });
        assert!(text(&two(), &now).starts_with("Steps([Add"), "{}", text(&two(), &now));
        // A column that came and went alone leaves nothing behind.
        let gone = table(&[("a", 1, 23, 5), ("b", 2, 25, 5)], |d| d.natts = 9);
        assert_eq!(two().diff(&gone), SchemaDiff::Same);
        let parts = |storage: &[u8]| {
            table(&[("a", 1, 23, 5)], |d| (d.kind, d.storage) = (b'p', storage.to_vec()))
        };
        assert_eq!(parts(b"1").diff(&parts(b"2")), SchemaDiff::Reload(Reason::Partitions));
        // A line without details in between tells nothing of it.
        let unsure = parts(b"1").followed_by(Definition { details: None, ..parts(b"1") });
        assert_eq!(unsure.diff(&parts(b"2")), SchemaDiff::Reload(Reason::Partitions));
        assert_eq!(unsure.diff(&parts(b"1")), SchemaDiff::Same);
        // Beside a column that goes its steps are told, and that the rows are others as well.
        let two = table(&[("a", 1, 23, 5), ("b", 2, 25, 5)], |d| d.kind = b'p');
        let gone = table(&[("a", 1, 23, 5)], |d| {
            (d.kind, d.natts, d.storage) = (b'p', 2, b"2".to_vec());
        });
        assert!(matches!(two.diff(&gone), SchemaDiff::Steps(_)) && two.has_other_parts(&gone));
    }

    #[test]
    fn types_of_one_text_are_the_same_while_no_row_was_written() {
        let of = |base: u32, modifier: Option<i32>, storage: &[u8]| {
            table(&[("a", 1, base, 5)], |d| {
                (d.types, d.storage) = (vec![TypeId { base, modifier }], storage.to_vec());
            })
        };
        let retype = |was: &Definition, now: &Definition| text(was, now).contains("Retype ");
        assert!(retype(&of(1043, Some(14), b"1"), &of(25, None, b"1")), "varchar(10) to text");
        assert!(retype(&of(1700, Some(5), b"1"), &of(1700, None, b"1")), "numeric(1) to numeric");
        for (was, now) in
            [(of(1043, None, b"1"), of(25, None, b"2")), (of(650, None, b"1"), of(869, None, b"1"))]
        {
            assert!(matches!(was.diff(&now), SchemaDiff::Reload(_)), "{was:?}");
        }
        // The name of a type may be another one.
        let mut renamed = two();
        renamed.columns[1].1 = "other.name".into();
        assert_eq!(two().diff(&renamed), SchemaDiff::Same);
    }

    #[test]
    fn after_lines_without_details_no_value_is_taken_for_known() {
        let bare = Definition { details: None, ..two() };
        assert_eq!(two().diff(&bare), SchemaDiff::Same);
        let unsure = two().followed_by(bare.clone());
        assert_eq!(unsure.diff(&two()), SchemaDiff::Same);
        assert_eq!(unsure.followed_by(two()), two());
        let again = table(&[("a", 1, 23, 5), ("b", 3, 25, 6)], |d| missing(d, "b", "x"));
        assert!(matches!(unsure.diff(&again), SchemaDiff::Reload(_)));
        // Nothing that stays in its place is taken for written again by that.
        let altered = |storage: &'static [u8]| {
            table(&[("a", 1, 23, 6), ("b", 2, 25, 5)], |d| d.storage = storage.to_vec())
        };
        assert_eq!(unsure.followed_by(bare.clone()), unsure);
        assert_eq!(unsure.diff(&altered(b"1")), SchemaDiff::Same);
        assert!(text(&unsure, &altered(b"2")).contains("Rewritten"));
        // Where nothing is known, the first details are taken.
        assert_eq!(bare.followed_by(two()), two());
        let line = unsure.line("s", "t");
        assert_eq!(Definition::parse(&line), Some(unsure));
    }
}
