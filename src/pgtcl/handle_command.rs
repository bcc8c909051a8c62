//! The command of a connection handle: `$conn exec ...` for `pg_exec $conn ...`, and so on.

use super::{
    Connection, Run, connect, dbinfo, exec, execute, large_object, listen, notice, prepared, query,
    quote, reconnect, select, told,
};
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
    ("quote", OnConnection(quote::quote_by_handle)),
    ("escape_bytea", OnConnection(quote::escape_bytea_by_handle)),
    ("unescape_bytea", Plain(quote::unescape_bytea)),
    ("disconnect", OnConnection(connect::disconnect)),
    ("exec", OnConnection(exec::exec)),
    ("sqlexec", OnConnection(exec::exec)),
    ("execute", OnConnection(execute::execute)),
    ("select", OnConnection(select::select)),
    ("listen", OnConnection(listen::listen)),
    ("on_connection_loss", OnConnection(listen::on_connection_loss)),
    ("lo_creat", OnConnection(large_object::creat)),
    ("lo_open", OnConnection(large_object::open)),
    ("lo_close", OnConnection(large_object::close)),
    ("lo_read", OnConnection(large_object::read)),
    ("lo_write", OnConnection(large_object::write)),
    ("lo_lseek", OnConnection(large_object::lseek)),
    ("lo_tell", OnConnection(large_object::tell)),
    ("lo_truncate", OnConnection(large_object::truncate)),
    ("lo_unlink", OnConnection(large_object::unlink)),
    ("lo_import", OnConnection(large_object::import)),
    ("lo_export", OnConnection(large_object::export)),
    ("sendquery", OnConnection(exec::sendquery)),
    ("exec_prepared", OnConnection(prepared::exec_prepared)),
    ("sendquery_prepared", OnConnection(prepared::sendquery_prepared)),
    ("null_value_string", OnConnection(quote::null_value_string)),
    ("version", OnConnection(dbinfo::version)),
    ("protocol", OnConnection(dbinfo::protocol)),
    ("param", OnConnection(dbinfo::param)),
    ("backendpid", OnConnection(dbinfo::backendpid)),
    ("socket", OnConnection(dbinfo::socket)),
    ("conndefaults", Plain(connect::conndefaults)),
    ("set_single_row_mode", OnConnection(exec::set_single_row_mode)),
    ("is_busy", OnConnection(exec::isbusy)),
    ("blocking", OnConnection(exec::blocking)),
    ("cancel_request", OnConnection(exec::cancelrequest)),
    ("copy_complete", OnConnection(exec::copy_complete)),
    ("sqlite", Plain(sqlite)),
    ("sql", OnConnection(prepared::sql)),
    ("query", OnConnection(query::query)),
    ("getresult", OnConnection(exec::getresult)),
    ("getdata", OnConnection(exec::getdata)),
    ("escape_identifier", OnConnection(quote::escape_identifier)),
    ("escape_literal", OnConnection(quote::escape_literal)),
    ("encrypt_password", OnConnection(quote::encrypt_password)),
    ("notice_handler", OnConnection(notice::notice_handler)),
    ("reconnect", OnConnection(reconnect::reconnect)),
];

/// `$conn sqlite handle ...` for `pg_sqlite handle ...`.
fn sqlite(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let mut call = vec![Obj::text("::pg_sqlite")];
    call.extend(words.iter().skip(1).cloned());
    Ok(Flow::Value(interp.call_here(&call)?))
}

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
    told(*command, interp, &call)
}
