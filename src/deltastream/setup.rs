//! Publication and slot: made, extended, dropped.
//!
//! `setup` may be run again, with more tables or the same: it adds what is missing and changes
//! nothing else. It never makes a slot for a stream that has changes already: that would hide a
//! gap. What it made is taken back when the rest cannot be done.

use super::announce;
use super::make_slot::{self, Patience};
use super::options::Plugin;
use super::slot::Slot;
use super::tables::{self, Table};
use super::wanted::{Dropped, Setup, SetupOptions, Waiting};
use super::{Error, fitness, publish, server, session};
use crate::daystream::{Identity, Reader, ReaderOptions, Start, Writer, WriterOptions};
use crate::libpq::{Guarded, SystemIdentity};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Makes or extends the publication, makes the slot, and notes in the stream where it comes from.
/// Blocks; making a slot waits for the transactions that are running.
///
/// # Errors
/// `STREAM STANDBY`, `WALLEVEL`, `NOREPLICATION`, `NOTABLE`, `NOIDENTITY`, `GENERATEDKEY`,
/// `NOTOURS`, `NOTALLOWED`, `UNSAFE`; `SLOTMISSING` when the stream has changes and its slot is
/// gone; those of a slot or stream that does not fit; `POSTGRES ...`.
pub fn setup(options: &SetupOptions) -> Result<Setup, Error> {
    setup_with(options, &AtomicBool::new(false), &mut |_| {})
}

/// As [`setup`], ended by `stop` while it waits for a slot; `waiting` is told of that.
///
/// # Errors
/// As [`setup`], and `STREAM STOPPED`.
pub fn setup_with(
    options: &SetupOptions,
    stop: &AtomicBool,
    waiting: &mut dyn FnMut(&Waiting),
) -> Result<Setup, Error> {
    let mut patience = Patience::new(stop, waiting);
    let mut done = Setup::default();
    let conn = server::connect(&options.conninfo)?;
    server::check(&conn, &mut done.warnings)?;
    let system = server::system(&conn)?;
    let old = make_slot::ready(&conn, &options.slot, &mut patience)?;
    if let Some(slot) = &old {
        slot.check(options.plugin.name(), &system.database)?;
    }
    let identity = match &options.stream {
        Some(dir) => stream_identity(dir, &system, options, old.is_some())?,
        None => None,
    };
    let tables = choose(&conn, options, identity.as_ref(), &mut done)?;
    let rest = Rest { conn: &conn, options, system, old, identity, tables };
    rest.make(&mut done, &mut patience).inspect_err(|_| rest.take_back(&done))?;
    Ok(done)
}

/// Makes or extends the publication; for a plugin without publications, the tables to ask it for.
fn choose(
    conn: &Guarded<'_>,
    options: &SetupOptions,
    identity: Option<&Identity>,
    done: &mut Setup,
) -> Result<Vec<String>, Error> {
    match options.plugin {
        Plugin::Pgoutput => {
            let kept = identity.map(|i| i.publication.clone()).filter(|p| !p.is_empty());
            let name = options.publication.clone().or(kept);
            done.publication = name.unwrap_or_else(|| options.slot.clone());
            publish::publish(conn, &options.slot, &options.tables, identity, done)?;
            Ok(Vec::new())
        }
        Plugin::Deltaflood => {
            select(conn, &options.tables, identity.map(|i| i.tables.as_slice()), done)
        }
    }
}

/// What follows when the publication is there.
struct Rest<'a> {
    conn: &'a Guarded<'static>,
    options: &'a SetupOptions,
    system: SystemIdentity,
    old: Option<Slot>,
    identity: Option<Identity>,
    tables: Vec<String>,
}

