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
    /// A value is longer than SQLite stores, or with it the row is.
    #[error(
        "table \"{table}\", column \"{column}\", row {row}: a value of {bytes} bytes is too big, \
         this SQLite connection stores at most {limit} in a row"
    )]
    TooBig {
        /// The target table's name; empty when a statement writes the rows.
        table: String,
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
    /// A row has more or fewer cells than there are columns.
    #[error("row {row} has {found} columns, but {expected} are named")]
    RowColumns {
        /// Number of the row, the first being 1.
        row: u64,
        /// Columns named by the caller.
        expected: usize,
        /// Cells of the row; of too many only the first one too many is counted.
        found: usize,
    },
    /// A key of a line that is no column.
    #[error("row {row}: unknown key \"{key}\"; with -unknown it goes to a column of its own")]
    UnknownColumn {
        /// Number of the row, the first being 1.
        row: u64,
        /// The key.
        key: String,
    },
    /// The text between two cells cannot be nothing, nor hold what is escaped.
    #[error(
        "the separator must not be empty, nor contain a backslash or a line end, nor, where lines \
         are written, begin with a digit or one of n r t x"
    )]
    Separator,
    /// The text for NULL would be taken for more than one cell, or line.
    #[error("the text of -null must not contain the separator or a line end")]
    NullText,
    /// The comparison with stored rows needs a key to find them by.
    #[error("-check needs the primary key: name its columns by -pkey")]
    CheckWithoutKey,
    /// The column whose maximum is wanted is not among the columns.
    #[error("the column \"{column}\" of -max is not among the columns")]
    UnknownMax {
        /// The column's name.
        column: String,
    },
    /// A line of keys and values that ends with a key.
    #[error("row {row}: the key \"{key}\" has no value")]
    KeyAlone {
        /// Number of the row, the first being 1.
        row: u64,
        /// The key.
        key: String,
    },
    /// A text to export that is not UTF-8.
    #[error("column \"{column}\", row {row}: the text is not UTF-8; a blob would go as bytea")]
    ExportText {
        /// The column's name.
        column: String,
        /// Number of the row, the first being 1.
        row: u64,
    },
    /// A text to export that holds a NUL character.
    #[error(
        "column \"{column}\", row {row}: the text holds a NUL character, which no text of PostgreSQL can"
    )]
    ExportNul {
        /// The column's name.
        column: String,
        /// Number of the row, the first being 1.
        row: u64,
    },
    /// The query to export has another number of columns than were named.
    #[error("the query has {found} columns, but -columns names {expected}")]
    ExportColumns {
        /// Columns named by the caller.
        expected: usize,
        /// Columns of the query.
        found: usize,
    },
    /// What should be the name of a table is not.
    #[error(
        "\"{name}\" is not the name of a table; in SQL's form it is table, schema.table or \"Odd name\""
    )]
    NotATable {
        /// The text.
        name: String,
    },
    /// PostgreSQL refused a row.
    #[error("{context}")]
    Refused {
        /// Number of the row, the first being 1.
        row: u64,
        /// Where the server was.
        context: String,
        /// The server's error.
        #[source]
        source: libpq::Error,
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
    /// An index of a column that the table has not.
    #[error("the index names column \"{column}\", which the table has not")]
    UnknownIndex {
        /// The column's name.
        column: String,
    },
    /// A word after a key column that is neither ASC nor DESC.
    #[error("the primary key {word} is not a column name, followed by ASC or DESC at most")]
    KeyOrder {
        /// The key part as given.
        word: String,
    },
    /// Parts cannot be committed while the caller's transaction is open.
    #[error(
        "-recommit cannot commit inside the transaction that is open on this handle: end it first, \
         or leave -recommit out"
    )]
    InTransaction,
    /// A column that is there twice: SQLite would take the first value, and drop the other.
    #[error("the column \"{column}\" is there twice: name the columns, or give one another name")]
    DoubleColumn {
        /// The column's name.
        column: String,
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
    /// The rows are in PostgreSQL's binary form, which is not read.
    #[error("the rows are in binary form: ask for them as text, without -binresults")]
    BinaryRows,
    /// A line of COPY text that is not in its format.
    #[error("row {row} of the COPY data is damaged: {message}")]
    CopyText {
        /// Number of the row, the first being 1.
        row: u64,
        /// What is wrong.
        message: &'static str,
    },
    /// The progress callback asked to stop.
    #[error("stopped after {row} rows")]
    Stopped {
        /// Rows read so far.
        row: u64,
    },
    /// This cannot be read by several connections at once.
    #[error("{name}: -parallel {why}; leave it out")]
    Parallel {
        /// What was to be read.
        name: String,
        /// Why it cannot.
        why: &'static str,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for reading: {message}")]
    Thread {
        /// The system's message.
        message: String,
    },
    /// PostgreSQL cannot print a value of a row.
    #[error(
        "PostgreSQL cannot print a value of row {row}: its text has more than 1 GB, however small \
         it is stored; leave the row or the column out"
    )]
    Unprintable {
        /// Number of the row, the first being 1.
        row: u64,
        /// PostgreSQL's error.
        #[source]
        source: libpq::Error,
    },
    /// PostgreSQL failed.
    #[error(transparent)]
    Postgres(#[from] libpq::Error),
    /// SQLite failed outside of a row.
    #[error(transparent)]
    Sqlite(#[from] sqlite::Error),
    /// The rows are in, but the database could not be given its WAL back.
    #[error(
        "the {rows} rows are in, but the database keeps its rollback journal for now: set its \
         journal_mode to WAL"
    )]
    Wal {
        /// Rows written.
        rows: u64,
        /// SQLite's error.
        #[source]
        source: sqlite::Error,
    },
    /// The system has no memory for a row.
    #[error("row {row}: no memory for a line or value of {bytes} bytes")]
    Memory {
        /// Number of the row, the first being 1.
        row: u64,
        /// Its length in bytes.
        bytes: u64,
    },
    /// SQLite refused a row.
    #[error("row {row}")]
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
            Error::TooBig { table, column, row, bytes, limit } => Code::new("SQLITE", "TOOBIG")
                .with("column", column)
                .with("row", row)
                .with("bytes", bytes)
                .with("limit", limit)
                .with("table", table),
            Error::ColumnCount { expected, found } => {
                import("COLUMNS").with("expected", expected).with("found", found)
            }
            Error::RowColumns { row, expected, found } => {
                import("COLUMNS").with("row", row).with("expected", expected).with("found", found)
            }
            Error::UnknownColumn { row, key } => {
                import("UNKNOWNKEY").with("key", key).with("row", row)
            }
            Error::Separator => import("SEPARATOR"),
            Error::NullText => import("NULL"),
            Error::CheckWithoutKey => import("KEY").with("option", "-check"),
            Error::UnknownMax { column } => import("MAX").with("column", column),
            Error::KeyAlone { row, key } => import("LINES").with("row", row).with("key", key),
            Error::ExportText { column, row } => {
                Code::new("EXPORT", "TEXT").with("column", column).with("row", row)
            }
            Error::ExportNul { column, row } => {
                Code::new("EXPORT", "NUL").with("column", column).with("row", row)
            }
            Error::ExportColumns { expected, found } => {
                Code::new("EXPORT", "COLUMNS").with("expected", expected).with("found", found)
            }
            Error::NotATable { name } => Code::new("EXPORT", "TABLE").with("name", name),
            Error::Refused { row, source, .. } => source.code().with("row", row),
            Error::UnknownType { word } => import("TYPE").with("type", word),
            Error::UnknownKey { column } => import("KEY").with("column", column),
            Error::UnknownIndex { column } => import("INDEX").with("column", column),
            Error::KeyOrder { word } => import("KEY").with("order", word),
            Error::InTransaction => import("TRANSACTION").with("option", "-recommit"),
            Error::DoubleColumn { column } => import("DOUBLECOLUMN").with("column", column),
            Error::NoColumns => import("NOCOLUMNS"),
            Error::NoRows { status } => import("NOROWS").with("status", status),
            Error::BinaryRows => import("BINARY"),
            Error::CopyText { row, .. } => import("COPYTEXT").with("row", row),
            Error::Stopped { row } => import("STOPPED").with("row", row),
            Error::Parallel { name, .. } => import("PARALLEL").with("name", name),
            Error::Thread { .. } => import("THREAD"),
            Error::Memory { row, bytes } => import("MEMORY").with("row", row).with("bytes", bytes),
            Error::Unprintable { row, source } => source.code().with("row", row),
            Error::Postgres(error) => error.code(),
            Error::Sqlite(error) => error.code(),
            Error::Wal { rows, source } => source.code().with("rows", rows),
            Error::Row { row, source } => source.code().with("row", row),
        }
    }

    fn class(&self) -> Class {
        match self {
            Error::Value { .. }
            | Error::TooBig { .. }
            | Error::RowColumns { .. }
            | Error::ExportText { .. }
            | Error::ExportNul { .. }
            | Error::Refused { .. }
            | Error::KeyAlone { .. }
            | Error::Unprintable { .. }
            | Error::UnknownColumn { .. } => Class::Poison,
            Error::ColumnCount { .. }
            | Error::Separator
            | Error::NullText
            | Error::CheckWithoutKey
            | Error::UnknownMax { .. }
            | Error::UnknownType { .. }
            | Error::UnknownKey { .. }
            | Error::UnknownIndex { .. }
            | Error::ExportColumns { .. }
            | Error::NotATable { .. }
            | Error::KeyOrder { .. }
            | Error::DoubleColumn { .. }
            | Error::NoColumns
            | Error::InTransaction
            | Error::Parallel { .. }
            | Error::NoRows { .. }
            | Error::BinaryRows
            | Error::Stopped { .. } => Class::Usage,
            Error::CopyText { .. } => Class::Fatal,
            Error::Thread { .. } | Error::Memory { .. } => Class::Retry,
            Error::Postgres(error) => error.class(),
            Error::Sqlite(source) | Error::Row { source, .. } | Error::Wal { source, .. } => {
                source.class()
            }
        }
    }
}
