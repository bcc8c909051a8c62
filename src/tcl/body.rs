//! A script run once per row, on Tcl's own trampoline (NRE), so that `yield`, `tailcall`, `break`,
//! `continue` and `return -level` work in it (Tcl_NRAddCallback(3)).

use super::error::{CmdResult, Exception};
use super::guard;
use super::interp::Interp;
use super::obj::Obj;
use std::ffi::{c_int, c_void};
use tcl_sys as sys;

/// What feeds the rows to a body.
pub trait Iteration {
    /// Sets the variables of the next row; false when there is none. No borrow may outlive the
    /// call: the script that follows can do anything, the deletion of our own handles included.
    ///
    /// # Errors
    /// Ends the loop with the error.
    fn next(&mut self, interp: Interp) -> CmdResult<bool>;

    /// What to run in place of the body for the row that `next` has announced.
    fn script(&self) -> Option<Obj> {
        None
    }

    /// Whether the command's result is that of the last script, and empty where none ran, in place
    /// of what `finish` gives.
    fn gives_last(&self) -> bool {
        false
    }

    /// After the last row or a `break`: cleans up and gives the command's result.
    ///
    /// # Errors
    /// Becomes the command's error.
    fn finish(&mut self, interp: Interp) -> CmdResult;

    /// After an error or a `return` of the script: cleans up; the interpreter's result is not
    /// touched.
    fn abandon(&mut self, _interp: Interp) {}
}

/// A script and its rows.
pub struct Body {
    script: Obj,
    /// What runs for the present row: held while it does.
    running: Obj,
    /// The command's name in `("NAME" body line N)`; empty to add none.
    name: &'static str,
    /// The result of the script that ran last, where that is the command's.
    last: Option<Obj>,
    rows: Box<dyn Iteration>,
}

impl Body {
    /// A loop over `rows`. `name` is the command's in `("NAME" body line N)`; empty to add none.
    pub fn new(name: &'static str, script: Obj, rows: impl Iteration + 'static) -> Body {
        let last = rows.gives_last().then(Obj::empty);
        Body { running: script.clone(), script, name, last, rows: Box::new(rows) }
    }
}

/// Starts the loop; returns Tcl's code, the script not yet run.
pub(super) fn start(interp: Interp, body: Body) -> c_int {
    step(interp, Box::new(body))
}

/// One turn: the next row's script is put on the trampoline, or the loop ends.
fn step(interp: Interp, mut body: Box<Body>) -> c_int {
    match body.rows.next(interp) {
        Ok(true) => {
            let other = body.rows.script();
            body.running = other.unwrap_or_else(|| body.script.clone());
            let script = body.running.raw();
            let data = Box::into_raw(body).cast::<c_void>();
            let none = std::ptr::null_mut();
            // SAFETY: live interpreter; the box is taken back in `ran`, which Tcl calls exactly
            // once, and holds the script till then.
            unsafe {
                sys::Tcl_NRAddCallback(interp.raw(), ran, data, none, none, none);
                sys::Tcl_NREvalObj(interp.raw(), script, 0)
            }
        }
        Ok(false) => finish(interp, *body),
        Err(exception) => {
            body.rows.abandon(interp);
            exception.raise(interp)
        }
    }
}

fn finish(interp: Interp, mut body: Body) -> c_int {
    interp.reset_result();
    match body.rows.finish(interp) {
        Ok(value) => {
            interp.set_result(body.last.as_ref().unwrap_or(&value));
            sys::TCL_OK
        }
        Err(exception) => exception.raise(interp),
    }
}

/// Called by Tcl when the script of a row has ended with `result`.
unsafe extern "C" fn ran(data: *mut *mut c_void, interp: *mut sys::Interp, result: c_int) -> c_int {
    // SAFETY: Tcl calls with a live interpreter, and with the four words given in `step`.
    let (interp, mut body) = unsafe {
        let Some(interp) = Interp::from_raw(interp) else { return result };
        (interp, Box::from_raw((*data).cast::<Body>()))
    };
    if let Some(last) = &mut body.last {
        *last = interp.result();
    }
    let outcome = guard::caught(move || match result {
        sys::TCL_OK | sys::TCL_CONTINUE => step(interp, body),
        sys::TCL_BREAK => finish(interp, *body),
        other => {
            let mut body = body;
            if other == sys::TCL_ERROR && !body.name.is_empty() {
                let line = interp.error_line();
                interp.add_error_info(&format!("\n    (\"{}\" body line {line})", body.name));
            }
            body.rows.abandon(interp);
            other
        }
    });
    outcome.unwrap_or_else(|failure| Exception::from(failure).raise(interp))
}
