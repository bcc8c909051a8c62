//! From a word of a script to the connection or result it names.
//!
//! A connection is found by its command, whatever that is called now, else by its channel (so that
//! `interp share` works, and the first name after a `rename` of the command). A result is found by
//! its command, else as `CONNECTION.NUMBER`.

use super::{Connection, QueryResult};
use crate::tcl::channel::Channel;
use crate::tcl::{CmdResult, Failure, Interp, Obj};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

/// The handles whose commands are in an interpreter, by the identity of the command.
#[derive(Default)]
pub(super) struct Handles {
    connections: RefCell<HashMap<usize, Weak<Connection>>>,
}

impl Handles {
    pub(super) fn add_connection(&self, command: usize, connection: &Rc<Connection>) {
        self.connections.borrow_mut().insert(command, Rc::downgrade(connection));
    }

    pub(super) fn remove_connection(&self, command: usize) {
        self.connections.borrow_mut().remove(&command);
    }

    /// All connections, the oldest first.
    pub(super) fn connections(&self) -> Vec<Rc<Connection>> {
        let mut all: Vec<_> =
            self.connections.borrow().values().filter_map(Weak::upgrade).collect();
        all.sort_by_key(|connection| connection.serial());
        all
    }
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
    let channel = || Channel::lookup(interp, name)?.driver::<Connection>();
    let found = interp.object(name).or_else(channel);
    found.filter(|connection| connection.is_open())
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
