//! What can go wrong with a stream on another host: the words that server, client and package
//! share.

use std::fmt;

use crate::daystream::Identity;
use crate::error::{Class, Code};

/// Why a stream cannot be read from another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No such stream, or not for this token.
    NotFound,
    /// What follows the position was removed.
    Gap,
    /// The stream ends before the position.
    Ahead,
    /// The token is missing or wrong.
    Token,
    /// The certificate does not verify, or TLS failed.
    Tls,
    /// A request that the server does not understand.
    Request,
    /// The server cannot be reached.
    Connect,
    /// The connection ended before its time.
    Lost,
    /// Nothing came for too long.
    Timeout,
    /// The server has no room for more.
    Busy,
    /// The stream is damaged, says the server.
    Corrupt,
    /// The server cannot read the stream.
    Server,
    /// What came is no daystream.
    Protocol,
    /// The stream is another one than before.
    Changed,
    /// Not the URL of a stream.
    Url,
    /// A local file or program is missing or not to be used: a certificate, a token, the client.
    Local,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 16] = [
        Reason::NotFound,
        Reason::Gap,
        Reason::Ahead,
        Reason::Token,
        Reason::Tls,
        Reason::Request,
        Reason::Connect,
        Reason::Lost,
        Reason::Timeout,
        Reason::Busy,
        Reason::Corrupt,
        Reason::Server,
        Reason::Protocol,
        Reason::Changed,
        Reason::Url,
        Reason::Local,
    ];

    /// The stable upper-case word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Reason::NotFound => "NOTFOUND",
            Reason::Gap => "GAP",
            Reason::Ahead => "AHEAD",
            Reason::Token => "TOKEN",
            Reason::Tls => "TLS",
            Reason::Request => "REQUEST",
            Reason::Connect => "CONNECT",
            Reason::Lost => "LOST",
            Reason::Timeout => "TIMEOUT",
            Reason::Busy => "SERVERBUSY",
            Reason::Corrupt => "CORRUPT",
            Reason::Server => "SERVER",
            Reason::Protocol => "PROTOCOL",
            Reason::Changed => "CHANGED",
            Reason::Url => "URL",
            Reason::Local => "LOCAL",
        }
    }

    /// The reason with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.word() == word)
    }

    /// What the caller can do about it.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Reason::NotFound | Reason::Token | Reason::Tls | Reason::Request => Class::Usage,
            Reason::Url | Reason::Local => Class::Usage,
            Reason::Gap | Reason::Ahead | Reason::Changed => Class::Drift,
            Reason::Connect | Reason::Lost | Reason::Timeout => Class::Retry,
            Reason::Busy | Reason::Server => Class::Retry,
            Reason::Corrupt | Reason::Protocol => Class::Fatal,
        }
    }
}

/// Names of details, in the code of a fault.
const KEYS: [&str; 9] =
    ["url", "wanted", "removed", "end", "segment", "byte", "damage", "status", "path"];

/// A failure, and what is known of it. Never a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// Names and values for the code.
    pub details: Vec<(&'static str, String)>,
    /// What was wrong, where, and what to do.
    pub message: String,
}

impl Fault {
    /// A fault without details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Fault {
        Fault { reason, details: Vec::new(), message: message.into() }
    }

    /// `CHANGED`: another stream is where the one was that was being read.
    #[must_use]
    pub fn made_anew() -> Fault {
        let message = "the stream was made again; what changed in between is not in it";
        Fault::new(Reason::Changed, message)
    }

    /// The same with one more detail; one whose name is unknown, or that is there, is left out.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Fault {
        let known = KEYS.into_iter().find(|known| *known == key);
        if let Some(key) = known.filter(|key| self.detail(key).is_none()) {
            self.details.push((key, value.to_string()));
        }
        self
    }

    /// The value of a detail.
    #[must_use]
    pub fn detail(&self, key: &str) -> Option<&str> {
        self.details.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// Its code, `PGSQLITE DAYSTREAM REASON ...`.
    #[must_use]
    pub fn code(&self) -> Code {
        let code = Code::new("DAYSTREAM", self.reason.word());
        self.details.iter().fold(code, |code, (key, value)| code.with(key, value))
    }

    /// What the caller can do about it.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.reason.class()
    }
}

/// Sees that a later answer is of the stream that the first one was of.
///
/// # Errors
/// `CHANGED`: it is of another server or database, or was made anew.
pub fn check_same(first: Option<&Identity>, now: Option<&Identity>) -> Result<(), Fault> {
    let Some(first) = first else { return Ok(()) };
    let same =
        now.filter(|now| (now.system_id, &now.database) == (first.system_id, &first.database));
    match same {
        None => {
            let message = "the stream is no longer that of the same database";
            Err(Fault::new(Reason::Changed, message))
        }
        Some(now) if first.made > 0 && now.made != first.made => Err(Fault::made_anew()),
        Some(_) => Ok(()),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
