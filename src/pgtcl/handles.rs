//! From a word of a script to the connection or result it names.
//!
//! A connection is found by its command, whatever that is called now, else by its channel (so that
//! `interp share` works, and the first name after a `rename` of the command); but an interpreter
//! that has not its channel, or no longer, has not the connection. A result is found by
//! its command, else as `CONNECTION.NUMBER`.

use super::{Connection, QueryResult};
use crate::tcl::channel::Channel;
use crate::tcl::{CmdResult, Failure, Interp, Obj};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

thread_local! {
    /// The connections of this thread.
    static ALL: RefCell<Vec<Weak<Connection>>> = const { RefCell::new(Vec::new()) };
}

/// A connection is there.
pub(super) fn add(connection: &Rc<Connection>) {
    ALL.with_borrow_mut(|all| {
        all.retain(|one| one.strong_count() > 0);
        all.push(Rc::downgrade(connection));
    });
}

fn all() -> Vec<Rc<Connection>> {
    ALL.with_borrow(|all| all.iter().filter_map(Weak::upgrade).collect())
}

/// The connections that an interpreter has, the oldest first.
pub(super) fn connections(interp: Interp) -> Vec<Rc<Connection>> {
    let mut all = all();
    all.retain(|connection| connection.is_open() && connection.is_shared_with(interp));
    all.sort_by_key(|connection| connection.serial());
    all
}

/// Whether a connection of this name, made by this interpreter, lives on in another. To share one
/// of the same name with that interpreter would make Tcl end the process.
pub(super) fn lives_elsewhere(interp: Interp, name: &str) -> bool {
    let made_here = |connection: &Connection| {
        let born = connection.born.borrow();
        born.as_ref().and_then(crate::tcl::InterpRef::get) == Some(interp)
    };
    all().iter().any(|connection| {
        connection.name() == name && connection.channel().is_some() && made_here(connection)
    })
}

/// The connection that `name` names: its handle, or the name to which its command was renamed.
///
/// # Errors
/// `X is not a valid postgresql connection`, errorCode `TCL LOOKUP CHANNEL X`.
pub fn connection(interp: Interp, name: &Obj) -> CmdResult<Rc<Connection>> {
    find(interp, name).ok_or_else(|| not_a_connection(name, "postgresql connection").into())
}

/// As [`connection`], for the commands whose message is another.
pub(super) fn plain_connection(interp: Interp, name: &Obj) -> CmdResult<Rc<Connection>> {
    find(interp, name).ok_or_else(|| not_a_connection(name, "connection").into())
}

pub(super) fn not_a_connection(name: &Obj, what: &str) -> Failure {
    let name = name.text_lossy();
    Failure::new(format!("{name} is not a valid {what}"), &["TCL", "LOOKUP", "CHANNEL", &name])
}

pub(super) fn find(interp: Interp, name: &Obj) -> Option<Rc<Connection>> {
    let there =
        |connection: &Rc<Connection>| connection.is_open() && connection.is_shared_with(interp);
    let channel = || {
        let channel = Channel::lookup(interp, name)?;
        let connection = channel.driver::<Connection>()?;
        connection.found_by(&channel);
        Some(connection)
    };
    // The command may be the shell of a connection that went to another thread, and came back.
    let found = interp.object(name).filter(there).or_else(channel).filter(there)?;
    found.settle(interp);
    Some(found)
}

/// The result that `name` names.
///
/// # Errors
/// `X is not a valid query result`, errorCode `PGSQLITE HANDLE RESULT name X`.
pub fn result(interp: Interp, name: &Obj) -> CmdResult<Rc<QueryResult>> {
    let tracked = || name.tracked_object::<QueryResult>().filter(|result| result.is_there());
    tracked().or_else(|| interp.object(name)).or_else(|| by_number(interp, name)).ok_or_else(|| {
        let name = name.text_lossy();
        let code = ["PGSQLITE", "HANDLE", "RESULT", "name", &name];
        Failure::new(format!("{name} is not a valid query result"), &code).into()
    })
}

fn by_number(interp: Interp, name: &Obj) -> Option<Rc<QueryResult>> {
    let name = name.text_lossy();
    let (connection, number) = name.rsplit_once('.')?;
    find(interp, &Obj::text(connection))?.result(number.parse().ok()?)
}
