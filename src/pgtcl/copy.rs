//! COPY through the channel of a connection: `puts` sends rows, `gets` receives them (PostgreSQL
//! manual, COPY and "Functions Associated with the COPY Command").
//!
//! Rows may be of any length. A line that is only `\.` ends a COPY from the client; in binary form,
//! where these bytes may be a value's, only behind the trailer. What came of a COPY is shown by the
//! result handle of the statement that began it: its status, its error, its row count.

use super::failure::request_failed;
use super::{Connection, QueryResult};
use crate::libpq::{self, Conn, CopyData, CopyRead, PgResult, Status};
use crate::tcl::channel::{Driver, Parcel};
use crate::tcl::{CmdResult, Failure, Interp};
use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

const EBUSY: i32 = 16;
const EIO: i32 = 5;
/// How long to wait for the socket before looking again.
const COPY_WAIT: Duration = Duration::from_secs(1);
/// The line that ends a COPY from the client.
const END_LINE: &[u8] = b"\\.\n";
/// What ends the rows in binary form.
const TRAILER: [u8; 2] = [0xFF, 0xFF];

/// What COPY a connection is in.
#[derive(Default)]
pub(super) struct State(RefCell<Phase>);

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    In(Incoming),
    Out(Outgoing),
}

struct Incoming {
    handle: Weak<QueryResult>,
    /// The beginning of a line that may be the end line: empty, `\` or `\.`.
    held: Vec<u8>,
    /// The last two bytes that were sent; a line end before there were any.
    last: [u8; 2],
    binary: bool,
}

struct Outgoing {
    handle: Weak<QueryResult>,
    /// The row in hand, and how much of it has been read.
    row: Option<(CopyData, usize)>,
    ended: bool,
}

impl State {
    pub(super) fn is_active(&self) -> bool {
        !matches!(*self.0.borrow(), Phase::Idle)
    }

    pub(super) fn end(&self) {
        self.0.replace(Phase::Idle);
    }
}

impl Incoming {
    /// Sends bytes, save an end line; true when that came.
    fn send(&mut self, conn: &Conn, bytes: &[u8]) -> Result<bool, crate::libpq::Error> {
        let joined;
        let mut data = bytes;
        if !self.held.is_empty() {
            self.held.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.held);
            data = &joined;
        }
        let mut ended = false;
        for (length, is_end) in [(3, true), (2, false), (1, false)] {
            let Some(at) = data.len().checked_sub(length) else { continue };
            let (before, tail) = data.split_at(at);
            if END_LINE.starts_with(tail) && self.may_end_behind(before) {
                data = before;
                ended = is_end;
                if !is_end {
                    self.held = tail.to_vec();
                }
                break;
            }
        }
        if !data.is_empty() {
            self.last = self.last_behind(data);
            taken(conn, || conn.put_copy_data(data))?;
        }
        Ok(ended)
    }

    /// The last two of all bytes, with these.
    fn last_behind(&self, data: &[u8]) -> [u8; 2] {
        match data {
            [.., one, two] => [*one, *two],
            [one] => [self.last[1], *one],
            [] => self.last,
        }
    }

    /// Whether an end line may stand behind these bytes.
    fn may_end_behind(&self, data: &[u8]) -> bool {
        let last = self.last_behind(data);
        if self.binary { last == TRAILER } else { last[1] == b'\n' }
    }
}

impl Outgoing {
    /// Fills the buffer with what is there; waits only for its first byte.
    fn receive(&mut self, conn: &Conn, buffer: &mut [u8]) -> Result<usize, crate::libpq::Error> {
        let mut filled = 0;
        while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
            if let Some((row, at)) = &mut self.row {
                let rest = row.get(*at..).unwrap_or_default();
                let n = rest.len().min(free.len());
                if let (Some(to), Some(from)) = (free.get_mut(..n), rest.get(..n)) {
                    to.copy_from_slice(from);
                }
                filled += n;
                *at += n;
                if n == rest.len() {
                    self.row = None;
                }
                continue;
            }
            match conn.get_copy_data(filled == 0)? {
                CopyRead::Data(row) => self.row = Some((row, 0)),
                CopyRead::Empty => break,
                CopyRead::End => {
                    self.ended = true;
                    break;
                }
            }
        }
        Ok(filled)
    }
}

/// Calls until libpq takes what is given: where sending does not wait (`pg_blocking`) its buffers
/// may be full.
fn taken(
    conn: &Conn,
    send: impl Fn() -> Result<bool, crate::libpq::Error>,
) -> Result<(), crate::libpq::Error> {
    while !send()? {
        libpq::wait(conn.socket(), true, true, None, Some(COPY_WAIT))?;
        // What the server says meanwhile would stop it from reading on.
        conn.consume_input()?;
        conn.flush()?;
    }
    Ok(())
}

