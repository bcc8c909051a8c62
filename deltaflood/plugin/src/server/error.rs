//! Errors as the server reports them.

use crate::line::{Unfit, Unwritten};
use crate::options::OptionError;
use pgrx::PgLogLevel;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;

/// Ends the command with the error of an option.
pub fn bad_option(error: OptionError) -> ! {
    raise(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, error.message, error.hint)
}

/// Ends the command since a value is not in its line.
pub fn unwritten(table: &[u8], error: &Unwritten) -> ! {
    let (table, column) = (shown(table), shown(&error.column));
    match error.why {
        Unfit::Long(bytes) => raise(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "a change of table {table} does not fit into a line of at most 1 GB: column \
                 \"{column}\" has {bytes} bytes"
            ),
            "With the option oversize=skip such a value is left out, and its column is named in \
             _unchanged."
                .to_owned(),
        ),
        Unfit::Memory(bytes) => no_memory(&format!(
            "{bytes} bytes for column \"{column}\" of a change of table {table}"
        )),
    }
}

/// Ends the command since a message is not in its line.
pub fn unwritten_message(prefix: &[u8], why: Unfit) -> ! {
    let prefix = shown(prefix);
    match why {
        Unfit::Long(bytes) => raise(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "a message with the prefix \"{prefix}\" does not fit into a line of at most 1 GB: \
                 it has {bytes} bytes"
            ),
            "With the option oversize=skip such a message is left out.".to_owned(),
        ),
        Unfit::Memory(bytes) => {
            no_memory(&format!("{bytes} bytes for a message with the prefix \"{prefix}\""))
        }
    }
}

/// Ends the command since the client's encoding has no form for a text, with the server's code and
/// reason for it.
pub fn untranslatable(code: PgSqlErrorCode, table: &[u8], column: &[u8], why: &str) -> ! {
    let (table, column) = (shown(table), shown(column));
    raise(
        code,
        format!("column \"{column}\" of a change of table {table}: {why}"),
        "A client whose client_encoding is that of the database gets every byte as it is."
            .to_owned(),
    )
}

fn no_memory(what: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        format!("out of memory: {what}"),
        "The change is sent again when the slot is read again.".to_owned(),
    )
}

/// Says in the server's log and to the client that deletes of a table cannot be printed.
pub fn no_identity(table: &[u8]) {
    let table = shown(table);
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

/// A name in a message. Messages are in the server's encoding, and what is written here is UTF-8:
/// of a server that has another, no more than ASCII can stand in them.
pub fn shown(name: &[u8]) -> String {
    // SAFETY: a function of the backend's one thread.
    if unsafe { pg_sys::GetDatabaseEncoding() } == pg_sys::pg_enc::PG_UTF8 as i32 {
        return String::from_utf8_lossy(name).into_owned();
    }
    let byte = |&byte: &u8| match byte {
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    name.iter().map(byte).collect()
}
