//! Where a stream is: in a folder, or on another host.

use std::fmt;
use std::path::{Path, PathBuf};

/// A stream's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Its folder.
    Folder(PathBuf),
    /// `https://HOST:PORT/NAME`, as `daystream serve` has it.
    Url(String),
}

impl Source {
    /// What a user wrote: a URL has `://` in it.
    #[must_use]
    pub fn parse(text: &str) -> Source {
        match text.split_once("://") {
            Some(_) => Source::Url(text.to_owned()),
            None => Source::Folder(PathBuf::from(text)),
        }
    }
}

impl From<&Path> for Source {
    fn from(dir: &Path) -> Source {
        Source::Folder(dir.to_owned())
    }
}

impl From<&PathBuf> for Source {
    fn from(dir: &PathBuf) -> Source {
        Source::Folder(dir.clone())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Folder(dir) => dir.display().fmt(f),
            Source::Url(url) => f.write_str(url),
        }
    }
}
