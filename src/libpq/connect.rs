//! Connecting step by step, and connecting within a time limit.

use super::message::plain_message;
use super::{Conn, Conninfo, Error, Wake, conndefaults, wait};
use std::time::{Duration, Instant};

/// What to wait for before the next [`Connecting::poll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The socket must become readable.
    Reading,
    /// The socket must become writable.
    Writing,
    /// Connected.
    Done,
    /// Failed; [`Conn::error_message`] says why.
    Failed,
}

/// A connection being made. The connection inside can be asked for its socket and state meanwhile.
#[derive(Debug)]
pub struct Connecting {
    conn: Conn,
    progress: Progress,
}

impl Connecting {
    /// Starts connecting and does not wait. Name lookup may still block for a while (libpq's
    /// documented limit; give `hostaddr` to avoid it).
    ///
    /// # Errors
    /// `POSTGRES LIBRARY`, `POSTGRES NUL`. A refused connection is seen in [`Connecting::poll`].
    pub fn start(conninfo: &Conninfo) -> Result<Connecting, Error> {
        let conn = Conn::open(conninfo, |keywords, values| {
            // SAFETY: both arrays are NULL-ended and of equal length; their strings live on.
            unsafe { pq_sys::PQconnectStartParams(keywords, values, 0) }
        })?;
        let progress = if conn.status_code() == pq_sys::ConnStatusType::CONNECTION_BAD as u32 {
            Progress::Failed
        } else {
            Progress::Writing
        };
        Ok(Connecting { conn, progress })
    }

    /// Goes on as far as possible without waiting. Call it again once the socket is ready.
    pub fn poll(&mut self) -> Progress {
        use pq_sys::PostgresPollingStatusType as P;
        if matches!(self.progress, Progress::Done | Progress::Failed) {
            return self.progress;
        }
        // SAFETY: the connection is live and was started.
        self.progress = match unsafe { pq_sys::PQconnectPoll(self.conn.as_raw()) } {
            P::PGRES_POLLING_READING | P::PGRES_POLLING_ACTIVE => Progress::Reading,
            P::PGRES_POLLING_WRITING => Progress::Writing,
            P::PGRES_POLLING_OK => Progress::Done,
            P::PGRES_POLLING_FAILED => Progress::Failed,
        };
        self.progress
    }

    /// What the next poll waits for.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The connection in its present state, usable once [`Progress::Done`].
    #[must_use]
    pub fn conn(&self) -> &Conn {
        &self.conn
    }

    /// The connection in whatever state it is; a caller that did not wait for the end checks
    /// [`Conn::is_ok`].
    #[must_use]
    pub fn into_conn(self) -> Conn {
        self.conn
    }
}

impl Conn {
    /// Connects as [`Conn::connect`] does, and tells the SQLSTATE of a refusal. None, and nothing
    /// done, where there are or may be several hosts or a time limit: only libpq's own waiting goes
    /// from one host to the next.
    pub(super) fn connect_told(conninfo: &Conninfo) -> Option<Result<Conn, Error>> {
        let defaults = conndefaults();
        let value = |keyword| conninfo.or_default(&defaults, keyword);
        if ["connect_timeout", "service"].iter().any(|keyword| !value(keyword).is_empty())
            || ["host", "hostaddr"].iter().any(|keyword| value(keyword).contains(','))
        {
            return None;
        }
        let mut connecting = match Connecting::start(conninfo) {
            Ok(connecting) => connecting,
            Err(error) => return Some(Err(error)),
        };
        connecting.conn.set_verbose(true);
        loop {
            let (read, write) = match connecting.progress() {
                Progress::Done => break,
                Progress::Failed => {
                    return Some(Err(refused(&connecting.conn.error_message())));
                }
                Progress::Reading => (true, false),
                Progress::Writing => (false, true),
            };
            match wait(connecting.conn.socket(), read, write, None, None) {
                Ok(ready) if !ready.readable && !ready.writable => {} // interrupted by a signal
                Ok(_) => {
                    connecting.poll();
                }
                Err(error) => return Some(Err(error)),
            }
        }
        connecting.conn.set_verbose(false);
        Some(Ok(connecting.into_conn()))
    }

