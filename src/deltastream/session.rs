//! A connection made ready for streaming: who the server is, whether slot and stream fit together,
//! settings that fix the text of values, names of types.

use super::catalog::Scope;
use super::invalid_text::TextRule;
use super::options::Plugin;
use super::persistence::Taken;
use super::pgoutput::TypeNames;
use super::slot::Slot;
use super::unprintable::Unprintable;
use super::{Error, Options, plugin};
use crate::daystream::Identity;
use crate::daystream::heartbeat::now_us;
use crate::libpq::{self, Conninfo, Guarded, Replication, SystemIdentity, Wake};
use deltaflood::Lsn;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `messages` of pgoutput came with this server version.
pub(crate) const VERSION_MESSAGES: i32 = 140_000;

/// object_not_in_prerequisite_state: the publication does not exist at this point of the WAL.
const WARNING_PUBLICATION: &str = "55000";

/// Options of the plugin deltaflood that turn on the lines which pgoutput's messages become as
/// well.
const DELTAFLOOD_LINES: [&str; 6] = [
    "include-transaction",
    "include-truncate",
    "include-schema",
    "include-details",
    "include-messages",
    // As our publications do.
    "publish-via-root",
];

/// A connection that is ready to stream.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) link: Replication,
    pub(super) system: SystemIdentity,
    pub(super) slot: Slot,
    pub(super) plugin: Plugin,
    pub(super) publication: String,
    /// Tables that a plugin without publications is asked for: [`Identity::tables`].
    pub(super) tables: Vec<String>,
    /// Set when the server warns that it goes on without the publication (version 18 and newer;
    /// older ones end the stream with an error).
    pub(super) unpublished: Arc<AtomicBool>,
    /// What becomes of text that is no UTF-8.
    pub(super) text: TextRule,
    /// Milliseconds within which the server wants to hear of us, 0: no limit.
    pub(super) sender_timeout_ms: u64,
}

/// Connection parameters with defaults that make a dead peer noticed within about a minute.
pub(super) fn conninfo(options: &Options) -> Result<Conninfo, Error> {
    let mut info = Conninfo::parse(&options.conninfo)?;
    info.set_default("keepalives_idle", "30");
    info.set_default("keepalives_interval", "10");
    info.set_default("keepalives_count", "3");
    info.set_default("fallback_application_name", "deltastream");
    Ok(info)
}

impl Session {
    /// Connects and looks at the slot, and whether it fits the stream's identity.
    ///
    /// # Errors
    /// `POSTGRES ...`, and the `STREAM` errors of a slot, publication or server that does not fit.
    pub(super) fn open(
        options: &Options,
        identity: Option<&Identity>,
        wake: &Wake,
    ) -> Result<Session, Error> {
        let timeout = Duration::from_millis(options.connect_timeout_ms);
        let link = Replication::connect(&conninfo(options)?, timeout, Some(wake))?;
        // NOTE: before the timeline is asked for. A standby's can change while it is read, and what
        // was read before and after the change could not be told apart later.
        let answer = link.conn().query("select pg_catalog.pg_is_in_recovery()")?;
        if answer.value(0, 0) == Some(b"t") {
            return Err(Error::Standby);
        }
        let system = link.identify_system()?;
        if let Some(identity) = identity {
            check_identity(identity, &system, &options.slot)?;
        }
        let from_state =
            |field: fn(&Identity) -> &str| identity.map(field).filter(|s| !s.is_empty());
        let plugin = options
            .plugin
            .or_else(|| Plugin::from_name(from_state(|i| &i.plugin)?))
            .unwrap_or_default();
        if options.oversize_skip && plugin != Plugin::Deltaflood {
            let (slot, wanted) = (options.slot.clone(), Plugin::Deltaflood.name().to_owned());
            return Err(Error::WrongPlugin { slot, plugin: plugin.name().to_owned(), wanted });
        }
        let publication = options
            .publication
            .as_deref()
            .or_else(|| from_state(|i| &i.publication))
            .unwrap_or(&options.slot);
        // NOTE: what is here goes into the stream's state, and whoever copies tables believes it.
        let publication = if plugin == Plugin::Pgoutput { publication } else { "" }.to_owned();
        let slot = Slot::read(link.conn(), &options.slot)?
            .ok_or_else(|| Error::SlotMissing { slot: options.slot.clone() })?;
        slot.check(plugin.name(), &system.database)?;
        let sender_timeout_ms = setting(&link, "wal_sender_timeout")?.parse().unwrap_or(60_000);
        let tables = identity.map(|i| i.tables.clone()).unwrap_or_default();
        let mut text = TextRule::default();
        if setting(&link, "server_encoding")? == "SQL_ASCII" {
            // NOTE: last of all statements: their answers are wanted as text. With UTF-8 the server
            // would end the stream at the first byte that is none.
            link.conn().query("set client_encoding = 'SQL_ASCII'")?;
            text = TextRule::any_bytes(options.invalid_text);
        }
        let unpublished = Arc::default();
        Ok(Session {
            link,
            system,
            slot,
            plugin,
            publication,
            tables,
            unpublished,
            text,
            sender_timeout_ms,
        })
    }

