//! `pg_lo_*`: large objects.
//!
//! Descriptors live as long as their transaction. As in Pgtcl, opening, reading, writing, seeking
//! and the like give -1 when the server refuses, and creating gives 0; the global errorCode and
//! `pg_dbinfo error_message` then say why. `pg_lo_unlink`, `pg_lo_import` and `pg_lo_export` raise.
//! On a lost connection all of them raise: -1 would look like a refusal, and 0 like an object.

use super::failure::{Codes, library_failed, request_failed};
use super::handles::connection;
use crate::libpq::{Conn, Error, LargeObjectMode, Whence};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj};
use std::rc::Rc;

/// The connection, and the form of the codes of its errors.
fn conn(interp: Interp, handle: &Obj) -> CmdResult<(Rc<Conn>, Codes)> {
    let connection = connection(interp, handle)?;
    Ok((connection.idle_conn()?, connection.codes()))
}

fn wrong<T>(usage: &str) -> Result<T, Exception> {
    Err(Failure::wrong_args(usage).into())
}

/// A wrong word among the arguments.
fn bad<T>(message: &str, word: &Obj) -> CmdResult<T> {
    let code = ["PGSQLITE", "LARGEOBJECT", "MODE", "word", &word.text_lossy()];
    Err(Failure::new(message, &code).into())
}

/// What a call gives. As in Pgtcl it is no error when the server refuses: `refused` says so, and
/// the code that an error would have is left.
///
/// # Errors
/// The connection is lost: `POSTGRESQL REQUEST_FAILED ...`.
fn told<T>(
    interp: Interp,
    (conn, codes): (&Conn, Codes),
    refused: T,
    call: impl FnOnce(&Conn) -> Result<T, Error>,
) -> CmdResult<T> {
    match conn.lo_told(call) {
        Ok(value) => Ok(value),
        Err(error) if !conn.is_ok() => Err(request_failed(conn, error)),
        Err(error) => {
            library_failed("", error, codes).leave_code(interp);
            Ok(refused)
        }
    }
}

/// As [`told`], of a number: -1 for what the server refused.
fn number<T: Into<i64>>(
    interp: Interp,
    handle: &Obj,
    call: impl FnOnce(&Conn) -> Result<T, Error>,
) -> Result<Flow, Exception> {
    let (conn, codes) = conn(interp, handle)?;
    Ok(Obj::int(told(interp, (&conn, codes), -1, |conn| call(conn).map(Into::into))?).into())
}

/// A number that is no large object's or descriptor's becomes one that there is not.
fn small<T: TryFrom<i64> + Default>(interp: Interp, word: &Obj) -> CmdResult<T> {
    let value = word.as_int(interp)?;
    T::try_from(value).map_err(|_| {
        let code = ["PGSQLITE", "LARGEOBJECT", "RANGE", "number", &word.text_lossy()];
        Failure::new(format!("{value} is out of range"), &code).into()
    })
}

fn count(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// `pg_lo_open conn oid mode`: a descriptor.
pub(super) fn open(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, oid, word] = words else {
        return wrong("pg_lo_open connection lobjOid mode");
    };
    let mode = match word.text_lossy().to_ascii_lowercase().as_str() {
        "r" => LargeObjectMode { read: true, write: false },
        "w" => LargeObjectMode { read: false, write: true },
        "rw" | "wr" => LargeObjectMode { read: true, write: true },
        _ => return bad("mode argument must be 'r', 'w', or 'rw'", word),
    };
    let oid = small::<u32>(interp, oid)?;
    number(interp, handle, |conn| conn.lo_open(oid, mode))
}

/// `pg_lo_close conn fd`.
pub(super) fn close(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, fd] = words else { return wrong("pg_lo_close connection fd") };
    let fd = small::<i32>(interp, fd)?;
    number(interp, handle, |conn| conn.lo_close(fd))
}

/// `pg_lo_read conn fd bufVar len`: the number of bytes that the variable then holds.
pub(super) fn read(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, fd, variable, length] = words else {
        return wrong("pg_lo_read conn fd bufVar len");
    };
    let fd = small::<i32>(interp, fd)?;
    let length = length.as_int(interp)?;
    let (conn, codes) = conn(interp, handle)?;
    let Ok(length @ 1..) = usize::try_from(length) else { return Ok(Obj::int(0).into()) };
    let Some(bytes) =
        told(interp, (&conn, codes), None, |conn| conn.lo_read(fd, length).map(Some))?
    else {
        return Ok(Obj::int(-1).into());
    };
    interp.set_var(variable, None, &Obj::bytes(&bytes))?;
    Ok(Obj::int(count(bytes.len())).into())
}

