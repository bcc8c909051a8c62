//! Commands with sub-commands: `deltastream setup ...`, and handles such as `$stream start ...`.
//!
//! Words are matched whole, never by prefix, so that a later version's new sub-command changes no
//! script's meaning.
//! Errors are those of Tcl's own ensembles (namespace(n)): errorCode `TCL LOOKUP SUBCOMMAND X`.

use super::command::{self, Command, Flow};
use super::error::{CmdResult, Exception, Failure, choice_list};
use super::exit;
use super::interp::Interp;
use super::obj::Obj;
use super::state;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// A sub-command: gets the words after its own name.
pub type Sub = fn(Interp, &[Obj]) -> Result<Flow, Exception>;
/// A handle's sub-command: gets the handle's state too.
pub type Method<S> = fn(&Rc<S>, Interp, &[Obj]) -> Result<Flow, Exception>;

/// Picks the entry that the second word names; gives it with the words after that.
///
/// # Errors
/// No second word: `TCL WRONGARGS`; an unknown one: `TCL LOOKUP SUBCOMMAND X`.
fn select<'w, T: Copy>(
    words: &'w [Obj],
    table: &[(&'static str, T)],
    extra: Option<&'static str>,
) -> CmdResult<(Option<T>, &'w [Obj])> {
    let [_, name, rest @ ..] = words else {
        let usage = format!("{} subcommand ?arg ...?", own_name(words));
        return Err(Failure::wrong_args(&usage).into());
    };
    let word = name.text_lossy();
    if let Some((_, found)) = table.iter().find(|(n, _)| *n == word) {
        return Ok((Some(*found), rest));
    }
    if extra == Some(&*word) {
        return Ok((None, rest));
    }
    let mut names: Vec<&str> = table.iter().map(|(n, _)| *n).chain(extra).collect();
    names.sort_unstable();
    let message = format!("unknown subcommand \"{word}\": must be {}", choice_list(&names));
    Err(Failure::new(message, &["TCL", "LOOKUP", "SUBCOMMAND", &word]).into())
}

/// The name by which a command was called.
fn own_name(words: &[Obj]) -> Cow<'_, str> {
    words.first().map(Obj::text_lossy).unwrap_or_default()
}

/// Registers a command with these sub-commands.
///
/// # Errors
/// A name with a NUL byte.
pub fn register(
    interp: Interp,
    name: &str,
    table: &'static [(&'static str, Sub)],
) -> CmdResult<()> {
    command::register(interp, name, move |interp, words| {
        let (sub, rest) = select(words, table, None)?;
        sub.map_or_else(|| Ok(Obj::empty().into()), |sub| sub(interp, rest))
    })?;
    Ok(())
}

/// What stands behind a handle command.
pub trait Handle: 'static {
    /// Ends what the handle has running, within a bounded time: at `close`, when the command or its
    /// interpreter is
    /// deleted, or at the exit of the thread, where it may come twice. Must not run scripts.
    fn close(&self);
}

/// Makes the handle command `name`, or one named after its kind with a number; returns its name.
/// `close` is a
/// sub-command that every handle has.
///
/// # Errors
/// `PGSQLITE USAGE EXISTS` when a command has that name already.
pub fn create<S: Handle>(
    interp: Interp,
    kind: &'static str,
    name: Option<&Obj>,
    state: Rc<S>,
    table: &'static [(&'static str, Method<S>)],
) -> CmdResult<Obj> {
    let name = match name {
        Some(name) => named(interp, name)?,
        None => numbered(interp, kind),
    };
    let own: Rc<RefCell<Option<Command>>> = Rc::default();
    let at_exit = Rc::clone(&state);
    let guard = exit::at_exit(move || at_exit.close());
    let closing = Rc::clone(&state);
    let (to_close, to_forget) = (Rc::clone(&own), Rc::clone(&own));
    let text = name.as_text()?.into_owned();
    let command = command::register_handle(
        interp,
        &text,
        move |interp, words| match select(words, table, Some("close"))? {
            (Some(method), rest) => method(&state, interp, rest),
            (None, []) => {
                let command = to_close.borrow_mut().take();
                if let Some(command) = command {
                    command.delete();
                }
                Ok(Obj::empty().into())
            }
            (None, _) => Err(Failure::wrong_args(&format!("{} close", own_name(words))).into()),
        },
        move |_| {
            drop(guard);
            drop(to_forget.borrow_mut().take());
            closing.close();
        },
    )?;
    own.replace(Some(command));
    Ok(name)
}

fn named(interp: Interp, name: &Obj) -> CmdResult<Obj> {
    if interp.command_info(name).is_some() {
        let text = name.text_lossy();
        let message = format!("a command \"{text}\" exists already: choose another name");
        return Err(Failure::new(message, &["PGSQLITE", "USAGE", "EXISTS", "name", &text]).into());
    }
    Ok(name.clone())
}

/// How many handles of each kind an interpreter has made.
#[derive(Default)]
struct Numbers(RefCell<HashMap<&'static str, Rc<Cell<u64>>>>);

fn numbered(interp: Interp, kind: &'static str) -> Obj {
    let numbers = state::of::<Numbers>(interp);
    let next = Rc::clone(numbers.0.borrow_mut().entry(kind).or_default());
    loop {
        let name = Obj::text(&format!("{kind}{}", next.get()));
        next.set(next.get() + 1);
        if interp.command_info(&name).is_none() {
            return name;
        }
    }
}

/// Splits the optional name from the options that follow it: a first word that does not begin with
/// a dash.
#[must_use]
pub fn optional_name(words: &[Obj]) -> (Option<&Obj>, &[Obj]) {
    match words {
        [name, rest @ ..] if !name.internal().starts_with(b"-") => (Some(name), rest),
        rest => (None, rest),
    }
}
