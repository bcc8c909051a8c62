//! Commands that block and serve events meanwhile (`deltastream run`, `deltamirror live`), and the
//! command that ends them.
//!
//! ```text
//! pgsqlite::stop
//! ```
//! Ends every such command of this interpreter, cleanly, as if it had reached its end: what runs in
//! the background is stopped and flushed first. For signal handlers:
//! `pgsqlite::on_signal SIGTERM pgsqlite::stop`. Does nothing when none runs.

use super::command;
use super::error::{CmdResult, Exception, Failure};
use super::event;
use super::interp::{Interp, InterpRef, Preserved};
use super::obj::Obj;
use super::state;
use std::cell::Cell;
use std::rc::Rc;

/// How often `pgsqlite::stop` was called.
#[derive(Default)]
struct Stops(Cell<u64>);

/// Why serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The condition came true.
    Done,
    /// `pgsqlite::stop`.
    Stopped,
}

/// A memory of how often `pgsqlite::stop` was called, for work that serves events in between.
pub struct Asked {
    stops: Rc<Stops>,
    before: u64,
}

impl Asked {
    /// From now on.
    #[must_use]
    pub fn since_now(interp: Interp) -> Asked {
        let stops = state::of::<Stops>(interp);
        let before = stops.0.get();
        Asked { stops, before }
    }

    /// Whether `pgsqlite::stop` was called since.
    #[must_use]
    pub fn to_stop(&self) -> bool {
        self.stops.0.get() != self.before
    }
}

/// Registers `pgsqlite::stop`.
///
/// # Errors
/// None in practice: the name is a constant.
pub fn register(interp: Interp) -> CmdResult<()> {
    command::register(interp, "::pgsqlite::stop", |interp, words| {
        if words.len() != 1 {
            return Err(Failure::wrong_args("pgsqlite::stop").into());
        }
        let stops = state::of::<Stops>(interp);
        stops.0.set(stops.0.get() + 1);
        Ok(Obj::empty().into())
    })?;
    Ok(())
}

/// Events that are served in one go between two pieces of work.
const EVENTS_AT_ONCE: u32 = 16;

/// Serves some of the events that wait already, for work that goes on afterwards.
///
/// # Errors
/// `PGSQLITE INTERP DELETED` when an event's script has deleted the interpreter.
pub fn turn(interp: Interp) -> CmdResult<()> {
    let kept = InterpRef::new(interp);
    let _preserved = Preserved::new(interp);
    for _ in 0..EVENTS_AT_ONCE {
        if !event::serve_one(false) {
            break;
        }
        if kept.get().is_none() {
            return Err(deleted());
        }
    }
    Ok(())
}

fn deleted() -> Exception {
    let code = ["PGSQLITE", "INTERP", "DELETED"];
    Failure::new("the interpreter was deleted meanwhile", &code).into()
}

/// Serves events until `done` is true or `pgsqlite::stop` is called. `done` changes only by events.
///
/// # Errors
/// `PGSQLITE INTERP DELETED` when an event's script has deleted the interpreter; `TCL LIMIT` when a
/// limit of it is exceeded (`interp limit`).
pub fn until(interp: Interp, done: impl Fn() -> bool) -> CmdResult<Ended> {
    let asked = Asked::since_now(interp);
    let kept = InterpRef::new(interp);
    let _preserved = Preserved::new(interp);
    loop {
        if done() {
            return Ok(Ended::Done);
        }
        if asked.to_stop() {
            return Ok(Ended::Stopped);
        }
        if kept.get().is_none() {
            return Err(deleted());
        }
        if interp.is_limited() {
            // As `vwait` says it; the interpreter lets no script catch it.
            return Err(Failure::new("limit exceeded", &["TCL", "LIMIT"]).into());
        }
        event::serve_one(true);
    }
}