/// `pg_lo_write conn fd buf len`: the number of bytes written.
pub(super) fn write(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, fd, buffer, length] = words else {
        return wrong("pg_lo_write conn fd buf len");
    };
    let fd = small::<i32>(interp, fd)?;
    let length = usize::try_from(length.as_int(interp)?).unwrap_or(0);
    let Some(bytes) = buffer.to_bytes() else {
        let code = ["TCL", "VALUE", "BYTES"];
        let message = "expected byte sequence, but the value has other characters";
        return Err(Failure::new(message, &code).into());
    };
    let bytes = bytes.get(..length).unwrap_or(&bytes);
    number(interp, handle, |conn| conn.lo_write(fd, bytes).map(count))
}

/// `pg_lo_lseek conn fd offset whence`: the new position.
pub(super) fn lseek(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, fd, offset, word] = words else {
        return wrong("pg_lo_lseek conn fd offset whence");
    };
    let fd = small::<i32>(interp, fd)?;
    let offset = offset.as_int(interp)?;
    let whence = match word.internal() {
        b"SEEK_SET" => Whence::Set,
        b"SEEK_CUR" => Whence::Current,
        b"SEEK_END" => Whence::End,
        _ => return bad("'whence' must be SEEK_SET, SEEK_CUR or SEEK_END", word),
    };
    number(interp, handle, |conn| conn.lo_lseek(fd, offset, whence))
}

/// `pg_lo_creat conn mode`: the id of a new large object.
pub(super) fn creat(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, word] = words else { return wrong("pg_lo_creat conn mode") };
    let mut mode = LargeObjectMode { read: false, write: false };
    for part in word.text_lossy().split('|') {
        match part.trim() {
            "INV_READ" => mode.read = true,
            "INV_WRITE" => mode.write = true,
            _ => return bad("mode must be some OR'd combination of INV_READ, and INV_WRITE", word),
        }
    }
    let (conn, codes) = conn(interp, handle)?;
    Ok(Obj::int(told(interp, (&conn, codes), 0, |conn| conn.lo_creat(mode))?.into()).into())
}

/// `pg_lo_tell conn fd`: the position.
pub(super) fn tell(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, fd] = words else { return wrong("pg_lo_tell conn fd") };
    let fd = small::<i32>(interp, fd)?;
    number(interp, handle, |conn| conn.lo_tell(fd))
}

/// `pg_lo_truncate conn fd ?len?`.
pub(super) fn truncate(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let (handle, fd, length) = match words {
        [_, handle, fd] => (handle, fd, 0),
        [_, handle, fd, length] => (handle, fd, length.as_int(interp)?),
        _ => return wrong("pg_lo_truncate conn fd ?len?"),
    };
    let fd = small::<i32>(interp, fd)?;
    number(interp, handle, |conn| conn.lo_truncate(fd, length))
}

/// `pg_lo_unlink conn oid`: 1.
pub(super) fn unlink(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, oid] = words else { return wrong("pg_lo_unlink conn oid") };
    let oid = small::<u32>(interp, oid)?;
    let (conn, codes) = conn(interp, handle)?;
    let outcome = conn.lo_told(|conn| conn.lo_unlink(oid));
    let done = outcome
        .map_err(|error| library_failed(&format!("unlink of {oid} failed"), error, codes))?;
    Ok(Obj::int(done.into()).into())
}

/// `pg_lo_import conn filename`: the id of a new large object with the file's bytes.
pub(super) fn import(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, file] = words else { return wrong("pg_lo_import conn filename") };
    let file = file.as_text()?;
    let (conn, codes) = conn(interp, handle)?;
    let outcome = conn.lo_told(|conn| conn.lo_import(&file));
    let what = format!("import of '{file}' failed");
    Ok(Obj::int(outcome.map_err(|error| library_failed(&what, error, codes))?.into()).into())
}

/// `pg_lo_export conn oid filename`: writes a large object's bytes into a file.
pub(super) fn export(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, oid, file] = words else {
        return wrong("pg_lo_export conn lobjId filename");
    };
    let oid = small::<u32>(interp, oid)?;
    let file = file.as_text()?;
    let (conn, codes) = conn(interp, handle)?;
    let outcome = conn.lo_told(|conn| conn.lo_export(oid, &file));
    outcome.map_err(|error| library_failed("export failed", error, codes))?;
    Ok(Obj::empty().into())
}
