//! The interpreter as [`crate::sqlite::handle`] sees it, and the handle behind a word of a command.

use super::error::CmdResult;
use super::interp::Interp;
use super::obj::Obj;
use crate::sqlite::Db;
use crate::sqlite::handle::{self, Command, Host};
use std::ffi::c_void;
use tcl_sys as sys;

struct TclHost(Interp);

// SAFETY: commands are asked of the interpreter itself, which belongs to this thread, as Interp is
// not Send.
unsafe impl Host for TclHost {
    fn interp(&self) -> *const c_void {
        self.0.address()
    }

    fn command(&mut self, name: &str) -> Option<Command> {
        let info = self.0.command_info(&Obj::text(name))?;
        Some(Command { proc: info.obj_proc, data: info.client_data })
    }

    fn eval(&mut self, words: &[&str]) -> Result<String, String> {
        let words: Vec<Obj> = words.iter().map(|word| Obj::text(word)).collect();
        let raw: Vec<_> = words.iter().map(Obj::raw).collect();
        let interp = self.0;
        // SAFETY: live interpreter and objects; the state that is saved is restored once, before
        // anything else.
        unsafe {
            let state = sys::Tcl_SaveInterpState(interp.raw(), sys::TCL_OK);
            // NOTE: not at global level: names are looked up from the namespace in which our
            // command was called.
            let code = sys::eval_objv(interp.raw(), &raw, 0);
            let text = interp.result().text_lossy().into_owned();
            sys::Tcl_RestoreInterpState(interp.raw(), state);
            if code == sys::TCL_OK { Ok(text) } else { Err(text) }
        }
    }
}

/// The connection behind the `sqlite3` command that `name` names, borrowed: recover it again after
/// every script.
///
/// # Errors
/// `PGSQLITE HANDLE REASON name X`; text that has no UTF-8 form.
pub fn recover(interp: Interp, name: &Obj) -> CmdResult<Db> {
    let name = name.as_text()?;
    Ok(handle::recover(&mut TclHost(interp), &name)?)
}

/// Makes the SQLite of the `sqlite3` package available, for connections of our own. Requires that
/// package first, if the
/// interpreter can find it.
///
/// # Errors
/// `PGSQLITE HANDLE REASON name sqlite3`.
pub fn prepare(interp: Interp) -> CmdResult<()> {
    let host = &mut TclHost(interp);
    if host.command("::sqlite3").is_none() {
        // NOTE: without the package the next step says what is missing.
        let _ = host.eval(&["::package", "require", "sqlite3"]);
    }
    Ok(handle::prepare(host)?)
}
