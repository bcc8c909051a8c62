//! The server of a slot, over an ordinary connection: reached, identified, fit for decoding.

use super::{Error, Options, session};
use crate::libpq::{Guarded, SystemIdentity, system_id};
use deltaflood::Lsn;
use std::time::Duration;

pub(super) fn connect(conninfo: &str) -> Result<Guarded<'static>, Error> {
    let options = Options::new(conninfo, "", "");
    let timeout = Duration::from_millis(options.connect_timeout_ms);
    Ok(Guarded::connect_within(&session::conninfo(&options)?, timeout, None)?)
}

/// Sees that the server writes what decoding needs, that it is no standby, and that this role may
/// read it; warns of a limit that is not set.
///
/// # Errors
/// `STREAM STANDBY`, `WALLEVEL`, `NOREPLICATION`, `POSTGRES ...`.
pub(super) fn check(conn: &Guarded<'_>, warnings: &mut Vec<String>) -> Result<(), Error> {
    let answer = conn.query(
        "select pg_catalog.current_setting('wal_level'), current_user, \
         (select rolsuper or rolreplication from pg_catalog.pg_roles \
          where rolname = current_user), pg_catalog.pg_is_in_recovery(), \
         pg_catalog.current_setting('max_slot_wal_keep_size'), \
         pg_catalog.current_setting('server_encoding')",
    )?;
    let text = |col| answer.text(0, col).unwrap_or_default();
    if text(3) == "t" {
        return Err(Error::Standby);
    }
    if text(0) != "logical" {
        return Err(Error::WalLevel { level: text(0) });
    }
    if text(2) != "t" {
        return Err(Error::NotPermitted { role: text(1) });
    }
    if text(4) == "-1" {
        warnings.push(
            "the server keeps WAL for a slot that nobody reads until its disk is full: \
             max_slot_wal_keep_size is not limited (as a superuser: `ALTER SYSTEM SET \
             max_slot_wal_keep_size = '50GB'`, `SELECT pg_reload_conf()`)"
                .to_owned(),
        );
    }
    if text(5) == "SQL_ASCII" {
        warnings.push(
            "the database's encoding is SQL_ASCII, which takes any bytes for text: the first one \
             that is no UTF-8 ends the capture, unless that runs with -invalid_text replace or \
             bytes; deltamirror copies no such text"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether the server is a standby, or still recovers.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn is_standby(conn: &Guarded<'_>) -> Result<bool, Error> {
    let answer = conn.query("select pg_catalog.pg_is_in_recovery()")?;
    Ok(answer.value(0, 0) == Some(b"t"))
}

/// The server's clock, in seconds since the Unix epoch.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn clock(conn: &Guarded<'_>) -> Result<i64, Error> {
    let sql = "select pg_catalog.floor(extract(epoch from pg_catalog.clock_timestamp()))::bigint";
    let text = conn.query(sql)?.text(0, 0).unwrap_or_default();
    let odd = |got| crate::libpq::Error::Unexpected { wanted: "a time", got };
    Ok(text.parse().map_err(|_| odd(text))?)
}

/// What `IDENTIFY_SYSTEM` would tell, on an ordinary connection.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn system(conn: &Guarded<'_>) -> Result<SystemIdentity, Error> {
    // NOTE: the timeline of what is written now stands in the name of its WAL file; the last
    // checkpoint may be of the timeline before.
    let answer = conn.query(
        "select (select system_identifier from pg_catalog.pg_control_system()), \
         case when pg_catalog.pg_is_in_recovery() \
           then (select timeline_id from pg_catalog.pg_control_checkpoint())::pg_catalog.text \
           else pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), \
             1, 8) end, \
         case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() \
         else pg_catalog.pg_current_wal_flush_lsn() end, pg_catalog.pg_is_in_recovery()",
    )?;
    let text = |col| answer.text(0, col).unwrap_or_default();
    let odd = |wanted, got| crate::libpq::Error::Unexpected { wanted, got };
    let radix = if text(3) == "t" { 10 } else { 16 };
    let timeline = u32::from_str_radix(&text(1), radix).map_err(|_| odd("a timeline", text(1)))?;
    let flush_lsn = text(2).parse::<Lsn>().map_err(|_| odd("an LSN", text(2)))?;
    Ok(SystemIdentity {
        system_id: system_id(&text(0)).ok_or_else(|| odd("a system identifier", text(0)))?,
        timeline,
        flush_lsn: flush_lsn.0,
        database: conn.database(),
    })
}
