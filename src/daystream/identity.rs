//! Whose changes a stream holds: the state file `stream.tsv`.
//!
//! One line of keys and values, escaped as in a change line. It is replaced as a whole: written
//! beside, made durable, renamed. It says which format the stream has. Of the keys that a reader
//! does not know it may pass over those that begin `x_`; another one is refused, and so is a higher
//! format: the stream may not mean what this version would read in it.

use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use deltaflood::{Lsn, list, pairs, write};

use super::storage::{Storage, open_read};
use super::{Error, Mark, layout, mark};
use crate::failpoint;

/// The format that is written: commit lines have a chain. Without the key it is 1.
const FORMAT: u32 = 2;
/// How keys begin that a reader may pass over. A writer keeps them.
const PASSED_OVER: &[u8] = b"x_";
/// Milliseconds between two heartbeats: older versions keep it as it was.
const HEARTBEAT_MS: &[u8] = b"x_heartbeat_ms";
/// Largest state file that is written or read, in bytes: some 30,000 tables.
const STATE_BYTES_MAX: usize = 1 << 20;

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
    /// Number of its capture, by which that knows its own heartbeats; `None` before the capture
    /// has made one.
    pub id: Option<u64>,
    /// Milliseconds between two heartbeats of its capture; 0: none, or not known.
    pub heartbeat_ms: u64,
    /// Everything before this LSN is in the stream or was of no interest; made durable here before
    /// it is confirmed to the server.
    pub confirmed: Option<Lsn>,
}

/// What a state file says beside the identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    /// Format of the stream; 0: of a stream without a state file.
    pub(super) format: u32,
    /// Up to here the stream was durable when the file was saved.
    pub(super) end: Option<Mark>,
    /// Keys and values that were passed over, as they stand in the file.
    pub(super) passed_over: Vec<u8>,
}

impl State {
    /// Whether the stream was begun by a version that wrote an older format.
    pub(super) const fn is_old(&self) -> bool {
        0 < self.format && self.format < FORMAT
    }
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
        Ok(Identity::load_all(dir)?.map(|(identity, _)| identity))
    }

    /// Reads the identity, and what else the state file says.
    pub(super) fn load_all(dir: &Path) -> Result<Option<(Identity, State)>, Error> {
        let path = dir.join(layout::STATE);
        let Some(file) = open_read(&path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.take(STATE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| Error::io(&path, "read", error))?;
        if bytes.len() > STATE_BYTES_MAX {
            return Err(Error::State { path, byte: STATE_BYTES_MAX, why: "it is too large" });
        }
        Identity::decode(&bytes).map(Some).map_err(|fault| fault.error(path))
    }

    fn decode(bytes: &[u8]) -> Result<(Identity, State), Fault> {
        let line = bytes.strip_suffix(b"\n");
        let line = line.ok_or(Fault::At(bytes.len(), "the line feed is missing"))?;
        let (mut identity, mut state) = (Identity::default(), State::default());
        state.format = 1;
        let mut seen = Vec::new();
        let mut unknown = None;
        let mut fields = pairs(line);
        loop {
            let at = fields.offset();
            let Some(pair) = fields.next() else {
                break;
            };
            let (key, raw) = pair.map_err(|error| Fault::At(error.byte, error.kind.text()))?;
            let key = key.raw();
            if seen.contains(&key) {
                return Err(Fault::At(at, "key given twice"));
            }
            seen.push(key);
            if key.starts_with(PASSED_OVER) && key != HEARTBEAT_MS {
                let end = fields.offset();
                let end = if end < line.len() { end - 1 } else { end };
                state.pass_over(line.get(at..end).unwrap_or_default());
                continue;
            }
            let value = String::from_utf8(raw.decode().into_owned());
            let value = value.map_err(|_| Fault::At(at, "not UTF-8"))?;
            let set = match state.set(key, &value) {
                Some(false) => identity.set(key, value),
                set => set,
            };
            if !set.ok_or(Fault::At(at, "malformed value"))? {
                unknown = unknown.or(Some(String::from_utf8_lossy(key).into_owned()));
            }
        }
        match unknown {
            Some(key) => return Err(Fault::Unknown(state.format, key)),
            None if state.format > FORMAT => {
                return Err(Fault::Unknown(state.format, "format".to_owned()));
            }
            None => {}
        }
        if seen.contains(&b"system_id".as_slice()) && seen.contains(&b"slot".as_slice()) {
            Ok((identity, state))
        } else {
            Err(Fault::At(line.len(), "system_id or slot is missing"))
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
            b"id" => self.id = Some(Identity::id_of(&value)?),
            HEARTBEAT_MS => self.heartbeat_ms = value.parse().ok()?,
            b"confirmed" => self.confirmed = Some(value.parse().ok()?),
            _ => return Some(false),
        }
        Some(true)
    }

    /// The capture's number as sixteen lower-case hexadecimal digits; empty for none.
    #[must_use]
    pub fn id_text(&self) -> String {
        self.id.map(|id| format!("{id:016x}")).unwrap_or_default()
    }

    /// The number in such a text.
    #[must_use]
    pub fn id_of(text: &str) -> Option<u64> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let sound = text.len() == 16 && text.bytes().all(digit);
        if sound { u64::from_str_radix(text, 16).ok() } else { None }
    }

    fn encode(&self, state: &State) -> Vec<u8> {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let end = state.end.as_ref();
        let fields = [
            ("format", Some(FORMAT.to_string())),
            ("system_id", Some(self.system_id.to_string())),
            ("database", Some(self.database.clone())),
            ("slot", Some(self.slot.clone())),
            ("plugin", Some(self.plugin.clone())),
            ("publication", Some(self.publication.clone())),
            ("tables", some(self.tables_list())),
            ("timeline", Some(self.timeline.to_string())),
            ("made", (self.made > 0).then(|| self.made.to_string())),
            ("id", some(self.id_text())),
            ("x_heartbeat_ms", (self.heartbeat_ms > 0).then(|| self.heartbeat_ms.to_string())),
            ("confirmed", self.confirmed.map(|lsn| lsn.to_string())),
            ("end", end.map(|end| end.position.to_string())),
            ("end_lsn", end.and_then(|end| end.lsn).map(|lsn| lsn.to_string())),
            ("end_chain", end.and_then(|end| end.chain).map(mark::chain_text)),
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
        if !state.passed_over.is_empty() {
            out.push(b'\t');
            out.extend_from_slice(&state.passed_over);
        }
        out.push(b'\n');
        out
    }

    /// Saves the identity durably, and what else the state file says. Only the stream's writer may.
    pub(super) fn save(&self, dir: &Path, state: &State, storage: &Storage) -> Result<(), Error> {
        let bytes = self.encode(state);
        if bytes.len() > STATE_BYTES_MAX {
            return Err(Error::StateSize { tables: self.tables.len(), bytes: bytes.len() });
        }
        replace(dir, layout::STATE, &bytes, storage)
    }
}