    fn check_publication(&self, conn: &Guarded<'_>, tables: &[String]) -> Result<(), Error> {
        let publication = self.publication.clone();
        let quoted = conn.escape_literal(&publication)?;
        let sql = format!("select 1 from pg_catalog.pg_publication where pubname = {quoted}");
        if conn.query(&sql)?.ntuples() == 0 {
            return Err(Error::PublicationMissing { publication });
        }
        for table in tables {
            let found = super::tables::find(conn, table)?;
            if !super::tables::is_published(conn, &publication, &found)? {
                return Err(Error::TableNotPublished { table: found.to_string(), publication });
            }
        }
        Ok(())
    }

    fn check_selection(&self, conn: &Guarded<'_>, tables: &[String]) -> Result<(), Error> {
        for table in tables {
            let found = super::tables::find(conn, table)?;
            if !self.tables.is_empty() && !self.tables.contains(&found.quoted()) {
                return Err(Error::TableNotSelected { table: found.to_string() });
            }
        }
        Ok(())
    }

    /// Sees that the slot is not ahead of what the stream has, and that the server's history is the
    /// stream's.
    ///
    /// # Errors
    /// `STREAM AHEAD`, `STREAM SLOTINUSE`, `STREAM TIMELINE`, `STREAM REWOUND`.
    pub(super) fn check_position(
        &self,
        have: Lsn,
        identity: Option<&Identity>,
    ) -> Result<(), Error> {
        if let Some(identity) = identity
            && identity.timeline != self.system.timeline
        {
            self.check_timeline(identity.timeline, have)?;
        }
        if self.slot.confirmed > have {
            // Whoever reads it moves it, and is what is to be known first.
            if let Some(pid) = self.slot.active_pid {
                let slot = self.slot.name.clone();
                let message = format!("the process {pid} of the server reads it");
                return Err(Error::SlotInUse { slot, message });
            }
            let (slot, confirmed) = (self.slot.name.clone(), self.slot.confirmed);
            return Err(Error::Ahead { slot, confirmed, have });
        }
        // NOTE: only flushed WAL is ever sent. A server that was put back would pass over all that
        // it writes anew up to `have`, for it is asked to begin there.
        let end = Lsn(self.system.flush_lsn);
        if have > end {
            return Err(Error::Rewound { end, have });
        }
        Ok(())
    }

    /// The server's timeline may continue the stream's: then it left it at or after the stream's
    /// end.
    fn check_timeline(&self, recorded: u32, have: Lsn) -> Result<(), Error> {
        let timeline = self.system.timeline;
        let history = self.link.conn().exec(&format!("TIMELINE_HISTORY {timeline}"))?.into_ok();
        let text = history.ok().and_then(|result| result.text(0, 1)).unwrap_or_default();
        let switch = switch_point(&text, recorded);
        if switch.is_some_and(|switch| have <= switch) {
            return Ok(());
        }
        let switch = switch.map_or_else(|| "an unknown position".to_owned(), |s| s.to_string());
        Err(Error::Timeline { timeline, recorded, switch, have })
    }

