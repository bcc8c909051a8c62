//! `pg_exec`, and the same in parts: `pg_sendquery`, `pg_isbusy`, `pg_getresult`, `pg_getdata`,
//! `pg_set_single_row_mode`, `pg_blocking`, `pg_cancelrequest`.

use super::Connection;
use super::failure::{library_failed, lost, request_failed};
use super::handles::connection;
use super::statement::{Call, Statement};
use crate::libpq::Progress;
use crate::tcl::{Exception, Failure, Flow, Interp, Obj};
use std::rc::Rc;

/// `pg_exec ?-variables? ?-paramarray arr? conn sql ?param ...?`: a result handle, also when the
/// server refused.
pub(super) fn exec(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let call = Call::parse(
        words,
        "pg_exec ?-variables? ?-paramarray var? connection queryString ?parm...?",
    )?;
    let connection = connection(interp, call.connection)?;
    let conn = connection.statement_conn()?;
    let result = Statement::bind(interp, call.sql, call.binding)?.exec(&conn)?;
    Ok(Flow::Value(connection.hand_out(interp, result)?))
}

/// `pg_sendquery ?-variables? ?-paramarray arr? conn sql ?param ...?`: empty. The values of the
/// results are text.
pub(super) fn sendquery(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let call = Call::parse(
        words,
        "pg_sendquery ?-variables? ?-paramarray var? connection queryString ?parm...?",
    )?;
    let connection = connection(interp, call.connection)?;
    let conn = connection.statement_conn()?;
    Statement::bind(interp, call.sql, call.binding)?.send(&conn)?;
    Ok(Obj::empty().into())
}

/// `pg_getresult conn`: the next result of what was sent, empty when there is none; waits for it.
pub(super) fn getresult(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name] = words else {
        return Err(Failure::wrong_args("pg_getresult connection").into());
    };
    let connection = connection(interp, name)?;
    if !connection.has_query() {
        connection.forget_waiter();
    }
    next_result(interp, &connection)
}

/// COMPAT: scripts send the next statement without asking whether there are more results. What ends
/// a statement has mostly come with its last result, and is taken with it.
fn next_result(interp: Interp, connection: &Rc<Connection>) -> Result<Flow, Exception> {
    let conn = connection.results_conn()?;
    let Some(result) = conn.get_result() else { return Ok(Obj::empty().into()) };
    if result.status().is_error() {
        conn.drain(); // no other result comes behind an error, but its end in a message of its own
    } else {
        conn.parse_input();
    }
    Ok(Flow::Value(connection.hand_out(interp, result)?))
}

/// `pg_getdata conn -result`: as `pg_getresult`, and a callback of `pg_sql` stays.
/// `pg_getdata conn -connection`: goes on with `pg_connect -async 1`; what it waits for. It raises
/// when the connection could not be made.
pub(super) fn getdata(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name, option] = words else {
        return Err(Failure::wrong_args("pg_getdata connection -result|-connection").into());
    };
    let connection = connection(interp, name)?;
    match option.internal() {
        b"-result" => next_result(interp, &connection),
        b"-connection" => {
            let conn = connection.conn()?;
            Ok(Flow::Value(Obj::text(match conn.connect_poll() {
                // COMPAT: a loop that waits for one state only ends, too.
                Progress::Failed => return Err(lost(&conn)),
                Progress::Reading => "PGRES_POLLING_READING",
                Progress::Writing => "PGRES_POLLING_WRITING",
                Progress::Done => "PGRES_POLLING_OK",
            })))
        }
        _ => {
            let word = option.text_lossy();
            Err(Failure::bad_word("option", &word, &["-result", "-connection"]).into())
        }
    }
}

/// `pg_blocking conn ?bool?`: whether sending waits until the server takes what is sent.
pub(super) fn blocking(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let (name, value) = match words {
        [_, name] => (name, None),
        [_, name, value] => (name, Some(value.as_bool(interp)?)),
        _ => return Err(Failure::wrong_args("pg_blocking connection ?bool?").into()),
    };
    let conn = connection(interp, name)?.conn()?;
    let Some(value) = value else { return Ok(Obj::from(!conn.is_nonblocking()).into()) };
    conn.set_nonblocking(!value).map_err(|error| request_failed(&conn, error))?;
    Ok(Obj::empty().into())
}

/// `pg_cancelrequest conn`: asks the server to give up what it does for this connection. A callback
/// of `pg_sql` is forgotten; the results are to be fetched all the same.
pub(super) fn cancelrequest(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name] = words else {
        return Err(Failure::wrong_args("pg_cancelrequest connection").into());
    };
    let connection = connection(interp, name)?;
    let conn = connection.conn()?;
    if !connection.has_query() {
        connection.forget_waiter();
    }
    let outcome = conn.cancel_handle().and_then(|cancel| cancel.cancel());
    outcome.map_err(|error| library_failed("cannot cancel", error, connection.codes()))?;
    Ok(Obj::empty().into())
}

/// `pg_isbusy conn`: 1 when `pg_getresult` would wait.
pub(super) fn isbusy(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name] = words else {
        return Err(Failure::wrong_args("pg_isbusy connection").into());
    };
    let connection = connection(interp, name)?;
    let conn = connection.conn()?;
    // What arrives while connecting is for `pg_getdata -connection`.
    if conn.is_connecting() {
        return Ok(Obj::from(true).into());
    }
    // With -blocking 0 part of the statement may be waiting to be sent.
    let sent = conn.flush().map(|_| ());
    let outcome = sent.and_then(|()| connection.consume(&conn));
    outcome.map_err(|error| request_failed(&conn, error))?;
    Ok(Obj::from(conn.is_busy()).into())
}

/// `pg_set_single_row_mode conn`: 1 when what was just sent gives its rows one by one.
pub(super) fn set_single_row_mode(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name] = words else {
        return Err(Failure::wrong_args("pg_set_single_row_mode connection").into());
    };
    let conn = connection(interp, name)?.conn()?;
    Ok(Obj::from(conn.set_single_row_mode()).into())
}

/// `pg_copy_complete conn`: ends a COPY from the client, or gives up the rest of the rows of one to
/// the client. What came of it is in the COPY's result handle.
pub(super) fn copy_complete(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name] = words else {
        return Err(Failure::wrong_args("pg_copy_complete connection").into());
    };
    let connection = connection(interp, name)?;
    let channel = connection.channel();
    if let Some(channel) = &channel {
        channel.flush();
    }
    if !connection.complete_copy()?
        && let Some(channel) = channel
    {
        // Through Tcl, so that the rows which Tcl has buffered go too.
        let mut rest = vec![0; 1 << 16];
        while connection.copy.is_active() && channel.read(&mut rest)? > 0 {}
    }
    Ok(Obj::empty().into())
}
