//! Large objects. All calls but `lo_import` and `lo_export` of libpq need a transaction block to
//! keep a descriptor open; that is the caller's business.

use super::message::plain_message;
use super::{Conn, Error, Oid, ServerError, text};
use crate::limits::LARGE_OBJECT_PIECE_BYTES;
use std::ffi::{c_char, c_int};

/// `INV_READ`, `INV_WRITE` of libpq's `libpq-fs.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeObjectMode {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
}

impl LargeObjectMode {
    const fn bits(self) -> c_int {
        (if self.write { 0x0002_0000 } else { 0 }) | (if self.read { 0x0004_0000 } else { 0 })
    }
}

/// From where an offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// The start.
    Set,
    /// The present position.
    Current,
    /// The end.
    End,
}

impl Conn {
    /// Runs `call` so that its failure tells the server's SQLSTATE: libpq's large object calls
    /// leave nothing but a text.
    ///
    /// # Errors
    /// Those of `call`; `POSTGRES SERVER` where the server told a SQLSTATE.
    pub fn lo_told<T>(&self, call: impl FnOnce(&Conn) -> Result<T, Error>) -> Result<T, Error> {
        self.set_verbose(true);
        let outcome = call(self);
        self.set_verbose(false);
        outcome.map_err(|error| match error {
            Error::Library { message } => {
                let (message, sqlstate) = plain_message(&message);
                if sqlstate.is_empty() {
                    return Error::Library { message };
                }
                let server = ServerError { sqlstate, message, ..ServerError::default() };
                Error::Server(Box::new(server))
            }
            Error::Lost { message } => Error::Lost { message: plain_message(&message).0 },
            other => other,
        })
    }

    fn lo_checked<T: TryFrom<i64>>(&self, value: i64) -> Result<T, Error> {
        if value < 0 {
            return Err(self.last_error());
        }
        T::try_from(value).map_err(|_| Error::Library { message: "value out of range".to_owned() })
    }

    fn lo_oid(&self, oid: Oid) -> Result<Oid, Error> {
        if oid == 0 { Err(self.last_error()) } else { Ok(oid) }
    }

    /// Makes a large object and returns its id.
    ///
    /// # Errors
    /// `POSTGRES LIBRARY` with the server's message, `POSTGRES LOST`; so do all calls here.
    pub fn lo_creat(&self, mode: LargeObjectMode) -> Result<Oid, Error> {
        // SAFETY: the connection is live.
        self.lo_oid(unsafe { pq_sys::lo_creat(self.as_raw(), mode.bits()) })
    }

    /// Opens a large object and returns a descriptor of this connection.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`].
    pub fn lo_open(&self, oid: Oid, mode: LargeObjectMode) -> Result<i32, Error> {
        // SAFETY: the connection is live.
        self.lo_checked(unsafe { pq_sys::lo_open(self.as_raw(), oid, mode.bits()) }.into())
    }

    /// Closes a descriptor.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`].
    pub fn lo_close(&self, fd: i32) -> Result<i32, Error> {
        // SAFETY: the connection is live; a wrong descriptor is an error of the server.
        self.lo_checked(unsafe { pq_sys::lo_close(self.as_raw(), fd) }.into())
    }

    /// Reads at most `length` bytes (at most 1 GiB): in pieces, so that memory is taken for what is
    /// there, not for what was asked for, here and in the server.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`]; `POSTGRES LIBRARY` when memory is short.
    pub fn lo_read(&self, fd: i32, length: usize) -> Result<Vec<u8>, Error> {
        let length = length.min(1 << 30);
        let mut buffer = Vec::new();
        loop {
            let piece = LARGE_OBJECT_PIECE_BYTES.min(length - buffer.len());
            text::reserve(&mut buffer, piece)?;
            let room = buffer.spare_capacity_mut();
            // SAFETY: the room behind the bytes has at least the length that is passed.
            let got = unsafe {
                pq_sys::lo_read(self.as_raw(), fd, room.as_mut_ptr().cast::<c_char>(), piece)
            };
            let got: usize = self.lo_checked(got.into())?;
            let got = got.min(piece);
            // SAFETY: libpq has written so many bytes into that room.
            unsafe { buffer.set_len(buffer.len() + got) };
            if got < piece || buffer.len() == length {
                return Ok(buffer);
            }
        }
    }

    /// Writes bytes (at most 1 GiB) and returns how many were written.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`].
    pub fn lo_write(&self, fd: i32, bytes: &[u8]) -> Result<usize, Error> {
        let length = bytes.len().min(1 << 30);
        // SAFETY: `length` is at most the slice's.
        let written =
            unsafe { pq_sys::lo_write(self.as_raw(), fd, bytes.as_ptr().cast::<c_char>(), length) };
        self.lo_checked(written.into())
    }

    /// Moves the position and returns it, in bytes from the start.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`].
    pub fn lo_lseek(&self, fd: i32, offset: i64, whence: Whence) -> Result<i64, Error> {
        // SEEK_SET, SEEK_CUR, SEEK_END are 0, 1, 2 in libpq-fs.h as everywhere.
        let whence = match whence {
            Whence::Set => 0,
            Whence::Current => 1,
            Whence::End => 2,
        };
        // SAFETY: the connection is live.
        self.lo_checked(unsafe { pq_sys::lo_lseek64(self.as_raw(), fd, offset, whence) })
    }

    /// The position, in bytes from the start.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`].
    pub fn lo_tell(&self, fd: i32) -> Result<i64, Error> {
        // SAFETY: the connection is live.
        self.lo_checked(unsafe { pq_sys::lo_tell64(self.as_raw(), fd) })
    }

    /// Cuts or extends to `length` bytes.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`].
    pub fn lo_truncate(&self, fd: i32, length: i64) -> Result<i32, Error> {
        // SAFETY: the connection is live.
        self.lo_checked(unsafe { pq_sys::lo_truncate64(self.as_raw(), fd, length) }.into())
    }

    /// Removes a large object.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`].
    pub fn lo_unlink(&self, oid: Oid) -> Result<i32, Error> {
        // SAFETY: the connection is live.
        self.lo_checked(unsafe { pq_sys::lo_unlink(self.as_raw(), oid) }.into())
    }

    /// Makes a large object of a file of this host.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`].
    pub fn lo_import(&self, path: &str) -> Result<Oid, Error> {
        let path = text::c_string(path, "file name")?;
        // SAFETY: the connection is live, the name NUL-terminated.
        self.lo_oid(unsafe { pq_sys::lo_import(self.as_raw(), path.as_ptr()) })
    }

    /// Writes a large object into a file of this host.
    ///
    /// # Errors
    /// See [`Conn::lo_creat`].
    pub fn lo_export(&self, oid: Oid, path: &str) -> Result<i32, Error> {
        let path = text::c_string(path, "file name")?;
        // SAFETY: the connection is live, the name NUL-terminated.
        self.lo_checked(unsafe { pq_sys::lo_export(self.as_raw(), oid, path.as_ptr()) }.into())
    }
}
