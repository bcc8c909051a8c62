//! Publication and slot: made, extended, dropped.
//!
//! `setup` may be run again, with more tables or the same: it adds what is missing and changes
//! nothing else. It never makes a slot for a stream that has changes already: that would hide a
//! gap.

use super::options::Plugin;
use super::slot::Slot;
use super::tables::{self, Table};
use super::{Error, Options, plugin, session};
use crate::daystream::{Identity, Reader, ReaderOptions, Start, Writer, WriterOptions};
use crate::libpq::{Guarded, SystemIdentity, system_id};
use deltaflood::Lsn;
use std::path::{Path, PathBuf};
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
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// What drop dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// The slot.
    pub slot: bool,
    /// The publication.
    pub publication: bool,
}

/// Makes or extends the publication, makes the slot, and notes in the stream where it comes from.
/// Blocks; making a slot waits for the transactions that are running.
///
/// # Errors
/// `STREAM WALLEVEL`, `NOREPLICATION`, `NOTABLE`, `NOIDENTITY`; `SLOTMISSING` when the stream has
/// changes and its slot is gone; those of a slot or stream that does not fit; `POSTGRES ...`.
pub fn setup(options: &SetupOptions) -> Result<Setup, Error> {
    let conn = connect(&options.conninfo)?;
    check_server(&conn)?;
    let system = system(&conn)?;
    let old = Slot::read(&conn, &options.slot)?;
    if let Some(slot) = &old {
        slot.check(options.plugin.name(), &system.database)?;
    }
    let identity = match &options.stream {
        Some(dir) => stream_identity(dir, &system, options, old.is_some())?,
        None => None,
    };
    let mut done = Setup::default();
    let mut tables = Vec::new();
    match options.plugin {
        Plugin::Pgoutput => {
            let kept = identity.as_ref().map(|i| i.publication.clone()).filter(|p| !p.is_empty());
            let name = options.publication.clone().or(kept);
            done.publication = name.unwrap_or_else(|| options.slot.clone());
            publish(&conn, &options.tables, &mut done)?;
        }
        Plugin::Deltaflood => {
            let kept = identity.as_ref().map(|i| i.tables.as_slice());
            tables = select(&conn, &options.tables, kept, &mut done)?;
        }
    }
    // Before the slot: one whose stream cannot be written would keep WAL for nobody.
    let writer = match &options.stream {
        Some(dir) if identity.is_none() => {
            Some(writer(dir).inspect_err(|_| take_back(&conn, &done))?)
        }
        _ => None,
    };
    done.consistent_point = match old {
        Some(slot) => slot.confirmed,
        None => {
            done.slot_created = true;
            create_slot(&conn, &options.slot, options.plugin)
                .inspect_err(|_| take_back(&conn, &done))?
        }
    };
    let Some(dir) = &options.stream else { return Ok(done) };
    let identity = match identity {
        Some(identity) if identity.tables == tables => return Ok(done),
        Some(identity) => Identity { tables, ..identity },
        None => Identity {
            system_id: system.system_id,
            database: system.database,
            slot: options.slot.clone(),
            plugin: options.plugin.name().to_owned(),
            publication: done.publication.clone(),
            tables,
            timeline: system.timeline,
            made: session::now_made(),
            id: None,
            confirmed: Some(done.consistent_point),
        },
    };
    writer.map_or_else(|| self::writer(dir), Ok)?.save_identity(&identity)?;
    Ok(done)
}

fn writer(dir: &Path) -> Result<Writer, Error> {
    Ok(Writer::open(dir, WriterOptions::default())?)
}

/// Drops the publication that was made for a slot or a stream that could not be.
fn take_back(conn: &Guarded<'_>, done: &Setup) {
    if done.publication_created
        && let Ok(quoted) = conn.escape_identifier(&done.publication)
    {
        // NOTE: why they could not is what there is to be told.
        let _ = conn.query(&format!("drop publication {quoted}"));
    }
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
        check_identities(&all)?;
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
    check_identities(&added)?;
    done.added = added.iter().map(Table::to_string).collect();
    done.tables = selected_names(&selected);
    Ok(selected)
}

