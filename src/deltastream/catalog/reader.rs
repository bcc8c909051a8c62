//! Asks for the definition of one table while the stream waits: seldom, and never for long.

use super::{Described, answer, question};
use crate::deltastream::shared::Shared;
use crate::deltastream::{Error, side};
use crate::libpq::{Guarded, Oid};
use crate::limits;
use std::time::{Duration, Instant};

/// Reads definitions on a connection of its own, which is made when it is needed and let go when it
/// has not been for a while.
///
/// A question that is not answered in time, or fails, costs the line its details, and the next ones
/// theirs until it is tried again: the stream goes on.
pub(in crate::deltastream) struct Reader {
    publication: String,
    /// The longest that one question may take.
    limit: Duration,
    conn: Option<Guarded<'static>>,
    used_at: Instant,
    /// No question before.
    not_before: Option<Instant>,
}

impl Reader {
    /// Of the tables of a publication; `sender_timeout_ms` is how long the server waits for word of
    /// us, 0: for ever.
    pub(in crate::deltastream) fn new(publication: &str, sender_timeout_ms: u64) -> Reader {
        let quarter = match sender_timeout_ms / 4 {
            0 => limits::DETAILS_MS,
            quarter => quarter.min(limits::DETAILS_MS),
        };
        Reader {
            publication: publication.to_owned(),
            limit: Duration::from_millis(quarter),
            conn: None,
            used_at: Instant::now(),
            not_before: None,
        }
    }

    /// What the catalogs say of a table now; `None`: they cannot be asked, or do not know it.
    pub(in crate::deltastream) fn describe(
        &mut self,
        shared: &Shared,
        table: Oid,
    ) -> Option<Described> {
        let now = Instant::now();
        if self.not_before.is_some_and(|then| now < then) {
            return None;
        }
        self.used_at = now;
        match self.ask(shared, table) {
            Ok(described) => described,
            Err(_) => {
                self.conn = None;
                self.not_before = Some(now + Duration::from_millis(limits::DETAILS_PAUSE_MS));
                None
            }
        }
    }

    fn ask(&mut self, shared: &Shared, table: Oid) -> Result<Option<Described>, Error> {
        if self.conn.as_ref().is_some_and(|conn| conn.is_lost()) {
            self.conn = None;
        }
        let conn = match &self.conn {
            Some(conn) => conn,
            None => {
                let made = side::connection_within(&shared.options, shared, self.limit)?;
                self.conn.insert(made)
            }
        };
        let publication = conn.escape_literal(&self.publication)?;
        let slot = conn.escape_literal(&shared.options.slot)?;
        let sql = question(&[table], Some(&publication), Some(&slot), conn.server_version());
        let Some(result) = side::ask(shared, conn, &sql, self.limit)? else { return Ok(None) };
        Ok(answer(&result)?.pop())
    }

    /// Lets the connection go that was not needed for a while.
    pub(in crate::deltastream) fn rest(&mut self) {
        let idle = Duration::from_millis(limits::DETAILS_IDLE_MS);
        if self.conn.is_some() && self.used_at.elapsed() >= idle {
            self.conn = None;
        }
    }
}
