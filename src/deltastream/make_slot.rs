//! A slot being made: it waits for the transactions that are running, which may be for hours.
//!
//! Till it is ready it belongs to the server's process that makes it, and goes with that; a process
//! that waits notices by itself that its client is gone (`client_connection_check_interval`). So a
//! setup that is stopped, or killed, leaves no slot that nobody knows of.

use super::options::Plugin;
use super::slot::Slot;
use super::wanted::Waiting;
use super::{Error, plugin};
use crate::libpq::{self, Guarded, PgResult, wait};
use crate::limits::{SLOT_CLIENT_CHECK_MS, SLOT_LOOK_MS, SLOT_TELL_S};
use deltaflood::Lsn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Who is told of the waiting.
pub(super) struct Patience<'a> {
    stop: &'a AtomicBool,
    waiting: &'a mut dyn FnMut(&Waiting),
    /// When what was told last.
    told: Option<(Instant, String)>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(stop: &'a AtomicBool, waiting: &'a mut dyn FnMut(&Waiting)) -> Patience<'a> {
        Patience { stop, waiting, told: None }
    }

    /// One more look was taken; `holders` are those that the slot waits for. They are told when
    /// they are others than before, and now and then.
    fn tell(&mut self, slot: &str, holders: String, since: Instant) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let every = Duration::from_secs(SLOT_TELL_S);
        if self.told.as_ref().is_none_or(|(at, who)| *who != holders || at.elapsed() >= every) {
            self.told = Some((Instant::now(), holders.clone()));
            (self.waiting)(&Waiting { slot: slot.to_owned(), holders, waited: since.elapsed() });
        }
        Ok(())
    }
}

/// The slot as it is when nobody is making it: waits for another setup, or for the server's end of
/// one that was killed. `None`: there is none. One that was never ready, and that nobody makes, is
/// dropped: it would be waited for in vain.
///
/// # Errors
/// `STREAM STOPPED`, `POSTGRES ...`.
pub(super) fn ready(
    conn: &Guarded<'_>,
    name: &str,
    patience: &mut Patience<'_>,
) -> Result<Option<Slot>, Error> {
    let since = Instant::now();
    loop {
        let slot = match Slot::read(conn, name)? {
            Some(slot) if slot.is_unready() => slot,
            found => return Ok(found),
        };
        match slot.active_pid {
            None => drop_it(conn, name)?,
            Some(pid) => {
                patience.tell(name, holders(conn, pid)?, since)?;
                std::thread::sleep(Duration::from_millis(SLOT_LOOK_MS));
            }
        }
    }
}

/// Those who run a transaction that began before `pid`'s, as their process ids.
fn holders(conn: &Guarded<'_>, pid: i32) -> Result<String, Error> {
    let answer = conn.query(&format!(
        "select pg_catalog.string_agg(a.pid::pg_catalog.text, ', ' order by a.pid) \
         from pg_catalog.pg_stat_activity a where a.backend_xid is not null \
           and a.pid <> {pid} and a.pid <> pg_catalog.pg_backend_pid() \
           and a.xact_start < (select s.query_start from pg_catalog.pg_stat_activity s \
             where s.pid = {pid})"
    ))?;
    Ok(answer.text(0, 0).unwrap_or_default())
}

/// Drops a slot.
///
/// # Errors
/// `STREAM SLOTINUSE`, `POSTGRES ...`.
pub(super) fn drop_it(conn: &Guarded<'_>, slot: &str) -> Result<(), Error> {
    let quoted = conn.escape_literal(slot)?;
    let sql = format!("select pg_catalog.pg_drop_replication_slot({quoted})");
    match conn.query(&sql) {
        Ok(_) => Ok(()),
        // undefined_object: it went by itself.
        Err(error) if error.sqlstate() == Some("42704") => Ok(()),
        // object_in_use
        Err(error) if error.sqlstate() == Some("55006") => {
            Err(Error::SlotInUse { slot: slot.to_owned(), message: error.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a slot over `conn`, looking over `side` what it waits for. Returns its consistent point.
///
/// # Errors
/// `STREAM STOPPED`, after which there is no slot; `NOPLUGIN`, `PLUGINNOTLISTED`, `POSTGRES ...`.
pub(super) fn make(
    conn: &Guarded<'_>,
    side: &mut dyn FnMut() -> Result<Guarded<'static>, Error>,
    slot: &str,
    plugin: Plugin,
    patience: &mut Patience<'_>,
) -> Result<Lsn, Error> {
    let (quoted, name) = (conn.escape_literal(slot)?, conn.escape_literal(plugin.name())?);
    let create =
        format!("select lsn from pg_catalog.pg_create_logical_replication_slot({quoted}, {name})");
    let check = format!("set local client_connection_check_interval = {SLOT_CLIENT_CHECK_MS}; ");
    let made = match ask(conn, side, &format!("{check}{create}"), slot, patience) {
        // invalid_parameter_value, undefined_object: a system, or a version, in which the server
        // cannot look after its clients.
        Err(Error::Postgres(error)) if matches!(error.sqlstate(), Some("22023" | "42704")) => {
            ask(conn, side, &create, slot, patience)
        }
        made => made,
    };
    let made = made.map_err(|error| match &error {
        Error::Postgres(libpq::Error::Server(server)) => {
            plugin::explain(conn, plugin.name(), server).unwrap_or(error)
        }
        _ => error,
    })?;
    let lsn = made.text(0, 0).unwrap_or_default();
    let wrong = || libpq::Error::Unexpected { wanted: "an LSN", got: lsn.clone() };
    Ok(lsn.parse().map_err(|_| wrong())?)
}

/// Runs a statement that may wait, and tells what for; cancelled by `stop`.
fn ask(
    conn: &Guarded<'_>,
    side: &mut dyn FnMut() -> Result<Guarded<'static>, Error>,
    sql: &str,
    slot: &str,
    patience: &mut Patience<'_>,
) -> Result<PgResult, Error> {
    let since = Instant::now();
    let (mut last, mut looker, mut stopped) = (None, None, false);
    conn.send_query(sql)?;
    loop {
        while !conn.is_busy() {
            match (conn.get_result(), last.take()) {
                // The first error is the one to tell.
                (Some(_), Some(Err(error))) => last = Some(Err(error)),
                (Some(result), _) => last = Some(result.into_ok()),
                (None, _) if stopped => return Err(Error::Stopped),
                (None, Some(result)) => return Ok(result?),
                (None, None) => {
                    let (wanted, got) = ("a slot", "nothing".to_owned());
                    return Err(libpq::Error::Unexpected { wanted, got }.into());
                }
            }
        }
        let pause = Duration::from_millis(SLOT_LOOK_MS);
        wait(conn.socket(), true, false, None, Some(pause))?;
        conn.consume_input()?;
        if conn.is_busy() && !stopped && since.elapsed() >= pause {
            let look = match &mut looker {
                Some(looker) => &*looker,
                none => none.insert(side()?),
            };
            let told = patience.tell(slot, holders(look, conn.backend_pid())?, since);
            if told.is_err() {
                stopped = true;
                conn.cancel_handle()?.cancel()?;
            }
        }
    }
}