impl Rest<'_> {
    /// Makes the slot where there is none, and notes in the stream what it comes from.
    fn make(&self, done: &mut Setup, patience: &mut Patience<'_>) -> Result<(), Error> {
        let Rest { conn, options, .. } = self;
        announce::install(conn, options.announce, done)?;
        // Before the slot: one whose stream cannot be written would keep WAL for nobody.
        let writer = match &options.stream {
            Some(dir) if self.identity.is_none() => Some(writer(dir)?),
            _ => None,
        };
        done.consistent_point = match &self.old {
            Some(slot) => slot.confirmed,
            None => {
                let mut side = || server::connect(&options.conninfo);
                let plugin = options.plugin;
                let point = make_slot::make(conn, &mut side, &options.slot, plugin, patience)?;
                done.slot_created = true;
                point
            }
        };
        let Some(dir) = &options.stream else { return Ok(()) };
        let tables = self.tables.clone();
        let identity = match &self.identity {
            Some(identity) if identity.tables == tables => return Ok(()),
            Some(identity) => Identity { tables, ..identity.clone() },
            None => Identity {
                system_id: self.system.system_id,
                database: self.system.database.clone(),
                slot: options.slot.clone(),
                plugin: options.plugin.name().to_owned(),
                publication: done.publication.clone(),
                tables,
                timeline: self.system.timeline,
                made: session::now_made(),
                id: None,
                heartbeat_ms: 0,
                confirmed: Some(done.consistent_point),
            },
        };
        Ok(writer.map_or_else(|| self::writer(dir), Ok)?.save_identity(&identity)?)
    }

    /// Takes back what was made for a slot or a stream that could not be: why is what there is to
    /// be told, so that failures here are not.
    fn take_back(&self, done: &Setup) {
        if done.slot_created {
            let _ = make_slot::drop_it(self.conn, &self.options.slot);
        }
        publish::take_back(self.conn, done);
        announce::take_back(self.conn, done);
    }
}

fn writer(dir: &Path) -> Result<Writer, Error> {
    Ok(Writer::open(dir, WriterOptions::default())?)
}

/// The tables that a plugin without publications is to be asked for: those that it was asked for
/// before, and those named now; none when it is asked for all.
fn select(
    conn: &Guarded<'_>,
    names: &[String],
    kept: Option<&[String]>,
    done: &mut Setup,
) -> Result<Vec<String>, Error> {
    let mut selected = kept.unwrap_or_default().to_vec();
    if names.is_empty() && selected.is_empty() || kept.is_some_and(<[String]>::is_empty) {
        let all = tables::all(conn)?;
        fitness::check_identities(&all)?;
        fitness::warn_of_keys(conn, &all, false, &mut done.warnings)?;
        done.tables = all.iter().map(Table::to_string).collect();
        return Ok(Vec::new());
    }
    let mut added = Vec::new();
    for name in names {
        let table = tables::find(conn, name)?;
        if !selected.contains(&table.quoted()) {
            selected.push(table.quoted());
            added.push(table);
        }
    }
    fitness::check_identities(&added)?;
    fitness::warn_of_keys(conn, &added, false, &mut done.warnings)?;
    done.added = added.iter().map(Table::to_string).collect();
    done.tables = tables::selected_names(&selected);
    Ok(selected)
}

/// Drops the slot and the publication (`None`: the slot's name), as far as they exist; of
/// publications only one that setup made for this slot. With the last logical slot of the database,
/// what tells captures of statements.
///
/// # Errors
/// `STREAM SLOTINUSE`, `STANDBY`, `POSTGRES ...`. That neither exists is no error.
pub fn drop_slot(conninfo: &str, slot: &str, publication: Option<&str>) -> Result<Dropped, Error> {
    let conn = server::connect(conninfo)?;
    if server::is_standby(&conn)? {
        return Err(Error::StandbySlot { slot: slot.to_owned() });
    }
    let mut dropped = Dropped::default();
    let found = Slot::read(&conn, slot)?;
    if found.is_some() {
        make_slot::drop_it(&conn, slot)?;
        dropped.slot = true;
    }
    // A publication of that name is not this slot's when its plugin knows none.
    let own = found.as_ref().is_none_or(|slot| slot.plugin != Plugin::Deltaflood.name());
    if let Some(name) = publication.or(own.then_some(slot)) {
        dropped.publication = publish::drop_made_for(&conn, slot, name, &mut dropped.kept)?;
    }
    announce::remove(&conn, slot, &mut dropped)?;
    Ok(dropped)
}

/// The identity that the stream has already, which must be that of this slot.
fn stream_identity(
    dir: &Path,
    system: &SystemIdentity,
    options: &SetupOptions,
    slot_exists: bool,
) -> Result<Option<Identity>, Error> {
    if !dir.exists() {
        return Ok(None);
    }
    let Some(identity) = Identity::load(dir)? else {
        let reader = Reader::open(dir, Start::End, ReaderOptions::default());
        let has_changes = reader.is_ok_and(|reader| reader.position().is_some());
        // Changes of an unknown source: a slot made now would begin behind them, with a gap.
        return if has_changes && !slot_exists {
            Err(Error::SlotMissing { slot: options.slot.clone() })
        } else {
            Ok(None)
        };
    };
    session::check_identity(&identity, system, &options.slot)?;
    if slot_exists {
        Ok(Some(identity))
    } else {
        Err(Error::SlotMissing { slot: options.slot.clone() })
    }
}
