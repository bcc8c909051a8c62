//! `pg_listen`, `pg_on_connection_loss`.
//!
//! A callback of one word is a command that gets arguments: the channel, the sender's process id
//! and, if there is one, the payload; nothing for the loss of a connection. Several words are a
//! script. Both run from the event loop at global level; their errors go to `interp bgerror`.

use super::Connection;
use super::failure::{Codes, request_failed, result_failed};
use super::handles::connection;
use super::watch::Listener;
use crate::libpq::Conn;
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, InterpRef, Obj};
use std::rc::Rc;

/// The longest name of the server (manual, "Identifiers and Key Words"); it cuts off the rest.
const NAME_BYTES_MAX: usize = 63;

/// The channel that a word means: as the server reads an identifier. Notifications come under that
/// name, so a difference would lose them.
fn channel_name(word: &str) -> String {
    let mut name = match word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        // Of letters beyond ASCII a server in UTF-8 changes none.
        None => word.to_ascii_lowercase(),
    };
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}

/// Sends LISTEN or UNLISTEN.
fn send(conn: &Conn, codes: Codes, verb: &str, channel: &str) -> CmdResult<()> {
    let failed = |error| request_failed(conn, error);
    let name = conn.escape_identifier(channel).map_err(failed)?;
    let result = conn.exec(&format!("{verb} {name}")).map_err(failed)?;
    if result.status().is_error() { Err(result_failed(&result, codes)) } else { Ok(()) }
}

/// `pg_listen conn channel ?callback?`: runs the callback for each NOTIFY on the channel; without
/// one no more. An empty callback listens too.
pub(super) fn listen(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let (name, channel, callback) = match words {
        [_, name, channel] => (name, channel, None),
        [_, name, channel, callback] => (name, channel, Some(callback)),
        _ => return Err(Failure::wrong_args("pg_listen connection relname ?callback?").into()),
    };
    let connection = connection(interp, name)?;
    let word = channel;
    let channel = channel_name(&channel.as_text()?);
    let conn = connection.idle_conn()?;
    let here = InterpRef::new(interp);
    match callback {
        Some(callback) => {
            if !connection.listens_to(&channel) {
                send(&conn, connection.codes(), "LISTEN", &channel)?;
            }
            connection.remove_listener(interp, &channel);
            let callback = callback.clone();
            let listener = Listener { interp: here, channel, callback };
            connection.watch.listeners.borrow_mut().push(listener);
        }
        None => {
            if !connection.remove_listener(interp, &channel) {
                let word = word.text_lossy();
                let code = ["PGSQLITE", "CONNECTION", "NOTLISTENING", "channel", &word];
                return Err(Failure::new(format!("not listening on {word}"), &code).into());
            }
            if !connection.listens_to(&channel) && conn.is_ok() {
                send(&conn, connection.codes(), "UNLISTEN", &channel)?;
            }
        }
    }
    connection.rewatch();
    connection.used();
    Ok(Obj::empty().into())
}

impl Connection {
    /// Whether any interpreter that is there still listens to the channel.
    fn listens_to(&self, channel: &str) -> bool {
        let mut listeners = self.watch.listeners.borrow_mut();
        listeners.retain(|listener| listener.interp.get().is_some());
        listeners.iter().any(|listener| listener.channel == channel)
    }

    fn remove_listener(&self, interp: Interp, channel: &str) -> bool {
        let mut listeners = self.watch.listeners.borrow_mut();
        let before = listeners.len();
        let is_it = |l: &Listener| l.channel == channel && l.interp.get() == Some(interp);
        listeners.retain(|listener| !is_it(listener));
        listeners.len() < before
    }

    /// Listens on a new connection to what the old one listened to.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) fn listen_again(&self, conn: &Rc<Conn>) -> CmdResult<()> {
        let listeners = self.watch.listeners.borrow();
        let mut channels: Vec<String> = listeners.iter().map(|l| l.channel.clone()).collect();
        drop(listeners);
        channels.sort_unstable();
        channels.dedup();
        channels.iter().try_for_each(|channel| send(conn, self.codes(), "LISTEN", channel))
    }
}

/// `pg_on_connection_loss conn ?callback?`: runs the callback, once, when the connection is found
/// to be lost; without one no more.
pub(super) fn on_connection_loss(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let (name, callback) = match words {
        [_, name] => (name, None),
        [_, name, callback] => (name, Some(callback)),
        _ => {
            let usage = "pg_on_connection_loss connection ?callback?";
            return Err(Failure::wrong_args(usage).into());
        }
    };
    let connection = connection(interp, name)?;
    let mut callbacks = connection.watch.on_loss.borrow_mut();
    callbacks.retain(|(of, _)| of.get().is_some_and(|of| of != interp));
    if let Some(callback) = callback.filter(|callback| !callback.internal().is_empty()) {
        callbacks.push((InterpRef::new(interp), callback.clone()));
    }
    drop(callbacks);
    connection.expect_loss();
    connection.rewatch();
    Ok(Obj::empty().into())
}
