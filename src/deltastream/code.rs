//! The codes of this stage's errors, and what can be done about each.

use super::Error;
use crate::error::{Class, Code, Coded};

impl Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Postgres(_) | Error::Log(_) => "",
            Error::SlotMissing { .. } => "SLOTMISSING",
            Error::SlotInUse { .. } => "SLOTINUSE",
            Error::SlotLost { .. } => "SLOTLOST",
            Error::NotLogical { .. } => "NOTLOGICAL",
            Error::WrongPlugin { .. } => "WRONGPLUGIN",
            Error::WrongDatabase { .. } => "WRONGDATABASE",
            Error::WrongSystem { .. } => "WRONGSYSTEM",
            Error::WrongSlot { .. } => "WRONGSLOT",
            Error::Ahead { .. } => "AHEAD",
            Error::Timeline { .. } => "TIMELINE",
            Error::Rewound { .. } | Error::OtherServer { .. } => "REWOUND",
            Error::NoStream { .. } => "NOSTREAM",
            Error::TooLong(_) => "TOOLONG",
            Error::InvalidText(_) => "INVALIDTEXT",
            Error::Standby | Error::StandbySlot { .. } => "STANDBY",
            Error::Stopped => "STOPPED",
            Error::NotOurs { .. } => "NOTOURS",
            Error::GeneratedKey { .. } => "GENERATEDKEY",
            Error::PublicationLate { .. } => "LATEPUBLICATION",
            Error::PublicationMissing { .. } => "NOPUBLICATION",
            Error::TableNotPublished { .. } | Error::TableNotSelected { .. } => "NOTPUBLISHED",
            Error::Unlogged { .. } => "UNLOGGED",
            Error::TableMissing { .. } => "NOTABLE",
            Error::NoIdentity { .. } => "NOIDENTITY",
            Error::WalLevel { .. } => "WALLEVEL",
            Error::NotPermitted { .. } => "NOREPLICATION",
            Error::NotAllowed(_) => "NOTALLOWED",
            Error::Unsafe(_) => "UNSAFE",
            Error::Protocol { .. } => "PROTOCOL",
            Error::PluginMissing { .. } => "NOPLUGIN",
            Error::PluginNotListed { .. } => "PLUGINNOTLISTED",
            Error::PluginLine { .. } => "PLUGINLINE",
            Error::Stalled { .. } => "STALLED",
            Error::Ended => "ENDED",
            Error::System { .. } => "SYSTEM",
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        let code = Code::new("STREAM", self.reason());
        match self {
            Error::Postgres(e) => e.code(),
            Error::Log(e) => e.code(),
            Error::SlotMissing { slot }
            | Error::SlotInUse { slot, .. }
            | Error::StandbySlot { slot }
            | Error::NotLogical { slot } => code.with("slot", slot),
            Error::SlotLost { slot, confirmed, .. } => {
                code.with("slot", slot).with("confirmed", confirmed)
            }
            Error::WrongPlugin { slot, plugin, .. } => {
                code.with("slot", slot).with("plugin", plugin)
            }
            Error::WrongDatabase { slot, database, .. } => {
                code.with("slot", slot).with("database", database)
            }
            Error::WrongSystem { system, wanted } => {
                code.with("system", system).with("wanted", wanted)
            }
            Error::WrongSlot { slot, wanted } => code.with("slot", slot).with("wanted", wanted),
            Error::Ahead { slot, confirmed, have } => {
                code.with("slot", slot).with("confirmed", confirmed).with("have", have)
            }
            Error::Timeline { timeline, recorded, .. } => {
                code.with("timeline", timeline).with("recorded", recorded)
            }
            Error::Rewound { end, have } => code.with("end", end).with("have", have),
            Error::OtherServer { lsn, .. } => code.with("lsn", lsn),
            Error::TooLong(value) => value.code(code),
            Error::InvalidText(at) => code.with("table", &at.table).with("column", &at.column),
            Error::NoStream { dir } => code.with("dir", dir.display()),
            Error::PublicationMissing { publication } => code.with("publication", publication),
            Error::NotOurs { publication, tables, .. } => {
                code.with("publication", publication).with("tables", tables)
            }
            Error::PublicationLate { publication, slot } => {
                code.with("publication", publication).with("slot", slot)
            }
            Error::TableNotPublished { table, publication } => {
                code.with("table", table).with("publication", publication)
            }
            Error::TableMissing { table, .. }
            | Error::Unlogged { table, .. }
            | Error::TableNotSelected { table } => code.with("table", table),
            Error::NoIdentity { tables } | Error::GeneratedKey { tables } => {
                code.with("tables", tables)
            }
            Error::WalLevel { level } => code.with("level", level),
            Error::NotPermitted { role } => code.with("role", role),
            Error::NotAllowed(_) => code,
            Error::Unsafe(of) => code.with("object", &of.object).with("owner", &of.owner),
            Error::Protocol { lsn, .. } => code.with("lsn", lsn),
            Error::PluginMissing { plugin, .. } => code.with("plugin", plugin),
            Error::PluginNotListed { plugin, .. } => {
                code.with("plugin", plugin).with("setting", "output_plugin_libraries")
            }
            Error::PluginLine { plugin, lsn, .. } => code.with("plugin", plugin).with("lsn", lsn),
            Error::Stalled { timeout_ms } => code.with("timeout_ms", timeout_ms),
            Error::Ended | Error::Stopped | Error::Standby | Error::System { .. } => code,
        }
    }

    fn class(&self) -> Class {
        match self {
            Error::Postgres(e) => e.class(),
            Error::Log(e) => e.class(),
            Error::SlotInUse { .. } | Error::Stalled { .. } | Error::Ended => Class::Retry,
            Error::System { .. } | Error::Standby => Class::Retry,
            Error::SlotMissing { .. }
            | Error::SlotLost { .. }
            | Error::Ahead { .. }
            | Error::Timeline { .. }
            | Error::Rewound { .. }
            | Error::OtherServer { .. }
            | Error::WrongSystem { .. }
            | Error::WrongSlot { .. } => Class::Drift,
            Error::PublicationMissing { .. }
            | Error::PublicationLate { .. }
            | Error::TableNotPublished { .. }
            | Error::Unlogged { .. }
            | Error::Unsafe(_)
            | Error::TableNotSelected { .. } => Class::Drift,
            Error::Protocol { .. } | Error::PluginLine { .. } => Class::Fatal,
            Error::TooLong(_) | Error::InvalidText(_) => Class::Fatal,
            Error::NoStream { .. }
            | Error::NotLogical { .. }
            | Error::WrongPlugin { .. }
            | Error::WrongDatabase { .. }
            | Error::TableMissing { .. }
            | Error::NoIdentity { .. }
            | Error::GeneratedKey { .. }
            | Error::NotOurs { .. }
            | Error::StandbySlot { .. }
            | Error::Stopped
            | Error::WalLevel { .. }
            | Error::PluginMissing { .. }
            | Error::PluginNotListed { .. }
            | Error::NotAllowed(_)
            | Error::NotPermitted { .. } => Class::Usage,
        }
    }
}
