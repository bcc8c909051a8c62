//! A definition compared with a later one.
//!
//! Where both have details, a column is known by its attribute number, which PostgreSQL never gives
//! twice. Where one has none, names are all there is: then anything but the same columns is a
//! difference that says nothing of the rows.

use super::Definition;
use super::diff::{Reason, SchemaDiff};
use super::numbers::Detailed;

impl Definition {
    /// What became of this table in `now`.
    #[must_use]
    pub fn diff(&self, now: &Definition) -> SchemaDiff {
        if let (Some(oid), Some(other)) = (self.oid, now.oid)
            && oid != other
        {
            return SchemaDiff::Replaced;
        }
        let diff = match (Detailed::of(self), Detailed::of(now)) {
            (Some(was), Some(is)) => was.diff(is),
            _ => self.by_name(now).map_or(SchemaDiff::Same, SchemaDiff::Reload),
        };
        match diff {
            SchemaDiff::Same if self.key != now.key => SchemaDiff::Identity,
            diff => diff,
        }
    }

    /// Whether a partition came or went, or was written again, whatever else was altered.
    #[must_use]
    pub(in crate::deltamirror) fn has_other_parts(&self, now: &Definition) -> bool {
        let (was, is) = (Detailed::of(self), Detailed::of(now));
        was.zip(is).is_some_and(|(was, is)| was.has_other_parts(is))
    }

    /// What is different, by the names of columns and types.
    fn by_name(&self, now: &Definition) -> Option<Reason> {
        for (name, was) in &self.columns {
            let column = name.clone();
            match now.columns.iter().find(|(name, _)| *name == column) {
                None => return Some(Reason::Gone { column }),
                Some((_, now)) if !same_type(was, now) => {
                    let (was, now) = (was.clone(), now.clone());
                    return Some(Reason::Retyped { column, was, now });
                }
                Some(_) => {}
            }
        }
        let known = |name: &String| self.columns.iter().any(|(column, _)| column == name);
        let new = now.columns.iter().find(|(name, _)| !known(name));
        if let Some((column, kind)) = new {
            return Some(Reason::New { column: column.clone(), kind: kind.clone() });
        }
        // PostgreSQL never moves a column: another one has the name now, with other values.
        let moved = self.columns.iter().zip(&now.columns).find(|(ours, now)| ours.0 != now.0);
        moved.map(|((name, _), _)| Reason::Moved { column: name.clone() })
    }
}

/// Whether two type names mean one type: equal, or equal but for a schema before one of them. A
/// type that was dropped before its name was asked for is printed `???`: the column went with it,
/// which the next `schema` line tells.
fn same_type(one: &str, other: &str) -> bool {
    let unqualified = |longer: &str, shorter: &str| {
        longer.strip_suffix(shorter).is_some_and(|schema| schema.ends_with('.'))
    };
    one == other || other == "???" || unqualified(one, other) || unqualified(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(columns: &[(&str, &str)], key: &[&str]) -> Definition {
        Definition {
            columns: columns.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect(),
            key: key.iter().map(|name| (*name).to_owned()).collect(),
            ..Definition::default()
        }
    }

    #[test]
    fn without_details_differences_are_of_names_and_types() {
        let d = definition(&[("a", "integer"), ("m", "public.mood")], &["a"]);
        let same = definition(&[("a", "integer"), ("m", "mood")], &["a"]);
        assert_eq!(d.diff(&same), SchemaDiff::Same);
        let other = definition(&[("a", "integer"), ("m", "mood")], &[]);
        assert_eq!((d.diff(&other), d.diff(&other).text()), (SchemaDiff::Identity, None));
        let of = |oid| Definition { oid: Some(oid), ..d.clone() };
        assert_eq!((d.diff(&of(1)), of(1).diff(&of(1))), (SchemaDiff::Same, SchemaDiff::Same));
        assert!(of(1).diff(&of(2)).text().unwrap().starts_with("another table"));
        let is = |other: &[(&str, &str)]| d.diff(&definition(other, &["a"])).text().unwrap();
        assert_eq!(is(&[("a", "integer")]), "column \"m\" is no longer there");
        assert_eq!(is(&[("a", "bigint"), ("m", "mood")]), "column \"a\" was integer and is bigint");
        assert_eq!(
            is(&[("a", "integer"), ("m", "mood"), ("z", "text")]),
            "column \"z\" text is new"
        );
        assert!(is(&[("m", "mood"), ("a", "integer")]).starts_with("column \"a\" was dropped and"));
    }
}
