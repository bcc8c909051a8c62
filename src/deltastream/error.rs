//! What can go wrong between a slot and its daystream: codes `PGSQLITE STREAM <REASON>`; errors of
//! the layers below keep their own (`POSTGRES`, `DAYSTREAM`).

use super::pgoutput::DecodeError;
use crate::error::{Class, Coded};
use crate::{advice, daystream, libpq};
use deltaflood::Lsn;

/// An error of a capture, of setup, of status or of drop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server or the way to it.
    #[error(transparent)]
    Postgres(#[from] libpq::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] daystream::Error),
    /// The slot does not exist.
    #[error(
        "replication slot \"{slot}\" does not exist on the server; nothing was created in its \
         place, since a new slot would leave a gap: make one, with a new stream folder, by \
         `deltastream setup -conninfo ... -slot {} -stream ... -tables ...`",
        advice::word(slot)
    )]
    SlotMissing {
        /// The slot.
        slot: String,
    },
    /// Somebody else reads the slot.
    #[error("replication slot \"{slot}\" is in use by another connection ({message})")]
    SlotInUse {
        /// The slot.
        slot: String,
        /// The server's words, with its process id.
        message: String,
    },
    /// The server has removed WAL that the slot needs, or invalidated it.
    #[error(
        "replication slot \"{slot}\" is lost ({why}): changes since {confirmed} cannot be had \
         from it; drop it by {}, and {}",
        advice::drop_slot(slot),
        advice::begin_again()
    )]
    SlotLost {
        /// The slot.
        slot: String,
        /// The server's reason.
        why: String,
        /// Last position confirmed.
        confirmed: Lsn,
    },
    /// The slot is a physical one.
    #[error("replication slot \"{slot}\" is a physical slot; a stream needs a logical one")]
    NotLogical {
        /// The slot.
        slot: String,
    },
    /// The slot was made with another output plugin.
    #[error("replication slot \"{slot}\" has plugin {plugin}, where {wanted} is wanted")]
    WrongPlugin {
        /// The slot.
        slot: String,
        /// Its plugin.
        plugin: String,
        /// The plugin wanted.
        wanted: String,
    },
    /// The slot belongs to another database of the cluster.
    #[error("replication slot \"{slot}\" belongs to database \"{database}\", not \"{wanted}\"")]
    WrongDatabase {
        /// The slot.
        slot: String,
        /// Its database.
        database: String,
        /// The database connected to, or that of the stream.
        wanted: String,
    },
    /// The stream was written from another cluster.
    #[error(
        "the stream was written from the database cluster {wanted}, and this server is {system}"
    )]
    WrongSystem {
        /// This server's system identifier.
        system: String,
        /// The stream's.
        wanted: String,
    },
    /// The stream was written from another slot.
    #[error("the stream was written from slot \"{wanted}\", not \"{slot}\"")]
    WrongSlot {
        /// The slot given.
        slot: String,
        /// The stream's.
        wanted: String,
    },
    /// The slot was confirmed further than the stream reaches: changes in between are not in it.
    #[error(
        "replication slot \"{slot}\" is ahead of the stream: confirmed up to {confirmed}, while \
         the stream ends at {have}; the changes between are missing in it: {}",
        advice::begin_again()
    )]
    Ahead {
        /// The slot.
        slot: String,
        /// What the slot has confirmed.
        confirmed: Lsn,
        /// What the stream has.
        have: Lsn,
    },
    /// The server is on a timeline that left the stream's before the stream's end.
    #[error(
        "the server is on timeline {timeline}, which left the stream's timeline {recorded} at \
         {switch}, before the stream's end {have}: the stream has changes that this server never \
         had; {}",
        advice::begin_again()
    )]
    Timeline {
        /// The server's timeline.
        timeline: u32,
        /// The stream's.
        recorded: u32,
        /// Where they parted, or `an unknown position`.
        switch: String,
        /// What the stream has.
        have: Lsn,
    },
    /// The server's WAL ends before the stream does, on the stream's own timeline: it was put back
    /// to an earlier state by other means than PostgreSQL's recovery.
    #[error(
        "the server's WAL ends at {end}, before the stream's end {have}: it was restored from an \
         older copy of its files, and the stream has changes that it never had; {}",
        advice::begin_again()
    )]
    Rewound {
        /// End of the server's WAL.
        end: Lsn,
        /// What the stream has.
        have: Lsn,
    },
    /// The server does not have what the stream has: it is another one with the same system
    /// identifier.
    #[error(
        "this server does not have the transaction up to {lsn} that the stream has ({why}): it was \
         restored from an older copy of its files, or is a copy of the server that the stream is \
         of; nothing was confirmed to it. Connect to that server, or here {}",
        advice::begin_again()
    )]
    OtherServer {
        /// End of the transaction, or of the stream.
        lsn: Lsn,
        /// What the server has instead.
        why: String,
    },
    /// A value's text is longer than the server can make.
    #[error("{0}")]
    TooLong(Box<super::unprintable::Unprintable>),
    /// A text is no UTF-8.
    #[error("{0}")]
    InvalidText(Box<super::invalid_text::InvalidAt>),
    /// There is no stream to go on with.
    #[error(
        "there is no stream in {dir}: is its volume mounted? A capture makes none, since that \
         would leave a gap; `deltastream setup -conninfo ... -slot ... -stream {}` does",
        advice::word(&dir.display().to_string())
    )]
    NoStream {
        /// The folder.
        dir: std::path::PathBuf,
    },
    /// The server is a standby, or still recovers.
    #[error("the server is a standby; capture from the primary, or wait until it is promoted")]
    Standby,
    /// A slot of a standby is not for setup and drop.
    #[error(
        "the server is a standby: its publication is the primary's, where drop removes both; a \
         slot that was made on the standby itself goes by `SELECT \
         pg_catalog.pg_drop_replication_slot('{slot}')`"
    )]
    StandbySlot {
        /// The slot.
        slot: String,
    },
    /// Ended as asked, while it waited.
    #[error("ended as asked; what was begun is taken back")]
    Stopped,
    /// A publication that somebody else made lacks tables.
    #[error(
        "publication \"{publication}\" was not made by setup for this slot, so setup does not \
         change it, and it lacks {tables}; as its owner: `{remedy}`"
    )]
    NotOurs {
        /// The publication.
        publication: String,
        /// The tables that it lacks, separated by commas.
        tables: String,
        /// The statement that adds them.
        remedy: String,
    },
    /// Publishing these tables would make their UPDATE and DELETE fail.
    #[error(
        "once published, UPDATE and DELETE would fail on {tables}: the replica identity has \
         generated columns (in parentheses) that the publication does not send; give each another \
         identity (`ALTER TABLE ... REPLICA IDENTITY USING INDEX ...`), or publish it by itself"
    )]
    GeneratedKey {
        /// The tables with these columns, separated by commas.
        tables: String,
    },
    /// The publication did not exist at the place of the WAL where the slot stands.
    #[error(
        "publication \"{publication}\" did not exist at the place of the WAL where slot \"{slot}\" \
         stands: it was dropped (and perhaps made again), or made after the slot, and what changed \
         before cannot be had from this slot; drop it by {}, and {}",
        advice::drop_slot(slot),
        advice::begin_again()
    )]
    PublicationLate {
        /// The publication.
        publication: String,
        /// The slot.
        slot: String,
    },
    /// The publication does not exist.
    #[error(
        "publication \"{publication}\" does not exist; make it by {} (when it was dropped after the \
         slot was made, what has changed since cannot be had from this slot)",
        advice::setup("publication", &advice::word(publication), "...")
    )]
    PublicationMissing {
        /// The publication.
        publication: String,
    },
    /// A table is not in the publication.
    #[error(
        "table {table} is not in publication \"{publication}\"; add it by {}",
        advice::setup("publication", &advice::word(publication), &advice::tables(table))
    )]
    TableNotPublished {
        /// The table.
        table: String,
        /// The publication.
        publication: String,
    },
    /// A table is not among those that the stream's plugin is asked for.
    #[error(
        "table {table} is not among the tables of the stream; add it by {}",
        advice::setup("plugin", "deltaflood", &advice::tables(table))
    )]
    TableNotSelected {
        /// The table.
        table: String,
    },
    /// A table went out of the WAL, or came into it.
    #[error(
        "table {table} was made {turned} while it was captured: what changed in it while it was \
         unlogged is not in the stream. When it is logged, start the capture again, and copy it \
         again into each mirror by {}",
        advice::filling(table)
    )]
    Unlogged {
        /// The table.
        table: String,
        /// `logged`, `unlogged` or both, in words.
        turned: &'static str,
    },
    /// A table does not exist.
    #[error("table {table} does not exist in database \"{database}\"")]
    TableMissing {
        /// The table as given.
        table: String,
        /// The database.
        database: String,
    },
    /// Publishing these tables would make their UPDATE and DELETE fail.
    #[error(
        "no replica identity: {tables}; once published, UPDATE and DELETE on them would fail: \
         give each a primary key, or by `ALTER TABLE ... REPLICA IDENTITY FULL` its whole row"
    )]
    NoIdentity {
        /// The tables, separated by commas.
        tables: String,
    },
    /// The server does not write what logical decoding needs.
    #[error("the server's wal_level is {level}; set it to logical and restart the server")]
    WalLevel {
        /// The level.
        level: String,
    },
    /// The role may not replicate.
    #[error("role \"{role}\" may not replicate: {}", advice::replication(role))]
    NotPermitted {
        /// The role.
        role: String,
    },
    /// The role may not do what making a publication takes.
    #[error("{0}")]
    NotAllowed(Box<super::publish::Refused>),
    /// An object by a name of ours is not ours.
    #[error("{0}")]
    Unsafe(Box<super::announce::Unsafe>),
    /// The server sent something that is not in the protocol.
    #[error("malformed replication message after {lsn}")]
    Protocol {
        /// End of the last transaction received.
        lsn: Lsn,
        /// What is wrong.
        source: DecodeError,
    },
    /// The server has no such plugin installed.
    #[error(
        "the server has no output plugin {plugin} ({message}): install it there with \
         `make install-plugin PG_CONFIG=...`, where PG_CONFIG is that server's pg_config"
    )]
    PluginMissing {
        /// The plugin.
        plugin: String,
        /// The server's words.
        message: String,
    },
    /// The server's setting `output_plugin_libraries` does not list the plugin.
    #[error(
        "the server refuses output plugin {plugin}, which its setting output_plugin_libraries \
         does not list; as a superuser: `{remedy}`, then `SELECT pg_reload_conf()`"
    )]
    PluginNotListed {
        /// The plugin.
        plugin: String,
        /// The statement that adds it to what is listed.
        remedy: String,
    },
    /// The plugin wrote a line that is no change line.
    #[error("plugin {plugin} wrote what is not a change line after {lsn}: {why}")]
    PluginLine {
        /// The plugin.
        plugin: String,
        /// End of the last transaction received.
        lsn: Lsn,
        /// What is wrong, with its byte.
        why: String,
    },
    /// Nothing came from the server for too long.
    #[error("nothing came from the server for {timeout_ms} ms, not even an answer")]
    Stalled {
        /// The time limit.
        timeout_ms: u64,
    },
    /// The server ended the stream.
    #[error("the server ended the replication stream")]
    Ended,
    /// The system refused a thread, a descriptor or memory.
    #[error("the system refused {what}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether connecting again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.class() == Class::Retry
    }
}
