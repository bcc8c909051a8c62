//! What every error of every stage has: a stable code, a class, details as key and value.
//!
//! Each stage has its own `thiserror` enum in its own folder (`daystream::Error`, `libpq::Error`,
//! ...). All implement [`Coded`]; the Tcl layer turns that into `errorCode {PGSQLITE STAGE REASON
//! key value ...}`. This module knows nothing of Tcl. Messages say what was wrong, where, and what
//! to do; never a password.

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The call was wrong: fix the arguments.
    Usage,
    /// Try again later: a lock, a lost connection, a full disk.
    Retry,
    /// The two sides no longer fit: schema changed, wrong server, lost slot. An operator decides.
    Drift,
    /// One row or line cannot be applied; the rest could go on.
    Poison,
    /// Damage or a defect: stop.
    Fatal,
}

/// A stable error code: `PGSQLITE <STAGE> <REASON> ?key value ...?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Upper-case stage: HANDLE, SQLITE, POSTGRES, STREAM, DAYSTREAM, MIRROR, IMPORT, SCHEMA, ...
    pub stage: &'static str,
    /// Upper-case reason within the stage.
    pub reason: &'static str,
    /// Lower-case keys and their values, in a fixed order.
    pub details: Vec<(&'static str, String)>,
}

impl Code {
    /// A code without details.
    #[must_use]
    pub const fn new(stage: &'static str, reason: &'static str) -> Code {
        Code { stage, reason, details: Vec::new() }
    }

    /// The same code with one more detail.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Code {
        self.details.push((key, value.to_string()));
        self
    }

    /// All of its words: `PGSQLITE`, stage, reason, keys and values.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        let mut words = vec!["PGSQLITE".to_owned(), self.stage.to_owned(), self.reason.to_owned()];
        for (key, value) in self.details {
            words.push(key.to_owned());
            words.push(value);
        }
        words
    }

    /// Those words as one text: a list of Tcl.
    #[must_use]
    pub fn list(self) -> String {
        let words = self.words();
        let list = deltaflood::list::encode(words.iter().map(String::as_bytes));
        String::from_utf8_lossy(&list).into_owned()
    }
}

/// An error with a stable code and a class.
pub trait Coded: std::error::Error {
    /// The stable code that scripts match with `trap`.
    fn code(&self) -> Code;
    /// What the caller can do about it.
    fn class(&self) -> Class;

    /// The message with the messages of its causes, joined by `: `.
    fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        text
    }
}
