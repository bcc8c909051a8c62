//! The interpreter as [`crate::sqlite::handle`] sees it, and the handle behind a word of a command.

use super::command::{self, Command};
use super::error::CmdResult;
use super::interp::{Interp, InterpRef};
use super::obj::Obj;
use crate::sqlite::Db;
use crate::sqlite::handle::{self, Hold, Host};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::rc::Rc;
use tcl_sys as sys;

struct TclHost(Interp);

// SAFETY: commands are asked of the interpreter itself, which belongs to this thread, as Interp is
// not Send.
unsafe impl Host for TclHost {
    fn interp(&self) -> *const c_void {
        self.0.address()
    }

    fn command(&mut self, name: &str) -> Option<handle::Command> {
        let info = self.0.command_info(&Obj::text(name))?;
        Some(handle::Command { proc: info.obj_proc, data: info.client_data })
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

/// The full name of the handle that `name` names, behind imports and aliases: for later, from
/// whatever namespace.
///
/// # Errors
/// As [`recover`].
pub fn full_name(interp: Interp, name: &Obj) -> CmdResult {
    let (_, own_name) = handle::resolve(&mut TclHost(interp), &name.as_text()?)?;
    let found = TclHost(interp).eval(&["::namespace", "which", "-command", &own_name]);
    Ok(Obj::text(found.ok().filter(|found| !found.is_empty()).as_deref().unwrap_or(&own_name)))
}

/// A connection on which a script may run while statements of ours are alive, as a progress
/// callback does. The script may delete the handle: SQLite then cannot close the connection, so the
/// last of us does.
pub struct Watched {
    hold: Option<Hold>,
    interp: InterpRef,
    watch: Rc<Watch>,
    trace: Command,
}

/// What the command trace has seen.
struct Watch {
    db: Db,
    name: RefCell<Obj>,
    deleted: Cell<bool>,
}

impl Watched {
    /// The connection, as long as no other script than the callbacks runs.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.watch.db
    }

    /// Whether a script has deleted the handle.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.watch.deleted.get()
    }
}

/// As [`recover`], for work during which scripts run.
///
/// # Errors
/// As [`recover`].
pub fn recover_watched(interp: Interp, name: &Obj) -> CmdResult<Watched> {
    let (db, own_name) = handle::resolve(&mut TclHost(interp), &name.as_text()?)?;
    let watch =
        Rc::new(Watch { db, name: RefCell::new(Obj::text(&own_name)), deleted: Cell::new(false) });
    let seen = Rc::clone(&watch);
    let address = Rc::as_ptr(&watch).addr();
    let command =
        command::register(interp, &format!("::pgsqlite::watch_{address:x}"), move |_, words| {
            match words {
                [_, _, new, operation] if operation.internal() == b"rename" => {
                    seen.name.replace(new.clone());
                }
                _ => {
                    // The handle is still there now, and freed next, with all that its hooks need.
                    handle::forget_owner(&seen.db);
                    seen.deleted.set(true);
                }
            }
            Ok(Obj::empty().into())
        })?;
    let (hold, interp_ref) = (Some(Hold::on(&watch.db)?), InterpRef::new(interp));
    let watched = Watched { hold, interp: interp_ref, watch, trace: command };
    watched.trace_command(interp, "add");
    Ok(watched)
}

impl Watched {
    fn trace_command(&self, interp: Interp, verb: &str) {
        let name = self.watch.name.borrow().text_lossy().into_owned();
        let Some(command) = self.trace.full_name() else { return };
        let words = ["::trace", verb, "command", &name, "rename delete", &command];
        let _ = TclHost(interp).eval(&words);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        match self.hold.take() {
            Some(hold) if self.is_closed() => {
                // SAFETY: the trace saw the deletion while `hold` kept the connection open; the
                // work is over, so that no other statement is alive any more.
                unsafe { handle::close_abandoned(&self.watch.db, hold) };
            }
            hold => {
                drop(hold);
                if let Some(interp) = self.interp.get() {
                    self.trace_command(interp, "remove");
                }
            }
        }
        self.trace.delete();
    }
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
