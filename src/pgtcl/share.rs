//! Who has a connection: the interpreters in which its channel is (`interp share`,
//! `interp transfer`), of one thread (`thread::transfer`).
//!
//! The channel decides. An interpreter that has it may use the connection; one that has given it
//! away may not, though its command is still there and its scripts keep the name. Each ends its own
//! share, by `pg_disconnect`, by `close`, by its end or by the end of the command; the connection
//! ends with the last share. A connection that goes to another thread takes nothing along but
//! itself, for values and interpreters belong to their thread: results and callbacks stay behind.

use super::connection::Autoclear;
use super::failure::Codes;
use super::{Connection, handles};
use crate::libpq::Conn;
use crate::tcl::channel::{Channel, Driver, Parcel};
use crate::tcl::{Interp, InterpRef, Obj};
use std::rc::Rc;

/// A connection on its way to another thread.
struct Moving {
    name: String,
    serial: u64,
    conn: Conn,
    null_value: String,
    next_result: u64,
    statements: u64,
    reconnects: bool,
    autoclear: Autoclear,
    codes: Codes,
}

impl Parcel for Moving {
    fn unpack(self: Box<Self>) -> Rc<dyn Driver> {
        let connection = Connection::new(self.name, self.serial, self.conn);
        connection.set_null_value(&Obj::text(&self.null_value));
        connection.next_result.set(self.next_result);
        connection.statements.set(self.statements);
        connection.reconnects.set(self.reconnects);
        connection.autoclear.set(self.autoclear);
        connection.set_codes(self.codes);
        connection.expect_loss();
        handles::add(&connection);
        connection
    }
}

impl Connection {
    /// Whether the interpreter may use the connection: it has the channel.
    pub(super) fn is_shared_with(&self, interp: Interp) -> bool {
        self.channel.get().is_some_and(|channel| channel.is_registered(interp))
    }

    /// An interpreter that has the connection, for what the event loop does.
    pub(super) fn home_interp(&self) -> Option<InterpRef> {
        self.home.borrow().clone().filter(|home| home.get().is_some())
    }

    /// Where the first interpreter is gone, or in another thread, this one takes its place.
    pub(super) fn settle(&self, interp: Interp) {
        if self.home_interp().is_none() {
            self.home.replace(Some(InterpRef::new(interp)));
            self.watch_again();
        }
    }

    /// It was found by this channel: one that came from another thread does not know it yet.
    pub(super) fn found_by(&self, channel: &Channel) {
        if self.channel.get().is_none() {
            self.channel.set(channel.known());
        }
    }

    /// Takes the connection away from the interpreter. The last one to have it ends it.
    pub(super) fn leave(&self, interp: Interp) {
        // NOTE: each part is taken out before it is released, for each release may come back here.
        let is_its = self.command.borrow().as_ref().is_some_and(|command| command.is_of(interp));
        let command = if is_its { self.command.take() } else { None };
        if let Some(command) = command {
            command.delete();
        }
        // A deleted interpreter gives its channels back by itself.
        if let Some(channel) = self.channel.get().filter(|_| !interp.is_deleted()) {
            channel.unregister(interp); // the last one: comes back as `channel_closed`
        }
        if self.channel.get().is_none() {
            return;
        }
        for result in self.results() {
            if result.is_in(interp) {
                result.clear();
            }
        }
        self.forget_listeners(interp);
        if self.home.borrow().as_ref().is_some_and(|home| home.is(interp)) {
            self.home.replace(None);
        }
        match self.a_listener().as_ref().and_then(InterpRef::get) {
            Some(next) => self.settle(next),
            None => self.rewatch(),
        }
    }

    /// Ends it for everybody: results, command, channel. Safe to call again.
    pub(super) fn end(&self) {
        let conn = self.conn.take();
        self.lent.set(false);
        self.copy.end();
        self.end_watch();
        for result in self.results() {
            result.clear();
        }
        let command = self.command.take();
        if let Some(command) = command {
            command.delete();
        }
        if let (Some(channel), Some(home)) = (self.channel.take(), self.home_interp())
            && let Some(home) = home.get()
        {
            channel.unregister(home);
        }
        drop(conn);
    }

    /// Its command was deleted: by the script, or with the interpreter.
    pub(super) fn command_deleted(&self, interp: Interp) {
        if self.command.take().is_some() {
            self.leave(interp);
        }
    }

    /// The channel was closed; without an interpreter the process ends, and Tcl is not to be
    /// touched any more.
    pub(super) fn channel_closed(&self, interp: Option<Interp>) {
        self.channel.set(None);
        if interp.is_some() {
            self.end();
        } else {
            self.lent.set(false);
            drop(self.conn.take());
        }
    }

    /// The channel leaves this thread. What remains here is an empty shell behind the command.
    pub(super) fn departed(&self) -> Option<Box<dyn Parcel>> {
        self.channel.set(None);
        self.lent.set(false);
        let conn = self.conn.take()?;
        // Somebody in this thread is in the midst of using it: it stays, and ends there.
        let conn = Rc::try_unwrap(conn).ok()?;
        conn.set_notice_hook(None);
        let null_value = self.null_value().text_lossy().into_owned();
        Some(Box::new(Moving {
            name: self.name.clone(),
            serial: self.serial(),
            conn,
            null_value,
            next_result: self.next_result.get(),
            statements: self.statements.get(),
            reconnects: self.reconnects.get(),
            autoclear: self.autoclear.get(),
            codes: self.codes(),
        }))
    }
}
