//! Why a line was not applied, before it is said of which table and where.

use super::error::{Error, Reason};
use super::policy::Policy;
use super::state::TableState;
use crate::sqlite;

/// Why a line was not applied.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The row is at fault; the next may be fine.
    Row { reason: Reason, message: String },
    /// The table is not the one that was mirrored.
    Drift(String),
    /// The line cannot be read.
    Line(deltaflood::ParseError),
    /// SQLite failed for a reason that is not the row's.
    Sqlite(sqlite::Error),
}

impl From<sqlite::Error> for Trouble {
    fn from(error: sqlite::Error) -> Trouble {
        let reason = match error.reason() {
            sqlite::Reason::Constraint => Reason::Conflict,
            sqlite::Reason::Mismatch => Reason::Value,
            sqlite::Reason::TooBig => Reason::TooBig,
            _ => return Trouble::Sqlite(error),
        };
        Trouble::Row { reason, message: error.to_string() }
    }
}

impl Trouble {
    /// Why a table that has it is copied again, by one who can. A row is the table's fault where
    /// the stream has not told all of its definition, or not which partitions came and went: one
    /// that did between two looks at the catalogs.
    pub(super) fn reload(&self, table: &TableState) -> Option<String> {
        match self {
            _ if table.policy != Policy::Follow => None,
            Trouble::Drift(reason) => Some(reason.clone()),
            Trouble::Row { message, .. } if table.definition.is_unsure() => Some(format!(
                "its definition was not told whole, and a row does not fit: {message}"
            )),
            Trouble::Row { reason: Reason::NoRow | Reason::Conflict, message }
                if table.definition.is_partitioned() =>
            {
                Some(format!(
                    "partitions may have come and gone, and a row does not fit: {message}"
                ))
            }
            _ => None,
        }
    }

    /// Of an error that is no row's.
    pub(super) fn of(error: Error) -> Trouble {
        match error {
            Error::Sqlite(error) => Trouble::Sqlite(error),
            other => Trouble::Drift(other.to_string()),
        }
    }
}
