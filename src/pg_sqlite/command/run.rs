//! Runs an import on a handle, with scripts in its middle: see [`super`].

use super::options::{Given, conflict, describe, row_count};
use crate::pg_sqlite::{self, Error, Import, Imported, Max};
use crate::sqlite::Db;
use crate::tcl::sqlite_host::{self, Held};
use crate::tcl::{CmdResult, Exception, Flow, Interp, Obj, event};
use std::cell::RefCell;

/// What is called every so many rows.
pub(super) struct Calls {
    progress: Option<(u64, Obj)>,
    poll: Option<u64>,
}

impl Calls {
    /// From the values of `-progress` and `-poll_interval`.
    pub(super) fn new(
        interp: Interp,
        progress: Option<&Obj>,
        poll: Option<&Obj>,
    ) -> CmdResult<Calls> {
        let progress = match progress {
            None => None,
            Some(value) => match value.as_list(interp)?.as_slice() {
                [every, callback] => {
                    Some((row_count(interp, "-progress", every)?, callback.clone()))
                }
                _ => return Err(conflict("-progress needs {rows callback}", "PROGRESS")),
            },
        };
        let poll = poll.map(|value| row_count(interp, "-poll_interval", value)).transpose()?;
        Ok(Calls { progress, poll })
    }

    /// The greatest number that divides both intervals; 0 when nothing is called.
    pub(super) fn every(&self) -> u64 {
        let (mut a, mut b) =
            (self.progress.as_ref().map_or(0, |(every, _)| *every), self.poll.unwrap_or(0));
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    }

    fn run(&self, interp: Interp, rows: u64) -> CmdResult<()> {
        if self.poll.is_some_and(|every| rows.is_multiple_of(every)) {
            event::serve_one(false);
        }
        if let Some((every, callback)) = &self.progress
            && rows.is_multiple_of(*every)
        {
            let mut words = callback.as_list(interp)?;
            words.push(Obj::from(rows));
            interp.call(&words)?;
        }
        Ok(())
    }
}

impl Calls {
    /// Calls what is due after `rows` rows; `false` when the work is to stop: what was raised waits
    /// in `stopped` then.
    pub(super) fn heard(
        &self,
        interp: Interp,
        held: &Held,
        rows: u64,
        stopped: &RefCell<Option<Exception>>,
    ) -> bool {
        let outcome = self.run(interp, rows);
        let gone = held.is_closed() || interp.is_deleted();
        match outcome {
            // A `return` in the callback is a normal end of it.
            Ok(()) | Err(Exception::Raised(2)) => !gone,
            Err(exception) => {
                stopped.replace(Some(exception));
                false
            }
        }
    }
}

/// Runs the import that `given` describes on `handle`: `feed` gives it its rows. The result is the
/// number of rows written.
///
/// # Errors
/// Those of the options, of `feed`, of the callbacks, and of the import.
pub(super) fn run(
    interp: Interp,
    handle: &Obj,
    given: &Given<'_>,
    feed: impl FnOnce(Import<'_>, &Db) -> CmdResult<pg_sqlite::Result<Imported>>,
) -> Result<Flow, Exception> {
    let held = sqlite_host::recover(interp, handle)?;
    let calls = Calls::new(interp, given.get("-progress"), given.get("-poll_interval"))?;
    let stopped: RefCell<Option<Exception>> = RefCell::new(None);
    let mut progress = |rows: u64| calls.heard(interp, &held, rows, &stopped);
    let mut import = describe(interp, held.db(), given)?;
    import.progress_every = calls.every();
    import.progress = Some(&mut progress);
    import.stop = Some(held.closed());
    let imported = feed(import, held.db())?
        .map_err(|error| why(error, stopped.take(), &held, handle, "the import"))?;
    if let (Some((_, variable)), Some(max)) = (given.max, imported.max) {
        let max = match max {
            Max::Int(int) => Obj::int(int),
            Max::Real(real) => Obj::real(real),
            Max::Text(text) => Obj::utf8(&text),
        };
        interp.set_var(variable, None, &max)?;
    }
    Ok(imported.rows.into())
}

/// The error to report: the callback's own, the handle's end, or the import's.
pub(super) fn why(
    error: Error,
    stopped: Option<Exception>,
    held: &Held,
    handle: &Obj,
    work: &str,
) -> Exception {
    match (error, stopped) {
        (_, _) if held.is_closed() => sqlite_host::closed_during(handle, work),
        (Error::Stopped { .. }, Some(raised @ (Exception::Raised(1) | Exception::Failure(_)))) => {
            raised
        }
        (error, _) => error.into(),
    }
}
