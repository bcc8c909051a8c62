//! Errors of the schema stage.

use crate::error::{Class, Code, Coded};

/// What can go wrong in reading, saving or translating a schema.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A table name that cannot be read.
    #[error("\"{name}\" is not a table name: write table, schema.table, or \"Any Name\" in quotes")]
    BadName {
        /// As given.
        name: String,
    },
    /// No such table (or it is a view, a foreign table, a temporary table).
    #[error("there is no table {table} in the database {database}; check the name and its schema")]
    NoTable {
        /// As given.
        table: String,
        /// The database looked in.
        database: String,
    },
    /// Two PostgreSQL tables would have one name in SQLite, which ignores case.
    #[error(
        "the tables {first} and {second} would both be called \"{sqlite_name}\" in SQLite \
         (it ignores case): mirror only one of them in this file, or rename one"
    )]
    TableCollision {
        /// One table.
        first: String,
        /// The other.
        second: String,
        /// The name of both.
        sqlite_name: String,
    },
    /// Two columns of a table differ only in case.
    #[error(
        "the columns \"{first}\" and \"{second}\" of table {table} are the same name to SQLite \
         (it ignores case): rename one of them"
    )]
    ColumnCollision {
        /// The table.
        table: String,
        /// One column.
        first: String,
        /// The other.
        second: String,
    },
    /// A name that SQLite or the mirror keeps for itself.
    #[error(
        "table {table} cannot be mirrored under the name \"{sqlite_name}\": names that begin \
         with sqlite_ or _deltamirror_ are reserved; rename the table"
    )]
    Reserved {
        /// The table.
        table: String,
        /// Its name in SQLite.
        sqlite_name: String,
    },
    /// Columns named rowid, _rowid_ and oid hide every name of the row number.
    #[error(
        "table {table} has no usable key and columns named rowid, _rowid_ and oid: its rows \
         cannot be told apart; add a primary key"
    )]
    NoRowid {
        /// The table.
        table: String,
    },
    /// A table without any column.
    #[error("table {table} has no columns; SQLite cannot hold such a table")]
    NoColumns {
        /// The table.
        table: String,
    },
    /// No such saved version.
    #[error("there is no version {version} in schema {into}; `versions` lists those there are")]
    NoVersion {
        /// The number asked for.
        version: i64,
        /// The PostgreSQL schema looked in.
        into: String,
    },
    /// An object of ours in PostgreSQL is not ours, or would run somebody's code.
    #[error(
        "{object} in the PostgreSQL schema {schema}, of role {owner}, {why}: it is not used, since \
         it could run code with your rights; look at it, and drop it, or keep the versions in \
         another schema (-into)"
    )]
    Unsafe {
        /// The schema.
        schema: String,
        /// The object in it, or the schema itself.
        object: String,
        /// The role that owns it.
        owner: String,
        /// What is wrong with it.
        why: String,
    },
    /// The catalog's answer has not the expected form: a defect, or a strange server.
    #[error("unexpected answer from PostgreSQL's catalog: {what}")]
    Answer {
        /// What was odd.
        what: String,
    },
    /// The server's version is not one of those read here.
    #[error("PostgreSQL {version} is too old: version 14 or newer is needed")]
    OldServer {
        /// `server_version_num`.
        version: i32,
    },
    /// PostgreSQL or the connection failed.
    #[error("reading or saving the schema failed")]
    Postgres(#[from] crate::libpq::Error),
}

impl Coded for Error {
    fn code(&self) -> Code {
        let code = |reason| Code::new("SCHEMA", reason);
        match self {
            Error::BadName { name } => code("BADNAME").with("name", name),
            Error::NoTable { table, database } => {
                code("NOTABLE").with("table", table).with("database", database)
            }
            Error::TableCollision { first, second, sqlite_name } => code("COLLISION")
                .with("name", sqlite_name)
                .with("first", first)
                .with("second", second),
            Error::ColumnCollision { table, first, second } => {
                code("COLLISION").with("table", table).with("first", first).with("second", second)
            }
            Error::Reserved { table, sqlite_name } => {
                code("RESERVED").with("table", table).with("name", sqlite_name)
            }
            Error::NoRowid { table } => code("NOROWID").with("table", table),
            Error::NoColumns { table } => code("NOCOLUMNS").with("table", table),
            Error::NoVersion { version, into } => {
                code("NOVERSION").with("version", version).with("into", into)
            }
            Error::Unsafe { object, owner, .. } => {
                code("UNSAFE").with("object", object).with("owner", owner)
            }
            Error::Answer { .. } => code("ANSWER"),
            Error::OldServer { version } => code("OLDSERVER").with("version", version),
            Error::Postgres(inner) => inner.code(),
        }
    }

    fn class(&self) -> Class {
        match self {
            Error::BadName { .. } | Error::NoTable { .. } | Error::NoVersion { .. } => Class::Usage,
            Error::Answer { .. } => Class::Fatal,
            Error::Postgres(inner) => inner.class(),
            _ => Class::Drift,
        }
    }
}
