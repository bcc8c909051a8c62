//! `pg_reconnect`, and connections that make themselves anew (`pg_connect -reconnect 1`).
//!
//! By itself a connection is made anew only when its loss is found while nothing was going on: no
//! statement on its way and no transaction open, so that nothing can be lost or done twice unseen.
//! What the server kept for the old connection is gone: settings, temporary tables, prepared
//! statements. Channels of `pg_listen` are listened to again.

use super::Connection;
use super::connect::refused;
use super::handles::connection;
use crate::libpq::{self, Conn, TransactionStatus};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj};
use std::rc::Rc;
use std::time::Duration;

/// Input that came unasked is read in so many steps, to find the connection's end behind it.
const PROBES_MAX: usize = 8;

/// `pg_reconnect conn`: closes the connection and makes it anew with the same parameters; handle
/// and results stay. Refused in a transaction that is alive.
pub(super) fn reconnect(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name] = words else {
        return Err(Failure::wrong_args("pg_reconnect connection").into());
    };
    let connection = connection(interp, name)?;
    let conn = connection.conn()?;
    connection.probe(&conn);
    if conn.is_ok() && conn.transaction_status() != TransactionStatus::Idle {
        let code = ["PGSQLITE", "CONNECTION", "TRANSACTION", "name", connection.name()];
        let message = "a transaction or a statement is going on: end it first, or disconnect";
        return Err(Failure::new(message, &code).into());
    }
    connection.renew(&conn)?;
    Ok(Obj::empty().into())
}

impl Connection {
    /// Reads what came unasked: behind it may be the connection's end.
    fn probe(&self, conn: &Conn) {
        for _ in 0..PROBES_MAX {
            let ready = libpq::wait(conn.socket(), true, false, None, Some(Duration::ZERO));
            if !conn.is_ok() || !ready.is_ok_and(|ready| ready.readable) {
                return;
            }
            // A failure shows in the state of the connection.
            let _ = self.consume(conn);
        }
    }

    /// Makes the connection anew if it is one that may, and is found lost while idle.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn revive(&self, conn: &Rc<Conn>) -> CmdResult<()> {
        if !self.reconnects() {
            return Ok(());
        }
        if conn.is_ok() {
            if conn.transaction_status() != TransactionStatus::Idle {
                return Ok(());
            }
            self.probe(conn);
            if conn.is_ok() {
                return Ok(());
            }
        }
        if self.watch.lost_idle.get() { self.renew(conn) } else { Ok(()) }
    }

    fn renew(&self, conn: &Rc<Conn>) -> CmdResult<()> {
        let nonblocking = conn.is_nonblocking();
        self.unwatch_socket();
        self.copy.end();
        self.set_streaming(false);
        self.forget_waiter();
        conn.reset().map_err(refused)?;
        self.watch.lost_idle.set(false);
        self.expect_loss();
        // Refused only when output waits, of which a new connection has none.
        let _ = conn.set_nonblocking(nonblocking);
        self.listen_again(conn)?;
        self.rewatch();
        Ok(())
    }
}
