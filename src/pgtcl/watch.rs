//! What happens on a connection while no command asks: notifications, its loss, results that a
//! script waits for.
//!
//! The socket is watched by the event loop only while somebody wants to hear. libpq also reads
//! notifications while a command runs: every use of a watched connection therefore arms a timer
//! that looks once the event loop runs. Not guaranteed: that a loss is seen before the socket tells
//! it (a peer that vanished without a word is noticed by the next statement, or by keepalives).

use super::query::Pending;
use super::{Connection, notice};
use crate::libpq::{Conn, Notification, TransactionStatus};
use crate::tcl::event::{Readable, Timer};
use crate::tcl::{Interp, InterpRef, Obj, guard};
use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

/// A script that hears of notifications on one channel.
pub(super) struct Listener {
    pub interp: InterpRef,
    pub channel: String,
    pub callback: Obj,
}

/// Who waits for the results of what was sent.
pub(super) enum Waiter {
    /// `pg_sql -callback`: the script fetches them itself.
    Script { interp: InterpRef, script: Obj },
    /// `pg_query`.
    Query { interp: InterpRef, pending: Rc<Pending> },
}

/// The watched socket: the handler goes before the descriptor.
struct Socket {
    _readable: Readable,
    _descriptor: OwnedFd,
}

#[derive(Default)]
pub(super) struct Watch {
    pub(super) listeners: RefCell<Vec<Listener>>,
    pub(super) on_loss: RefCell<Vec<(InterpRef, Obj)>>,
    waiter: RefCell<Option<Waiter>>,
    /// The loss has been told, or there was nobody to tell when it came.
    loss_told: Cell<bool>,
    /// The connection was lost while no transaction and no statement was going on.
    pub(super) lost_idle: Cell<bool>,
    /// Somebody wants to hear of something.
    wanted: Cell<bool>,
    socket: RefCell<Option<Socket>>,
    timer: RefCell<Option<Timer>>,
}

/// Runs a callback of `pg_listen` or `pg_on_connection_loss` in an interpreter that is there still.
/// One word is a command that gets the arguments (none, if it is a procedure that takes none);
/// several words are a script.
fn call(interp: &InterpRef, callback: &Obj, arguments: &[Obj], what: &str) {
    guard::in_background(interp, |interp| {
        let outcome = match callback.as_list(interp).as_deref() {
            Ok([command]) => {
                let mut words = vec![command.clone()];
                if !takes_nothing(interp, command) {
                    words.extend(arguments.iter().cloned());
                }
                interp.call(&words)
            }
            _ => interp.eval(callback),
        };
        if let Err(exception) = outcome {
            interp.add_error_info(&format!("\n    (\"{what}\" script)"));
            interp.background(&exception);
        }
    });
}

/// COMPAT: procedures written for Pgtcl before 2.8 take no arguments.
fn takes_nothing(interp: Interp, command: &Obj) -> bool {
    let words = [Obj::text("::info"), Obj::text("args"), command.clone()];
    let outcome = interp.call(&words);
    let nothing = outcome.is_ok_and(|arguments| arguments.internal().is_empty());
    interp.reset_result();
    nothing
}

impl Connection {
    /// Somebody wants to hear of something, or no longer does: the socket is watched accordingly.
    pub(super) fn rewatch(&self) {
        let watch = &self.watch;
        let wanted = !watch.listeners.borrow().is_empty()
            || !watch.on_loss.borrow().is_empty()
            || watch.waiter.borrow().is_some();
        watch.wanted.set(wanted);
        if wanted {
            self.watch_socket();
        } else {
            self.unwatch_socket();
        }
    }

    /// A command is about to use the connection: what it reads besides is looked at afterwards.
    pub(super) fn used(&self) {
        if self.watch.wanted.get() {
            self.watch_socket();
            self.look_later();
        }
    }

    fn watch_socket(&self) {
        if self.watch.socket.borrow().is_some() {
            return;
        }
        let Some(home) = self.home_interp() else { return };
        let Some(interp) = home.get() else { return };
        let descriptor = self.with_conn(|conn| match conn.is_ok() {
            true => conn.socket_duplicate(),
            false => None,
        });
        let Some(descriptor) = descriptor.flatten() else { return };
        let me = self.weak();
        let readable = Readable::new(interp, descriptor.as_raw_fd(), move |_| {
            if let Some(connection) = me.upgrade() {
                connection.look();
            }
        });
        let socket = Socket { _readable: readable, _descriptor: descriptor };
        self.watch.socket.replace(Some(socket));
    }

    pub(super) fn unwatch_socket(&self) {
        drop(self.watch.socket.take());
    }

    /// Looks from the event loop, once.
    fn look_later(&self) {
        if self.watch.timer.borrow().is_some() {
            return;
        }
        let Some(home) = self.home_interp() else { return };
        let Some(interp) = home.get() else { return };
        let me = self.weak();
        let timer = Timer::after(interp, 0, move |_| {
            if let Some(connection) = me.upgrade() {
                drop(connection.watch.timer.take());
                connection.look();
            }
        });
        self.watch.timer.replace(Some(timer));
    }

    /// Nobody is to hear of anything any more.
    pub(super) fn end_watch(&self) {
        let watch = &self.watch;
        self.unwatch_socket();
        drop(watch.timer.take());
        drop(watch.listeners.take());
        drop(watch.on_loss.take());
        watch.wanted.set(false);
        let waiter = watch.waiter.take();
        if let Some(Waiter::Query { pending, .. }) = waiter {
            pending.end();
        }
    }

    /// The event loop is to go on for another interpreter.
    pub(super) fn watch_again(&self) {
        self.unwatch_socket();
        drop(self.watch.timer.take());
        self.rewatch();
        self.used();
    }

