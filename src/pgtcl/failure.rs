//! The errors that scripts know by their errorCode: `POSTGRESQL REQUEST_FAILED ...`,
//! `POSTGRESQL PGRES_... ...`. The SQLSTATE, where the server told one, is in the return options as
//! `-sqlstate`; in the code, whose length scripts count on, only where that was asked for.

use crate::libpq::{Conn, Error, ErrorField, PgResult};
use crate::tcl::{Exception, Failure, Obj};

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What the code of an error of the server has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Codes {
    /// Three elements, as in Pgtcl.
    #[default]
    AsPgtcl,
    /// The SQLSTATE as a fourth: `pg_connect -errorcode sqlstate`, and commands that Pgtcl does not
    /// have.
    WithSqlstate,
}

fn coded(
    message: &str,
    status: &str,
    text: &str,
    sqlstate: Option<&str>,
    codes: Codes,
) -> Exception {
    let mut code = vec!["POSTGRESQL", status, first_line(text)];
    let sqlstate = sqlstate.filter(|sqlstate| !sqlstate.is_empty());
    if codes == Codes::WithSqlstate {
        code.extend(sqlstate);
    }
    let failure = Failure::new(message, &code);
    match sqlstate {
        Some(sqlstate) => failure.with_sqlstate(sqlstate).into(),
        None => failure.into(),
    }
}

/// There is no result at all: libpq's message, errorCode `POSTGRESQL REQUEST_FAILED {first line}`.
pub(super) fn request_failed(conn: &Conn, error: Error) -> Exception {
    if let Error::Nul { .. } = error {
        return error.into(); // never reached libpq
    }
    let message = conn.plain_error_message();
    let message = if message.is_empty() { format!("{error}\n") } else { message };
    coded(&message, "REQUEST_FAILED", &message, None, Codes::AsPgtcl)
}

/// The connection is lost, or could not be made: as [`request_failed`].
pub(super) fn lost(conn: &Conn) -> Exception {
    request_failed(conn, Error::Lost { message: "no connection to the server".to_owned() })
}

/// A call that gives no result failed: `what`, and below it libpq's message.
pub(super) fn library_failed(what: &str, error: Error, codes: Codes) -> Exception {
    let text = match &error {
        Error::Nul { .. } => return error.into(),
        Error::Server(server) => server.message.clone(),
        Error::Library { message } | Error::Lost { message } => message.clone(),
        other => other.to_string(),
    };
    let text = text.trim_end();
    coded(&format!("{what}\n{text}"), "REQUEST_FAILED", text, error.sqlstate(), codes)
}

/// A result is not what the command needs: the server's message, errorCode
/// `POSTGRESQL STATUS {first line}`; of a result that is no error, its status.
pub(super) fn result_failed(result: &PgResult, codes: Codes) -> Exception {
    let status = result.status().name();
    let message = result.error_message();
    if message.is_empty() {
        return Failure::new(status, &["POSTGRESQL", status]).into();
    }
    let sqlstate = result.error_field(ErrorField::Sqlstate);
    coded(&message, status, &message, sqlstate.as_deref(), codes)
}

/// As [`result_failed`], with the list of status and message as message.
pub(super) fn listed(result: &PgResult, codes: Codes) -> Exception {
    let status = result.status().name();
    let message = result.error_message();
    let sqlstate = result.error_field(ErrorField::Sqlstate);
    let list = Obj::text_list([status, &message]);
    coded(&list.text_lossy(), status, &message, sqlstate.as_deref(), codes)
}
