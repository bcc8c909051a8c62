//! What `package require pgsqlite` puts into an interpreter.
#![forbid(unsafe_code)]

use crate::tcl::{CmdResult, Interp, serve, signal};
use crate::{daystream, deltamirror, deltastream, pg_sqlite, pgtcl, schema};

/// The package's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the Pgtcl interface that is provided beside it.
pub const PGTCL_VERSION: &str = "3.2.0";

/// Who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An interpreter that may do everything.
    Trusted,
    /// A safe interpreter: no command that opens files or connections.
    Safe,
}

/// Registers the commands and provides the packages `pgsqlite` and `Pgtcl`.
///
/// # Errors
/// Another version of one of the packages is provided already.
pub fn register(interp: Interp, kind: Kind) -> CmdResult<()> {
    interp.export_namespace("::pgsqlite")?;
    interp.export_namespace("::pg")?;
    if kind == Kind::Trusted {
        signal::register(interp)?;
        serve::register(interp)?;
        daystream::command::register(interp)?;
        deltamirror::command::register(interp)?;
        deltastream::command::register(interp)?;
        pg_sqlite::command::register(interp)?;
        schema::command::register(interp)?;
    }
    #[cfg(feature = "failpoints")]
    failpoints(interp)?;
    // Where another Pgtcl is loaded already, its commands and its version stay.
    if pgtcl::register(interp, kind)? {
        interp.provide("Pgtcl", PGTCL_VERSION)?;
    }
    interp.provide("pgsqlite", VERSION)
}

/// Registers what only test builds have: `pgsqlite::failpoints`, the names at which the crash test
/// kills, and `pgsqlite::panic`.
#[cfg(feature = "failpoints")]
fn failpoints(interp: Interp) -> CmdResult<()> {
    use crate::tcl::{Obj, command, rehearsal};
    rehearsal::register(interp)?;
    command::register(interp, "::pgsqlite::failpoints", |_, _| {
        let names: Vec<Obj> = crate::failpoint::ALL.iter().map(|name| Obj::from(*name)).collect();
        Ok(Obj::list(&names).into())
    })?;
    Ok(())
}