    /// An interpreter that has the connection, and hears of it.
    pub(super) fn a_listener(&self) -> Option<InterpRef> {
        let listeners = self.watch.listeners.borrow();
        let losses = self.watch.on_loss.borrow();
        let mut heard = listeners.iter().map(|l| &l.interp).chain(losses.iter().map(|(of, _)| of));
        let has = |of: &&InterpRef| of.get().is_some_and(|interp| self.is_shared_with(interp));
        heard.find(has).cloned()
    }

    /// Nobody in this interpreter is to hear of anything any more.
    pub(super) fn forget_listeners(&self, interp: Interp) {
        let watch = &self.watch;
        watch.listeners.borrow_mut().retain(|listener| !listener.interp.is(interp));
        watch.on_loss.borrow_mut().retain(|(of, _)| !of.is(interp));
        let waits = match &*watch.waiter.borrow() {
            Some(Waiter::Script { interp: of, .. } | Waiter::Query { interp: of, .. }) => {
                of.is(interp)
            }
            None => false,
        };
        if waits && let Some(Waiter::Query { pending, .. }) = watch.waiter.take() {
            pending.end();
        }
    }

    /// Whether a callback of this interpreter is to run: it has the connection still.
    fn hears(&self, interp: &InterpRef) -> bool {
        interp.get().is_some_and(|interp| self.is_shared_with(interp))
    }

    /// Reads what has arrived, and remembers whether the connection was lost while idle.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) fn consume(&self, conn: &Conn) -> Result<(), crate::libpq::Error> {
        let idle = conn.is_ok() && conn.transaction_status() == TransactionStatus::Idle;
        let outcome = conn.consume_input();
        if idle && !conn.is_ok() {
            self.watch.lost_idle.set(true);
        }
        outcome
    }

    /// Reads what has arrived and tells whoever wants to hear.
    fn look(&self) {
        // Rows of a COPY or of -rowbyrow must not pile up in memory: whoever reads them sees to
        // the rest, and the next use watches again.
        if self.is_reading_rows() {
            self.unwatch_socket();
            return;
        }
        let Some(conn) = self.with_conn(Rc::clone) else { return self.unwatch_socket() };
        if conn.is_ok() {
            // A failure shows in the state of the connection.
            let _ = self.consume(&conn);
        }
        while let Some(notification) = conn.notification() {
            self.tell_listeners(&notification);
        }
        notice::deliver();
        self.serve_waiter(&conn);
        if conn.is_lost() {
            self.unwatch_socket();
            self.tell_loss();
        } else if self.watch.wanted.get() {
            // One that was just being made could not be watched before.
            self.watch_socket();
        }
    }

    fn tell_listeners(&self, notification: &Notification) {
        let channel = Obj::text(&notification.channel);
        let mut arguments = vec![channel, Obj::int(notification.pid.into())];
        if !notification.payload.is_empty() {
            arguments.push(Obj::text(&notification.payload));
        }
        // NOTE: copied, for the scripts may listen to more or to less.
        let callbacks: Vec<(InterpRef, Obj)> = (self.watch.listeners.borrow().iter())
            .filter(|l| l.channel == notification.channel && self.hears(&l.interp))
            .map(|listener| (listener.interp.clone(), listener.callback.clone()))
            .collect();
        for (interp, callback) in callbacks {
            call(&interp, &callback, &arguments, "pg_listen");
        }
    }

    fn tell_loss(&self) {
        if self.watch.loss_told.replace(true) {
            return;
        }
        let callbacks = self.watch.on_loss.borrow().clone();
        for (interp, callback) in callbacks {
            if self.hears(&interp) {
                call(&interp, &callback, &[], "pg_on_connection_loss");
            }
        }
    }

    /// A loss from now on is to be told; one that has happened is not.
    pub(super) fn expect_loss(&self) {
        let lost = self.with_conn(|conn| conn.is_lost()).unwrap_or(true);
        self.watch.loss_told.set(lost);
    }

    /// Somebody waits for results.
    pub(super) fn wait_for_results(&self, waiter: Waiter) {
        self.watch.waiter.replace(Some(waiter));
        self.rewatch();
        self.used();
    }

    pub(super) fn has_waiter(&self) -> bool {
        self.watch.waiter.borrow().is_some()
    }

    pub(super) fn has_query(&self) -> bool {
        matches!(*self.watch.waiter.borrow(), Some(Waiter::Query { .. }))
    }

    /// Nobody waits for results any more.
    pub(super) fn forget_waiter(&self) {
        let waiter = self.watch.waiter.take();
        if waiter.is_some() {
            self.rewatch();
        }
    }

    fn serve_waiter(&self, conn: &Conn) {
        // Sends what is left of a long statement (-blocking 0); a failure shows as a result.
        let _ = conn.flush();
        if conn.is_busy() {
            return;
        }
        let pending = match &*self.watch.waiter.borrow() {
            None => return,
            Some(Waiter::Query { pending, .. }) => Some(Rc::clone(pending)),
            Some(Waiter::Script { .. }) => None,
        };
        if let Some(pending) = pending {
            if pending.collect(self, conn) {
                self.forget_waiter();
                pending.end();
            }
            return;
        }
        let waiter = self.watch.waiter.take();
        self.rewatch();
        if let Some(Waiter::Script { interp, script }) = waiter {
            guard::in_background(&interp, |interp| {
                if let Err(exception) = interp.eval(&script) {
                    interp.add_error_info("\n    (\"pg_sql\" callback)");
                    interp.background(&exception);
                }
            });
        }
    }
}
