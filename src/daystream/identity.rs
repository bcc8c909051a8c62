//! Whose changes a stream holds: the state file `stream.tsv`.
//!
//! One line of keys and values, escaped as in a change line. It is replaced as a whole: written
//! beside, made durable, renamed. Keys that this version does not know are refused.

use std::io::Read;
use std::path::Path;

use deltaflood::{Lsn, list, pairs, write};

use super::storage::{Storage, open_read};
use super::{Error, Position, layout};
use crate::failpoint;

/// Largest state file that is read, in bytes.
const STATE_BYTES_MAX: u64 = 64 << 10;

/// Where a stream comes from, and how far its source was told that it may forget.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// PostgreSQL's system identifier.
    pub system_id: u64,
    /// Name of the database.
    pub database: String,
    /// Name of the replication slot.
    pub slot: String,
    /// Name of the output plugin.
    pub plugin: String,
    /// Name of the publication; empty when the plugin needs none.
    pub publication: String,
    /// Tables that a plugin without publications is asked for, each as a quoted name with its
    /// schema; empty: all of the database.
    pub tables: Vec<String>,
    /// Timeline of the server when the stream was last connected.
    pub timeline: u32,
    /// When the stream was made, microseconds since the Unix epoch: what tells it from another one
    /// of the same slot. 0: not known.
    pub made: u64,
    /// Everything before this LSN is in the stream or was of no interest; made durable here before
    /// it is confirmed to the server.
    pub confirmed: Option<Lsn>,
}

/// What tells a state file from the one that replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StateMark {
    file: u64,
    /// Seconds and nanoseconds of its last change.
    changed: (i64, i64),
}

impl Identity {
    /// The mark of the state file in `dir` as it is now; `None` when there is none to be seen.
    pub(super) fn mark(dir: &Path) -> Option<StateMark> {
        use std::os::unix::fs::MetadataExt;
        let meta = dir.join(layout::STATE).symlink_metadata().ok()?;
        Some(StateMark { file: meta.ino(), changed: (meta.ctime(), meta.ctime_nsec()) })
    }

    /// Reads the identity of the stream in `dir`; `None` when it has none yet.
    ///
    /// # Errors
    /// `STATE` with the byte when the file is damaged; those of the file system.
    pub fn load(dir: &Path) -> Result<Option<Identity>, Error> {
        Ok(Identity::load_with_end(dir)?.map(|(identity, _)| identity))
    }

