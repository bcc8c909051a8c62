//! What can go wrong in a bulk import: `PGSQLITE IMPORT <REASON> ...`, or the code of the database
//! that failed.

use crate::error::{Class, Code, Coded};
use crate::schema::value::{Kind, ValueError};
use crate::{libpq, sqlite};

/// Result of an import.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed import.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value does not fit its type.
    #[error(
        "column \"{column}\", row {row}: {reason} (type {}); with -strict 0 it is converted as \
         far as it goes",
        kind.name()
    )]
    Value {
        /// The column's name.
        column: String,
        /// Number of the row, the first being 1.
        row: u64,
        /// The column's type.
        kind: Kind,
        /// What is wrong.
        reason: ValueError,
    },
    /// A value is longer than SQLite stores.
    #[error(
        "column \"{column}\", row {row}: a value of {bytes} bytes is too big, this SQLite \
         connection stores at most {limit}"
    )]
    TooBig {
        /// The column's name.
        column: String,
        /// Number of the row, the first being 1.
        row: u64,
        /// Length of the value in bytes.
        bytes: u64,
        /// The connection's limit in bytes.
        limit: u64,
    },
    /// The rows have another number of columns than the import was told.
    #[error("the rows have {found} columns, but {expected} are named")]
    ColumnCount {
        /// Columns named by the caller.
        expected: usize,
        /// Columns of the rows.
        found: usize,
    },
    /// A type that Pgtcl does not know.
    #[error("Unknown type {word}: it must be integer, int, real, double, boolean, bool or text")]
    UnknownType {
        /// The word.
        word: String,
    },
    /// A key column that is not among the columns.
    #[error("the primary key names column \"{column}\", which is not among the columns")]
    UnknownKey {
        /// The column's name.
        column: String,
    },
    /// A word after a key column that is neither ASC nor DESC.
    #[error("the primary key {word} is not a column name, followed by ASC or DESC at most")]
    KeyOrder {
        /// The key part as given.
        word: String,
    },
    /// No columns were named and none can be found out.
    #[error("no columns: name them")]
    NoColumns,
    /// The command gave no rows at all (not even none of them).
    #[error("the command returned no rows to import: {status}")]
    NoRows {
        /// The result's status.
        status: &'static str,
    },
    /// A line of COPY text that is not in its format.
    #[error("row {row} of the COPY data is damaged: {message}")]
    CopyText {
        /// Number of the row, the first being 1.
        row: u64,
        /// What is wrong.
        message: &'static str,
    },
    /// The progress callback asked to stop.
    #[error("the import was stopped after {row} rows")]
    Stopped {
        /// Rows read so far.
        row: u64,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for reading: {message}")]
    Thread {
        /// The system's message.
        message: String,
    },
    /// PostgreSQL failed.
    #[error(transparent)]
    Postgres(#[from] libpq::Error),
    /// SQLite failed outside of a row.
    #[error(transparent)]
    Sqlite(#[from] sqlite::Error),
    /// SQLite refused a row.
    #[error("row {row}: {source}")]
    Row {
        /// Number of the row, the first being 1.
        row: u64,
        /// SQLite's error.
        #[source]
        source: sqlite::Error,
    },
}

impl Coded for Error {
    fn code(&self) -> Code {
        let import = |reason| Code::new("IMPORT", reason);
        match self {
            Error::Value { column, row, kind, .. } => {
                import("VALUE").with("column", column).with("row", row).with("type", kind.name())
            }
            Error::TooBig { column, row, bytes, limit } => Code::new("SQLITE", "TOOBIG")
                .with("column", column)
                .with("row", row)
                .with("bytes", bytes)
                .with("limit", limit),
            Error::ColumnCount { expected, found } => {
                import("COLUMNS").with("expected", expected).with("found", found)
            }
            Error::UnknownType { word } => import("TYPE").with("type", word),
            Error::UnknownKey { column } => import("KEY").with("column", column),
            Error::KeyOrder { word } => import("KEY").with("order", word),
            Error::NoColumns => import("NOCOLUMNS"),
            Error::NoRows { status } => import("NOROWS").with("status", status),
            Error::CopyText { row, .. } => import("COPYTEXT").with("row", row),
            Error::Stopped { row } => import("STOPPED").with("row", row),
            Error::Thread { .. } => import("THREAD"),
            Error::Postgres(error) => error.code(),
            Error::Sqlite(error) => error.code(),
            Error::Row { row, source } => source.code().with("row", row),
        }
    }

    fn class(&self) -> Class {
        match self {
            Error::Value { .. } | Error::TooBig { .. } => Class::Poison,
            Error::ColumnCount { .. }
            | Error::UnknownType { .. }
            | Error::UnknownKey { .. }
            | Error::KeyOrder { .. }
            | Error::NoColumns
            | Error::NoRows { .. }
            | Error::Stopped { .. } => Class::Usage,
            Error::CopyText { .. } => Class::Fatal,
            Error::Thread { .. } => Class::Retry,
            Error::Postgres(error) => error.class(),
            Error::Sqlite(source) | Error::Row { source, .. } => source.class(),
        }
    }
}
