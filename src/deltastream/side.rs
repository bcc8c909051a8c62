//! Ordinary connections beside the one that streams, and bounded questions on them.

use super::shared::Shared;
use super::{Error, Options, session};
use crate::libpq::{Guarded, PgResult, wait};
use std::time::{Duration, Instant};

/// An ordinary connection, for questions while the other one streams.
pub(super) fn connection(options: &Options, shared: &Shared) -> Result<Guarded<'static>, Error> {
    let timeout = Duration::from_millis(options.connect_timeout_ms);
    connection_within(options, shared, timeout)
}

/// As [`connection`], made within `timeout`.
pub(super) fn connection_within(
    options: &Options,
    shared: &Shared,
    timeout: Duration,
) -> Result<Guarded<'static>, Error> {
    let info = session::conninfo(options)?;
    Ok(Guarded::connect_within(&info, timeout, Some(&shared.quit))?)
}

/// Runs a statement, and gives what its last part gave; ended by the capture's end, or when it
/// takes longer than `limit`: then the connection is of no more use.
pub(super) fn ask(
    shared: &Shared,
    conn: &Guarded<'_>,
    sql: &str,
    limit: Duration,
) -> Result<Option<PgResult>, Error> {
    let began = Instant::now();
    conn.send_query(sql)?;
    let mut last = Ok(None);
    loop {
        while !conn.is_busy() {
            match conn.get_result() {
                Some(result) => last = last.and_then(|_| Ok(Some(result.into_ok()?))),
                // Only now may the connection be asked again.
                None => return last,
            }
        }
        let left = limit.saturating_sub(began.elapsed());
        let ready = wait(conn.socket(), true, false, Some(&shared.quit), Some(left))?;
        if ready.woken || left.is_zero() {
            let timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            return Err(Error::Stalled { timeout_ms });
        }
        conn.consume_input()?;
    }
}
