//! COPY: rows out, rows in.

use super::{Conn, Error, PgResult, Status, text};
use std::ffi::{c_char, c_int};
use std::ops::Deref;
use std::ptr::NonNull;

/// One message of a COPY: a whole row in text and csv format (with its line end), in libpq's own
/// memory.
#[derive(Debug)]
pub struct CopyData {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to this value alone.
unsafe impl Send for CopyData {}

impl Deref for CopyData {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: libpq allocated `length` bytes at `start`, freed only in drop.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for CopyData {
    fn drop(&mut self) {
        // SAFETY: allocated by PQgetCopyData for us, freed once.
        unsafe { pq_sys::PQfreemem(self.start.as_ptr().cast()) }
    }
}

/// What a read of copy data gives.
#[derive(Debug)]
pub enum CopyRead {
    /// A message.
    Data(CopyData),
    /// Nothing has arrived (only when not waiting).
    Empty,
    /// The COPY is over; its result is to be fetched by [`Conn::get_result`].
    End,
}

impl Conn {
    /// The next message of a COPY OUT or a replication stream. With `wait` false it does not wait;
    /// call [`Conn::consume_input`] in between.
    ///
    /// # Errors
    /// `POSTGRES LOST`, `POSTGRES LIBRARY` when no COPY is going on.
    pub fn get_copy_data(&self, wait: bool) -> Result<CopyRead, Error> {
        let mut buffer: *mut c_char = std::ptr::null_mut();
        // SAFETY: the connection is live; libpq stores a buffer of its own or NULL.
        let length =
            unsafe { pq_sys::PQgetCopyData(self.as_raw(), &mut buffer, c_int::from(!wait)) };
        match (usize::try_from(length), NonNull::new(buffer.cast::<u8>())) {
            (Ok(length), Some(start)) => Ok(CopyRead::Data(CopyData { start, length })),
            (Ok(_), None) => Ok(CopyRead::Empty),
            (Err(_), _) if length == -1 => Ok(CopyRead::End),
            (Err(_), _) => Err(self.last_error()),
        }
    }

    /// Sends bytes of a COPY IN or a replication stream. True when taken, false when the buffers
    /// are full (non-blocking mode only): wait for the socket and try again.
    ///
    /// # Errors
    /// `POSTGRES LOST`, `POSTGRES LIBRARY` when no COPY is going on.
    pub fn put_copy_data(&self, data: &[u8]) -> Result<bool, Error> {
        // libpq counts in int: hand it over in pieces.
        for piece in data.chunks(1 << 30) {
            // SAFETY: the connection is live; the piece is at most 1 GiB, which fits an int.
            let taken = unsafe {
                pq_sys::PQputCopyData(
                    self.as_raw(),
                    piece.as_ptr().cast::<c_char>(),
                    piece.len() as c_int,
                )
            };
            match taken {
                1 => {}
                0 => return Ok(false),
                _ => return Err(self.last_error()),
            }
        }
        Ok(true)
    }

    /// Ends a COPY IN; with a `failure` the server drops what it got and reports that text as the
    /// error. The outcome is in the next [`Conn::get_result`].
    ///
    /// # Errors
    /// `POSTGRES LOST`, `POSTGRES LIBRARY` when no COPY is going on, `POSTGRES NUL`.
    pub fn put_copy_end(&self, failure: Option<&str>) -> Result<bool, Error> {
        let failure = failure.map(|text| text::c_string(text, "copy failure")).transpose()?;
        let message = failure.as_ref().map_or(std::ptr::null(), |m| m.as_ptr());
        // SAFETY: the connection is live; the message is NULL or NUL-terminated.
        match unsafe { pq_sys::PQputCopyEnd(self.as_raw(), message) } {
            1 => Ok(true),
            0 => Ok(false),
            _ => Err(self.last_error()),
        }
    }

    /// Runs `COPY ... TO STDOUT` and gives its rows one by one.
    ///
    /// # Errors
    /// `POSTGRES SERVER`, `POSTGRES UNEXPECTED` when the statement is no COPY OUT.
    pub fn copy_out(&self, sql: &str) -> Result<CopyOut<'_>, Error> {
        let result = self.query(sql)?;
        match result.status() {
            Status::CopyOut => Ok(CopyOut { conn: self, ended: false }),
            other => Err(Error::Unexpected { wanted: "COPY OUT", got: other.name().to_owned() }),
        }
    }

    /// Begins `COPY ... FROM STDIN`; go on with [`Conn::put_copy_data`] and
    /// [`Conn::finish_copy_in`].
    ///
    /// # Errors
    /// `POSTGRES SERVER`, `POSTGRES UNEXPECTED` when the statement is no COPY IN.
    pub fn copy_in(&self, sql: &str) -> Result<(), Error> {
        let result = self.query(sql)?;
        match result.status() {
            Status::CopyIn => Ok(()),
            other => Err(Error::Unexpected { wanted: "COPY IN", got: other.name().to_owned() }),
        }
    }

    /// Ends a COPY IN in blocking mode and returns its result (the row count is in `cmd_tuples`).
    ///
    /// # Errors
    /// `POSTGRES SERVER` when a row was refused, `POSTGRES LOST`.
    pub fn finish_copy_in(&self) -> Result<PgResult, Error> {
        self.put_copy_end(None)?;
        let result = self.get_result().ok_or_else(|| self.last_error())?;
        self.drain();
        result.into_ok()
    }
}

/// Rows of a COPY OUT. Dropped before its end, it cancels the rest.
#[derive(Debug)]
pub struct CopyOut<'a> {
    conn: &'a Conn,
    ended: bool,
}

impl CopyOut<'_> {
    /// The next row, `None` at the end.
    ///
    /// # Errors
    /// `POSTGRES SERVER` when the server failed midway, `POSTGRES LOST`.
    pub fn next_row(&mut self) -> Result<Option<CopyData>, Error> {
        if self.ended {
            return Ok(None);
        }
        match self.conn.get_copy_data(true) {
            Ok(CopyRead::Data(data)) => Ok(Some(data)),
            Ok(CopyRead::Empty | CopyRead::End) => {
                self.ended = true;
                let result = self.conn.get_result().ok_or_else(|| self.conn.last_error())?;
                self.conn.drain();
                result.into_ok().map(|_| None)
            }
            Err(e) => {
                self.ended = true;
                Err(e)
            }
        }
    }
}

impl Drop for CopyOut<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Ok(cancel) = self.conn.cancel_handle() {
            let _ = cancel.cancel();
        }
        while let Ok(CopyRead::Data(_)) = self.conn.get_copy_data(true) {}
        self.conn.drain();
    }
}
