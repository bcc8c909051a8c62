//! Reading a stream wherever it is: from its folder, or from another host.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::remote::{Link, RemoteReader};
use super::{Entry, Error, Identity, Mark, Position, Reader, ReaderOptions, Source, Start, Woken};

/// A reader of a stream that is here or elsewhere. It gives out whole transactions only; one from
/// elsewhere has come as a whole, and was checked again, before its first line is given out.
#[derive(Debug)]
pub enum Feed {
    /// From a folder.
    Folder(Box<Reader>),
    /// From another host.
    Url(Box<RemoteReader>),
}

impl Feed {
    /// Opens a stream. One on another host has answered when this returns; `link` says how its
    /// connection is kept, and `stop` ends the wait for the answer.
    ///
    /// # Errors
    /// Those of [`Reader::open`]; [`Error::Remote`].
    pub fn open(
        source: &Source,
        start: Start,
        options: ReaderOptions,
        link: Link,
        stop: &AtomicBool,
    ) -> Result<Feed, Error> {
        Ok(match source {
            Source::Folder(dir) => Feed::Folder(Box::new(Reader::open(dir, start, options)?)),
            Source::Url(url) => {
                Feed::Url(Box::new(RemoteReader::open(url, start, options, link, stop)?))
            }
        })
    }

    /// As [`Reader::next`]: the next line; `None` when there is none for now.
    ///
    /// # Errors
    /// Those of [`Reader::next`]; [`Error::Remote`].
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        match self {
            Feed::Folder(reader) => reader.next(),
            Feed::Url(reader) => reader.next(),
        }
    }

    /// As [`Feed::next`]; `stop`, set, ends a wait for a line that does not come.
    ///
    /// # Errors
    /// Those of [`Feed::next`]; when it was stopped, one of them.
    pub fn next_unless(&mut self, stop: &AtomicBool) -> Result<Option<Entry<'_>>, Error> {
        match self {
            Feed::Folder(reader) => reader.next(),
            Feed::Url(reader) => reader.next_unless(Some(stop)),
        }
    }

    /// Whether [`Feed::next`] knows what comes next: a line, or that the stream ends here for now.
    /// False while that is still on its way from another host; then `next` says `None`.
    ///
    /// # Errors
    /// [`Error::Remote`].
    pub fn knows_next(&mut self) -> Result<bool, Error> {
        match self {
            Feed::Folder(_) => Ok(true),
            Feed::Url(reader) => reader.knows_next(),
        }
    }

    /// Blocks until [`Feed::knows_next`], unless the stream is being followed.
    ///
    /// # Errors
    /// [`Error::Remote`].
    pub fn arrive(&mut self) -> Result<(), Error> {
        match self {
            Feed::Folder(_) => Ok(()),
            Feed::Url(reader) => reader.arrive(),
        }
    }

    /// As [`Reader::position`].
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self {
            Feed::Folder(reader) => reader.position(),
            Feed::Url(reader) => reader.position(),
        }
    }

    /// As [`Reader::mark`].
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        match self {
            Feed::Folder(reader) => reader.mark(),
            Feed::Url(reader) => reader.mark(),
        }
    }

    /// Whose changes the stream on another host holds, as its server says; `None` from a folder.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Feed::Folder(_) => None,
            Feed::Url(reader) => reader.identity(),
        }
    }

    /// When the stream was made ([`Identity::made`]); `None` when it, or its server, does not tell.
    #[must_use]
    pub fn made(&self) -> Option<u64> {
        match self {
            Feed::Folder(reader) => reader.made(),
            Feed::Url(reader) => reader.identity().map(|identity| identity.made).filter(|&m| m > 0),
        }
    }

    /// As [`Reader::wait`].
    ///
    /// # Errors
    /// Those of the system; [`Error::Remote`].
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        wake: Option<BorrowedFd<'_>>,
    ) -> Result<Woken, Error> {
        match self {
            Feed::Folder(reader) => reader.wait(timeout, wake),
            Feed::Url(reader) => reader.wait(timeout, wake),
        }
    }

    /// As [`Reader::watch`].
    ///
    /// # Errors
    /// Those of the system; [`Error::Remote`].
    pub fn watch(&mut self) -> Result<Option<RawFd>, Error> {
        match self {
            Feed::Folder(reader) => reader.watch(),
            Feed::Url(reader) => reader.watch().map(Some),
        }
    }

    /// As [`Reader::look_again`].
    ///
    /// # Errors
    /// Those of the system.
    pub fn look_again(&mut self) -> Result<(), Error> {
        match self {
            Feed::Folder(reader) => reader.look_again(),
            Feed::Url(_) => Ok(()),
        }
    }
}
