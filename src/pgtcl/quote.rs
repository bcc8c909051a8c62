//! `pg_quote` (`pg_escape_string`), `pg_escape_bytea`, `pg_unescape_bytea`, `pg_null_value_string`.

use super::failure::request_failed;
use super::handles::connection;
use crate::libpq::{self, Error};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj};

/// `pg_quote ?-null? ?conn? string`: `'...'` with quotes doubled; with -null, `NULL` for what
/// stands for NULL. Without a connection libpq goes by the connection used last in this process.
pub(super) fn quote(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let is_null = |word: &Obj| word.internal() == b"-null";
    let (null, name, text) = match words {
        [_, text] => (false, None, text),
        [_, option, text] if is_null(option) => (true, None, text),
        [_, name, text] => (false, Some(name), text),
        [_, option, name, text] if is_null(option) => (true, Some(name), text),
        [_, name, option, text] if is_null(option) => (true, Some(name), text),
        _ => return Err(Failure::wrong_args("pg_quote ?-null? ?connection? string").into()),
    };
    let connection = name.map(|name| connection(interp, name)).transpose()?;
    let null_value = connection.as_ref().map_or_else(Obj::empty, |c| c.null_value());
    if null && text.internal() == null_value.internal() {
        return Ok(Obj::text("NULL").into());
    }
    let text = quotable(text)?;
    let escaped = match connection {
        Some(connection) => {
            let conn = connection.conn()?;
            conn.escape_string(&text).map_err(|error| request_failed(&conn, error))?
        }
        None => libpq::escape_string(&text)?,
    };
    Ok(Obj::from(format!("'{escaped}'")).into())
}

/// `$conn quote ?-null? string`: as the command, but the string must be there, or the handle would
/// be taken for it.
pub(super) fn quote_by_handle(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    if words.len() < 3 {
        return Err(Failure::wrong_args("pg_quote ?-null? ?connection? string").into());
    }
    quote(interp, words)
}

fn bytes(value: &Obj) -> CmdResult<Vec<u8>> {
    value.to_bytes().ok_or_else(|| {
        let code = ["TCL", "VALUE", "BYTES"];
        Failure::new("expected byte sequence, but the value has other characters", &code).into()
    })
}

/// `pg_escape_bytea ?conn? bytes`: what to put between quotes: with a connection `\x...`, else
/// octal escapes.
pub(super) fn escape_bytea(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let escaped = match words {
        [_, value] => libpq::escape_bytea(&bytes(value)?)?,
        [_, name, value] => {
            let conn = connection(interp, name)?.conn()?;
            let escaped = conn.escape_bytea(&bytes(value)?);
            escaped.map_err(|error| request_failed(&conn, error))?
        }
        _ => return Err(Failure::wrong_args("pg_escape_bytea ?connection? binaryString").into()),
    };
    Ok(Obj::from(escaped).into())
}

/// `$conn escape_bytea bytes`: as [`quote_by_handle`].
pub(super) fn escape_bytea_by_handle(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    if words.len() < 3 {
        return Err(Failure::wrong_args("pg_escape_bytea ?connection? binaryString").into());
    }
    escape_bytea(interp, words)
}

/// `pg_unescape_bytea string`: the bytes of a `bytea` value as the server writes it.
pub(super) fn unescape_bytea(_interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, text] = words else {
        return Err(Failure::wrong_args("pg_unescape_bytea binaryString").into());
    };
    Ok(Obj::bytes(&libpq::unescape_bytea(text.as_text()?.as_bytes())?).into())
}

/// Text to be quoted: without a NUL character, at which libpq would end it.
fn quotable(text: &Obj) -> CmdResult<std::borrow::Cow<'_, str>> {
    let text = text.as_text()?;
    if text.contains('\0') { Err(Error::Nul { what: "string" }.into()) } else { Ok(text) }
}

/// `pg_escape_literal conn string`: `'...'`, or ` E'...'` where there are backslashes.
pub(super) fn escape_literal(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name, text] = words else {
        return Err(Failure::wrong_args("pg_escape_literal connection string").into());
    };
    let conn = connection(interp, name)?.conn()?;
    let escaped = conn.escape_literal(&quotable(text)?);
    Ok(Obj::from(escaped.map_err(|error| request_failed(&conn, error))?).into())
}

/// `pg_escape_identifier conn string`: `"..."`, a name as it is.
pub(super) fn escape_identifier(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name, text] = words else {
        return Err(Failure::wrong_args("pg_escape_identifier connection string").into());
    };
    let conn = connection(interp, name)?.conn()?;
    let escaped = conn.escape_identifier(&quotable(text)?);
    Ok(Obj::from(escaped.map_err(|error| request_failed(&conn, error))?).into())
}

/// `pg_encrypt_password conn user password ?algorithm?`: the form that the server stores, for
/// `ALTER USER ... PASSWORD`.
pub(super) fn encrypt_password(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let (name, user, password, algorithm) = match words {
        [_, name, user, password] => (name, user, password, None),
        [_, name, user, password, algorithm] => (name, user, password, Some(algorithm)),
        _ => {
            let usage = "pg_encrypt_password connection user password ?algorithm?";
            return Err(Failure::wrong_args(usage).into());
        }
    };
    let connection = connection(interp, name)?;
    // Without an algorithm libpq asks the server for its setting.
    let conn = if algorithm.is_some() { connection.conn()? } else { connection.idle_conn()? };
    let algorithm = algorithm.map(Obj::as_text).transpose()?;
    let encrypted =
        conn.encrypt_password(&user.as_text()?, &password.as_text()?, algorithm.as_deref());
    Ok(Obj::from(encrypted.map_err(|error| request_failed(&conn, error))?).into())
}

/// `pg_null_value_string conn ?string?`: what stands for NULL in the rows of later statements.
pub(super) fn null_value_string(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let (name, value) = match words {
        [_, name] => (name, None),
        [_, name, value] => (name, Some(value)),
        _ => return Err(Failure::wrong_args("pg_null_value_string connection ?string?").into()),
    };
    let connection = connection(interp, name)?;
    if let Some(value) = value {
        connection.set_null_value(value);
    }
    Ok(Flow::Value(connection.null_value()))
}
