//! Why a verb did not do what it was asked, or a mirror stands still.

use deltaflood::Lsn;

use crate::advice;
use crate::daystream::Position;
use crate::error::{Class, Code, Coded};

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Declined {
    /// The mirror is paused.
    #[error(
        "the mirror in {file} is paused: nothing was applied; let it go on by `deltamirror resume \
         -db {}`",
        advice::word(file)
    )]
    Paused {
        /// The file.
        file: String,
    },
    /// The mirror did not get there in time.
    #[error(
        "the mirror did not get to {wanted} within {waited_ms} ms: it is at {} {}, LSN {lsn}; \
         `deltamirror status -db {}` tells what holds it up",
        position.clock, position.seq, advice::word(file)
    )]
    Late {
        /// What was waited for.
        wanted: String,
        /// How long, in milliseconds.
        waited_ms: u64,
        /// Where the mirror is.
        position: Position,
        /// The LSN there.
        lsn: Lsn,
        /// The file.
        file: String,
    },
    /// The table stands still.
    #[error(
        "table {table} stands still since {} {}: {message}; when that is mended, `deltamirror \
         retry -db {} -tables {}` goes on from there",
        position.clock, position.seq, advice::word(file), advice::tables(table)
    )]
    Suspended {
        /// The table's name in SQLite.
        table: String,
        /// Everything up to here is applied to it.
        position: Position,
        /// Why it stands still.
        message: String,
        /// The file.
        file: String,
    },
    /// No row was kept under this number.
    #[error(
        "no row is kept under the number {id}: `deltamirror errors -db {}` lists them",
        advice::word(file)
    )]
    NotKept {
        /// The number.
        id: i64,
        /// The file.
        file: String,
    },
}

impl Coded for Declined {
    fn code(&self) -> Code {
        let code = |reason| Code::new("MIRROR", reason);
        match self {
            Declined::Paused { file } => code("PAUSED").with("file", file),
            Declined::Late { waited_ms, lsn, .. } => {
                code("LATE").with("waited_ms", waited_ms).with("lsn", lsn)
            }
            Declined::Suspended { table, .. } => code("SUSPENDED").with("table", table),
            Declined::NotKept { id, .. } => code("NOTKEPT").with("id", id),
        }
    }

    fn class(&self) -> Class {
        match self {
            Declined::Late { .. } => Class::Retry,
            Declined::Suspended { .. } => Class::Poison,
            Declined::Paused { .. } | Declined::NotKept { .. } => Class::Usage,
        }
    }
}
