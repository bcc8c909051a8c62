//! `pg_result`, and the command of a result handle.

use super::QueryResult;
use crate::tcl::{Exception, Failure, Flow, Interp, Obj};
use std::rc::Rc;

/// `$result option ...`.
pub(super) fn by_handle(
    _interp: Interp,
    result: &Rc<QueryResult>,
    words: &[Obj],
) -> Result<Flow, Exception> {
    let [_, _option, ..] = words else {
        let usage = format!("{} command...", result.name().text_lossy());
        return Err(Failure::wrong_args(&usage).into());
    };
    Ok(Obj::empty().into())
}
