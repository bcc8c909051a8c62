//! What became of a table between two of its definitions, and its text.

use std::fmt::{self, Display};

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
        value: Option<Vec<u8>>,
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
    /// A statement that altered a column has written the rows again.
    Rewritten {
        /// The column's name.
        column: String,
    },
    /// Columns came and went meanwhile.
    Numbers,
    /// A label of an enum type has another name.
    Label {
        /// The label of before.
        label: String,
    },
    /// The publication's row filter is another one.
    Filter,
    /// A partition came or went, or its rows were written again.
    Partitions,
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
                "another table has its name now (dropped and made again, or renamed)".to_owned(),
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
                "column \"{column}\" was dropped and made again, or changed names with another"
            ),
            Reason::Rewritten { column } => {
                write!(f, "a statement that altered column \"{column}\" has rewritten the rows")
            }
            Reason::Numbers => write!(f, "columns came and went, and may have left values behind"),
            Reason::Label { label } => write!(f, "the enum label '{label}' has another name"),
            Reason::Filter => write!(f, "the publication's row filter is another one"),
            Reason::Partitions => write!(f, "a partition was added, removed or rewritten"),
        }
    }
}
