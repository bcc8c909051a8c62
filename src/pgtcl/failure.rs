//! The errors that scripts know by their errorCode: `POSTGRESQL REQUEST_FAILED ...`,
//! `POSTGRESQL PGRES_... ...`.

use crate::libpq::{Conn, Error, PgResult};
use crate::tcl::{Exception, Failure};

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// There is no result at all: libpq's message, errorCode `POSTGRESQL REQUEST_FAILED {first line}`.
pub(super) fn request_failed(conn: &Conn, error: Error) -> Exception {
    if let Error::Nul { .. } = error {
        return error.into(); // never reached libpq
    }
    let message = conn.error_message();
    let message = if message.is_empty() { format!("{error}\n") } else { message };
    let code = ["POSTGRESQL", "REQUEST_FAILED", first_line(&message)];
    Failure::new(message.as_str(), &code).into()
}

/// A result is not what the command needs: the server's message, errorCode
/// `POSTGRESQL STATUS {first line}`; of a result that is no error, its status.
pub(super) fn result_failed(result: &PgResult) -> Exception {
    let status = result.status().name();
    let message = result.error_message();
    if message.is_empty() {
        return Failure::new(status, &["POSTGRESQL", status]).into();
    }
    Failure::new(message.as_str(), &["POSTGRESQL", status, first_line(&message)]).into()
}
