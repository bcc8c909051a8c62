//! A connection handle: a connection to the server behind a channel and a command of the same name.

use super::failure::Codes;
use super::handles::{self, not_a_connection};
use super::watch::Watch;
use super::{QueryResult, handle_command};
use crate::libpq::{Conn, PgResult};
use crate::tcl::channel::{self, Channel, Known};
use crate::tcl::command::{self, Command};
use crate::tcl::tracked::Text;
use crate::tcl::{CmdResult, Exception, Failure, Interp, InterpRef, Obj};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers connections. One for the process, since handles can be shared between its interpreters.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// A connection that a script holds. It is there for the interpreters that have its channel, and
/// ends with the last of them: see [`super::share`].
pub struct Connection {
    pub(super) name: String,
    pub(super) handle: Obj,
    serial: u64,
    pub(super) conn: RefCell<Option<Rc<Conn>>>,
    /// The interpreter that has the command, or, after its end, one that has the channel.
    pub(super) home: RefCell<Option<InterpRef>>,
    /// The interpreter that made it; None of one that came from another thread.
    pub(super) born: RefCell<Option<InterpRef>>,
    pub(super) command: RefCell<Option<Command>>,
    pub(super) channel: Cell<Option<Known>>,
    null_value: RefCell<Obj>,
    results: RefCell<BTreeMap<u64, Weak<QueryResult>>>,
    pub(super) next_result: Cell<u64>,
    pub(super) statements: Cell<u64>,
    /// A `pg_select -rowbyrow` reads from it.
    streaming: Cell<bool>,
    /// Some work has the connection: see [`Connection::lend`].
    pub(super) lent: Cell<bool>,
    /// Whether it is made anew when found lost: see [`super::reconnect`].
    pub(super) reconnects: Cell<bool>,
    /// When results go by themselves.
    pub(super) autoclear: Cell<Autoclear>,
    codes: Cell<Codes>,
    me: Weak<Connection>,
    pub(super) copy: super::copy::State,
    pub(super) watch: Watch,
    pub(super) notice: super::notice::Handler,
}

/// When a result of a connection goes by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Autoclear {
    /// Never (`pg_connect -autoclear 0`).
    Never,
    /// With the last reference to its handle, if the handle's text was never asked for: no text can
    /// hold the name.
    #[default]
    Unread,
    /// With the last reference to its handle (`pg_connect -autoclear 1`).
    Always,
}

