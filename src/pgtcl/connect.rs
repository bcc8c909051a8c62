//! `pg_connect`, `pg_disconnect`, `pg_conndefaults`.

use super::connection::Autoclear;
use super::failure::Codes;
use super::{Connection, handles};
use crate::libpq::{self, Conn, Conninfo};
use crate::tcl::channel::Channel;
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj};

// COMPAT: the message lists these; the three below are taken besides.
const OPTIONS: [&str; 10] = [
    "-host",
    "-port",
    "-tty",
    "-options",
    "-user",
    "-password",
    "-conninfo",
    "-connlist",
    "-connhandle",
    "-async",
];
const RECONNECT: &str = "-reconnect";
const AUTOCLEAR: &str = "-autoclear";
const ERRORCODE: &str = "-errorcode";

const USAGE: &str = "pg_connect: database name missing
pg_connect databaseName [-host hostName] [-port portNumber] [-tty pgtty]
pg_connect -conninfo conninfoString
pg_connect -connlist [connlist]";

/// What the words of `pg_connect` ask for.
#[derive(Default)]
struct Request {
    conninfo: Conninfo,
    handle: Option<String>,
    asynchronous: bool,
    reconnects: bool,
    autoclear: Autoclear,
    codes: Codes,
}

/// `pg_connect dbname ?-host h? ...`, `pg_connect -conninfo C`, `pg_connect -connlist {k v ...}`: a
/// handle.
pub(super) fn connect(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let request = parse(interp, words)?;
    if let Some(name) = &request.handle {
        may_be_called(interp, name)?;
    }
    let connect = if request.asynchronous { Conn::connect_start } else { Conn::connect };
    let conn = connect(&request.conninfo).map_err(refused)?;
    if conn.is_lost() {
        let message = conn.error_message().trim_end().to_owned();
        return Err(refused(libpq::Error::Connect { message, sqlstate: String::new() }));
    }
    let connection = Connection::create(interp, request.handle.as_deref(), conn)?;
    connection.set_reconnects(request.reconnects);
    connection.set_autoclear(request.autoclear);
    connection.set_codes(request.codes);
    Ok(Flow::Value(connection.handle().clone()))
}

/// Whether a script may give a connection this name.
fn may_be_called(interp: Interp, name: &str) -> CmdResult<()> {
    let code = ["PGSQLITE", "HANDLE", "EXISTS", "name", name];
    let word = Obj::text(name);
    let taken = Channel::lookup(interp, &word).is_some() || interp.has_command(&word);
    interp.reset_result();
    if taken {
        return Err(failed("handle already exists", &code));
    }
    if is_tcls_own(name) {
        let code = ["PGSQLITE", "HANDLE", "RESERVED", "name", name];
        return Err(failed("Tcl itself gives channels such names: choose another", &code));
    }
    if handles::lives_elsewhere(interp, name) {
        let message = "handle already exists: another interpreter has a share of it still";
        return Err(failed(message, &code));
    }
    Ok(())
}