    /// Reads the identity, and the position up to which the stream was durable when it was saved.
    pub(super) fn load_with_end(dir: &Path) -> Result<Option<(Identity, Option<Position>)>, Error> {
        let path = dir.join(layout::STATE);
        let Some(file) = open_read(&path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.take(STATE_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(|error| Error::io(&path, "read", error))?;
        let state = |(byte, why)| Error::State { path: path.clone(), byte, why };
        Identity::decode(&bytes).map(Some).map_err(state)
    }

    fn decode(bytes: &[u8]) -> Result<(Identity, Option<Position>), (usize, &'static str)> {
        let line = bytes.strip_suffix(b"\n").ok_or((bytes.len(), "the line feed is missing"))?;
        let mut identity = Identity::default();
        let mut end = None;
        let mut seen = Vec::new();
        let mut fields = pairs(line);
        loop {
            let at = fields.offset();
            let Some(pair) = fields.next() else {
                break;
            };
            let (key, value) = pair.map_err(|error| (error.byte, error.kind.text()))?;
            let value = String::from_utf8(value.decode().into_owned());
            let value = value.map_err(|_| (at, "not UTF-8"))?;
            if key.raw() == b"end" {
                end = Some(value.parse().map_err(|_| (at, "malformed value"))?);
            } else if !identity.set(key.raw(), value).ok_or((at, "malformed value"))? {
                return Err((at, "unknown key"));
            }
            if seen.contains(&key.raw()) {
                return Err((at, "key given twice"));
            }
            seen.push(key.raw());
        }
        if seen.contains(&b"system_id".as_slice()) && seen.contains(&b"slot".as_slice()) {
            Ok((identity, end))
        } else {
            Err((line.len(), "system_id or slot is missing"))
        }
    }

    /// The tables as one list ([`deltaflood::list`]); empty for none.
    #[must_use]
    pub fn tables_list(&self) -> String {
        let names = list::encode(self.tables.iter().map(String::as_bytes));
        String::from_utf8_lossy(&names).into_owned()
    }

    /// The tables of such a list; `None` when it is malformed.
    #[must_use]
    pub fn tables_of(text: &str) -> Option<Vec<String>> {
        let names = list::decode(text.as_bytes()).ok()?;
        names.into_iter().map(|name| String::from_utf8(name.into_owned()).ok()).collect()
    }

    /// Sets a field; false for an unknown key, `None` for a malformed value.
    fn set(&mut self, key: &[u8], value: String) -> Option<bool> {
        match key {
            b"system_id" => self.system_id = value.parse().ok()?,
            b"database" => self.database = value,
            b"slot" => self.slot = value,
            b"plugin" => self.plugin = value,
            b"publication" => self.publication = value,
            b"tables" => self.tables = Identity::tables_of(&value)?,
            b"timeline" => self.timeline = value.parse().ok()?,
            b"made" => self.made = value.parse().ok()?,
            b"confirmed" => self.confirmed = Some(value.parse().ok()?),
            _ => return Some(false),
        }
        Some(true)
    }

    fn encode(&self, end: Option<Position>) -> Vec<u8> {
        let system_id = self.system_id.to_string();
        let timeline = self.timeline.to_string();
        let tables = Some(self.tables_list()).filter(|names| !names.is_empty());
        let made = (self.made > 0).then(|| self.made.to_string());
        let confirmed = self.confirmed.map(|lsn| lsn.to_string());
        let end = end.map(|end| end.to_string());
        let fields = [
            ("system_id", Some(system_id.as_str())),
            ("database", Some(&self.database)),
            ("slot", Some(&self.slot)),
            ("plugin", Some(&self.plugin)),
            ("publication", Some(&self.publication)),
            ("tables", tables.as_deref()),
            ("timeline", Some(&timeline)),
            ("made", made.as_deref()),
            ("confirmed", confirmed.as_deref()),
            ("end", end.as_deref()),
        ];
        let mut out = Vec::new();
        for (key, value) in fields {
            let Some(value) = value else {
                continue;
            };
            if !out.is_empty() {
                out.push(b'\t');
            }
            out.extend_from_slice(key.as_bytes());
            out.push(b'\t');
            write::escape(&mut out, value.as_bytes());
        }
        out.push(b'\n');
        out
    }

    /// Saves the identity durably, and the position up to which the stream is durable. Only the
    /// stream's writer may.
    pub(super) fn save(
        &self,
        dir: &Path,
        end: Option<Position>,
        storage: &Storage,
    ) -> Result<(), Error> {
        replace(dir, layout::STATE, &self.encode(end), storage)
    }
}

/// Replaces the small file `name` in `dir` as a whole, durably.
pub(super) fn replace(
    dir: &Path,
    name: &str,
    bytes: &[u8],
    storage: &Storage,
) -> Result<(), Error> {
    let path = dir.join(name);
    let beside = dir.join(format!("{name}.new"));
    storage.remove(&beside)?;
    let file = storage.create(&beside)?;
    storage.write(&file, bytes, 0).map_err(|error| Error::io(&beside, "write", error))?;
    // DURABILITY: the bytes before the name, or a power loss leaves an empty file under it.
    storage.sync(&file).map_err(|error| Error::io(&beside, "fsync", error))?;
    failpoint::pass(failpoint::LOG_STATE_RENAME_BEFORE);
    storage.rename(&beside, &path)?;
    // DURABILITY: the name itself.
    storage.sync_folder(dir)?;
    failpoint::pass(failpoint::LOG_STATE_RENAME_AFTER);
    Ok(())
}
