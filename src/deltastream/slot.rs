//! A replication slot as the server sees it.

use super::Error;
use crate::libpq::{Conninfo, Guarded, PgResult};
use deltaflood::Lsn;
use std::time::Duration;

/// A slot's row in `pg_replication_slots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Output plugin; empty for a physical slot.
    pub plugin: String,
    /// Its database; empty for a physical slot.
    pub database: String,
    /// Process id of the backend that reads it.
    pub active_pid: Option<i32>,
    /// Confirmed by the reader; 0/0 while the slot is being made.
    pub confirmed: Lsn,
    /// From where the server keeps WAL for it.
    pub restart: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: String,
    /// Bytes of WAL that may still be written before it can be lost; `None`: no limit is set.
    pub safe_wal_bytes: Option<i64>,
    /// Why it is lost, where it is.
    pub lost: Option<String>,
}

impl Slot {
    /// Reads a slot's state; `None` when there is no such slot.
    ///
    /// # Errors
    /// Those of the query.
    pub fn read(conn: &Guarded<'_>, name: &str) -> Result<Option<Slot>, Error> {
        let quoted = conn.escape_literal(name)?;
        let sql =
            format!("select * from pg_catalog.pg_replication_slots where slot_name = {quoted}");
        let result = conn.query(&sql)?;
        Ok((result.ntuples() > 0).then(|| Slot::of_row(&result, name)))
    }

    /// Bytes of WAL that the server keeps for a slot; `None` when it does not tell within
    /// [`SLOT_ASK_MS`](crate::limits::SLOT_ASK_MS), or there is no such slot.
    #[must_use]
    pub fn kept_bytes(conninfo: &str, name: &str) -> Option<u64> {
        let info = Conninfo::parse(conninfo).ok()?;
        let timeout = Duration::from_millis(crate::limits::SLOT_ASK_MS);
        let conn = Guarded::connect_within(&info, timeout, None).ok()?;
        let restart = Slot::read(&conn, name).ok()??.restart?;
        let wal = conn.query("select pg_catalog.pg_current_wal_lsn()").ok()?.text(0, 0)?;
        Some(wal.parse::<Lsn>().ok()?.0.saturating_sub(restart.0))
    }

    fn of_row(row: &PgResult, name: &str) -> Slot {
        // By name, since the columns differ between versions.
        let field = |column: &str| row.text(0, row.fnumber(column)?);
        let text = |column| field(column).unwrap_or_default();
        let lsn = |column| field(column)?.parse::<Lsn>().ok();
        let wal_status = text("wal_status");
        let lost = if let Some(reason) = field("invalidation_reason") {
            Some(reason)
        } else if wal_status == "lost" {
            Some("wal_removed".to_owned())
        } else {
            (text("conflicting") == "t").then(|| "conflict with recovery".to_owned())
        };
        Slot {
            name: name.to_owned(),
            plugin: text("plugin"),
            database: text("database"),
            active_pid: field("active_pid").and_then(|pid| pid.parse().ok()),
            confirmed: lsn("confirmed_flush_lsn").unwrap_or_default(),
            restart: lsn("restart_lsn"),
            wal_status,
            safe_wal_bytes: field("safe_wal_size").and_then(|n| n.parse().ok()),
            lost,
        }
    }

    /// Whether it is still being made, and nothing can be read from it.
    #[must_use]
    pub fn is_unready(&self) -> bool {
        !self.plugin.is_empty() && self.confirmed == Lsn(0) && self.lost.is_none()
    }

    /// Sees that the slot can feed a stream of `database` written by `plugin`.
    ///
    /// # Errors
    /// `STREAM NOTLOGICAL`, `WRONGPLUGIN`, `WRONGDATABASE`, `SLOTLOST`; `SLOTINUSE` of one that is
    /// still being made.
    pub fn check(&self, plugin: &str, database: &str) -> Result<(), Error> {
        let slot = self.name.clone();
        if self.plugin.is_empty() {
            return Err(Error::NotLogical { slot });
        }
        if self.plugin != plugin {
            let (plugin, wanted) = (self.plugin.clone(), plugin.to_owned());
            return Err(Error::WrongPlugin { slot, plugin, wanted });
        }
        if self.database != database {
            let (database, wanted) = (self.database.clone(), database.to_owned());
            return Err(Error::WrongDatabase { slot, database, wanted });
        }
        if self.is_unready() {
            let message = "it is still being made; setup waits for it".to_owned();
            return Err(Error::SlotInUse { slot, message });
        }
        match &self.lost {
            Some(why) => Err(Error::SlotLost { slot, why: why.clone(), confirmed: self.confirmed }),
            None => Ok(()),
        }
    }
}