impl Connection {
    /// Opens the channel for a COPY that a statement has begun; `handle` will show its end.
    pub(super) fn begin_copy(&self, result: &PgResult, handle: Option<&Rc<QueryResult>>) {
        let handle = handle.map(Rc::downgrade).unwrap_or_default();
        let phase = match result.status() {
            Status::CopyIn => {
                let (held, last) = (Vec::new(), *b"\n\n");
                Phase::In(Incoming { handle, held, last, binary: result.is_binary() })
            }
            Status::CopyOut => Phase::Out(Outgoing { handle, row: None, ended: false }),
            _ => return,
        };
        self.copy.0.replace(phase);
    }

    /// Fetches what came of the COPY and shows it in its handle.
    fn finish_copy(&self, conn: &Conn) {
        let handle = match self.copy.0.take() {
            Phase::In(incoming) => incoming.handle,
            Phase::Out(outgoing) => outgoing.handle,
            Phase::Idle => return,
        }
        .upgrade();
        while let Some(result) = conn.get_result() {
            let status = result.status();
            self.begin_copy(&result, handle.as_ref());
            if let Some(handle) = &handle {
                handle.replace(result);
            }
            // The next COPY of several statements begins, or the statements end with this error.
            if status.is_error() {
                conn.drain();
            }
            if status.is_copy() || status.is_error() {
                return;
            }
        }
    }

    /// Ends a COPY from the client without its end line. False: it is one to the client, to be read
    /// to its end.
    ///
    /// # Errors
    /// There is no COPY; the connection is lost.
    pub(super) fn complete_copy(&self) -> CmdResult<bool> {
        let conn = self.conn()?;
        let outcome = match &mut *self.copy.0.borrow_mut() {
            Phase::Idle => {
                let code = ["PGSQLITE", "CONNECTION", "NOCOPY", "name", self.name()];
                return Err(Failure::new("no COPY is in progress", &code).into());
            }
            Phase::In(incoming) => {
                let held = std::mem::take(&mut incoming.held);
                let rest = if held == b"\\" { held } else { Vec::new() };
                taken(&conn, || conn.put_copy_data(&rest))
                    .and_then(|()| taken(&conn, || conn.put_copy_end(None)))
            }
            Phase::Out(_) => return Ok(false),
        };
        let outcome = outcome.map_err(|error| request_failed(&conn, error));
        self.finish_copy(&conn);
        outcome.map(|()| true)
    }
}

impl Driver for Connection {
    fn input(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let conn = self.conn().map_err(|_| io::Error::from_raw_os_error(EIO))?;
        let (filled, ended) = match &mut *self.copy.0.borrow_mut() {
            Phase::Out(outgoing) if outgoing.ended => (Ok(0), true),
            Phase::Out(outgoing) => {
                let filled = outgoing.receive(&conn, buffer);
                let ended = filled.as_ref().map_or(true, |n| *n == 0);
                (filled, ended)
            }
            _ => return Err(io::Error::from_raw_os_error(EBUSY)),
        };
        if ended {
            self.finish_copy(&conn);
        }
        // COMPAT: a failure midway ends the rows; the handle's status tells it.
        Ok(filled.unwrap_or(0))
    }

    fn output(&self, bytes: &[u8]) -> io::Result<usize> {
        let conn = self.conn().map_err(|_| io::Error::from_raw_os_error(EIO))?;
        let sent = match &mut *self.copy.0.borrow_mut() {
            Phase::In(incoming) => match incoming.send(&conn, bytes) {
                Ok(true) => taken(&conn, || conn.put_copy_end(None)).map(|()| true),
                other => other,
            },
            _ => return Err(io::Error::from_raw_os_error(EBUSY)),
        };
        match sent {
            Ok(false) => Ok(bytes.len()),
            Ok(true) => {
                self.finish_copy(&conn);
                Ok(bytes.len())
            }
            Err(_) => {
                self.finish_copy(&conn);
                Err(io::Error::from_raw_os_error(EIO))
            }
        }
    }

    fn close(&self, interp: Option<Interp>) {
        self.channel_closed(interp);
    }

    fn any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }

    fn depart(&self) -> Option<Box<dyn Parcel>> {
        self.departed()
    }

    fn descriptor(&self) -> Option<i32> {
        self.conn().ok().and_then(|conn| conn.socket())
    }
}
