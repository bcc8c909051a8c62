//! `pg_dbinfo`: what is known of a connection without asking the server.

use super::Connection;
use super::failure::lost;
use super::handles::{connections, plain_connection};
use crate::libpq::{Conn, TransactionStatus};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj};

const OPTIONS: [&str; 20] = [
    "connections",
    "results",
    "version",
    "protocol",
    "param",
    "backendpid",
    "socket",
    "sql_count",
    "dbname",
    "user",
    "password",
    "host",
    "port",
    "options",
    "status",
    "transaction_status",
    "error_message",
    "needs_password",
    "used_password",
    "used_ssl",
];

/// `pg_dbinfo connections`, `pg_dbinfo param conn name`, `pg_dbinfo option conn`.
pub(super) fn dbinfo(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, option, arguments @ ..] = words else {
        return Err(Failure::wrong_args(&format!("pg_dbinfo {}", OPTIONS.join("|"))).into());
    };
    let option = option.text_lossy();
    if !OPTIONS.contains(&option.as_ref()) {
        return Err(Failure::bad_word("option", &option, &OPTIONS).into());
    }
    let value = match (option.as_ref(), arguments) {
        ("connections", []) => {
            let all = connections(interp);
            Obj::list(&all.iter().map(|c| c.handle().clone()).collect::<Vec<_>>())
        }
        ("connections", _) => return Err(Failure::wrong_args("pg_dbinfo connections").into()),
        ("param", [name, param]) => {
            let conn = plain_connection(interp, name)?.conn()?;
            there(&conn)?;
            Obj::text(&conn.parameter_status(&param.text_lossy()).unwrap_or_default())
        }
        ("param", _) => {
            return Err(Failure::wrong_args("pg_dbinfo param connHandle paramName").into());
        }
        // A safe interpreter may use the connection that was shared with it, and no more.
        ("password", [name]) if interp.is_safe() => {
            let code = ["PGSQLITE", "CONNECTION", "SAFE", "name", &name.text_lossy()];
            return Err(Failure::new("a safe interpreter is not told passwords", &code).into());
        }
        (option, [name]) => fact(plain_connection(interp, name)?.as_ref(), option)?,
        (option, _) => {
            return Err(Failure::wrong_args(&format!("pg_dbinfo {option} connHandle")).into());
        }
    };
    Ok(Flow::Value(value))
}

/// COMPAT: what is asked of a lost connection raises, as any statement on it does: what libpq would
/// answer (no version, no process) is no fact.
fn there(conn: &Conn) -> CmdResult<()> {
    if conn.is_lost() { Err(lost(conn)) } else { Ok(()) }
}

fn fact(connection: &Connection, option: &str) -> CmdResult {
    let conn = connection.conn()?;
    if !["results", "sql_count", "status"].contains(&option) {
        there(&conn)?;
    }
    Ok(match option {
        "results" => {
            let all = connection.results();
            Obj::list(&all.iter().map(|r| r.name().clone()).collect::<Vec<_>>())
        }
        "version" => Obj::int(conn.server_version().into()),
        "protocol" => Obj::int(conn.protocol_version().into()),
        "backendpid" => Obj::int(conn.backend_pid().into()),
        "socket" => Obj::int(conn.socket().map_or(-1, i64::from)),
        "sql_count" => Obj::from(connection.statements()),
        "dbname" => Obj::from(conn.database()),
        "user" => Obj::from(conn.user()),
        "password" => Obj::from(conn.password()),
        "host" => Obj::from(conn.host()),
        "port" => Obj::from(conn.port()),
        "options" => Obj::from(conn.options()),
        "status" => Obj::text(match conn.status_code() {
            0 => "connection_ok",
            1 => "connection_bad",
            _ => "unrecognized_status",
        }),
        "transaction_status" => Obj::text(match conn.transaction_status() {
            TransactionStatus::Idle => "idle",
            TransactionStatus::Active => "command_in_progress",
            TransactionStatus::InTransaction => "idle_in_valid_block",
            TransactionStatus::InError => "idle_in_failed_block",
            TransactionStatus::Unknown => "connection_bad",
        }),
        "error_message" => Obj::from(conn.plain_error_message()),
        "needs_password" => Obj::from(conn.needs_password()),
        "used_password" => Obj::from(conn.used_password()),
        _ => Obj::from(conn.used_ssl()),
    })
}

/// A fact as a sub-command of a connection handle: the words are its name and the connection.
fn named(interp: Interp, option: &str, words: &[Obj]) -> Result<Flow, Exception> {
    let mut call = vec![Obj::text("pg_dbinfo"), Obj::text(option)];
    call.extend(words.iter().skip(1).cloned());
    dbinfo(interp, &call)
}

/// `$conn version`: as in 150020.
pub(super) fn version(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    named(interp, "version", words)
}

/// `$conn protocol`: of the protocol, 3.
pub(super) fn protocol(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    named(interp, "protocol", words)
}

/// `$conn param name`: a setting that the server reports.
pub(super) fn param(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    named(interp, "param", words)
}

/// `$conn backendpid`: the process that serves it.
pub(super) fn backendpid(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    named(interp, "backendpid", words)
}

/// `$conn socket`: the descriptor.
pub(super) fn socket(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    named(interp, "socket", words)
}
