//! What a capture is asked to do, with its defaults.

use crate::limits;
use deltaflood::Lsn;
use std::path::PathBuf;

/// Output plugin of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plugin {
    /// Built into PostgreSQL.
    #[default]
    Pgoutput,
    /// The plugin of this project, which writes change lines itself.
    Deltaflood,
}

impl Plugin {
    /// Its name on the server.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Plugin::Pgoutput => "pgoutput",
            Plugin::Deltaflood => "deltaflood",
        }
    }

    /// The plugin of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Plugin> {
        [Plugin::Pgoutput, Plugin::Deltaflood].into_iter().find(|p| p.name() == name)
    }
}

/// What to do with a text that is no UTF-8, of a database of the encoding `SQL_ASCII`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidText {
    /// It ends the capture, with its table and column.
    #[default]
    Error,
    /// Each wrong byte becomes U+FFFD.
    Replace,
    /// Its bytes go into the stream as they are.
    Bytes,
}

impl InvalidText {
    /// The words for it.
    pub const WORDS: [&str; 3] = ["error", "replace", "bytes"];

    /// What a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<InvalidText> {
        let all = [InvalidText::Error, InvalidText::Replace, InvalidText::Bytes];
        all.into_iter().zip(Self::WORDS).find(|(_, known)| *known == word).map(|(text, _)| text)
    }
}

/// What to capture, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connection parameters: conninfo string or URI. Not shown in any message.
    pub conninfo: String,
    /// The slot.
    pub slot: String,
    /// The stream's folder.
    pub stream: PathBuf,
    /// The publication; `None`: that of the stream's state, else the slot's name.
    pub publication: Option<String>,
    /// The plugin; `None`: that of the stream's state, else pgoutput.
    pub plugin: Option<Plugin>,
    /// A value that the plugin deltaflood cannot print in a line is left out, and named; else it
    /// ends the capture. With pgoutput there is no choice.
    pub oversize_skip: bool,
    /// What becomes of a text that is no UTF-8.
    pub invalid_text: InvalidText,
    /// Tables that must be in the publication; empty: whatever it has.
    pub tables: Vec<String>,
    /// Milliseconds between two fsyncs while transactions come.
    pub sync_interval_ms: u64,
    /// End when everything committed before this is durable.
    pub until_lsn: Option<Lsn>,
    /// End when the server had nothing new for this many milliseconds and everything is durable.
    pub until_idle_ms: Option<u64>,
    /// Milliseconds to wait for a slot that somebody else holds.
    pub slot_wait_ms: u64,
    /// Milliseconds for one attempt to connect.
    pub connect_timeout_ms: u64,
    /// Milliseconds without any word from the server, asked to answer, before the connection is
    /// given up; 0: never.
    pub stall_timeout_ms: u64,
    /// Milliseconds between two confirmations of progress while idle.
    pub idle_confirm_ms: u64,
    /// Milliseconds between two heartbeats, 0: none. A capture with an end has none.
    pub heartbeat_ms: u64,
    /// Bytes of rendered lines that may wait for the disk.
    pub queue_bytes: usize,
    /// Tables that are known at a time: see [`limits::CAPTURE_TABLES_MAX`].
    pub tables_max: usize,
    /// Size at which a segment is cut, in bytes.
    pub segment_bytes: u64,
    /// Compress closed segments that have no line written within this many times 86,400 seconds; 0
    /// all of them. `None`: none.
    pub compress_after_days: Option<u32>,
}

impl Options {
    /// Options with defaults.
    #[must_use]
    pub fn new(conninfo: &str, slot: &str, stream: impl Into<PathBuf>) -> Options {
        Options {
            conninfo: conninfo.to_owned(),
            slot: slot.to_owned(),
            stream: stream.into(),
            publication: None,
            plugin: None,
            oversize_skip: false,
            invalid_text: InvalidText::default(),
            tables: Vec::new(),
            sync_interval_ms: limits::SYNC_INTERVAL_MS,
            until_lsn: None,
            until_idle_ms: None,
            slot_wait_ms: limits::SLOT_WAIT_MS,
            connect_timeout_ms: limits::CONNECT_TIMEOUT_MS,
            stall_timeout_ms: limits::STALL_TIMEOUT_MS,
            idle_confirm_ms: limits::IDLE_CONFIRM_MS,
            heartbeat_ms: limits::HEARTBEAT_MS,
            queue_bytes: limits::CAPTURE_QUEUE_BYTES,
            tables_max: limits::CAPTURE_TABLES_MAX,
            segment_bytes: limits::SEGMENT_BYTES,
            compress_after_days: None,
        }
    }
}