    /// Starts connecting and does not wait; go on with [`Conn::connect_poll`]. Till it is done
    /// every statement is refused.
    ///
    /// # Errors
    /// As [`Connecting::start`].
    pub fn connect_start(conninfo: &Conninfo) -> Result<Conn, Error> {
        Connecting::start(conninfo).map(Connecting::into_conn)
    }

    /// Goes on connecting as far as possible without waiting. [`Progress::Done`] and
    /// [`Progress::Failed`] also of a connection that has long been made or lost.
    #[must_use]
    pub fn connect_poll(&self) -> Progress {
        use pq_sys::PostgresPollingStatusType as P;
        if self.is_ok() {
            return Progress::Done;
        }
        // SAFETY: the connection is live; libpq answers in whatever state it is.
        match unsafe { pq_sys::PQconnectPoll(self.as_raw()) } {
            P::PGRES_POLLING_READING | P::PGRES_POLLING_ACTIVE => Progress::Reading,
            P::PGRES_POLLING_WRITING => Progress::Writing,
            P::PGRES_POLLING_OK => Progress::Done,
            P::PGRES_POLLING_FAILED => Progress::Failed,
        }
    }

    /// Closes the connection and makes it again with the same parameters, waiting until it is done.
    /// What the server kept for the old one (transaction, prepared statements, LISTEN) is gone.
    ///
    /// # Errors
    /// `POSTGRES CONNECT` with libpq's message.
    pub fn reset(&self) -> Result<(), Error> {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQreset(self.as_raw()) };
        if self.is_ok() {
            return Ok(());
        }
        let message = self.error_message().trim_end().to_owned();
        Err(Error::Connect { message, sqlstate: String::new() })
    }

    /// Connects within `timeout` for the whole attempt, or until `wake` is raised. Unlike
    /// [`Conn::connect`] it tells the server's SQLSTATE of a refusal, so that a wrong password is
    /// told from a server that is starting.
    ///
    /// # Errors
    /// `POSTGRES CONNECT`, `POSTGRES CONNECTTIMEOUT`, `POSTGRES INTERRUPTED`, `POSTGRES NUL`.
    pub fn connect_within(
        conninfo: &Conninfo,
        timeout: Duration,
        wake: Option<&Wake>,
    ) -> Result<Conn, Error> {
        let started = Instant::now();
        let mut connecting = Connecting::start(conninfo)?;
        connecting.conn.set_verbose(true);
        loop {
            let (read, write) = match connecting.progress() {
                Progress::Done => break,
                Progress::Failed => return Err(refused(&connecting.conn.error_message())),
                Progress::Reading => (true, false),
                Progress::Writing => (false, true),
            };
            let Some(left) = timeout.checked_sub(started.elapsed()) else {
                let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                return Err(Error::ConnectTimeout { timeout_ms });
            };
            let ready = wait(connecting.conn.socket(), read, write, wake, Some(left))?;
            if ready.woken {
                return Err(Error::Interrupted);
            }
            if ready.readable || ready.writable {
                connecting.poll();
            }
        }
        connecting.conn.set_verbose(false);
        Ok(connecting.into_conn())
    }

    /// Verbose messages carry the SQLSTATE, which libpq gives in no other way while connecting, nor
    /// of its large object calls.
    pub(super) fn set_verbose(&self, verbose: bool) {
        let verbosity = match verbose {
            true => pq_sys::PGVerbosity::PQERRORS_VERBOSE,
            false => pq_sys::PGVerbosity::PQERRORS_DEFAULT,
        };
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQsetErrorVerbosity(self.as_raw(), verbosity) };
    }
}

/// The error in libpq's verbose text.
fn refused(verbose: &str) -> Error {
    let (message, sqlstate) = plain_message(verbose);
    Error::Connect { message, sqlstate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Coded};

    #[test]
    fn the_sqlstate_is_taken_out_of_a_verbose_refusal() {
        let text = "connection to server on socket \"/tmp/.s\" failed: FATAL:  3D000: database \
                    \"x\" does not exist\nLOCATION:  InitPostgres, postinit.c:1018\n";
        let Error::Connect { message, sqlstate } = refused(text) else { panic!("kind") };
        assert_eq!(sqlstate, "3D000");
        assert!(message.ends_with("FATAL:  database \"x\" does not exist"), "{message}");
        assert_eq!(refused(text).class(), Class::Usage);
        assert_eq!(refused("connection refused").class(), Class::Retry);
    }
}
