//! `pg_sqlite HANDLE export QUERY CONN TABLE ?option ...?`: see [`super`].

use super::options::missing;
use super::run::{Calls, why};
use crate::pg_sqlite::{Error, Export, PgTable};
use crate::pgtcl::{self, Lent};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, other_pgtcl, sqlite_host};
use std::cell::RefCell;

const USAGE: &str = "pg_sqlite handle export query connection table ?-columns list? \
                     ?-progress {rows callback}? ?-poll_interval rows?";

/// Exports; the result is the number of rows stored.
pub(super) fn export(interp: Interp, handle: &Obj, words: &[Obj]) -> Result<Flow, Exception> {
    let [sql, connection, table, options @ ..] = words else {
        return Err(Failure::wrong_args(USAGE).into());
    };
    let name = table.as_text()?;
    let table = PgTable::parse(&name).ok_or_else(|| Error::NotATable { name: name.into() })?;
    let (mut columns, mut progress, mut poll) = (None, None, None);
    let mut rest = options;
    while let [option, tail @ ..] = rest {
        let word = option.text_lossy();
        let place = match &*word {
            "-columns" => &mut columns,
            "-progress" => &mut progress,
            "-poll_interval" => &mut poll,
            _ => {
                let known = ["-columns", "-progress", "-poll_interval"];
                return Err(Failure::bad_word("option", &word, &known).into());
            }
        };
        let [value, tail @ ..] = tail else { return Err(missing(&word)) };
        *place = Some(value);
        rest = tail;
    }
    let columns = columns.map(|list| list.as_list(interp)).transpose()?;
    let text = |name: &Obj| -> CmdResult<String> { Ok(name.as_text()?.into_owned()) };
    let columns: Option<CmdResult<Vec<String>>> =
        columns.map(|names| names.iter().map(text).collect());
    let calls = Calls::new(interp, progress, poll)?;
    let sql = sql.as_text()?;

    let held = sqlite_host::recover(interp, handle)?;
    let stopped: RefCell<Option<Exception>> = RefCell::new(None);
    let mut heard = |rows| calls.heard(interp, &held, rows, &stopped);
    let export = Export {
        table,
        columns: columns.transpose()?,
        progress_every: calls.every(),
        progress: Some(&mut heard),
        stop: Some(held.closed()),
    };
    let outcome = match other_pgtcl::connection(interp, connection)? {
        Some(lent) => export.run(held.db(), &sql, lent.conn()),
        None => pgtcl::connection(interp, connection)?.lend(|lent| match lent {
            Lent::Alone(conn) => export.run(held.db(), &sql, conn),
            Lent::Shared(conn) => export.run(held.db(), &sql, conn),
        })?,
    };
    match outcome {
        Ok(rows) => Ok(rows.into()),
        Err(error) => Err(why(error, stopped.take(), &held, handle, "the export")),
    }
}
