//! Lines in the encoding of a walsender's client.

use super::error;
use change_line::Change;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::submodules::errcodes::PgSqlErrorCode;
use std::any::Any;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

// SAFETY: declared as in replication/walsender.h, which pgrx does not read for every major.
unsafe extern "C" {
    pub static am_walsender: bool;
}

/// What lines are converted to: `None` when the client has the database's encoding.
#[derive(Debug, Clone, Copy)]
pub struct Encoding(Option<i32>);

impl Encoding {
    /// Of this session. Functions hand on text in the database's encoding, and the server converts
    /// it; a walsender's client gets what the plugin prints.
    pub fn of_session() -> Encoding {
        // SAFETY: variables and functions of the backend's one thread.
        unsafe {
            let client = pg_sys::pg_get_client_encoding();
            let same = client == pg_sys::GetDatabaseEncoding();
            Encoding((am_walsender && !same).then_some(client))
        }
    }

    /// Whether bytes that are no text of the database may be printed as they are.
    pub fn is_plain(self) -> bool {
        // SAFETY: reads a variable of the backend, which has one thread.
        let database = unsafe { pg_sys::GetDatabaseEncoding() };
        self.0.is_none() && database == pg_sys::pg_enc::PG_UTF8 as i32
    }

    /// Lines as the client gets them; what is allocated for them lives in the current context. A
    /// text that cannot be converted ends the command with an error that says where it stands.
    pub fn of_client(self, lines: &[u8]) -> &[u8] {
        let Some(client) = self.0 else { return lines };
        let cause = match convert(lines, client) {
            Ok(text) => return text,
            Err(cause) => cause,
        };
        if let Some(CaughtError::PostgresError(report)) = cause.downcast_ref()
            && let code = report.sql_error_code()
            && matches!(
                code,
                PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE
                    | PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER
            )
            && let Some((table, column)) = place_of_text(lines, client)
        {
            error::untranslatable(code, &table, &column, report.message());
        }
        resume_unwind(cause)
    }
}

/// # Errors
/// The server's error.
fn convert(text: &[u8], client: i32) -> Result<&[u8], Box<dyn Any + Send>> {
    let from = text.as_ptr().cast::<core::ffi::c_char>();
    // SAFETY: so many bytes are there. Converters keep nothing, so that an error of theirs leaves
    // nothing behind; what they return is the text itself, or one that ends with a NUL byte.
    catch_unwind(AssertUnwindSafe(|| unsafe {
        let to = pg_sys::pg_server_to_any(from, text.len() as i32, client);
        if to.cast_const() == from { text } else { CStr::from_ptr(to).to_bytes() }
    }))
}

/// Table and column of the first text that cannot be converted; `None` when lines are not in the
/// form that tells.
fn place_of_text(lines: &[u8], client: i32) -> Option<(Vec<u8>, Vec<u8>)> {
    for line in lines.split(|byte| *byte == b'\n') {
        let change = Change::parse(line).ok()?;
        for column in change.columns() {
            let (name, value) = column.ok()?;
            if convert(name.raw(), client).is_err() || convert(value.raw(), client).is_err() {
                let schema = change.schema.map_or(b"public".into(), |schema| schema.decode());
                let table = change.table?.decode();
                let table = [schema.as_ref(), table.as_ref()].join(&b'.');
                return Some((table, name.decode().into_owned()));
            }
        }
    }
    None
}
