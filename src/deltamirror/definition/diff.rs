//! What became of a table between two of its definitions.
//!
//! Where both have details, a column is known by its attribute number, which PostgreSQL never gives
//! twice. Where one has none, names are all there is: then anything but the same columns is a
//! difference that says nothing of the rows.

use std::fmt::{self, Display};

use super::Definition;

/// The difference between a definition and a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaDiff {
    /// A row of the one fits the other.
    Same,
    /// Only old rows are known by other columns.
    Identity,
    /// These steps, in this order, make the table of before the one of after.
    Steps(Vec<Step>),
    /// Rows of before are not known any more: the stream does not send what became of them.
    Reload(Reason),
    /// It is another table.
    Replaced,
}

/// A step from a definition to a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A column is gone.
    Drop {
        /// Its name.
        column: String,
    },
    /// A column has another name. Names may go round: all renames happen at once.
    Rename {
        /// The name of before.
        from: String,
        /// The name now.
        to: String,
    },
    /// A column has another type, and every value of before has the same text in it.
    Retype {
        /// Its name.
        column: String,
        /// The type of before.
        was: String,
        /// The type now.
        now: String,
    },
    /// A column is new.
    Add {
        /// Its name.
        column: String,
        /// Its type.
        kind: String,
        /// What rows of before have in it, in PostgreSQL's text; `None` is NULL.
        value: Option<String>,
    },
}

/// Why rows of before are not known any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A column is gone, or has another name.
    Gone {
        /// Its name.
        column: String,
    },
    /// A column has another type.
    Retyped {
        /// Its name.
        column: String,
        /// The type of before.
        was: String,
        /// The type now.
        now: String,
    },
    /// A column is new, and what rows of before have in it is not known.
    New {
        /// Its name.
        column: String,
        /// Its type.
        kind: String,
    },
    /// A column has the name of another one.
    Moved {
        /// The name.
        column: String,
    },
}

impl Definition {
    /// What became of this table in `now`.
    #[must_use]
    pub fn diff(&self, now: &Definition) -> SchemaDiff {
        if let (Some(oid), Some(other)) = (self.oid, now.oid)
            && oid != other
        {
            return SchemaDiff::Replaced;
        }
        match self.by_name(now) {
            Some(reason) => SchemaDiff::Reload(reason),
            None if self.key != now.key => SchemaDiff::Identity,
            None => SchemaDiff::Same,
        }
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

impl SchemaDiff {
    /// The difference in words; `None` when rows of the one fit the other.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            SchemaDiff::Same | SchemaDiff::Identity => None,
            SchemaDiff::Steps(steps) => {
                let texts: Vec<String> = steps.iter().map(Step::to_string).collect();
                Some(texts.join(", "))
            }
            SchemaDiff::Reload(reason) => Some(reason.to_string()),
            SchemaDiff::Replaced => Some(
                "another table has its name now (dropped and made anew, or renamed)".to_owned(),
            ),
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Drop { column } => write!(f, "column \"{column}\" is no longer there"),
            Step::Rename { from, to } => write!(f, "column \"{from}\" is called \"{to}\" now"),
            Step::Retype { column, was, now } => {
                write!(f, "column \"{column}\" was {was} and is {now}")
            }
            Step::Add { column, kind, .. } => write!(f, "column \"{column}\" {kind} is new"),
        }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Gone { column } => write!(f, "column \"{column}\" is no longer there"),
            Reason::Retyped { column, was, now } => {
                write!(f, "column \"{column}\" was {was} and is {now}")
            }
            Reason::New { column, kind } => write!(f, "column \"{column}\" {kind} is new"),
            Reason::Moved { column } => write!(
                f,
                "column \"{column}\" was dropped and made anew, or changed names with another"
            ),
        }
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
