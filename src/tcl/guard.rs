//! Every entry from Tcl: a panic becomes an error and goes no further.

use super::error::Failure;
use super::interp::{Interp, InterpRef, Preserved};
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<u32> = const { Cell::new(0) };
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "unknown".to_owned()
    }
}

/// The error that a panic becomes.
pub(crate) fn panic_failure(panic: &(dyn Any + Send)) -> Failure {
    let message = panic_message(panic);
    Failure::new(
        format!("internal error, please report it: {message}"),
        &["PGSQLITE", "INTERNAL", "PANIC", "message", &message],
    )
}

/// Runs `body`; a panic in it is silent on stderr and comes back as the error it becomes.
///
/// # Errors
/// The panic.
pub(crate) fn caught<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    silence();
    GUARDED.with(|depth| depth.set(depth.get() + 1));
    let outcome = catch_unwind(AssertUnwindSafe(body));
    GUARDED.with(|depth| depth.set(depth.get() - 1));
    outcome.map_err(|panic| panic_failure(&*panic))
}

/// Runs an event's `body` in an interpreter that is still there; a panic in it goes to
/// `interp bgerror`.
pub(crate) fn in_background(interp: &InterpRef, body: impl FnOnce(Interp)) {
    let Some(interp) = interp.get() else { return };
    let _preserved = Preserved::new(interp);
    if let Err(failure) = caught(|| body(interp)) {
        interp.background(&failure.into());
    }
}

/// Whether this is a thread that the package has made: what panics there becomes an error of its
/// own.
fn is_own_thread() -> bool {
    const NAMES: [&str; 3] = ["pgsqlite", "deltastream", "deltamirror"];
    std::thread::current().name().is_some_and(|own| NAMES.iter().any(|name| own.starts_with(name)))
}

/// Keeps Rust's panic message off the host's stderr while a guarded call runs; other panics stay as
/// the host wants.
fn silence() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.with(Cell::get) == 0 && !is_own_thread() {
                previous(info);
            }
        }));
    });
}