/// Whether Tcl may come to this name by itself, for a file, a socket, a pipe or a channel of a
/// script: it numbers them, and ends the process when a name is taken.
fn is_tcls_own(name: &str) -> bool {
    let numbered = ["file", "sock", "pipe", "serial", "rc", "rt"].iter().any(|kind| {
        let number = name.strip_prefix(kind).map(|n| n.strip_prefix("0x").unwrap_or(n));
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    numbered || ["stdin", "stdout", "stderr"].contains(&name)
}

fn parse(interp: Interp, words: &[Obj]) -> CmdResult<Request> {
    let mut request = Request::default();
    let mut rest = words.get(1..).unwrap_or_default();
    if rest.is_empty() {
        return Err(Failure::new(USAGE, &["TCL", "WRONGARGS"]).into());
    }
    // An odd word out is the database name, and comes first.
    let mut database = None;
    if let ([name, options @ ..], 1) = (rest, rest.len() % 2) {
        database = Some(name.as_text()?.into_owned());
        rest = options;
    }
    for pair in rest.chunks_exact(2) {
        let [option, value] = pair else { continue };
        let option = option.text_lossy();
        let mut all = OPTIONS.iter().chain([&RECONNECT, &AUTOCLEAR, &ERRORCODE]);
        let Some(known) = all.find(|o| **o == option) else {
            return Err(Failure::bad_word("option", &option, &OPTIONS).into());
        };
        apply(interp, &mut request, known, value)?;
    }
    if let Some(database) = database {
        request.conninfo.set_quoted("dbname", &database);
    }
    Ok(request)
}

fn apply(interp: Interp, request: &mut Request, option: &str, value: &Obj) -> CmdResult<()> {
    match option {
        "-conninfo" => {
            let text = value.as_text()?;
            let parsed = Conninfo::parse(&text).map_err(refused)?;
            for (keyword, value) in parsed.iter() {
                request.conninfo.set(keyword, value);
            }
        }
        "-connlist" => {
            let pairs = value.as_list(interp)?;
            if pairs.len() % 2 != 0 {
                return Err(Failure::wrong_args("pg_connect -connlist {opt val ...}").into());
            }
            for pair in pairs.chunks_exact(2) {
                if let [keyword, value] = pair {
                    let (keyword, value) = (keyword.as_text()?, value.as_text()?);
                    // Quotes round all of it were needed once; nothing else is read in a value.
                    if value.len() >= 2 && value.starts_with('\'') && value.ends_with('\'') {
                        request.conninfo.set_quoted(&keyword, &value);
                    } else {
                        request.conninfo.set(&keyword, &value);
                    }
                }
            }
        }
        "-connhandle" => request.handle = Some(value.as_text()?.into_owned()),
        "-async" => request.asynchronous = value.as_bool(interp)?,
        AUTOCLEAR => {
            let always = value.as_bool(interp)?;
            request.autoclear = if always { Autoclear::Always } else { Autoclear::Never };
        }
        ERRORCODE => {
            request.codes = match value.internal() {
                b"pgtcl" => Codes::AsPgtcl,
                b"sqlstate" => Codes::WithSqlstate,
                _ => {
                    let word = value.text_lossy();
                    return Err(Failure::bad_word("form", &word, &["pgtcl", "sqlstate"]).into());
                }
            };
        }
        RECONNECT => request.reconnects = value.as_bool(interp)?,
        // COMPAT: libpq 14 and newer refuse this parameter, which did nothing for long before.
        "-tty" => {}
        other => {
            request.conninfo.set_quoted(other.trim_start_matches('-'), &value.as_text()?);
        }
    }
    Ok(())
}

fn headed(message: &str, code: &[&str]) -> Failure {
    Failure::new(format!("Connection to database failed\n{message}"), code)
}

fn failed(message: &str, code: &[&str]) -> Exception {
    headed(message, code).into()
}

/// libpq's message under the line that scripts know, with the code of the error.
pub(super) fn refused(error: libpq::Error) -> Exception {
    let message = match &error {
        libpq::Error::Conninfo { message } | libpq::Error::Connect { message, .. } => {
            format!("{message}\n")
        }
        other => format!("{other}\n"),
    };
    let failure = Failure::from(error);
    let code: Vec<&str> = failure.code().iter().map(String::as_str).collect();
    let sqlstate = code.iter().skip_while(|word| **word != "sqlstate").nth(1);
    match sqlstate {
        Some(sqlstate) => headed(&message, &code).with_sqlstate(sqlstate).into(),
        None => failed(&message, &code),
    }
}

/// `pg_disconnect conn`: ends the connection, or this interpreter's share of it.
pub(super) fn disconnect(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name] = words else {
        return Err(Failure::wrong_args("pg_disconnect connection").into());
    };
    let connection = handles::plain_connection(interp, name)?;
    connection.leave(interp);
    Ok(Obj::empty().into())
}

/// `pg_conndefaults`: a list of `{keyword label dispchar dispsize value}`.
pub(super) fn conndefaults(_interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    if words.len() != 1 {
        return Err(Failure::wrong_args("pg_conndefaults").into());
    }
    let all: Vec<Obj> = libpq::conndefaults()
        .iter()
        .map(|default| {
            Obj::list(&[
                Obj::text(&default.keyword),
                Obj::text(&default.label),
                Obj::text(&default.dispchar),
                Obj::int(default.dispsize.into()),
                Obj::text(&default.value),
            ])
        })
        .collect();
    Ok(Obj::list(&all).into())
}
