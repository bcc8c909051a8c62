//! `pg_execute`: a statement, its rows into variables, or a script for each of them.

use super::failure::{listed, request_failed};
use super::handles::connection;
use super::row::{Columns, Nulls};
use crate::libpq::{PgResult, Status};
use crate::tcl::{Body, CmdResult, Exception, Failure, Flow, Interp, Iteration, Obj};

const USAGE: &str =
    "pg_execute ?-array arrayname? ?-oid varname? connection queryString ?loop_body?";

struct Call<'a> {
    array: Option<&'a Obj>,
    oid: Option<&'a Obj>,
    connection: &'a Obj,
    sql: &'a Obj,
    body: Option<&'a Obj>,
}

fn parse(words: &[Obj]) -> CmdResult<Call<'_>> {
    let (mut array, mut oid, mut name) = (None, None, None);
    let mut rest = words.get(1..).unwrap_or_default();
    loop {
        match (name, rest) {
            (_, [option, value, tail @ ..]) if option.internal() == b"-array" => {
                array = Some(value);
                rest = tail;
            }
            (_, [option, value, tail @ ..]) if option.internal() == b"-oid" => {
                oid = Some(value);
                rest = tail;
            }
            (None, [connection, tail @ ..]) if !connection.internal().starts_with(b"-") => {
                name = Some(connection);
                rest = tail;
            }
            (Some(connection), [sql]) => {
                return Ok(Call { array, oid, connection, sql, body: None });
            }
            (Some(connection), [sql, body]) => {
                return Ok(Call { array, oid, connection, sql, body: Some(body) });
            }
            _ => return Err(Failure::wrong_args(USAGE).into()),
        }
    }
}

/// `pg_execute ?-array arr? ?-oid var? conn sql ?body?`: the number of rows.
pub(super) fn execute(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let call = parse(words)?;
    let connection = connection(interp, call.connection)?;
    let conn = connection.statement_conn()?;
    let result = conn.exec(&call.sql.as_text()?).map_err(|error| request_failed(&conn, error))?;
    let status = result.status();
    connection.begin_copy(&result, None);
    if let Some(oid) = call.oid {
        interp.set_var(oid, None, &Obj::from(u64::from(result.oid_value())))?;
    }
    match status {
        Status::TuplesOk => {}
        Status::CommandOk | Status::EmptyQuery | Status::CopyIn | Status::CopyOut => {
            return Ok(Obj::text(&result.cmd_tuples()).into());
        }
        // COMPAT: the message is a list of status and message.
        _ => return Err(listed(&result, connection.codes())),
    }
    let rows = Rows {
        columns: Columns::of(&result),
        row: 0,
        array: call.array.cloned(),
        nulls: Nulls::Value(connection.null_value()),
        result,
    };
    match call.body {
        Some(body) => Ok(Flow::Body(Body::new("", body.clone(), rows))),
        None => {
            if rows.result.ntuples() > 0 {
                rows.set(interp, 0)?;
            }
            Ok(rows.count().into())
        }
    }
}

struct Rows {
    result: PgResult,
    columns: Columns,
    row: usize,
    array: Option<Obj>,
    nulls: Nulls,
}

impl Rows {
    fn set(&self, interp: Interp, row: usize) -> CmdResult<()> {
        self.columns.set(interp, self.array.as_ref(), &self.result, row, &self.nulls).map(|_| ())
    }

    fn count(&self) -> Obj {
        Obj::from(self.result.ntuples() as u64)
    }
}

impl Iteration for Rows {
    fn next(&mut self, interp: Interp) -> CmdResult<bool> {
        if self.row >= self.result.ntuples() {
            return Ok(false);
        }
        self.set(interp, self.row)?;
        self.row += 1;
        Ok(true)
    }

    fn finish(&mut self, _interp: Interp) -> CmdResult {
        Ok(self.count())
    }
}
