//! A slot that nobody reads, and that is advanced to what a stream has on disk.
//!
//! Whoever reads a slot by `pg_recvlogical` lets the server forget what went into a pipe. A second
//! slot at the same place, the keeper, makes the server remember: after a loss, the slot that is
//! read is made anew as a copy of it, and the stream drops by LSN what it has.

use super::{Error, server};
use crate::libpq::Guarded;
use crate::limits::KEEPER_ADVANCE_MS;
use deltaflood::Lsn;
use std::time::{Duration, Instant};

/// Advances a slot, now and then. Blocks while the server does it.
#[derive(Debug)]
pub struct Keeper {
    conn: Guarded<'static>,
    slot: String,
    advanced: Option<Lsn>,
    at: Instant,
}

impl Keeper {
    /// Connects, and looks whether there is such a slot.
    ///
    /// # Errors
    /// `STREAM SLOTMISSING`, `NOTLOGICAL`, `SLOTLOST`, `POSTGRES ...`.
    pub fn open(conninfo: &str, slot: &str) -> Result<Keeper, Error> {
        let conn = server::connect(conninfo)?;
        let slot = slot.to_owned();
        let found = super::Slot::read(&conn, &slot)?;
        let found = found.ok_or_else(|| Error::SlotMissing { slot: slot.clone() })?;
        // A keeper may have any plugin: only copies of it are read.
        found.check(&found.plugin, &conn.database())?;
        Ok(Keeper { conn, slot, advanced: None, at: Instant::now() })
    }

    /// Whether it is time to advance the slot again.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.at.elapsed() >= Duration::from_millis(KEEPER_ADVANCE_MS)
    }

    /// Lets the server forget what lies before `lsn`, which must be durable in the stream.
    ///
    /// # Errors
    /// `STREAM SLOTINUSE` when somebody reads the slot after all, `POSTGRES ...`.
    pub fn advance(&mut self, lsn: Lsn) -> Result<(), Error> {
        self.at = Instant::now();
        if self.advanced >= Some(lsn) {
            return Ok(());
        }
        // The slot may be ahead: of a stream that is read in again from an earlier file.
        let slot = self.conn.escape_literal(&self.slot)?;
        let sql = format!(
            "select pg_catalog.pg_replication_slot_advance(slot_name, '{lsn}') \
             from pg_catalog.pg_replication_slots \
             where slot_name = {slot} and confirmed_flush_lsn < '{lsn}'"
        );
        self.conn.query(&sql).map_err(|error| match error.sqlstate() {
            // object_in_use
            Some("55006") => {
                Error::SlotInUse { slot: self.slot.clone(), message: error.to_string() }
            }
            _ => error.into(),
        })?;
        self.advanced = Some(lsn);
        Ok(())
    }
}
