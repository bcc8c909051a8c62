//! How a mirror is, read from its file.

use std::time::{SystemTime, UNIX_EPOCH};

use super::state::{self, StreamState, TableState};
use super::{Error, StreamSource};
use crate::daystream::Position;
use crate::sqlite::Db;

/// What the file of a mirror says, and how far its stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorStatus {
    /// The stream and the position.
    pub stream: StreamState,
    /// The tables, by name.
    pub tables: Vec<TableState>,
    /// Rows kept as not applied.
    pub errors: i64,
    /// End of the stream's last transaction; `None` when the stream is empty or cannot be read from
    /// here.
    pub end: Option<Position>,
    /// Milliseconds since the commit of the last applied transaction, 0 when the mirror is at the
    /// end of its stream; `None` when that cannot be known from here.
    pub lag_ms: Option<u64>,
}

/// Reads the status; `source` is the stream, or `None` to look where the mirror last read it.
///
/// # Errors
/// [`Error::NotInitialised`], [`Error::State`], [`Error::Sqlite`]; with a `source` also those of
/// the stream, and [`Error::OtherServer`].
pub fn status(db: &Db, source: Option<&StreamSource>) -> Result<MirrorStatus, Error> {
    let Some(stream) = state::stream(db)? else {
        let file = db.file().map_or("the database".into(), |file| file.display().to_string());
        return Err(Error::NotInitialised { file });
    };
    let end = match source {
        Some(source) => {
            source.check_server(&stream)?;
            Some(source.end()?)
        }
        None => StreamSource::open(std::path::Path::new(&stream.stream))
            .and_then(|source| source.check_server(&stream).and_then(|()| source.end()))
            .ok(),
    };
    let lag_ms = end.map(|end| match end {
        Some(end) if end > stream.position => since_ms(stream.commit_time),
        _ => 0,
    });
    Ok(MirrorStatus {
        tables: state::tables(db)?,
        errors: state::errors(db)?,
        end: end.flatten(),
        lag_ms,
        stream,
    })
}

/// Microseconds since the Unix epoch.
pub(super) fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// Milliseconds since a time in microseconds since the Unix epoch; 0 when it is in the future, by
/// this machine's clock.
pub(super) fn since_ms(time_us: i64) -> u64 {
    u64::try_from(now_us().saturating_sub(time_us) / 1000).unwrap_or(0)
}
