//! The errors that scripts know by their errorCode: `POSTGRESQL REQUEST_FAILED ...`,
//! `POSTGRESQL PGRES_... ...`. Where the server told a SQLSTATE it is the fourth element.

use crate::libpq::{Conn, Error, ErrorField, PgResult};
use crate::tcl::{Exception, Failure, Obj};

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn coded(message: &str, status: &str, text: &str, sqlstate: Option<&str>) -> Exception {
    let mut code = vec!["POSTGRESQL", status, first_line(text)];
    code.extend(sqlstate.filter(|sqlstate| !sqlstate.is_empty()));
    Failure::new(message, &code).into()
}

/// There is no result at all: libpq's message, errorCode `POSTGRESQL REQUEST_FAILED {first line}`.
pub(super) fn request_failed(conn: &Conn, error: Error) -> Exception {
    if let Error::Nul { .. } = error {
        return error.into(); // never reached libpq
    }
    let message = conn.error_message();
    let message = if message.is_empty() { format!("{error}\n") } else { message };
    coded(&message, "REQUEST_FAILED", &message, None)
}

/// A call that gives no result failed: `what`, and below it libpq's message.
pub(super) fn library_failed(what: &str, error: Error) -> Exception {
    let text = match &error {
        Error::Nul { .. } => return error.into(),
        Error::Server(server) => server.message.clone(),
        Error::Library { message } | Error::Lost { message } => message.clone(),
        other => other.to_string(),
    };
    let text = text.trim_end();
    coded(&format!("{what}\n{text}"), "REQUEST_FAILED", text, error.sqlstate())
}

/// A result is not what the command needs: the server's message, errorCode
/// `POSTGRESQL STATUS {first line} SQLSTATE`; of a result that is no error, its status.
pub(super) fn result_failed(result: &PgResult) -> Exception {
    let status = result.status().name();
    let message = result.error_message();
    if message.is_empty() {
        return Failure::new(status, &["POSTGRESQL", status]).into();
    }
    let sqlstate = result.error_field(ErrorField::Sqlstate);
    coded(&message, status, &message, sqlstate.as_deref())
}

/// As [`result_failed`], with the list of status and message as message.
pub(super) fn listed(result: &PgResult) -> Exception {
    let status = result.status().name();
    let message = result.error_message();
    let sqlstate = result.error_field(ErrorField::Sqlstate);
    let list = Obj::text_list([status, &message]);
    coded(&list.text_lossy(), status, &message, sqlstate.as_deref())
}
