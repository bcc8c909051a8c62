//! Registered readers: consumers whose position is kept beside the stream, and that retention waits
//! for.
//!
//! `readers/NAME.tsv` holds the position up to which the consumer has confirmed that it is done, as
//! `clock C seq S lsn L chain X saved T`: a mark, and T, the second in which that was saved; `lsn`
//! and `chain` only where they are known; without clock and seq it has confirmed nothing yet and
//! wants all there is. It is replaced as a whole.
//! `readers/NAME.lock` is locked as long as somebody reads under that name. A consumer that dies
//! reads again what it had not confirmed: at least once, and exactly once where it keeps the
//! position with its own results.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deltaflood::pairs;

use super::content::Content;
use super::lock::{self, Lock};
use super::storage::{Storage, open_read};
use super::{
    Clock, Error, Mark, Position, Reader, ReaderOptions, Start, SystemClock, identity, layout,
    locate, mark, reader, retained, seek,
};

/// Longest name of a registered reader, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How often a name is tried to be locked, and the pause in between.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// Largest position file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// The right to read under a name, as long as this lives.
#[derive(Debug)]
pub struct Registration {
    dir: PathBuf,
    name: String,
    storage: Storage,
    confirmed: Option<Mark>,
    /// The stream does not have the confirmed transaction any more, and positions behind it may be
    /// lower ones: LSNs tell what is more.
    back: bool,
    lock: Lock,
}

/// What is known of a registered reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// It is done with everything up to here; `None`: with nothing.
    pub confirmed: Option<Mark>,
    /// When that was saved, in seconds since the Unix epoch.
    pub saved: i64,
    /// Somebody reads under this name now.
    pub active: bool,
}

impl Registration {
    /// Opens the stream in `dir` for the consumer called `name`: behind what it has confirmed, or,
    /// where that name is new, at `start`.
    ///
    /// # Errors
    /// `READERNAME` for a name that is none, `READERHELD` when somebody reads under it, `GAP` when
    /// what comes next for it was removed all the same, those of [`Reader::open`] and of the file
    /// system.
    pub fn open(
        dir: &Path,
        name: &str,
        start: Start,
        options: ReaderOptions,
        storage: Storage,
    ) -> Result<(Reader, Registration), Error> {
        reader::check_folder(dir)?;
        check_name(name)?;
        if !layout::is_ours(dir) && layout::first(dir)?.is_none() {
            return Err(Error::Empty { dir: dir.to_owned() });
        }
        // NOTE: what another one wrote here, root for one, the stream's own user could not read.
        lock::check_folder(dir)?;
        let folder = dir.join(layout::READERS);
        if !folder.is_dir() {
            storage.folder(&folder)?;
            storage.sync_folder(dir)?;
        }
        let lock = hold(&storage, &folder, name)?;
        let known = load(&folder, name)?;
        let confirmed = known.as_ref().and_then(|(confirmed, _)| *confirmed);
        let start = match (&known, confirmed) {
            (Some(_), Some(confirmed)) => Start::After(confirmed),
            (Some(_), None) => Start::Begin,
            (None, _) => start,
        };
        let reader = Reader::open(dir, start, options)?;
        if known.is_some() && confirmed.is_none() {
            // NOTE: after it is open. What was removed before that is in the note by now.
            retained::check(dir, Some(Position::MIN))?;
        }
        let (dir, name) = (dir.to_owned(), name.to_owned());
        let back = reader.behind.is_some();
        let mut registration = Registration { dir, name, storage, confirmed, back, lock };
        if let Some(confirmed) = registration.confirmed.as_mut().filter(|_| back) {
            confirmed.position = reader.position().unwrap_or(Position::MIN);
        }
        if known.is_none() {
            // NOTE: what retention has removed before, the reader has not missed.
            let removed = retained::load(&registration.dir)?;
            registration.confirmed = reader::later(reader.mark(), removed);
            registration.save()?;
        }
        Ok((reader, registration))
    }

    /// The consumer is done with everything up to here.
    #[must_use]
    pub fn confirmed(&self) -> Option<Position> {
        self.confirmed.map(|confirmed| confirmed.position)
    }