impl State {
    /// Sets a field; false for another one's key, `None` for a malformed value.
    fn set(&mut self, key: &[u8], value: &str) -> Option<bool> {
        match key {
            b"format" => self.format = value.parse().ok().filter(|format| *format > 0)?,
            b"end" => self.end = Some(Mark::at(value.parse().ok()?)),
            b"end_lsn" => self.end.as_mut()?.lsn = Some(value.parse().ok()?),
            b"end_chain" => self.end.as_mut()?.chain = Some(mark::parse_chain(value)?),
            _ => return Some(false),
        }
        Some(true)
    }

    fn pass_over(&mut self, field: &[u8]) {
        if !self.passed_over.is_empty() {
            self.passed_over.push(b'\t');
        }
        self.passed_over.extend_from_slice(field);
    }
}

/// What is wrong with a state file.
enum Fault {
    /// This, at this byte.
    At(usize, &'static str),
    /// It is of this format, and has this key, which is not known.
    Unknown(u32, String),
}

impl Fault {
    fn error(self, path: PathBuf) -> Error {
        match self {
            Fault::At(byte, why) => Error::State { path, byte, why },
            Fault::Unknown(format, key) => Error::Format { path, format, key },
        }
    }
}

/// As [`replace`], of a file that a stream's user keeps beside it and nobody else may read.
///
/// # Errors
/// Those of the file system.
pub(crate) fn replace_private(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    replace_as(dir, name, bytes, &Storage::default(), Some(0o600))
}

/// Replaces the small file `name` in `dir` as a whole, durably.
pub(super) fn replace(
    dir: &Path,
    name: &str,
    bytes: &[u8],
    storage: &Storage,
) -> Result<(), Error> {
    replace_as(dir, name, bytes, storage, None)
}

/// As [`replace`], the file having this mode before anything is in it.
fn replace_as(
    dir: &Path,
    name: &str,
    bytes: &[u8],
    storage: &Storage,
    mode: Option<u32>,
) -> Result<(), Error> {
    let path = dir.join(name);
    let beside = dir.join(format!("{name}.new"));
    storage.remove(&beside)?;
    let file = storage.create(&beside)?;
    if let Some(mode) = mode {
        let set = file.set_permissions(Permissions::from_mode(mode));
        set.map_err(|error| Error::io(&beside, "set the mode of", error))?;
    }
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
