//! Errors as the server reports them.

use crate::line::Oversize;
use crate::options::OptionError;
use pgrx::PgLogLevel;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;

/// Ends the command with the error of an option.
pub fn bad_option(error: OptionError) -> ! {
    raise(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, error.message, error.hint)
}

/// Ends the command since a value does not fit into a line.
pub fn oversize(table: &str, error: &Oversize) -> ! {
    let Oversize { column, bytes } = error;
    raise(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!(
            "a change of table {table} does not fit into a line of at most 1 GB: column \"{column}\" \
             has {bytes} bytes"
        ),
        "With the option oversize=skip such a value is left out, and its column is named in \
         _unchanged."
            .to_owned(),
    )
}

/// Says in the server's log and to the client that deletes of a table cannot be printed.
pub fn no_identity(table: &str) {
    let code = PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
    let message = format!("deletes of table {table} are not printed: it has no replica identity");
    let hint = "Give it a primary key, or ALTER TABLE ... REPLICA IDENTITY FULL.";
    ErrorReport::new(code, message, "deltaflood").set_hint(hint).report(PgLogLevel::WARNING);
}

/// Ends the command with an error.
pub fn raise(code: PgSqlErrorCode, message: String, hint: String) -> ! {
    let mut report = ErrorReport::new(code, message, "deltaflood");
    if !hint.is_empty() {
        report = report.set_hint(hint);
    }
    report.report(PgLogLevel::ERROR);
    // An ERROR does not come back; if it did, the guard would report this.
    unreachable!("an ERROR was reported")
}
