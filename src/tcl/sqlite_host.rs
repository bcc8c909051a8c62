//! The interpreter as [`crate::sqlite::handle`] sees it, and the handle behind a word of a command.

use super::error::{CmdResult, Exception, Failure};
use super::hold;
use super::interp::Interp;
use super::obj::Obj;
use crate::sqlite::handle::{self, Host};
use std::ffi::c_void;
use std::sync::atomic::AtomicBool;
use tcl_sys as sys;

struct TclHost<'i>(Interp<'i>);

/// Keeps a handle's data, whatever a script does to its command.
pub struct Hold(hold::Hold);

// SAFETY: the owner's deleteProc, which frees the data, does not run while the hold lives.
unsafe impl handle::Hold for Hold {
    fn deleted(&self) -> &AtomicBool {
        self.0.deleted()
    }
}

// SAFETY: commands are asked of the interpreter itself, which belongs to this thread, as Interp is
// not Send.
unsafe impl Host for TclHost<'_> {
    type Hold = Hold;

    fn interp(&self) -> *const c_void {
        self.0.address()
    }

    fn command(&mut self, name: &str) -> Option<handle::Command> {
        let info = self.0.command_info(&Obj::text(name))?;
        Some(handle::Command { proc: info.obj_proc, data: info.client_data })
    }

    fn hold(&mut self, name: &str) -> Option<Hold> {
        hold::Hold::new(self.0, name).map(Hold)
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

/// A connection whose handle stays while this lives, also when a script deletes its command: see
/// [`handle::Held`].
pub type Held = handle::Held<Hold>;

/// The connection behind the `sqlite3` command that `name` names, held.
///
/// # Errors
/// `PGSQLITE HANDLE REASON name X`; text that has no UTF-8 form.
pub fn recover(interp: Interp, name: &Obj) -> CmdResult<Held> {
    let name = name.as_text()?;
    Ok(handle::recover(&mut TclHost(interp), &name)?)
}

/// The error of `work` during which a script has deleted its handle.
pub fn closed_during(handle: &Obj, work: &str) -> Exception {
    let name = handle.text_lossy();
    let message = format!("the sqlite3 handle \"{name}\" was closed during {work}");
    Failure::new(message, &["PGSQLITE", "HANDLE", "CLOSED", "name", &name]).into()
}

/// The full name of the handle that `name` names, behind imports and aliases: for later, from
/// whatever namespace.
///
/// # Errors
/// As [`recover`].
pub fn full_name(interp: Interp, name: &Obj) -> CmdResult {
    let own_name = handle::own_name(&mut TclHost(interp), &name.as_text()?)?;
    let found = TclHost(interp).eval(&["::namespace", "which", "-command", &own_name]);
    Ok(Obj::text(found.ok().filter(|found| !found.is_empty()).as_deref().unwrap_or(&own_name)))
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
