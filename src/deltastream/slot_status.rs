//! How a slot and its stream stand: one look at the server and at the folder.

use super::slot::Slot;
use super::{Error, setup, tables};
use crate::daystream::Identity;
use deltaflood::Lsn;
use std::path::Path;

/// A slot's state, and how far its reader is.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotStatus {
    /// The slot.
    pub slot: Slot,
    /// Word for its state: `streaming`, `idle` (nobody reads it) or `lost`.
    pub state: &'static str,
    /// End of the server's WAL.
    pub wal_lsn: Lsn,
    /// Bytes of WAL not yet confirmed.
    pub lag_bytes: u64,
    /// Seconds that the reader is behind, where the server can tell: 0 when all is confirmed.
    pub lag_s: Option<f64>,
    /// Bytes of WAL that the server keeps for the slot.
    pub kept_bytes: u64,
    /// The publication.
    pub publication: String,
    /// Its tables; empty when it does not exist.
    pub tables: Vec<String>,
    /// What the stream says of itself.
    pub stream: Option<Identity>,
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
    let conn = setup::connect(conninfo)?;
    let slot = Slot::read(&conn, slot_name)?
        .ok_or_else(|| Error::SlotMissing { slot: slot_name.to_owned() })?;
    let system = setup::system(&conn)?;
    let identity = match stream {
        Some(dir) => Identity::load(dir)?,
        None => None,
    };
    if let Some(identity) = &identity {
        super::session::check_identity(identity, &system, slot_name)?;
    }
    let kept = identity.as_ref().map(|i| i.publication.as_str()).filter(|p| !p.is_empty());
    let publication = publication.or(kept).unwrap_or(slot_name).to_owned();
    let wal_lsn = Lsn(system.flush_lsn);
    let behind = |lsn: Lsn| wal_lsn.0.saturating_sub(lsn.0);
    let pid = slot.active_pid.unwrap_or(0);
    let lag = conn.query(&format!(
        "select extract(epoch from flush_lag) from pg_catalog.pg_stat_replication where pid = {pid}"
    ))?;
    let lag_bytes = behind(slot.confirmed);
    let lag_s = if lag_bytes == 0 {
        Some(0.0)
    } else {
        lag.text(0, 0).and_then(|seconds| seconds.parse().ok())
    };
    let state = match (&slot.lost, slot.active_pid) {
        (Some(_), _) => "lost",
        (None, Some(_)) => "streaming",
        (None, None) => "idle",
    };
    Ok(SlotStatus {
        state,
        wal_lsn,
        lag_bytes,
        lag_s,
        kept_bytes: slot.restart.map_or(0, behind),
        tables: tables::published(&conn, &publication)?,
        publication,
        stream: identity,
        slot,
    })
}