/// A connection given to some work: see [`Connection::lend`].
pub enum Lent<'a> {
    /// Nobody else holds it.
    Alone(&'a mut Conn),
    /// Others hold it too.
    Shared(&'a Conn),
}

impl Connection {
    /// Makes the handle of an open connection, with its channel and its command.
    ///
    /// # Errors
    /// The name is taken by a channel or a command, or lies in a namespace that does not exist.
    pub(super) fn create(
        interp: Interp,
        name: Option<&str>,
        conn: Conn,
    ) -> CmdResult<Rc<Connection>> {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = name.map_or_else(|| format!("pgsql0x{serial:x}"), str::to_owned);
        let connection = Connection::new(name, serial, conn);
        let here = InterpRef::new(interp);
        connection.born.replace(Some(here.clone()));
        connection.home.replace(Some(here));
        connection.register(interp)?;
        handles::add(&connection);
        Ok(connection)
    }

    /// A connection that no interpreter has yet.
    pub(super) fn new(name: String, serial: u64, conn: Conn) -> Rc<Connection> {
        Rc::new_cyclic(|me| Connection {
            handle: Obj::text(&name),
            serial,
            conn: RefCell::new(Some(Rc::new(conn))),
            home: RefCell::new(None),
            born: RefCell::new(None),
            command: RefCell::new(None),
            channel: Cell::new(None),
            null_value: RefCell::new(Obj::empty()),
            results: RefCell::default(),
            next_result: Cell::new(0),
            statements: Cell::new(0),
            streaming: Cell::new(false),
            lent: Cell::new(false),
            reconnects: Cell::new(false),
            autoclear: Cell::default(),
            codes: Cell::default(),
            me: me.clone(),
            copy: super::copy::State::default(),
            watch: Watch::default(),
            notice: super::notice::Handler::default(),
            name,
        })
    }

    /// Puts command and channel into the interpreter.
    fn register(self: &Rc<Self>, interp: Interp) -> CmdResult<()> {
        let deleted = Rc::downgrade(self);
        let command = command::register_object(
            interp,
            &self.handle,
            self,
            handle_command::run,
            move |interp| {
                if let Some(connection) = deleted.upgrade() {
                    connection.command_deleted(interp);
                }
            },
        )?;
        self.command.replace(Some(command));
        let driver: Rc<dyn channel::Driver> = Rc::clone(self) as _;
        let channel = channel::create(interp, &self.name, driver).inspect_err(|_| {
            self.end();
        })?;
        self.channel.set(Some(channel));
        for (option, value) in
            [(c"-buffering", c"line"), (c"-encoding", c"utf-8"), (c"-translation", c"lf")]
        {
            if let Some(channel) = channel.get() {
                channel.configure(interp, option, value)?;
            }
        }
        Ok(())
    }

    /// The handle's name, as it was made.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The handle's name as a value.
    #[must_use]
    pub fn handle(&self) -> &Obj {
        &self.handle
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn channel(&self) -> Option<Channel> {
        self.channel.get().and_then(Known::get)
    }

    /// Whether it has not been disconnected (the server may have gone all the same).
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.conn.borrow().is_some() || self.lent.get()
    }

    pub(super) fn weak(&self) -> Weak<Connection> {
        Weak::clone(&self.me)
    }

    pub(super) fn set_reconnects(&self, reconnects: bool) {
        self.reconnects.set(reconnects);
    }

    pub(super) fn set_autoclear(&self, autoclear: Autoclear) {
        self.autoclear.set(autoclear);
    }

    pub(super) fn set_codes(&self, codes: Codes) {
        self.codes.set(codes);
    }

    /// The form of the codes of its errors.
    pub(super) fn codes(&self) -> Codes {
        self.codes.get()
    }

    pub(super) fn reconnects(&self) -> bool {
        self.reconnects.get()
    }

    /// Does something with the connection, unless it is gone or lent.
    pub(super) fn with_conn<T>(&self, work: impl FnOnce(&Rc<Conn>) -> T) -> Option<T> {
        self.conn.borrow().as_ref().map(work)
    }

    /// Whether rows of a COPY or of a `pg_select -rowbyrow` are being read.
    pub(super) fn is_reading_rows(&self) -> bool {
        self.copy.is_active() || self.streaming.get()
    }

    /// The connection itself. Do not keep it across a script: a script may disconnect.
    ///
    /// # Errors
    /// It was disconnected.
    pub fn conn(&self) -> CmdResult<Rc<Conn>> {
        if self.lent.get() {
            return Err(self.busy_with_rows());
        }
        self.used();
        let conn = self.conn.borrow().clone();
        conn.ok_or_else(|| not_a_connection(&self.handle, "postgresql connection").into())
    }

    /// The connection, for a new statement.
    ///
    /// # Errors
    /// It was disconnected; a COPY or a `pg_select -rowbyrow` goes on, or somebody waits for the
    /// results of what was sent.
    pub fn idle_conn(&self) -> CmdResult<Rc<Conn>> {
        if self.copy.is_active() {
            let code = ["PGSQLITE", "CONNECTION", "COPY", "name", &self.name];
            return Err(Failure::new("Attempt to query while COPY in progress", &code).into());
        }
        if self.streaming.get() {
            return Err(self.busy_with_rows());
        }
        if self.has_waiter() {
            let code = ["PGSQLITE", "CONNECTION", "WAITING", "name", &self.name];
            return Err(Failure::new("Attempt to query while waiting for callback", &code).into());
        }
        let conn = self.conn()?;
        self.revive(&conn)?;
        Ok(conn)
    }

    /// The connection, to fetch the results of what was sent.
    ///
    /// # Errors
    /// As [`Connection::idle_conn`]; a callback may wait for them.
    pub(super) fn results_conn(&self) -> CmdResult<Rc<Conn>> {
        if self.has_waiter() && !self.has_query() { self.conn() } else { self.idle_conn() }
    }

    fn busy_with_rows(&self) -> Exception {
        let code = ["PGSQLITE", "CONNECTION", "ROWBYROW", "name", &self.name];
        let message = "Attempt to query while rows are read one by one (-rowbyrow)";
        Failure::new(message, &code).into()
    }

    /// As [`Connection::idle_conn`], and counts a statement for `pg_dbinfo sql_count`.
    ///
    /// # Errors
    /// As [`Connection::idle_conn`].
    pub fn statement_conn(&self) -> CmdResult<Rc<Conn>> {
        let conn = self.idle_conn()?;
        self.statements.set(self.statements.get() + 1);
        Ok(conn)
    }

    /// Number of statements sent.
    pub(super) fn statements(&self) -> u64 {
        self.statements.get()
    }

    /// Says that rows are read one by one, so that no other statement throws the rest away.
    pub fn set_streaming(&self, streaming: bool) {
        self.streaming.set(streaming);
    }

    /// Gives the connection to `work`, alone if nobody else holds it. Scripts that run meanwhile
    /// find it busy; if one disconnects, the connection ends when `work` does.
    ///
    /// # Errors
    /// As [`Connection::idle_conn`].
    pub fn lend<T>(&self, work: impl FnOnce(Lent<'_>) -> T) -> CmdResult<T> {
        drop(self.idle_conn()?);
        let Some(mut conn) = self.conn.take() else {
            return Err(not_a_connection(&self.handle, "postgresql connection").into());
        };
        self.lent.set(true);
        let result = match Rc::get_mut(&mut conn) {
            Some(alone) => work(Lent::Alone(alone)),
            None => work(Lent::Shared(&conn)),
        };
        if self.lent.replace(false) {
            self.conn.replace(Some(conn));
            self.used();
        }
        Ok(result)
    }

    /// What stands for NULL.
    #[must_use]
    pub fn null_value(&self) -> Obj {
        self.null_value.borrow().clone()
    }

    pub(super) fn set_null_value(&self, value: &Obj) {
        self.null_value.replace(value.clone());
    }

    /// Makes a handle of a result.
    ///
    /// # Errors
    /// None in practice.
    pub fn add_result(
        self: &Rc<Self>,
        interp: Interp,
        result: PgResult,
    ) -> CmdResult<Rc<QueryResult>> {
        let number = self.next_result.get();
        self.next_result.set(number + 1);
        let handle = QueryResult::create(interp, self, number, result)?;
        self.results.borrow_mut().insert(number, Rc::downgrade(&handle));
        Ok(handle)
    }

    /// As [`Connection::add_result`], of a statement's result: the handle's name; a COPY that it
    /// has begun goes through the channel.
    ///
    /// # Errors
    /// None in practice.
    pub(super) fn hand_out(self: &Rc<Self>, interp: Interp, result: PgResult) -> CmdResult {
        let handle = self.add_result(interp, result)?;
        self.begin_copy(&handle.pg_result(), Some(&handle));
        Ok(match self.autoclear.get() {
            Autoclear::Never => handle.name().clone(),
            Autoclear::Unread => handle.tracked_name(Text::Keeps),
            Autoclear::Always => handle.tracked_name(Text::IsNoReference),
        })
    }

    pub(super) fn remove_result(&self, number: u64) {
        self.results.borrow_mut().remove(&number);
    }

    /// The result of this number.
    pub(super) fn result(&self, number: u64) -> Option<Rc<QueryResult>> {
        self.results.borrow().get(&number)?.upgrade()
    }

    /// All results, the oldest first.
    pub(super) fn results(&self) -> Vec<Rc<QueryResult>> {
        self.results.borrow().values().filter_map(Weak::upgrade).collect()
    }
}
