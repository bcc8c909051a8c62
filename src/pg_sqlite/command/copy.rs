//! `pg_sqlite HANDLE copy CONN QUERY|TABLE ?option ...?`: see [`super`].

use super::options::Given;
use super::run::run;
use crate::pg_sqlite::{PgQuery, Source};
use crate::pgtcl::{self, Lent};
use crate::tcl::{Exception, Failure, Flow, Interp, Obj, other_pgtcl};

const USAGE: &str = "pg_sqlite handle copy connection query|table ?option ...?";

/// Copies; the result is the number of rows written.
pub(super) fn copy(interp: Interp, handle: &Obj, words: &[Obj]) -> Result<Flow, Exception> {
    let [conn, query, words @ ..] = words else { return Err(Failure::wrong_args(USAGE).into()) };
    let given = Given::parse(words, &["-sql", "-columns"], &[])?;
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
