//! What the capture of a stream said last of itself, and whether it is still there.
//!
//! The file `capture.tsv` has one line of keys and values, escaped as in a change line: `state`,
//! `since_us`, `code`, `message`. Only who holds the stream's lock writes it. It is a word for
//! those who ask, and nothing depends on it: it is not made durable, and what cannot be read in it
//! is as if it were not there. Whether a capture runs, the lock tells.

use std::io::Read;
use std::path::{Path, PathBuf};

use deltaflood::{pairs, write};

use super::lock::is_held;
use super::origin::{FolderMark, folder_mark};
use super::storage::{Storage, open_read};
use super::{Error, layout};
use crate::error::Coded;

/// The longest message that is kept, in bytes.
const MESSAGE_BYTES: usize = 8 << 10;
/// The longest file that is read, in bytes.
const FILE_BYTES: u64 = 64 << 10;

/// What a capture or a mirror does, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doing {
    /// It runs.
    Running,
    /// It runs, and waits to try again what failed.
    Waiting,
    /// It ended as asked.
    Stopped,
    /// It ended by an error.
    Failed,
    /// It said that it runs, and no process does: killed, or on a machine that went down.
    Gone,
    /// Nothing runs, and none has said that it ever did.
    None,
    /// That cannot be seen from here.
    #[default]
    Unknown,
}

impl Doing {
    const WORDS: [(Doing, &'static str); 7] = [
        (Doing::Running, "running"),
        (Doing::Waiting, "waiting"),
        (Doing::Stopped, "stopped"),
        (Doing::Failed, "failed"),
        (Doing::Gone, "gone"),
        (Doing::None, "none"),
        (Doing::Unknown, "unknown"),
    ];

    /// The lower-case word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Doing::WORDS.iter().find(|(doing, _)| *doing == self).map_or("unknown", |(_, word)| word)
    }

    /// What a word stands for.
    #[must_use]
    pub fn of(word: &str) -> Doing {
        let found = Doing::WORDS.iter().find(|(_, known)| *known == word);
        found.map_or(Doing::Unknown, |(doing, _)| *doing)
    }

    /// Whether a process is at work.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Doing::Running | Doing::Waiting)
    }

    /// Whether nothing is done any more.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Doing::Stopped | Doing::Failed | Doing::Gone)
    }
}

/// What is known of a program that works on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Work {
    /// What it does, or how it ended.
    pub doing: Doing,
    /// Since when, as it said, microseconds since the Unix epoch; of one that is gone, since when
    /// it had run. `None`: not known.
    pub since_us: Option<i64>,
    /// Code of the error that ended it or that it waits for, as a Tcl list; empty: none.
    pub code: String,
    /// That error, with its causes.
    pub message: String,
}

impl Work {
    /// It does this from now on.
    #[must_use]
    pub fn now(doing: Doing) -> Work {
        let since_us = Some(super::heartbeat::now_us());
        Work { doing, since_us, ..Work::default() }
    }

    /// It does this from now on, because of an error.
    #[must_use]
    pub fn because(doing: Doing, error: &impl Coded) -> Work {
        let mut message = error.report();
        let room = (0..=MESSAGE_BYTES).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(room.unwrap_or(0));
        Work { code: error.code().list(), message, ..Work::now(doing) }
    }

    /// What was said, held against whether a process is there that says so: `None` when that
    /// cannot be seen.
    #[must_use]
    pub fn held_against(self, there: Option<bool>) -> Work {
        match (there, self.doing.is_running()) {
            (Some(true), true) | (Some(false), false) => self,
            // NOTE: one that says nothing of itself.
            (Some(true), false) => Work { doing: Doing::Running, ..Work::default() },
            (Some(false), true) => Work { doing: Doing::Gone, ..self },
            (None, true) => Work::default(),
            (None, false) => self,
        }
    }