/// The tables that a plugin without publications is asked for, for people to read: `chosen`, or all
/// of the database.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn selected(
    conn: &Guarded<'_>,
    chosen: Option<&[String]>,
) -> Result<Vec<String>, Error> {
    match chosen {
        Some(chosen) if !chosen.is_empty() => Ok(selected_names(chosen)),
        _ => Ok(tables::all(conn)?.iter().map(Table::to_string).collect()),
    }
}

/// Names as [`Table`] shows them, of names as [`Table::quoted`] writes them.
fn selected_names(quoted: &[String]) -> Vec<String> {
    let shown = |name: &String| {
        let name = name.strip_prefix("\"public\".").unwrap_or(name);
        let name = name.strip_prefix('"').unwrap_or(name);
        let name = name.strip_suffix('"').unwrap_or(name);
        name.replace("\".\"", ".").replace("\"\"", "\"")
    };
    quoted.iter().map(shown).collect()
}

/// Drops the slot and the publication (`None`: the slot's name), as far as they exist.
///
/// # Errors
/// `STREAM SLOTMISSING` when neither exists, `STREAM SLOTINUSE`, `POSTGRES ...`.
pub fn drop_slot(conninfo: &str, slot: &str, publication: Option<&str>) -> Result<Dropped, Error> {
    let conn = connect(conninfo)?;
    let mut dropped = Dropped::default();
    let found = Slot::read(&conn, slot)?;
    // A publication of that name is not this slot's when its plugin knows none.
    let own = found.as_ref().is_none_or(|slot| slot.plugin != Plugin::Deltaflood.name());
    if found.is_some() {
        let quoted = conn.escape_literal(slot)?;
        let sql = format!("select pg_catalog.pg_drop_replication_slot({quoted})");
        conn.query(&sql).map_err(|error| match error.sqlstate() {
            Some("55006") => Error::SlotInUse { slot: slot.to_owned(), message: error.to_string() },
            _ => error.into(),
        })?;
        dropped.slot = true;
    }
    if let Some(publication) = publication.or(own.then_some(slot))
        && publication_exists(&conn, publication)?
    {
        let quoted = conn.escape_identifier(publication)?;
        conn.query(&format!("drop publication {quoted}"))?;
        dropped.publication = true;
    }
    if dropped == Dropped::default() {
        return Err(Error::SlotMissing { slot: slot.to_owned() });
    }
    Ok(dropped)
}

pub(super) fn connect(conninfo: &str) -> Result<Guarded<'static>, Error> {
    let options = Options::new(conninfo, "", "");
    let timeout = Duration::from_millis(options.connect_timeout_ms);
    Ok(Guarded::connect_within(&session::conninfo(&options)?, timeout, None)?)
}

/// Sees that the server writes what decoding needs, and that this role may read it.
fn check_server(conn: &Guarded<'_>) -> Result<(), Error> {
    let answer = conn.query(
        "select pg_catalog.current_setting('wal_level'), current_user, \
         (select rolsuper or rolreplication from pg_catalog.pg_roles \
          where rolname = current_user)",
    )?;
    let text = |col| answer.text(0, col).unwrap_or_default();
    if text(0) != "logical" {
        return Err(Error::WalLevel { level: text(0) });
    }
    if text(2) != "t" {
        return Err(Error::NotPermitted { role: text(1) });
    }
    Ok(())
}

