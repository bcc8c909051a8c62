//! How a slot and its stream stand: one look at the server and at the folder.

use super::announce::{self, Installed};
use super::options::Plugin;
use super::slot::Slot;
use super::{Error, server, tables};
use crate::daystream::heartbeat::{Health, Tail};
use crate::daystream::{Identity, Reader, ReaderOptions, Start, Work};
use crate::libpq::Guarded;
use crate::limits::{CLOCK_AHEAD_S, STATUS_INTERVAL_MS};
use deltaflood::Lsn;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A slot's state, and how far its reader is.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotStatus {
    /// The slot.
    pub slot: Slot,
    /// Word for its state: `streaming`, `unread` (nobody reads it), `lost`, `unready` (it is still
    /// being made), `standby` (the server is one, and nothing reads a slot there) or `diverged`
    /// (the server is on an older timeline than the stream, with which another one has gone on).
    pub state: &'static str,
    /// End of the server's WAL.
    pub wal_lsn: Lsn,
    /// Bytes of WAL not yet confirmed.
    pub lag_bytes: u64,
    /// Seconds that the reader is behind: 0 when all is confirmed; as the server measures it while
    /// the slot is read; else the time since the stream got its last line, where it has one.
    pub lag_s: Option<f64>,
    /// Bytes of WAL that the server keeps for the slot.
    pub kept_bytes: u64,
    /// The publication.
    pub publication: String,
    /// Its tables; empty when it does not exist.
    pub tables: Vec<String>,
    /// What tells captures at once when something is altered.
    pub announced: Installed,
    /// What the stream says of itself.
    pub stream: Option<Identity>,
    /// Where the stream ends: everything before is in it or of no interest.
    pub stream_lsn: Option<Lsn>,
    /// The stream's newest heartbeat.
    pub tail: Option<Tail>,
    /// By how many seconds the stream's last line is stamped ahead of the server's clock, where
    /// that is more than [`CLOCK_AHEAD_S`].
    pub ahead_s: Option<i64>,
    /// What the capture of the stream does, or how it ended.
    pub capture: Work,
}

impl SlotStatus {
    /// How changes get through to the stream. Unknown when this server is not the one that they
    /// come from now.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.state {
            "standby" | "diverged" => Health::Unknown,
            "lost" => Health::Stalled,
            _ if self.capture.doing.has_ended() => Health::Stalled,
            _ => Health::of_stream(self.tail.as_ref()),
        }
    }
}

/// Looks at a slot; with a stream also at its state, and whether the two belong together.
///
/// # Errors
/// `STREAM SLOTMISSING`, `WRONGSYSTEM`, `WRONGDATABASE`, `WRONGSLOT`; `DAYSTREAM ...`;
/// `POSTGRES ...`. A lost slot is a state here, not an error.
pub fn status_of(
    conninfo: &str,
    slot_name: &str,
    stream: Option<&Path>,
    publication: Option<&str>,
) -> Result<SlotStatus, Error> {
    let conn = server::connect(conninfo)?;
    let slot = Slot::read(&conn, slot_name)?
        .ok_or_else(|| Error::SlotMissing { slot: slot_name.to_owned() })?;
    let system = server::system(&conn)?;
    let standby = server::is_standby(&conn)?;
    let identity = match stream {
        Some(dir) => Identity::load(dir)?,
        None => None,
    };
    if let Some(identity) = &identity {
        super::session::check_identity(identity, &system, slot_name)?;
    }
    let kept = identity.as_ref().map(|i| i.publication.as_str()).filter(|p| !p.is_empty());
    let (publication, tables) = if slot.plugin == Plugin::Deltaflood.name() {
        (String::new(), tables::selected(&conn, identity.as_ref().map(|i| i.tables.as_slice()))?)
    } else {
        let publication = publication.or(kept).unwrap_or(slot_name).to_owned();
        let tables = tables::published(&conn, &publication)?;
        (publication, tables)
    };
    let wal_lsn = Lsn(system.flush_lsn);
    let behind = |lsn: Lsn| wal_lsn.0.saturating_sub(lsn.0);
    let lag_bytes = behind(slot.confirmed);
    let lag_s = match slot.active_pid {
        _ if lag_bytes == 0 => Some(0.0),
        Some(pid) => sender_lag_s(&conn, pid)?,
        None => stream.and_then(silent_s),
    };
    let diverged = identity.as_ref().is_some_and(|i| i.timeline > system.timeline);
    let state = match (&slot.lost, slot.active_pid) {
        (Some(_), _) => "lost",
        _ if standby => "standby",
        _ if diverged => "diverged",
        _ if slot.is_unready() => "unready",
        (None, Some(_)) => "streaming",
        (None, None) => "unread",
    };
    Ok(SlotStatus {
        state,
        wal_lsn,
        lag_bytes,
        lag_s,
        kept_bytes: slot.restart.map_or(0, behind),
        tables,
        publication,
        announced: announce::installed(&conn)?,
        ahead_s: match stream.and_then(last_clock) {
            Some(last) => Some(last.saturating_sub(server::clock(&conn)?)),
            None => None,
        }
        .filter(|ahead| *ahead > CLOCK_AHEAD_S),
        stream_lsn: stream_lsn(stream, identity.as_ref()),
        stream: identity,
        // NOTE: a stream that cannot be read is not what is asked about here.
        tail: stream.and_then(|dir| Tail::of(&dir.into()).ok().flatten()),
        capture: stream.map_or_else(Work::default, Work::of),
        slot,
    })
}

/// The server's own measure of the time until changes are confirmed, or the time since the reader
/// said anything where that is long; 0 after a quiet time, `None` to a role that may not see it.
fn sender_lag_s(conn: &Guarded<'_>, pid: i32) -> Result<Option<f64>, Error> {
    let answer = conn.query(&format!(
        "select state, extract(epoch from flush_lag), \
         extract(epoch from pg_catalog.clock_timestamp() - reply_time) \
         from pg_catalog.pg_stat_replication where pid = {pid}"
    ))?;
    if answer.text(0, 0).is_none() {
        return Ok(None);
    }
    let seconds = |column| answer.text(0, column).and_then(|text| text.parse::<f64>().ok());
    let long = Duration::from_millis(2 * STATUS_INTERVAL_MS).as_secs_f64();
    let silent = seconds(2).filter(|silent| *silent > long).unwrap_or(0.0);
    Ok(Some(seconds(1).unwrap_or(0.0).max(silent)))
}

/// The end of the last transaction of the stream, or what was found to be of no interest behind it.
fn stream_lsn(stream: Option<&Path>, identity: Option<&Identity>) -> Option<Lsn> {
    // NOTE: a stream that cannot be read is not what is asked about here.
    let reader = Reader::open(stream?, Start::End, ReaderOptions::default()).ok();
    let end = reader.and_then(|reader| reader.mark()?.lsn);
    end.max(identity.and_then(|identity| identity.confirmed))
}

/// Seconds since the stream got its last line.
fn silent_s(dir: &Path) -> Option<f64> {
    let last = u64::try_from(last_clock(dir)?).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some((now.as_secs_f64() - last as f64).max(0.0))
}

/// The second that the stream's last line is stamped with.
fn last_clock(dir: &Path) -> Option<i64> {
    let reader = Reader::open(dir, Start::End, ReaderOptions::default()).ok()?;
    Some(reader.position()?.clock)
}
