//! The streams under a folder, by name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pgsqlite::daystream::Error;
use pgsqlite::shown::is_hidden;

use tokio::sync::Semaphore;

use super::parked::Parked;
use super::ring::{Follower, Ring};
use crate::limits::READING_LINES_MAX;

/// A stream, and what its readers share.
#[derive(Debug)]
pub struct Stream {
    /// Its name in requests.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Open readers of its answers.
    pub parked: Parked,
    /// Bytes of lines handed out.
    pub sent: AtomicU64,
    /// Shared by all streams.
    pub turns: Arc<Turns>,
    ring: Mutex<Option<Arc<Ring>>>,
}

/// Who may read lines now.
#[derive(Debug)]
pub struct Turns {
    /// So many at once.
    pub lines: Arc<Semaphore>,
    /// One after the other: what takes much memory.
    pub long: Arc<Semaphore>,
}

impl Turns {
    fn new() -> Arc<Turns> {
        let lines = Arc::new(Semaphore::new(READING_LINES_MAX));
        Arc::new(Turns { lines, long: Arc::new(Semaphore::new(1)) })
    }
}

impl Stream {
    /// Begins to follow its end.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn follow(&self) -> Result<Follower, Error> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ring) = ring.as_ref().filter(|ring| !ring.has_ended()) {
            return Ok(ring.follow());
        }
        let new = Ring::start(&self.dir)?;
        let follower = new.follow();
        *ring = Some(new);
        Ok(follower)
    }

    /// Number of its followers that are at its end.
    pub fn followers(&self) -> usize {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.as_ref().map_or(0, |ring| ring.followers())
    }
}

/// The streams that were asked for.
#[derive(Debug)]
pub struct Streams {
    root: PathBuf,
    known: Mutex<HashMap<String, Arc<Stream>>>,
    answers: AtomicU64,
    turns: Arc<Turns>,
}

/// Names that are pages.
pub const PAGES: [&str; 2] = ["status", "metrics"];

/// Whether a name can be that of a stream: one folder's name, nothing that leads elsewhere, nothing
/// that is hidden (also in the name: ESC, marks of direction), no page.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.chars().any(|c| c == '/' || c == '\\' || is_hidden(c))
        && !PAGES.contains(&name)
}

impl Streams {
    /// The streams under `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Streams {
        let answers = AtomicU64::new(0);
        Streams { root, known: Mutex::default(), answers, turns: Turns::new() }
    }

    /// The stream called so; `None` when there is none. Looks at the file system.
    pub fn find(&self, name: &str) -> Option<Arc<Stream>> {
        if !is_name(name) {
            return None;
        }
        let dir = self.root.join(name);
        // A link could lead out of the root.
        let is_folder = dir.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_folder || !is_stream(&dir) {
            known.remove(name);
            return None;
        }
        let stream = known.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Stream {
                name: name.to_owned(),
                dir,
                parked: Parked::default(),
                sent: AtomicU64::new(0),
                turns: Arc::clone(&self.turns),
                ring: Mutex::default(),
            })
        });
        Some(Arc::clone(stream))
    }

    /// Every stream under the root, by name.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.iter().filter_map(|name| self.find(name)).collect()
    }

    /// A number for an answer.
    pub fn next_answer(&self) -> u64 {
        self.answers.fetch_add(1, Ordering::Relaxed)
    }
}

/// Whether a writer was ever there. Folders of segments without `lock` and `stream.tsv` are those
/// of other programs, whose transactions have no end to tell them apart by.
fn is_stream(dir: &Path) -> bool {
    ["lock", "stream.tsv"].iter().any(|name| dir.join(name).symlink_metadata().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_of_the_root_is_a_stream() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("root");
        for dir in ["root/flights", "root/empty", "elsewhere"] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        std::fs::write(at.join("flights/lock"), "").unwrap();
        std::fs::write(root.path().join("elsewhere/lock"), "").unwrap();
        std::os::unix::fs::symlink("../elsewhere", at.join("link")).unwrap();
        let streams = Streams::new(at);
        assert!(streams.find("flights").is_some());
        for bad in ["empty", "link", "none", "", ".", "..", "../elsewhere", "flights/", "a\0b"] {
            assert!(streams.find(bad).is_none(), "{bad:?}");
        }
        for bad in ["status", "metrics", ".hidden", "a\\b", "a\nb", "a\u{202e}b", "/etc"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name("Flüge von gestern"));
        let names: Vec<_> = streams.all().iter().map(|stream| stream.name.clone()).collect();
        assert_eq!(names, ["flights"]);
    }
}
