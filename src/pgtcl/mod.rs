//! Pgtcl's commands, one file per family.
//!
//! Every command is there twice: `pg_NAME` and `::pg::NAME` (`pg_exec` as `::pg::sqlexec`), the
//! namespace exported. A connection is a Tcl channel and a command of the same name; a result is a
//! command. Scripts written for Pgtcl 3.1 run unchanged; SQL errors keep its contract (`pg_exec`
//! does not raise, `pg_select` and `pg_execute` do).
//!
//! Limits: results per connection are bounded by memory only; a statement or a text parameter holds
//! no NUL character (PostgreSQL's own limit). Values are text. The commands block while the server
//! works, save the asynchronous ones. Not guaranteed: the order in which `pg_dbinfo connections`
//! lists. In a safe interpreter there is no command that opens connections or reads the
//! environment.
#![forbid(unsafe_code)]

mod connect;
mod connection;
mod copy;
mod dbinfo;
mod exec;
mod execute;
mod failure;
mod handle_command;
mod handles;
mod large_object;
mod listen;
mod notice;
mod prepared;
mod query;
mod query_result;
mod quote;
mod reconnect;
mod result_command;
mod row;
mod select;
mod share;
mod statement;
mod substitute;
mod watch;

pub use connection::{Connection, Lent};
pub use handles::{connection, result};
pub use query_result::QueryResult;

use crate::commands::Kind;
use crate::tcl::event::Timer;
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, command, other_pgtcl, state};
use std::cell::RefCell;

/// What runs a command: the interpreter and all words, the command's name first.
type Run = fn(Interp, &[Obj]) -> Result<Flow, Exception>;

/// A command of the package.
struct Entry {
    /// The name behind `pg_`.
    name: &'static str,
    /// The name in the namespace `pg`, where it differs.
    alias: Option<&'static str>,
    run: Run,
    /// Whether a safe interpreter has it.
    safe: bool,
}

const fn entry(name: &'static str, run: Run) -> Entry {
    Entry { name, alias: None, run, safe: true }
}

const fn unsafe_entry(name: &'static str, run: Run) -> Entry {
    Entry { name, alias: None, run, safe: false }
}

const COMMANDS: &[Entry] = &[
    entry("blocking", exec::blocking),
    entry("cancelrequest", exec::cancelrequest),
    unsafe_entry("conndefaults", connect::conndefaults),
    unsafe_entry("connect", connect::connect),
    entry("copy_complete", exec::copy_complete),
    entry("dbinfo", dbinfo::dbinfo),
    entry("disconnect", connect::disconnect),
    entry("encrypt_password", quote::encrypt_password),
    entry("escape_bytea", quote::escape_bytea),
    entry("escape_identifier", quote::escape_identifier),
    entry("escape_literal", quote::escape_literal),
    entry("escape_string", quote::quote),
    Entry { name: "exec", alias: Some("sqlexec"), run: exec::exec, safe: true },
    entry("exec_prepared", prepared::exec_prepared),
    entry("execute", execute::execute),
    entry("getdata", exec::getdata),
    entry("getresult", exec::getresult),
    entry("isbusy", exec::isbusy),
    entry("listen", listen::listen),
    entry("lo_close", large_object::close),
    entry("lo_creat", large_object::creat),
    unsafe_entry("lo_export", large_object::export),
    unsafe_entry("lo_import", large_object::import),
    entry("lo_lseek", large_object::lseek),
    entry("lo_open", large_object::open),
    entry("lo_read", large_object::read),
    entry("lo_tell", large_object::tell),
    entry("lo_truncate", large_object::truncate),
    entry("lo_unlink", large_object::unlink),
    entry("lo_write", large_object::write),
    entry("notice_handler", notice::notice_handler),
    entry("null_value_string", quote::null_value_string),
    entry("on_connection_loss", listen::on_connection_loss),
    entry("query", query::query),
    entry("quote", quote::quote),
    unsafe_entry("reconnect", reconnect::reconnect),
    entry("result", result_command::result),
    entry("select", select::select),
    entry("sendquery", exec::sendquery),
    entry("sendquery_prepared", prepared::sendquery_prepared),
    entry("set_single_row_mode", exec::set_single_row_mode),
    entry("sql", prepared::sql),
    entry("unescape_bytea", quote::unescape_bytea),
];

/// Registers Pgtcl's commands. False, and nothing done, where the interpreter has a `pg_disconnect`
/// already: another Pgtcl's commands are left alone.
///
/// # Errors
/// None in practice: the names are constants.
pub fn register(interp: Interp, kind: Kind) -> CmdResult<bool> {
    if interp.has_command(&Obj::text("::pg_disconnect")) {
        return Ok(false);
    }
    interp.export_namespace("::pg")?;
    for entry in COMMANDS.iter().filter(|e| e.safe || kind == Kind::Trusted) {
        let alias = entry.alias.unwrap_or(entry.name);
        for name in [format!("pg_{}", entry.name), format!("::pg::{alias}")] {
            let run = |interp: Interp<'_>, words: &[Obj]| told(entry.run, interp, words);
            match entry.name {
                LOOKED_AT => command::register_handle(interp, &name, run, replaced)?,
                _ => command::register(interp, &name, run)?,
            };
        }
    }
    Ok(true)
}

/// The command whose end tells that another Pgtcl was loaded over this one.
const LOOKED_AT: &str = "disconnect";

/// Says, from the event loop, when another Pgtcl has put its commands in the place of ours: handles
/// of one are none of the other's, and a script would find out by odd errors.
fn replaced(interp: Interp) {
    if interp.is_deleted() {
        return;
    }
    let timer = Timer::after(interp, 0, move |interp| {
        if other_pgtcl::is_loaded(interp) {
            let code = ["PGSQLITE", "PGTCL", "REPLACED"];
            let message = "another Pgtcl was loaded over pgsqlite and has taken its pg_ commands: \
                           load it before pgsqlite, which then leaves them alone, or not at all";
            interp.background(&Failure::new(message, &code).into());
        }
    });
    state::of::<Replaced>(interp).0.replace(Some(timer));
}

/// What is to be said of an interpreter's commands.
#[derive(Default)]
struct Replaced(RefCell<Option<Timer>>);

/// Runs a command, then tells of the notices that came meanwhile.
fn told(run: Run, interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    query_result::clear_forgotten();
    let outcome = run(interp, words);
    notice::deliver();
    outcome
}