    /// Looks whether all of `wanted` is captured, learns the names of the published tables'
    /// types.
    ///
    /// What is asked about tables is asked on `side`, another connection: a walsender that has
    /// opened a table for a query (as `pg_publication_tables` does since version 16) keeps its
    /// present definition, and would decode rows from before the table was altered by it.
    ///
    /// # Errors
    /// `STREAM NOPUBLICATION`, `NOTPUBLISHED`, `NOTABLE`, `POSTGRES ...`.
    pub(super) fn prepare(
        &self,
        side: &Guarded<'_>,
        wanted: &[String],
        types: &mut TypeNames,
    ) -> Result<(), Error> {
        match self.plugin {
            Plugin::Pgoutput => self.check_publication(side, wanted)?,
            Plugin::Deltaflood => self.check_selection(side, wanted)?,
        }
        types.clear();
        if self.plugin == Plugin::Pgoutput {
            types.ask_publication(side, &self.publication)?;
        }
        Ok(())
    }

    /// What is captured beside tables that a publication names.
    ///
    /// # Errors
    /// `POSTGRES ...`.
    pub(super) fn taken(&self, side: &Guarded<'_>) -> Result<Taken, Error> {
        let publication = side.escape_literal(&self.publication)?;
        let version = self.link.conn().server_version();
        match Taken::question(self.plugin, &publication, version) {
            Some(question) => Ok(Taken::of(&side.query(&question)?)),
            None if self.tables.is_empty() => Ok(Taken::All),
            None => Ok(Taken::Tables(self.tables.clone())),
        }
    }

    /// Which tables are captured.
    pub(super) fn scope(&self) -> Scope {
        match self.plugin {
            Plugin::Pgoutput => Scope::Publication(self.publication.clone()),
            Plugin::Deltaflood => Scope::Tables(self.tables.clone()),
        }
    }

    /// Starts streaming from `from`. What the server warns of meanwhile, `warned` hears.
    ///
    /// # Errors
    /// `STREAM SLOTINUSE`, `SLOTMISSING`, `SLOTLOST`, `POSTGRES ...`.
    pub(super) fn start(
        &self,
        from: Lsn,
        oversize_skip: bool,
        warned: impl Fn(&str) + Send + 'static,
    ) -> Result<(), Error> {
        let quoted = format!("\"{}\"", self.publication.replace('"', "\"\""));
        let tables = self.tables.join(",");
        let mut arguments = Vec::new();
        match self.plugin {
            Plugin::Pgoutput => {
                arguments.push(("proto_version", "1"));
                arguments.push(("publication_names", quoted.as_str()));
                if self.link.conn().server_version() >= VERSION_MESSAGES {
                    arguments.push(("messages", "true"));
                }
            }
            Plugin::Deltaflood => {
                // Everything that pgoutput sends as well: the lines must be the same.
                arguments.extend(DELTAFLOOD_LINES.map(|name| (name, "on")));
                if !tables.is_empty() {
                    arguments.push(("tables", &tables));
                }
                if oversize_skip {
                    arguments.push(("oversize", "skip"));
                }
            }
        }
        self.watch(warned);
        let started = self.link.start(&self.slot.name, from.0, &arguments);
        started.map_err(|error| self.explain(error.into()))
    }

    /// Listens to warnings. A server that does not find the publication passes over its changes
    /// with one: that must end the stream before anything behind is confirmed.
    fn watch(&self, warned: impl Fn(&str) + Send + 'static) {
        let unpublished = Arc::clone(&self.unpublished);
        let pgoutput = self.plugin == Plugin::Pgoutput;
        let publication = self.publication.clone();
        self.link.conn().set_coded_notice_hook(Some(Box::new(move |sqlstate, message| {
            let ours = || libpq::names(message, &publication);
            if pgoutput && sqlstate == WARNING_PUBLICATION && ours() {
                unpublished.store(true, Ordering::SeqCst);
            } else {
                warned(message.trim_end());
            }
        })));
    }

    /// The stream's error when the server goes on without the publication.
    ///
    /// # Errors
    /// `STREAM LATEPUBLICATION`.
    pub(super) fn check_published(&self) -> Result<(), Error> {
        match self.unpublished.load(Ordering::SeqCst) {
            true => Err(self.late_publication()),
            false => Ok(()),
        }
    }

    /// The publication was there when the connection was made, and the server does not know it at
    /// the place of the WAL that it decodes.
    fn late_publication(&self) -> Error {
        let (publication, slot) = (self.publication.clone(), self.slot.name.clone());
        Error::PublicationLate { publication, slot }
    }

