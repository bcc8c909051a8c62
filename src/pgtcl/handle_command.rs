//! The command of a connection handle: `$conn exec ...` for `pg_exec $conn ...`, and so on.

use super::{Connection, Run, connect, dbinfo, exec, execute, quote, select};
use crate::tcl::{Exception, Failure, Flow, Interp, Obj};
use std::rc::Rc;

/// How a sub-command becomes a command.
enum How {
    /// The connection's name is put in as first argument.
    Connection(Run),
    /// The command takes no connection.
    Plain(Run),
}

use How::{Connection as OnConnection, Plain};

const COMMANDS: &[(&str, How)] = &[
    ("quote", OnConnection(quote::quote)),
    ("escape_bytea", OnConnection(quote::escape_bytea)),
    ("unescape_bytea", Plain(quote::unescape_bytea)),
    ("disconnect", OnConnection(connect::disconnect)),
    ("exec", OnConnection(exec::exec)),
    ("sqlexec", OnConnection(exec::exec)),
    ("execute", OnConnection(execute::execute)),
    ("select", OnConnection(select::select)),
    ("sendquery", OnConnection(exec::sendquery)),
    ("null_value_string", OnConnection(quote::null_value_string)),
    ("version", OnConnection(dbinfo::version)),
    ("protocol", OnConnection(dbinfo::protocol)),
    ("param", OnConnection(dbinfo::param)),
    ("backendpid", OnConnection(dbinfo::backendpid)),
    ("socket", OnConnection(dbinfo::socket)),
    ("conndefaults", Plain(connect::conndefaults)),
    ("set_single_row_mode", OnConnection(exec::set_single_row_mode)),
    ("is_busy", OnConnection(exec::isbusy)),
    ("copy_complete", OnConnection(exec::copy_complete)),
];

/// Runs a sub-command.
pub(super) fn run(
    interp: Interp,
    connection: &Rc<Connection>,
    words: &[Obj],
) -> Result<Flow, Exception> {
    let [_, name, arguments @ ..] = words else {
        return Err(Failure::wrong_args(&format!("{} command...", connection.name())).into());
    };
    let name = name.text_lossy();
    let Some((known, how)) = COMMANDS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = COMMANDS.iter().map(|(known, _)| *known).collect();
        return Err(Failure::bad_word("command", &name, &known).into());
    };
    let mut call = vec![Obj::text(known)];
    let command = match how {
        OnConnection(command) => {
            call.push(connection.handle().clone());
            command
        }
        Plain(command) => command,
    };
    call.extend(arguments.iter().cloned());
    command(interp, &call)
}