    /// Notes durably that the consumer is done with everything up to `position`; a position before
    /// the confirmed one changes nothing.
    ///
    /// # Errors
    /// `NOTFOUND` and `CHANGED` when the stream is gone or is another one, those of the file
    /// system; the confirmed position is then as before.
    pub fn confirm(&mut self, position: Position) -> Result<(), Error> {
        if self.confirmed() >= Some(position) {
            return Ok(());
        }
        let mark = locate::mark_at(&self.dir, position)?;
        if self.back && mark.lsn < self.confirmed.and_then(|confirmed| confirmed.lsn) {
            return Ok(());
        }
        let before = self.confirmed.replace(mark);
        let saved = self.save();
        match saved {
            Ok(()) => self.back = false,
            Err(_) => self.confirmed = before,
        }
        saved
    }

    /// Sees that the readers of this name are those of the stream that was opened: another one by
    /// its name has positions of its own.
    fn check_place(&self) -> Result<(), Error> {
        let path = self.dir.join(layout::READERS).join(format!("{}.lock", self.name));
        if self.lock.is_at(&path) {
            return Ok(());
        }
        reader::check_folder(&self.dir)?;
        Err(Error::Changed { dir: self.dir.clone() })
    }

    fn save(&self) -> Result<(), Error> {
        self.check_place()?;
        let mut text = String::new();
        if let Some(Mark { position: Position { clock, seq }, lsn, chain }) = self.confirmed {
            text = format!("clock\t{clock}\tseq\t{seq}\t");
            if let Some(lsn) = lsn {
                text.push_str(&format!("lsn\t{lsn}\t"));
            }
            if let Some(chain) = chain {
                text.push_str(&format!("chain\t{}\t", mark::chain_text(chain)));
            }
        }
        text.push_str(&format!("saved\t{}\n", SystemClock.now()));
        let file = format!("{}.tsv", self.name);
        // DURABILITY: retention removes what every reader has confirmed.
        identity::replace(&self.dir.join(layout::READERS), &file, text.as_bytes(), &self.storage)
    }
}

/// Letters, digits, `_`, `-`, and `.`, which does not come first.
fn check_name(name: &str) -> Result<(), Error> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || name.starts_with(['.', '-'])
        || !name.bytes().all(good)
    {
        return Err(Error::ReaderName { name: name.to_owned() });
    }
    Ok(())
}

