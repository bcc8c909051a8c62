//! `pg_query`: `pg_select` that waits in the event loop, or yields in a coroutine, while the server
//! works.
//!
//! The connection takes no other statement meanwhile; other connections, timers and the rest of the
//! event loop go on. Outside of a coroutine the waits of several `pg_query` nest, as `vwait` does:
//! the first ends after the last. `pgsqlite::stop` ends a wait, and the statement is cancelled.

use super::Connection;
use super::failure::{Codes, request_failed, result_failed};
use super::handles::{connection, not_a_connection};
use super::select::{self, Buffered, Target};
use super::statement::Statement;
use super::watch::Waiter;
use crate::libpq::{Conn, Error, PgResult, Status};
use crate::limits::CANCEL_MS;
use crate::tcl::event::Timer;
use crate::tcl::serve::{self, Ended};
use crate::tcl::{
    Body, CmdResult, Exception, Failure, Flow, Interp, InterpRef, Iteration, Obj, Preserved,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// What was sent, until all its results are here.
#[derive(Default)]
pub(super) struct Pending {
    result: RefCell<Option<PgResult>>,
    done: Cell<bool>,
    /// The coroutine to resume.
    coroutine: RefCell<Option<(InterpRef, Obj)>>,
    timer: RefCell<Option<Timer>>,
}

impl Pending {
    /// Takes what has arrived; true when that is all.
    pub(super) fn collect(&self, connection: &Connection, conn: &Conn) -> bool {
        while !conn.is_busy() {
            let Some(result) = conn.get_result() else { return true };
            let is_copy = result.status().is_copy();
            connection.begin_copy(&result, None);
            let mut kept = self.result.borrow_mut();
            if !kept.as_ref().is_some_and(|kept| kept.status().is_error()) {
                kept.replace(result);
            }
            drop(kept);
            if is_copy {
                return true;
            }
        }
        false
    }

    /// All is here, or will never be.
    pub(super) fn end(&self) {
        self.done.set(true);
        let Some((interp, coroutine)) = self.coroutine.take() else { return };
        let Some(here) = interp.get() else { return };
        let timer = Timer::after(here, 0, move |interp| {
            // One that is gone needs not be told.
            if interp.has_command(&coroutine) {
                interp.call_back(&Obj::list(&[coroutine]), &[]);
            }
        });
        self.timer.replace(Some(timer));
    }
}

/// A statement on its way, and then its rows.
struct Query {
    connection: Rc<Connection>,
    pending: Rc<Pending>,
    target: Option<Target>,
    count: Option<Obj>,
    rows: Option<Buffered>,
    result: Obj,
}

impl Query {
    /// Looks at what came.
    fn begin(&mut self, interp: Interp) -> CmdResult<()> {
        let Some(result) = self.pending.result.take() else {
            let conn = self.connection.conn()?;
            let message = "no result came".to_owned();
            return Err(request_failed(&conn, Error::Lost { message }));
        };
        match result.status() {
            Status::TuplesOk => self.result = Obj::from(result.ntuples() as u64),
            Status::CommandOk | Status::EmptyQuery => {
                self.result = Obj::text(&result.cmd_tuples());
                return Ok(());
            }
            _ => return Err(result_failed(&result, Codes::WithSqlstate)),
        }
        if let Some(target) = self.target.take() {
            self.rows = Some(select::buffered(interp, result, target, self.count.take())?);
        }
        Ok(())
    }

    /// Gives up a statement that is still on its way.
    fn cancel(&self) {
        if self.pending.done.replace(true) {
            return;
        }
        self.connection.forget_waiter();
        if let Ok(conn) = self.connection.conn() {
            // One that does not end stays busy, and the next statement says so.
            let _ = conn.cancel_and_drain(Duration::from_millis(CANCEL_MS));
        }
    }
}

/// Rows once all is here; until then the coroutine yields.
impl Iteration for Query {
    fn script(&self) -> Option<Obj> {
        if self.pending.done.get() { None } else { Some(Obj::text("::yield")) }
    }

    fn next(&mut self, interp: Interp) -> CmdResult<bool> {
        if !self.pending.done.get() {
            return Ok(true);
        }
        if self.target.is_some() {
            if !self.connection.is_open() {
                let handle = self.connection.handle();
                return Err(not_a_connection(handle, "postgresql connection").into());
            }
            self.begin(interp)?;
            self.target = None;
        }
        match &mut self.rows {
            Some(rows) => rows.next(interp),
            None => Ok(false),
        }
    }

    fn finish(&mut self, interp: Interp) -> CmdResult {
        if let Some(rows) = &mut self.rows {
            rows.finish(interp)?;
        }
        Ok(self.result.clone())
    }

    fn abandon(&mut self, interp: Interp) {
        self.cancel();
        if let Some(rows) = &mut self.rows {
            rows.abandon(interp);
        }
    }
}

/// The coroutine in which we run.
fn current_coroutine(interp: Interp) -> CmdResult<Option<Obj>> {
    let name = interp.call_here(&[Obj::text("::info"), Obj::text("coroutine")])?;
    interp.reset_result();
    Ok(Some(name).filter(|name| !name.internal().is_empty()))
}

/// `pg_query ?option ...? conn sql arrayVar body`: the number of rows. Options as of `pg_select`,
/// save -rowbyrow.
pub(super) fn query(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let call = select::parse_query(interp, words)?;
    let connection = connection(interp, call.connection)?;
    let coroutine = current_coroutine(interp)?;
    let conn = connection.statement_conn()?;
    let target = call.target(&connection);
    let count = call.options.count;
    Statement::bind(interp, call.sql, call.options.binding)?.send(&conn)?;
    let pending = Rc::new(Pending::default());
    let waits = coroutine.is_some();
    pending.coroutine.replace(coroutine.map(|name| (InterpRef::new(interp), name)));
    let waiter = Waiter::Query { interp: InterpRef::new(interp), pending: Rc::clone(&pending) };
    connection.wait_for_results(waiter);
    let (target, result) = (Some(target), Obj::empty());
    let query = Query { connection, pending, target, count, rows: None, result };
    drop(conn);
    if !waits {
        wait(interp, &query)?;
    }
    Ok(Flow::Body(Body::new("pg_query", call.body.clone(), query)))
}

/// Serves events until all is here.
fn wait(interp: Interp, query: &Query) -> CmdResult<()> {
    let _preserved = Preserved::new(interp);
    let pending = Rc::clone(&query.pending);
    let outcome = serve::until(interp, move || pending.done.get());
    match outcome {
        Ok(Ended::Done) => Ok(()),
        Ok(Ended::Stopped) => {
            query.cancel();
            let code = ["PGSQLITE", "CONNECTION", "STOPPED", "name", query.connection.name()];
            Err(Failure::new("stopped while waiting for the server", &code).into())
        }
        Err(exception) => {
            query.cancel();
            Err(exception)
        }
    }
}
