//! What can go wrong in SQLite: `PGSQLITE SQLITE <REASON> ?extended n? ?table t? ?bytes n?`.

use crate::error::{Class, Code, Coded};
use libsqlite3_sys as ffi;

/// Result of a call into SQLite.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed call into SQLite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// SQLite refused or failed.
    #[error("{message}, in: {sql}")]
    Failed {
        /// SQLite's primary result code.
        reason: Reason,
        /// SQLite's extended result code, a number of <https://sqlite.org/rescode.html>.
        extended: i32,
        /// SQLite's own message.
        message: String,
        /// What was being done: the SQL text, shortened, or the file opened.
        sql: String,
    },
    /// A value is longer than this connection's limit (at most 2,147,483,647 bytes, 1,000,000,000
    /// by default).
    #[error("a value of {bytes} bytes is too big: this SQLite connection stores at most {limit}")]
    TooBig {
        /// Length of the value in bytes.
        bytes: u64,
        /// The connection's limit in bytes.
        limit: u64,
    },
    /// SQL text holds a NUL, which would end it early.
    #[error("SQL text holds a NUL character")]
    NulInSql,
    /// No SQLite library has handed over its API table yet.
    #[error("no SQLite library is known yet: use a handle of the sqlite3 package first")]
    NotInstalled,
    /// The library in use was built for one thread.
    #[error(
        "the SQLite of this process was built for one thread (SQLITE_THREADSAFE=0): files can only \
         be opened beside a handle with a sqlite3 package that was built for several"
    )]
    SingleThread,
}

impl Error {
    /// What is held up by others, in a way that SQLite tells by a row and not by an error.
    pub(crate) fn busy(message: String, sql: &str) -> Error {
        let (reason, extended) = (Reason::Busy, ffi::SQLITE_BUSY);
        Error::Failed { reason, extended, message, sql: sql.to_owned() }
    }

    /// The reason word of the error code.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Error::Failed { reason, .. } => *reason,
            Error::TooBig { .. } => Reason::TooBig,
            Error::NulInSql | Error::NotInstalled | Error::SingleThread => Reason::Misuse,
        }
    }

    /// The table of a constraint that failed, taken from SQLite's message `... failed:
    /// table.column`.
    fn constraint_table(&self) -> Option<&str> {
        match self {
            Error::Failed { reason: Reason::Constraint, message, .. } => {
                let (_, columns) = message.split_once("constraint failed: ")?;
                let (table, _) = columns.split(',').next()?.rsplit_once('.')?;
                Some(table)
            }
            _ => None,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        let code = Code::new("SQLITE", self.reason().word());
        match self {
            Error::Failed { extended, .. } => {
                let code = code.with("extended", extended);
                match self.constraint_table() {
                    Some(table) => code.with("table", table),
                    None => code,
                }
            }
            Error::TooBig { bytes, limit } => code.with("bytes", bytes).with("limit", limit),
            Error::NulInSql | Error::NotInstalled | Error::SingleThread => code,
        }
    }

    fn class(&self) -> Class {
        self.reason().class()
    }
}

macro_rules! reasons {
    ($($name:ident $code:ident $word:literal $class:ident $doc:literal,)*) => {
        /// SQLite's primary result codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $doc] $name,)*
            /// A code this version does not know.
            Other,
        }

        impl Reason {
            /// From a primary or extended result code.
            #[must_use]
            pub fn from_code(code: i32) -> Reason {
                match code & 0xff {
                    $(ffi::$code => Reason::$name,)*
                    _ => Reason::Other,
                }
            }

            /// The word in `PGSQLITE SQLITE <word>`: SQLite's name without the prefix.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Reason::$name => $word,)*
                    Reason::Other => "OTHER",
                }
            }

            /// What the caller can do about it.
            #[must_use]
            pub fn class(self) -> Class {
                match self {
                    $(Reason::$name => Class::$class,)*
                    Reason::Other => Class::Fatal,
                }
            }
        }
    };
}

reasons! {
    Error SQLITE_ERROR "ERROR" Usage "Wrong SQL, missing table or column.",
    Internal SQLITE_INTERNAL "INTERNAL" Fatal "A defect in SQLite.",
    Perm SQLITE_PERM "PERM" Usage "Access mode not possible.",
    Abort SQLITE_ABORT "ABORT" Retry "Rolled back under a running statement.",
    Busy SQLITE_BUSY "BUSY" Retry "Another connection holds the lock.",
    Locked SQLITE_LOCKED "LOCKED" Retry "A statement of this connection holds the lock.",
    NoMem SQLITE_NOMEM "NOMEM" Fatal "Out of memory.",
    ReadOnly SQLITE_READONLY "READONLY" Usage "The database or file is read-only.",
    Interrupt SQLITE_INTERRUPT "INTERRUPT" Retry "Interrupted by `sqlite3_interrupt` or a progress handler.",
    IoErr SQLITE_IOERR "IOERR" Retry "The operating system failed to read or write.",
    Corrupt SQLITE_CORRUPT "CORRUPT" Fatal "The file is damaged.",
    NotFound SQLITE_NOTFOUND "NOTFOUND" Usage "An unknown operation.",
    Full SQLITE_FULL "FULL" Retry "The disk is full.",
    CantOpen SQLITE_CANTOPEN "CANTOPEN" Usage "The file cannot be opened.",
    Protocol SQLITE_PROTOCOL "PROTOCOL" Retry "The lock of a WAL file was fought over too long.",
    Empty SQLITE_EMPTY "EMPTY" Fatal "Not used by SQLite.",
    Schema SQLITE_SCHEMA "SCHEMA" Drift "The schema changed under the statement.",
    TooBig SQLITE_TOOBIG "TOOBIG" Poison "A value or row is beyond the connection's length limit.",
    Constraint SQLITE_CONSTRAINT "CONSTRAINT" Poison "A constraint of the table refused the row.",
    Mismatch SQLITE_MISMATCH "MISMATCH" Poison "A value is not an integer where only an integer can be.",
    Misuse SQLITE_MISUSE "MISUSE" Usage "The library was used wrongly.",
    NoLfs SQLITE_NOLFS "NOLFS" Fatal "The system has no large files.",
    Auth SQLITE_AUTH "AUTH" Usage "The connection's authorizer refused.",
    Format SQLITE_FORMAT "FORMAT" Fatal "Not used by SQLite.",
    Range SQLITE_RANGE "RANGE" Usage "No such parameter or column.",
    NotADb SQLITE_NOTADB "NOTADB" Fatal "The file is not a database.",
}

/// SQL text short enough for a message: the first 200 characters.
pub(super) fn shorten(sql: &str) -> String {
    const CHARS_MAX: usize = 200;
    match sql.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", sql.get(..end).unwrap_or_default()),
        None => sql.to_owned(),
    }
}