/// Locks a name.
fn hold(storage: &Storage, folder: &Path, name: &str) -> Result<Lock, Error> {
    let path = folder.join(format!("{name}.lock"));
    // NOTE: who lists the readers has it locked for a moment, to see whether it is.
    for _ in 0..LOCK_TRIES {
        if let Some(lock) = lock::hold(storage, &path)? {
            return Ok(lock);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(Error::ReaderHeld { name: name.to_owned() })
}

/// What is saved of a reader: confirmed mark, and when; `None` when the name is not registered.
fn load(folder: &Path, name: &str) -> Result<Option<(Option<Mark>, i64)>, Error> {
    let path = folder.join(format!("{name}.tsv"));
    let Some(file) = open_read(&path)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let read = file.take(FILE_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|error| Error::io(&path, "read", error))?;
    let state = |byte, why| Error::State { path: path.clone(), byte, why };
    let (mut clock, mut seq, mut saved) = (None, None, None);
    let (mut lsn, mut chain) = (None, None);
    for pair in pairs(text.strip_suffix(b"\n").unwrap_or(&text)) {
        let (key, value) = pair.map_err(|error| state(error.byte, error.kind.text()))?;
        let text = std::str::from_utf8(value.raw()).unwrap_or_default();
        let number = text.parse().ok();
        match key.raw() {
            b"clock" => clock = number,
            b"seq" => seq = text.parse().ok(),
            b"lsn" => lsn = Some(text.parse().map_err(|_| state(0, "malformed lsn"))?),
            b"chain" => {
                let known = mark::parse_chain(text);
                chain = Some(known.ok_or_else(|| state(0, "malformed chain"))?);
            }
            b"saved" => saved = number,
            _ => return Err(state(0, "unknown key")),
        }
    }
    match (clock, seq, saved) {
        (Some(clock), Some(seq), Some(saved)) => {
            let position = Position { clock, seq };
            Ok(Some((Some(Mark { position, lsn, chain }), saved)))
        }
        (None, None, Some(saved)) => Ok(Some((None, saved))),
        _ => Err(state(0, "expected clock, seq and saved")),
    }
}

/// Names of readers that cannot be seen, and why.
pub type Unseen = Vec<(String, Error)>;

/// All registered readers of the stream in `dir`, by name.
///
/// # Errors
/// `STATE` for a damaged file, those of the file system.
pub fn registered(dir: &Path) -> Result<Vec<Registered>, Error> {
    match registered_seen(dir)? {
        (found, unseen) if unseen.is_empty() => Ok(found),
        (_, mut unseen) => Err(unseen.remove(0).1),
    }
}

/// The same, and the names of those that cannot be seen, with the reason.
///
/// # Errors
/// Those of the file system, of the folder of all readers.
pub fn registered_seen(dir: &Path) -> Result<(Vec<Registered>, Unseen), Error> {
    let folder = dir.join(layout::READERS);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(Error::io(&folder, "list", error)),
    };
    let (mut found, mut unseen) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry.map_err(|error| Error::io(&folder, "list", error))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".tsv").filter(|name| check_name(name).is_ok()) else {
            continue;
        };
        match see(&folder, name) {
            Ok(Some(reader)) => found.push(reader),
            Ok(None) => {}
            Err(error) => unseen.push((name.to_owned(), error)),
        }
    }
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    unseen.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    Ok((found, unseen))
}

/// What is known of a reader; `None` when it is not registered any more.
fn see(folder: &Path, name: &str) -> Result<Option<Registered>, Error> {
    let Some((confirmed, saved)) = load(folder, name)? else { return Ok(None) };
    let active = lock::is_held(&folder.join(format!("{name}.lock")))?;
    Ok(Some(Registered { name: name.to_owned(), confirmed, saved, active }))
}

/// Bytes of text in the stream in `dir` behind what a reader has confirmed; all where it has
/// confirmed nothing.
///
/// # Errors
/// Those of the file system; `CORRUPT`.
pub fn bytes_behind(dir: &Path, confirmed: Option<Mark>) -> Result<u64, Error> {
    let confirmed = confirmed.map(|mark| locate::reached(dir, mark)).transpose()?.flatten();
    let mut segments = layout::all(dir)?;
    let begun = segments.partition_point(|segment| Some(segment.first) <= confirmed);
    let mut bytes = 0;
    for (number, segment) in segments.iter_mut().enumerate().skip(begun.saturating_sub(1)) {
        let Some(content) = Content::open(dir, segment)? else {
            continue;
        };
        let io = |error| Error::io(segment.path(dir), "read", error);
        let mut from = 0;
        if number < begun {
            from = seek::find(&content, &|position| Some(position) > confirmed).map_err(io)?.offset;
        }
        bytes += content.len().map_err(io)?.saturating_sub(from);
    }
    Ok(bytes)
}

/// Ends a registration: retention waits for `name` no longer, and who comes under that name is new.
///
/// # Errors
/// `NOREADER` when there is none, `READERHELD` when somebody reads under it; `READERNAME`, those of
/// the file system.
pub fn forget(dir: &Path, name: &str, storage: &Storage) -> Result<(), Error> {
    reader::check_folder(dir)?;
    check_name(name)?;
    let folder = dir.join(layout::READERS);
    let path = folder.join(format!("{name}.tsv"));
    match path.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoReader { name: name.to_owned() });
        }
        Err(error) => return Err(Error::io(path, "look at", error)),
    }
    // NOTE: the lock file stays: somebody may be waiting to open it.
    let _lock = hold(storage, &folder, name)?;
    storage.remove(&path)?;
    storage.sync_folder(&folder)
}
