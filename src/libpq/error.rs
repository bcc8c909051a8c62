//! Errors of the PostgreSQL client side, with stable codes `PGSQLITE POSTGRES <REASON>`.

use crate::error::{Class, Code, Coded};

/// An error that the server reported, with the fields of its error message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerError {
    /// Five-character code, as in `42P01`. Empty when the server or libpq gave none.
    pub sqlstate: String,
    /// `ERROR`, `FATAL` or `PANIC`, not translated where the server says so.
    pub severity: String,
    /// The primary message.
    pub message: String,
    /// Detail, or empty.
    pub detail: String,
    /// Hint, or empty.
    pub hint: String,
}

impl ServerError {
    /// Whether the connection cannot be used after this error (shutdown, terminated backend, ...).
    #[must_use]
    pub fn ends_connection(&self) -> bool {
        self.sqlstate.starts_with("57P") || self.sqlstate.starts_with("08")
    }
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        if !self.hint.is_empty() {
            write!(f, "; hint: {}", self.hint)?;
        }
        if !self.sqlstate.is_empty() {
            write!(f, " [{}]", self.sqlstate)?;
        }
        Ok(())
    }
}

/// What can go wrong between the program and the PostgreSQL server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection parameters cannot be understood.
    #[error("the connection parameters are wrong: {message}")]
    Conninfo {
        /// What libpq says about them.
        message: String,
    },
    /// No connection could be made.
    #[error("cannot connect to PostgreSQL: {message}")]
    Connect {
        /// libpq's message, of one or several lines.
        message: String,
        /// The server's code, where it got so far and told one.
        sqlstate: String,
    },
    /// No connection could be made in time.
    #[error("cannot connect to PostgreSQL within {timeout_ms} ms")]
    ConnectTimeout {
        /// The time limit.
        timeout_ms: u64,
    },
    /// The server reported an error.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The connection broke.
    #[error("the connection to PostgreSQL is lost: {message}")]
    Lost {
        /// libpq's message.
        message: String,
    },
    /// A text contains a NUL byte, which PostgreSQL cannot take.
    #[error("{what} contains a NUL byte, which PostgreSQL does not accept")]
    Nul {
        /// Which text: `statement`, `parameter`, ...
        what: &'static str,
    },
    /// Something other than what was asked for came back.
    #[error("PostgreSQL answered {got} where {wanted} was expected")]
    Unexpected {
        /// What was asked for.
        wanted: &'static str,
        /// What came.
        got: String,
    },
    /// The replication stream holds a message that is not in its protocol.
    #[error("malformed replication message: {message}")]
    Protocol {
        /// What is wrong with it.
        message: String,
    },
    /// A wait was ended by the caller's wake.
    #[error("interrupted while waiting for PostgreSQL")]
    Interrupted,
    /// libpq refused a call and says why.
    #[error("libpq: {message}")]
    Library {
        /// libpq's message.
        message: String,
    },
}

impl Error {
    /// The server's code of this error, where there is one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Error::Server(e) if !e.sqlstate.is_empty() => Some(&e.sqlstate),
            Error::Connect { sqlstate, .. } if !sqlstate.is_empty() => Some(sqlstate),
            _ => None,
        }
    }

    /// Whether the server could not print a value: its text has more than 1 GB, which is what it
    /// takes into one piece of memory. A value that is stored can be small.
    #[must_use]
    pub fn is_unprintable(&self) -> bool {
        let Error::Server(error) = self else { return false };
        // program_limit_exceeded: a string beyond its length; internal_error, whose words are not
        // translated: a piece of memory beyond its size.
        match error.sqlstate.as_str() {
            "54000" => true,
            "XX000" => error.message.starts_with("invalid memory alloc request size"),
            _ => false,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.class() == Class::Retry
    }
}

/// Codes that a later attempt may not see: connection trouble, shutdown, too many clients,
/// deadlock.
fn sqlstate_class(sqlstate: &str) -> Class {
    match sqlstate {
        // object_in_use: a slot is still held by the walsender of a dead connection.
        "55006" => Class::Retry,
        s if ["08", "53", "57P", "58", "40"].iter().any(|p| s.starts_with(p)) => Class::Retry,
        _ => Class::Usage,
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        let reason = match self {
            Error::Conninfo { .. } => "CONNINFO",
            Error::Connect { .. } => "CONNECT",
            Error::ConnectTimeout { .. } => "CONNECTTIMEOUT",
            Error::Server(_) => "SERVER",
            Error::Lost { .. } => "LOST",
            Error::Nul { .. } => "NUL",
            Error::Unexpected { .. } => "UNEXPECTED",
            Error::Protocol { .. } => "PROTOCOL",
            Error::Interrupted => "INTERRUPTED",
            Error::Library { .. } => "LIBRARY",
        };
        let code = Code::new("POSTGRES", reason);
        match self.sqlstate() {
            Some(sqlstate) => code.with("sqlstate", sqlstate),
            None => code,
        }
    }

    fn class(&self) -> Class {
        match self {
            Error::Conninfo { .. } | Error::Nul { .. } => Class::Usage,
            Error::Connect { sqlstate, .. } if !sqlstate.is_empty() => sqlstate_class(sqlstate),
            Error::Connect { .. } | Error::ConnectTimeout { .. } | Error::Lost { .. } => {
                Class::Retry
            }
            Error::Server(e) => sqlstate_class(&e.sqlstate),
            Error::Interrupted => Class::Retry,
            Error::Unexpected { .. } | Error::Protocol { .. } | Error::Library { .. } => {
                Class::Fatal
            }
        }
    }
}
