//! The stream of a mirror: where it is, and whose changes it holds.

use std::sync::atomic::AtomicBool;

use super::Error;
use super::state::StreamState;
use crate::daystream::heartbeat::{Heartbeats, Kind, Tail};
use crate::daystream::remote::{self, Link};
use crate::daystream::{
    self, Feed, Identity, Mark, Position, Reader, ReaderOptions, Source, Start, TableFilter,
};
use crate::deltastream::{Plugin, VERSION_MESSAGES};
use crate::schema::TableName;

/// A stream that a mirror reads.
#[derive(Debug, Clone)]
pub struct StreamSource {
    source: Source,
    name: String,
    identity: Option<Identity>,
    link: Link,
}

impl StreamSource {
    /// Looks at a stream: a folder, or one request to another host. Its identity is read once,
    /// here.
    ///
    /// # Errors
    /// `DAYSTREAM NOTFOUND`, `DAYSTREAM STATE`, those of the file system and of the network.
    pub fn open(source: impl Into<Source>) -> Result<StreamSource, Error> {
        let link = Link::Patient;
        let dir = match source.into() {
            Source::Folder(dir) => dir,
            Source::Url(url) => {
                let identity = remote::ask(&url)?.identity;
                let name = url.clone();
                return Ok(StreamSource { source: Source::Url(url), name, identity, link });
            }
        };
        let dir = match std::path::absolute(&dir) {
            Ok(absolute) if absolute.is_dir() => absolute,
            _ => return Err(daystream::Error::NotFound { dir }.into()),
        };
        let identity = Identity::load(&dir)?;
        let name = dir.to_string_lossy().into_owned();
        Ok(StreamSource { source: Source::Folder(dir), name, identity, link })
    }

    /// The same, for one who reports a lost connection and tries again by itself.
    #[must_use]
    pub(super) fn impatient(self) -> StreamSource {
        StreamSource { link: Link::Impatient, ..self }
    }

    /// The folder, as an absolute path, or the URL.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// PostgreSQL's system identifier; `None` when the stream does not tell.
    #[must_use]
    pub fn system_id(&self) -> Option<String> {
        let identity = self.identity.as_ref().filter(|identity| identity.system_id != 0);
        identity.map(|identity| identity.system_id.to_string())
    }

    /// The database; `None` when the stream does not tell.
    #[must_use]
    pub fn database(&self) -> Option<String> {
        let identity = self.identity.as_ref().filter(|identity| !identity.database.is_empty());
        identity.map(|identity| identity.database.clone())
    }

    /// The publication; `None` when the stream does not tell, or comes from a plugin that has none.
    #[must_use]
    pub fn publication(&self) -> Option<String> {
        let identity = self.identity.as_ref().filter(|identity| !identity.publication.is_empty());
        identity.map(|identity| identity.publication.clone())
    }

    /// The tables that a plugin without publications is asked for (none: all of the database);
    /// `None` when the stream does not tell, or has a publication.
    #[must_use]
    pub fn selection(&self) -> Option<Vec<String>> {
        let identity = self.identity.as_ref().filter(|i| i.publication.is_empty());
        identity.filter(|i| !i.plugin.is_empty()).map(|identity| identity.tables.clone())
    }

    /// Whether the logical messages of a server of this version come through the stream.
    pub(super) fn brings_messages(&self, version: i32) -> bool {
        let plugin = self.identity.as_ref().map(|identity| identity.plugin.as_str());
        match plugin.and_then(Plugin::from_name) {
            Some(Plugin::Deltaflood) => true,
            Some(Plugin::Pgoutput) => version >= VERSION_MESSAGES,
            None => false,
        }
    }

    /// When the stream was made ([`Identity::made`]); `None` when it does not tell.
    #[must_use]
    pub fn made(&self) -> Option<u64> {
        self.identity.as_ref().map(|identity| identity.made).filter(|made| *made > 0)
    }