/// What `IDENTIFY_SYSTEM` would tell, on an ordinary connection.
pub(super) fn system(conn: &Guarded<'_>) -> Result<SystemIdentity, Error> {
    let answer = conn.query(
        "select (select system_identifier from pg_catalog.pg_control_system()), \
         (select timeline_id from pg_catalog.pg_control_checkpoint()), \
         case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() \
         else pg_catalog.pg_current_wal_flush_lsn() end",
    )?;
    let text = |col| answer.text(0, col).unwrap_or_default();
    let odd = |wanted, got| crate::libpq::Error::Unexpected { wanted, got };
    let timeline = text(1).parse().map_err(|_| odd("a timeline", text(1)));
    let flush_lsn = text(2).parse::<Lsn>().map_err(|_| odd("an LSN", text(2)));
    Ok(SystemIdentity {
        system_id: system_id(&text(0)).ok_or_else(|| odd("a system identifier", text(0)))?,
        timeline: timeline?,
        flush_lsn: flush_lsn?.0,
        database: conn.database(),
    })
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

fn create_slot(conn: &Guarded<'_>, slot: &str, plugin: Plugin) -> Result<Lsn, Error> {
    let (slot, name) = (conn.escape_literal(slot)?, conn.escape_literal(plugin.name())?);
    let sql =
        format!("select lsn from pg_catalog.pg_create_logical_replication_slot({slot}, {name})");
    let made = conn.query(&sql).map_err(|error| match &error {
        crate::libpq::Error::Server(server) => {
            plugin::explain(conn, plugin.name(), server).unwrap_or_else(|| error.into())
        }
        _ => error.into(),
    })?;
    let lsn = made.text(0, 0).unwrap_or_default();
    let wrong = || crate::libpq::Error::Unexpected { wanted: "an LSN", got: lsn.clone() };
    Ok(lsn.parse().map_err(|_| wrong())?)
}

fn publication_exists(conn: &Guarded<'_>, publication: &str) -> Result<bool, Error> {
    let quoted = conn.escape_literal(publication)?;
    let sql = format!("select 1 from pg_catalog.pg_publication where pubname = {quoted}");
    Ok(conn.query(&sql)?.ntuples() > 0)
}

/// Makes the publication, or adds the tables that it lacks.
fn publish(conn: &Guarded<'_>, names: &[String], done: &mut Setup) -> Result<(), Error> {
    let mut wanted = Vec::new();
    for name in names {
        let table = tables::find(conn, name)?;
        if !wanted.contains(&table) {
            wanted.push(table);
        }
    }
    let publication = done.publication.clone();
    let quoted = conn.escape_identifier(&publication)?;
    if publication_exists(conn, &publication)? {
        check_publication(conn, done)?;
        let mut missing = Vec::new();
        for table in wanted {
            if !tables::is_published(conn, &publication, &table)? {
                missing.push(table);
            }
        }
        if !missing.is_empty() {
            check_identities(&missing)?;
            let list = table_list(conn, &missing)?;
            conn.query(&format!("alter publication {quoted} add table {list}"))?;
            done.added = missing.iter().map(Table::to_string).collect();
        }
    } else {
        let what = if wanted.is_empty() {
            check_identities(&tables::all(conn)?)?;
            "all tables".to_owned()
        } else {
            check_identities(&wanted)?;
            format!("table {}", table_list(conn, &wanted)?)
        };
        // A partitioned table comes under its own name, not under those of its partitions.
        let with = "with (publish_via_partition_root = true)";
        conn.query(&format!("create publication {quoted} for {what} {with}"))?;
        done.publication_created = true;
        done.added = wanted.iter().map(Table::to_string).collect();
    }
    done.tables = tables::published(conn, &publication)?;
    Ok(())
}

/// Once published for UPDATE and DELETE, a table without identity takes neither any more.
fn check_identities(tables: &[Table]) -> Result<(), Error> {
    let without: Vec<_> = tables.iter().filter(|t| !t.has_identity).map(Table::to_string).collect();
    if without.is_empty() { Ok(()) } else { Err(Error::NoIdentity { tables: without.join(", ") }) }
}

fn table_list(conn: &Guarded<'_>, tables: &[Table]) -> Result<String, Error> {
    let mut list = String::new();
    for table in tables {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&conn.escape_identifier(&table.schema)?);
        list.push('.');
        list.push_str(&conn.escape_identifier(&table.name)?);
    }
    Ok(list)
}

/// Warns of a publication that leaves out kinds of changes.
fn check_publication(conn: &Guarded<'_>, done: &mut Setup) -> Result<(), Error> {
    let quoted = conn.escape_literal(&done.publication)?;
    let answer = conn.query(&format!(
        "select pubinsert, pubupdate, pubdelete, pubtruncate \
         from pg_catalog.pg_publication where pubname = {quoted}"
    ))?;
    for (col, kind) in ["insert", "update", "delete", "truncate"].into_iter().enumerate() {
        if answer.value(0, col) == Some(b"f") {
            let publication = &done.publication;
            done.warnings.push(format!("publication \"{publication}\" leaves out {kind}"));
        }
    }
    Ok(())
}
