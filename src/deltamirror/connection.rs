//! Connections of the mirror's own to its file.

use std::path::Path;
use std::time::Duration;

use super::{Error, first_fill};
use crate::error::{Class, Coded};
use crate::limits;
use crate::sqlite::{Access, Db, Reason};

/// Opens a file to apply changes to it; makes it when it is not there. A new file gets a WAL, so
/// that readers and the mirror do not hinder each other; one that has tables keeps what it has.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn open(file: &Path) -> Result<Db, Error> {
    let db = Db::open(file, Access::Create)?;
    db.busy_timeout(Duration::from_millis(limits::MIRROR_BUSY_MS));
    if db.query_int("SELECT count(*) FROM main.sqlite_master", &[])? == Some(0) {
        db.exec("PRAGMA main.journal_mode = WAL")?;
    }
    tune(&db)?;
    Ok(db)
}

/// Opens a file that must be there, to apply changes to it.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn open_existing(file: &Path) -> Result<Db, Error> {
    let db = Db::open(file, Access::Write)?;
    db.busy_timeout(Duration::from_millis(limits::MIRROR_BUSY_MS));
    if let Err(error) = first_fill::repair(&db) {
        // Others use it as it is; it can be followed as it is.
        if error.class() != Class::Retry {
            return Err(error);
        }
    }
    tune(&db)?;
    Ok(db)
}

/// Sees whether [`open`] could open the file, and makes none: before what has to be undone when it
/// cannot.
///
/// # Errors
/// [`Error::Io`] when a file that is there, or the folder of a new one, cannot be written;
/// [`Error::Sqlite`].
pub fn check(file: &Path) -> Result<(), Error> {
    let new = !file.exists();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let (place, what) = if new {
        (folder.unwrap_or(Path::new(".")), "no file can be made in the folder that -db names")
    } else {
        (file, "the file that -db names cannot be written")
    };
    let rights = if new { rustix::fs::Access::EXEC_OK } else { rustix::fs::Access::empty() };
    rustix::fs::access(place, rights | rustix::fs::Access::WRITE_OK)
        .map_err(|errno| Error::Io { what, source: errno.into() })?;
    if new { Ok(()) } else { open_existing(file).map(drop) }
}

/// Opens a file that must be there, to look at it. One whose writer was killed is tidied up first,
/// for which it is opened to write, once.
///
/// # Errors
/// [`Error::Sqlite`].
pub fn open_read_only(file: &Path) -> Result<Db, Error> {
    let open = |access| {
        let db = Db::open(file, access)?;
        db.busy_timeout(Duration::from_millis(limits::MIRROR_BUSY_MS));
        db.query_int("SELECT count(*) FROM main.sqlite_master", &[])?;
        Ok(db)
    };
    match open(Access::Read) {
        // A journal or WAL that only a writer may make good.
        Err(Error::Sqlite(e)) if matches!(e.reason(), Reason::ReadOnly | Reason::CantOpen) => {
            drop(open(Access::Write)?);
            open(Access::Read)
        }
        opened => opened,
    }
}

/// A cache that fits the work, and no more fsyncs than needed: with a WAL and NORMAL a power loss
/// can take the last commits, whole and with their positions, and the stream brings them again.
fn tune(db: &Db) -> Result<(), Error> {
    let cache_kib = limits::MIRROR_CACHE_BYTES >> 10;
    let wal_bytes = limits::MIRROR_WAL_BYTES;
    db.exec(&format!(
        "PRAGMA cache_size = -{cache_kib}; PRAGMA journal_size_limit = {wal_bytes}; \
         PRAGMA temp_store = FILE"
    ))?;
    if db.query_text("PRAGMA main.journal_mode", &[])?.as_deref() == Some("wal") {
        db.exec("PRAGMA main.synchronous = NORMAL")?;
    }
    // From here on locks are waited for where a wait can be stopped.
    db.busy_timeout(Duration::ZERO);
    Ok(())
}
