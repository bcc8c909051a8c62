//! What setup is asked for, and what it and drop tell.

use super::announce::Announce;
use super::options::Plugin;
use deltaflood::Lsn;
use std::path::PathBuf;
use std::time::Duration;

/// What to set up.
#[derive(Debug, Clone)]
pub struct SetupOptions {
    /// Connection parameters: conninfo string or URI.
    pub conninfo: String,
    /// The slot.
    pub slot: String,
    /// The stream's folder, made when it is not there; `None`: only the server's side.
    pub stream: Option<PathBuf>,
    /// Tables to publish; empty: those that the publication has, or all when there is none yet.
    pub tables: Vec<String>,
    /// The publication; `None`: the slot's name.
    pub publication: Option<String>,
    /// The plugin.
    pub plugin: Plugin,
    /// What tells captures at once when something is altered.
    pub announce: Announce,
}

/// What setup found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setup {
    /// Changes committed after this come through the slot; of an old slot, what it has confirmed.
    pub consistent_point: Lsn,
    /// Whether the slot was made.
    pub slot_created: bool,
    /// The publication; empty when the plugin needs none.
    pub publication: String,
    /// Whether the publication was made.
    pub publication_created: bool,
    /// Tables that were added to the publication.
    pub added: Vec<String>,
    /// All tables of the publication.
    pub tables: Vec<String>,
    /// Whether the function that tells captures was made.
    pub schema_changed: bool,
    /// Whether event triggers that do were made.
    pub event_trigger: bool,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// What takes back what tells captures, statement by statement.
    pub(super) undo: Vec<String>,
}

/// A slot is not ready yet: transactions that were running when it was begun must end first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The slot.
    pub slot: String,
    /// Process ids of the server that hold it up, separated by commas; empty where they are not
    /// known.
    pub holders: String,
    /// For how long it was waited.
    pub waited: Duration,
}

/// What drop dropped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped {
    /// The slot.
    pub slot: bool,
    /// The publication.
    pub publication: bool,
    /// A publication that was left alone, since setup did not make it for this slot, or not so that
    /// it could be known.
    pub kept: Option<String>,
    /// The function that tells captures.
    pub schema_changed: bool,
    /// Event triggers that do.
    pub event_trigger: bool,
    /// What is another role's of these: the statements that drop it.
    pub left: Option<String>,
}
