//! `pg_sqlite HANDLE import_postgres_result SOURCE ?option ...?`: see [`super`].

use super::options::Given;
use super::run::run;
use crate::pg_sqlite::Source;
use crate::pgtcl::{self, Lent};
use crate::tcl::{Exception, Failure, Flow, Interp, Obj, other_pgtcl};

const USAGE: &str = "pg_sqlite handle import_postgres_result source ?option ...?";

/// Imports; the result is the number of rows written.
pub(super) fn import(interp: Interp, handle: &Obj, words: &[Obj]) -> Result<Flow, Exception> {
    let [source, words @ ..] = words else { return Err(Failure::wrong_args(USAGE).into()) };
    let given = Given::parse(words, &["-sql", "-columns"], &["-rowbyrow"])?;
    run(interp, handle, &given, |import, db| {
        if given.has("-rowbyrow") {
            if let Some(lent) = other_pgtcl::connection(interp, source)? {
                return Ok(import.run(db, Source::StreamHere(lent.conn())));
            }
            pgtcl::connection(interp, source)?.lend(|lent| match lent {
                Lent::Alone(conn) => import.run(db, Source::Stream(conn)),
                Lent::Shared(conn) => import.run(db, Source::StreamHere(conn)),
            })
        } else {
            if let Some(result) = other_pgtcl::result(interp, source)? {
                return Ok(import.run(db, Source::Result(&result)));
            }
            let result = pgtcl::result(interp, source)?.pg_result();
            Ok(import.run(db, Source::Result(&result)))
        }
    })
}
