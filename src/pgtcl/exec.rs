//! `pg_exec`, and the same in parts: `pg_sendquery`, `pg_isbusy`, `pg_getresult`,
//! `pg_set_single_row_mode`.

use super::failure::request_failed;
use super::handles::connection;
use super::statement::{Call, Statement};
use crate::tcl::{Exception, Failure, Flow, Interp, Obj};

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
    let status = result.status();
    let handle = connection.add_result(interp, result)?;
    connection.begin_copy(status, Some(&handle));
    Ok(Flow::Value(handle.name().clone()))
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
    let conn = connection.idle_conn()?;
    let Some(result) = conn.get_result() else { return Ok(Obj::empty().into()) };
    let status = result.status();
    let handle = connection.add_result(interp, result)?;
    connection.begin_copy(status, Some(&handle));
    Ok(Flow::Value(handle.name().clone()))
}

/// `pg_isbusy conn`: 1 when `pg_getresult` would wait.
pub(super) fn isbusy(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name] = words else {
        return Err(Failure::wrong_args("pg_isbusy connection").into());
    };
    let conn = connection(interp, name)?.conn()?;
    conn.consume_input().map_err(|error| request_failed(&conn, error))?;
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
    if let Some(channel) = channel {
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
