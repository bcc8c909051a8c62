//! Signals to scripts: `pgsqlite::on_signal SIGTERM script`, for the programs, since Tcl has no
//! such command.

use super::command;
use super::error::{CmdResult, Failure};
use super::event::Readable;
use super::interp::Interp;
use super::obj::Obj;
use super::state;
use crate::interrupt;
use rustix::io::read;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::low_level::{pipe, unregister};
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

const NAMES: [(&str, i32); 4] =
    [("SIGHUP", SIGHUP), ("SIGINT", SIGINT), ("SIGTERM", SIGTERM), ("SIGUSR1", SIGUSR1)];

struct Watch {
    ids: Vec<signal_hook::SigId>,
    _readable: Readable,
}

impl Drop for Watch {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            unregister(id);
        }
    }
}

#[derive(Default)]
struct Watches(RefCell<HashMap<i32, Watch>>);

/// Registers `pgsqlite::on_signal NAME SCRIPT`: runs the script from the event loop when the signal
/// comes; an empty script ends that (the signal is then ignored). A command that waits for another
/// host, without serving events, ends with an error then: [`interrupt`].
///
/// # Errors
/// None in practice: the name is a constant.
pub fn register(interp: Interp) -> CmdResult<()> {
    command::register(interp, "::pgsqlite::on_signal", |interp, words| {
        let [_, name, script] = words else {
            return Err(Failure::wrong_args("pgsqlite::on_signal name script").into());
        };
        let word = name.text_lossy();
        let Some((_, signal)) = NAMES.iter().find(|(n, _)| *n == word) else {
            return Err(Failure::bad_word("signal", &word, &NAMES.map(|(n, _)| n)).into());
        };
        let watches = state::of::<Watches>(interp);
        let previous = watches.0.borrow_mut().remove(signal);
        drop(previous);
        if !script.internal().is_empty() {
            let watch = watch(interp, *signal, script.clone()).map_err(|error| {
                let code = ["PGSQLITE", "SYSTEM", "SIGNAL", "name", &word];
                Failure::new(format!("cannot watch {word}: {error}"), &code)
            })?;
            watches.0.borrow_mut().insert(*signal, watch);
        }
        Ok(Obj::empty().into())
    })?;
    Ok(())
}

fn watch(interp: Interp, signal: i32, script: Obj) -> std::io::Result<Watch> {
    let (reading, writing) = UnixStream::pair()?;
    reading.set_nonblocking(true)?;
    // NOTE: the flag first, or a script could run before it is raised.
    let raised = interrupt::watch();
    let mut ids = Vec::new();
    if matches!(signal, SIGINT | SIGTERM) {
        ids.push(flag::register(signal, raised.clone())?);
    }
    ids.push(pipe::register(signal, writing)?);
    let readable = Readable::new(interp, reading.as_raw_fd(), move |interp| {
        let mut buffer = [0; 64];
        while matches!(read(&reading, &mut buffer), Ok(1..)) {}
        raised.store(false, Ordering::Relaxed);
        interp.run_script(&script);
    });
    Ok(Watch { ids, _readable: readable })
}