    /// An error about a missing object, the publication or the slot. The two may have one name;
    /// then the slot is looked for.
    fn missing(&self, message: &str, error: Error) -> Error {
        let Session { publication, slot, .. } = self;
        let missing_slot = || Error::SlotMissing { slot: slot.name.clone() };
        if !libpq::names(message, publication) {
            return missing_slot();
        }
        if *publication != slot.name {
            return self.late_publication();
        }
        match Slot::read(self.link.conn(), &slot.name) {
            Ok(Some(_)) => self.late_publication(),
            Ok(None) => missing_slot(),
            // Nobody knows: the server's own words.
            Err(_) => error,
        }
    }

    /// As [`Session::explain`], of an error in what is sent after `have`, of one of `tables`.
    pub(super) fn explain_at(&self, error: Error, have: Lsn, tables: Vec<String>) -> Error {
        match &error {
            // The plugin deltaflood says where and what to do.
            Error::Postgres(source)
                if source.is_unprintable() && self.plugin == Plugin::Pgoutput =>
            {
                Error::TooLong(Box::new(Unprintable {
                    after: have,
                    tables,
                    message: source.to_string(),
                }))
            }
            _ => self.explain(error),
        }
    }

    /// Says in this stage's words what the server means, where it is about the slot or the
    /// publication.
    pub(super) fn explain(&self, error: Error) -> Error {
        let Error::Postgres(crate::libpq::Error::Server(server)) = &error else { return error };
        if let Some(error) = plugin::explain(self.link.conn(), self.plugin.name(), server) {
            return error;
        }
        let slot = self.slot.name.clone();
        let message = server.message.clone();
        match server.sqlstate.as_str() {
            // object_in_use
            "55006" => Error::SlotInUse { slot, message },
            // undefined_object
            "42704" => self.missing(&message, error),
            // object_not_in_prerequisite_state (invalidated), undefined_file (WAL segment removed)
            "55000" | "58P01" => {
                Error::SlotLost { slot, why: message, confirmed: self.slot.confirmed }
            }
            _ => error,
        }
    }
}

/// The name of a stream that is made now: see [`Identity::made`].
pub(super) fn now_made() -> u64 {
    u64::try_from(now_us()).unwrap_or(1)
}

/// A number for a capture, which nobody can guess.
pub(super) fn new_id() -> u64 {
    // NOTE: keyed by the system's random numbers.
    RandomState::new().hash_one(now_us())
}

/// What nobody else can guess, of hexadecimal digits.
pub(super) fn new_key() -> String {
    format!("{:016x}{:016x}", new_id(), new_id())
}

fn setting(link: &Replication, name: &str) -> Result<String, Error> {
    let name = link.conn().escape_literal(name)?;
    let sql = format!("select setting from pg_catalog.pg_settings where name = {name}");
    Ok(link.conn().query(&sql)?.text(0, 0).unwrap_or_default())
}

/// Sees that the stream was written from this slot of this system.
///
/// # Errors
/// `STREAM WRONGSLOT`, `WRONGSYSTEM`, `WRONGDATABASE`.
pub(super) fn check_identity(
    identity: &Identity,
    system: &SystemIdentity,
    slot: &str,
) -> Result<(), Error> {
    let slot = slot.to_owned();
    if identity.slot != slot {
        return Err(Error::WrongSlot { slot, wanted: identity.slot.clone() });
    }
    if identity.system_id != system.system_id {
        let (system, wanted) = (system.system_id.to_string(), identity.system_id.to_string());
        return Err(Error::WrongSystem { system, wanted });
    }
    if identity.database != system.database {
        let (database, wanted) = (system.database.clone(), identity.database.clone());
        return Err(Error::WrongDatabase { slot, database, wanted });
    }
    Ok(())
}

/// Where timeline `timeline` was left, by a timeline history file (parent, position, reason per
/// line).
fn switch_point(history: &str, timeline: u32) -> Option<Lsn> {
    history.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let parent: u32 = words.next()?.parse().ok()?;
        let switch = words.next()?.parse().ok()?;
        (parent == timeline).then_some(switch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_point_is_read_from_a_history_file() {
        let history = "1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tx\n";
        assert_eq!(switch_point(history, 1), Some(Lsn(0x300_0148)));
        assert_eq!(switch_point(history, 2), Some(Lsn(0x500_0000)));
        assert_eq!(switch_point(history, 3), None);
    }
}