    /// What is known of the capture of the stream in `dir`, from outside.
    #[must_use]
    pub fn of(dir: &Path) -> Work {
        let there = is_held(&dir.join(layout::LOCK)).ok();
        let said = said(dir).unwrap_or(Work { doing: Doing::None, ..Work::default() });
        said.held_against(there)
    }
}

/// What the file says; `None` when it is not there or says nothing that is understood.
fn said(dir: &Path) -> Option<Work> {
    let mut bytes = Vec::new();
    let file = open_read(&dir.join(layout::CAPTURE)).ok()??;
    file.take(FILE_BYTES).read_to_end(&mut bytes).ok()?;
    let mut work = Work::default();
    for pair in pairs(bytes.strip_suffix(b"\n")?) {
        let (key, value) = pair.ok()?;
        let value = String::from_utf8(value.decode().into_owned()).ok()?;
        match key.raw() {
            b"state" => work.doing = Doing::of(&value),
            b"since_us" => work.since_us = value.parse().ok(),
            b"code" => work.code = value,
            b"message" => work.message = value,
            _ => {}
        }
    }
    Some(work).filter(|work| work.doing != Doing::Unknown)
}

/// Says what the capture of a stream does. While its lock is held.
#[derive(Debug)]
pub struct Notes {
    dir: PathBuf,
    folder: Option<FolderMark>,
}

impl Notes {
    /// Of the stream in `dir` as it is now.
    #[must_use]
    pub fn new(dir: &Path) -> Notes {
        Notes { dir: dir.to_owned(), folder: folder_mark(dir) }
    }

    /// Says it. What hinders it is no reason to do anything else: who asks learns less.
    pub fn say(&self, work: &Work) {
        // NOTE: another stream in the place of this one has a capture of its own.
        if self.folder.is_some() && folder_mark(&self.dir) == self.folder {
            let _ = self.replace(work);
        }
    }

    fn replace(&self, work: &Work) -> Result<(), Error> {
        let since_us = work.since_us.unwrap_or(0).to_string();
        let fields = [
            ("state", work.doing.word()),
            ("since_us", &since_us),
            ("code", &work.code),
            ("message", &work.message),
        ];
        let mut bytes = Vec::new();
        for (key, value) in fields {
            if !bytes.is_empty() {
                bytes.push(b'\t');
            }
            bytes.extend_from_slice(key.as_bytes());
            bytes.push(b'\t');
            write::escape(&mut bytes, value.as_bytes());
        }
        bytes.push(b'\n');
        let (path, storage) = (self.dir.join(layout::CAPTURE), Storage::default());
        let beside = self.dir.join(format!("{}.new", layout::CAPTURE));
        storage.remove(&beside)?;
        let file = storage.create(&beside)?;
        storage.write(&file, &bytes, 0).map_err(|error| Error::io(&beside, "write", error))?;
        storage.rename(&beside, &path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_held_against_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let doing = || Work::of(dir.path()).doing;
        assert_eq!(doing(), Doing::None);
        let notes = Notes::new(dir.path());
        notes.say(&Work::now(Doing::Running));
        assert_eq!(doing(), Doing::Gone);
        let lock = super::super::lock::acquire(&Storage::default(), dir.path()).unwrap();
        assert_eq!(doing(), Doing::Running);
        let error = Error::Empty { dir: "a\tb".into() };
        notes.say(&Work::because(Doing::Waiting, &error));
        assert_eq!(doing(), Doing::Waiting);
        notes.say(&Work::because(Doing::Failed, &error));
        assert_eq!(doing(), Doing::Running, "another one");
        drop(lock);
        let work = Work::of(dir.path());
        assert_eq!(
            (work.doing, work.code.as_str()),
            (Doing::Failed, "PGSQLITE DAYSTREAM EMPTY dir a\\tb")
        );
        assert_eq!(work.message, error.report());
        std::fs::write(dir.path().join(layout::CAPTURE), "state").unwrap();
        assert_eq!(doing(), Doing::None);
    }
}
