//! `pg_sqlite HANDLE copy CONN QUERY|TABLE ?option ...?`: see [`super`].

use super::options::Given;
use super::run::run;
use crate::limits::PARALLEL_READERS_MAX;
use crate::pg_sqlite::{Error, PgQuery, PgTable, Source};
use crate::pgtcl::{self, Lent};
use crate::tcl::{Exception, Failure, Flow, Interp, Obj, other_pgtcl};

const USAGE: &str = "pg_sqlite handle copy connection query|table ?option ...?";

/// Copies; the result is the number of rows written.
pub(super) fn copy(interp: Interp, handle: &Obj, words: &[Obj]) -> Result<Flow, Exception> {
    let [conn, query, words @ ..] = words else { return Err(Failure::wrong_args(USAGE).into()) };
    let given = Given::parse(words, &["-sql", "-columns", "-parallel"], &[])?;
    if let Some(readers) = given.get("-parallel") {
        return parallel(interp, handle, conn, &query.as_text()?, readers, &given);
    }
    let query = PgQuery::new(&query.as_text()?);
    run(interp, handle, &given, |import, db| {
        if let Some(lent) = other_pgtcl::connection(interp, conn)? {
            return Ok(import.run(db, Source::QueryHere { conn: lent.conn(), query: &query }));
        }
        pgtcl::connection(interp, conn)?.lend(|lent| match lent {
            Lent::Alone(conn) => import.run(db, Source::Query { conn, query: &query }),
            Lent::Shared(conn) => import.run(db, Source::QueryHere { conn, query: &query }),
        })
    })
}

/// Copies a table by several connections.
fn parallel(
    interp: Interp,
    handle: &Obj,
    conn: &Obj,
    name: &str,
    readers: &Obj,
    given: &Given<'_>,
) -> Result<Flow, Exception> {
    let readers = match usize::try_from(readers.as_int(interp)?) {
        Ok(readers @ 1..=PARALLEL_READERS_MAX) => readers,
        _ => {
            let message = format!(
                "-parallel needs a number of connections from 1 to {PARALLEL_READERS_MAX}, but \
                 got {}",
                readers.text_lossy()
            );
            let code = ["PGSQLITE", "USAGE", "RANGE", "option", "-parallel"];
            return Err(Failure::new(message, &code).into());
        }
    };
    let Some(table) = PgTable::parse(name) else {
        let why = "reads tables only, not queries";
        return Err(Error::Parallel { name: name.to_owned(), why }.into());
    };
    run(interp, handle, given, |import, db| {
        if let Some(lent) = other_pgtcl::connection(interp, conn)? {
            let source = Source::Parallel { conn: lent.conn(), table: &table, readers };
            return Ok(import.run(db, source));
        }
        pgtcl::connection(interp, conn)?.lend(|lent| {
            let conn = match lent {
                Lent::Alone(conn) => &*conn,
                Lent::Shared(conn) => conn,
            };
            import.run(db, Source::Parallel { conn, table: &table, readers })
        })
    })
}