    /// Compares what the stream tells of its server with what is known; what either does not tell
    /// is not compared.
    pub(super) fn check(
        &self,
        what: &'static str,
        stream: &Option<String>,
        wanted: &str,
    ) -> Result<(), Error> {
        match stream {
            Some(got) if !wanted.is_empty() && got != wanted => Err(Error::OtherServer {
                stream: self.name.clone(),
                what,
                wanted: wanted.to_owned(),
                got: got.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses a stream of another server or database than the mirror's.
    ///
    /// # Errors
    /// [`Error::OtherServer`].
    pub(super) fn check_server(&self, state: &StreamState) -> Result<(), Error> {
        self.check("system", &self.system_id(), &state.system_id)?;
        self.check("database", &self.database(), &state.database)
    }

    /// Refuses a stream that is not the mirror's: its positions and LSNs say nothing of what the
    /// mirror has. What either does not tell is not compared.
    ///
    /// # Errors
    /// [`Error::OtherServer`], [`Error::OtherStream`].
    pub(super) fn check_same_stream(&self, state: &StreamState) -> Result<(), Error> {
        self.check_server(state)?;
        match self.made() {
            Some(made) if state.made > 0 && state.made != made => {
                Err(Error::OtherStream { stream: self.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// A reader of all tables that begins behind `mark`.
    ///
    /// # Errors
    /// `DAYSTREAM GAP`, ... The stream may be empty.
    pub(super) fn after(&self, mark: Mark, stop: &AtomicBool) -> Result<Feed, Error> {
        self.after_of(None, mark, stop)
    }

    /// The same, of these tables only, where their names are known. Definitions come of all
    /// tables: one that gets another name is seen, and the reader does not take its rows then.
    ///
    /// # Errors
    /// Those of [`StreamSource::after`].
    pub(super) fn after_of(
        &self,
        tables: Option<&mut dyn Iterator<Item = &TableName>>,
        mark: Mark,
        stop: &AtomicBool,
    ) -> Result<Feed, Error> {
        // The first line of all may stand at the least position. Not Start::Begin, which is content
        // with what retention has left.
        let least = mark.position == Position::MIN;
        let start = if least { Start::At(mark.position) } else { Start::After(mark) };
        let with = |filter: TableFilter, name: &TableName| filter.with(&name.schema, &name.table);
        let tables = tables.map(|names| names.fold(TableFilter::new().for_mirror(), with));
        let options = ReaderOptions { tables, ..ReaderOptions::default() };
        let feed = Feed::open(&self.source, start, options, self.link, stop)?;
        self.check_same(&feed)?;
        Ok(feed)
    }

    /// The folder, or the other host, may have another stream by the name now than it had before.
    fn check_same(&self, feed: &Feed) -> Result<(), Error> {
        match (&self.source, self.made(), feed.made()) {
            (_, Some(known), Some(now)) if known != now => {
                return Err(Error::OtherStream { stream: self.name.clone() });
            }
            (Source::Folder(dir), Some(_), None) => {
                return Err(daystream::Error::NotFound { dir: dir.clone() }.into());
            }
            _ => {}
        }
        let place =
            |identity: &Identity| (identity.system_id.to_string(), identity.database.clone());
        let (Some(known), Some(now)) = (self.identity.as_ref(), feed.identity()) else {
            return Ok(());
        };
        let ((wanted, wanted_database), (got, got_database)) = (place(known), place(now));
        let (what, wanted, got) = match wanted == got {
            false => ("system", wanted, got),
            true => ("database", wanted_database, got_database),
        };
        match wanted == got {
            true => Ok(()),
            false => Err(Error::OtherServer { stream: self.name.clone(), what, wanted, got }),
        }
    }

    /// Whether there is anything behind `mark` but heartbeats.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) fn has_more(&self, mark: Mark) -> Result<bool, Error> {
        let mut reader = match self.after(mark, &AtomicBool::new(false)) {
            Err(Error::Daystream(daystream::Error::Empty { .. })) => return Ok(false),
            opened => opened?,
        };
        let mut beats = Heartbeats::default();
        loop {
            reader.arrive()?;
            let Some(entry) = reader.next()? else { return Ok(false) };
            if beats.take(&entry) == Kind::Change {
                return Ok(true);
            }
        }
    }

    /// The newest heartbeat of the stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) fn tail(&self) -> Result<Option<Tail>, Error> {
        match Tail::of(&self.source) {
            Err(daystream::Error::Empty { .. }) => Ok(None),
            tail => Ok(tail?),
        }
    }

    /// The end of the last transaction that is there now; `None` in an empty stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) fn end(&self) -> Result<Option<Mark>, Error> {
        let dir = match &self.source {
            Source::Folder(dir) => dir,
            Source::Url(url) => return Ok(remote::ask(url)?.end),
        };
        match Reader::open(dir, Start::End, ReaderOptions::default()) {
            Ok(reader) => Ok(reader.mark()),
            Err(daystream::Error::Empty { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The end of what is there now, behind which a reader can begin. A transaction that ends at or
    /// before it has its commit record in the WAL by now, visible or not.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) fn here(&self, stop: &AtomicBool) -> Result<Mark, Error> {
        let here = self.end()?.unwrap_or(Mark::at(Position::MIN));
        match self.after(here, stop) {
            Ok(_) | Err(Error::Daystream(daystream::Error::Empty { .. })) => Ok(here),
            Err(error) => Err(error),
        }
    }
}
