//! A connection: ownership, state, notifications, cancelling.

use super::message::{has_location, plain_message};
use super::{Conninfo, Error, PgResult, notice, text};
use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;

/// A connection to a PostgreSQL server. May move between threads; used by one at a time.
pub struct Conn {
    raw: NonNull<pq_sys::PGconn>,
    notice: NonNull<notice::Slot>,
    owned: bool,
}

// SAFETY: libpq allows a PGconn to be used by any thread, one at a time; `Conn` is not `Sync`, and
// the notice hook inside the slot is `Send`.
unsafe impl Send for Conn {}

/// What a connection's transaction is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No transaction.
    Idle,
    /// A command runs.
    Active,
    /// Idle inside a transaction.
    InTransaction,
    /// Idle inside a failed transaction.
    InError,
    /// The connection is bad.
    Unknown,
}

/// A message from `NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The channel.
    pub channel: String,
    /// Process id of the sending backend.
    pub pid: i32,
    /// The payload, or empty.
    pub payload: String,
}

impl Conn {
    /// Takes over a connection that libpq made.
    ///
    /// # Errors
    /// `POSTGRES LIBRARY` when `raw` is NULL (out of memory).
    pub(super) fn from_raw(raw: *mut pq_sys::PGconn) -> Result<Conn, Error> {
        let Some(raw) = NonNull::new(raw) else {
            return Err(Error::Library { message: "out of memory".to_owned() });
        };
        let slot = NonNull::from(Box::leak(Box::<notice::Slot>::default()));
        // SAFETY: the connection is live; the slot is freed in drop, after PQfinish.
        unsafe {
            let arg = slot.as_ptr().cast();
            pq_sys::PQsetNoticeReceiver(raw.as_ptr(), Some(notice::receiver), arg);
        }
        Ok(Conn { raw, notice: slot, owned: true })
    }

    /// A `Conn` over a connection that somebody else owns and finishes. Its notice processor is
    /// left alone.
    ///
    /// # Safety
    /// `raw` is a live connection, stays so as long as this value, and is used by this thread only.
    #[must_use]
    pub unsafe fn borrow_raw(raw: NonNull<pq_sys::PGconn>) -> Conn {
        let slot = NonNull::from(Box::leak(Box::<notice::Slot>::default()));
        Conn { raw, notice: slot, owned: false }
    }

    /// Connects, waiting until it is done. Client encoding is set to UTF-8. Never returns a bad
    /// connection.
    ///
    /// # Errors
    /// `POSTGRES CONNECT` with libpq's message, `POSTGRES NUL`.
    pub fn connect(conninfo: &Conninfo) -> Result<Conn, Error> {
        if let Some(outcome) = Self::connect_told(conninfo) {
            return outcome;
        }
        let conn = Self::open(conninfo, |keywords, values| {
            // SAFETY: both arrays are NULL-ended and of equal length; their strings live on.
            unsafe { pq_sys::PQconnectdbParams(keywords, values, 0) }
        })?;
        if conn.is_ok() {
            Ok(conn)
        } else {
            let message = conn.error_message().trim_end().to_owned();
            Err(Error::Connect { message, sqlstate: String::new() })
        }
    }

    /// Hands the parameters to one of libpq's connecting functions.
    pub(super) fn open(
        conninfo: &Conninfo,
        connect: impl FnOnce(*const *const c_char, *const *const c_char) -> *mut pq_sys::PGconn,
    ) -> Result<Conn, Error> {
        let mut conninfo = conninfo.clone();
        conninfo.set("client_encoding", "UTF8");
        // Empty password, host, ... given explicitly mean the default, as in a conninfo string.
        let mut strings = Vec::new();
        for (keyword, value) in conninfo.iter() {
            strings.push((
                text::c_string(keyword, "connection keyword")?,
                text::c_string(value, "connection value")?,
            ));
        }
        let end = std::iter::once(std::ptr::null());
        let keywords: Vec<_> = strings.iter().map(|(k, _)| k.as_ptr()).chain(end.clone()).collect();
        let values: Vec<_> = strings.iter().map(|(_, v)| v.as_ptr()).chain(end).collect();
        Conn::from_raw(connect(keywords.as_ptr(), values.as_ptr()))
    }

    /// The `PGconn*`, for code that must hand it to another C library. It stays owned by this
    /// value.
    #[must_use]
    pub fn as_raw(&self) -> *mut pq_sys::PGconn {
        self.raw.as_ptr()
    }

    pub(super) fn notice_slot(&self) -> *mut notice::Slot {
        self.notice.as_ptr()
    }

    /// Whether the connection is good as far as libpq knows without asking.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQstatus(self.as_raw()) == pq_sys::ConnStatusType::CONNECTION_OK }
    }

    /// Whether connecting goes on: see [`Conn::connect_start`].
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        self.status_code() > pq_sys::ConnStatusType::CONNECTION_BAD as u32
    }

    /// Whether the connection was lost, or could not be made.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.status_code() == pq_sys::ConnStatusType::CONNECTION_BAD as u32
    }

    /// libpq's number for the state of the connection: 0 good, 1 bad, others while connecting.
    #[must_use]
    pub fn status_code(&self) -> u32 {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQstatus(self.as_raw()) as u32 }
    }

    /// The message of the last call, with its line ends; empty when it succeeded.
    #[must_use]
    pub fn error_message(&self) -> String {
        // SAFETY: the connection is live and owns the string.
        unsafe { text::owned(pq_sys::PQerrorMessage(self.as_raw())) }
    }

    /// As [`Conn::error_message`], without the SQLSTATE and the place in the server's source that
    /// some calls here ask for besides.
    #[must_use]
    pub fn plain_error_message(&self) -> String {
        let message = self.error_message();
        if has_location(&message) { plain_message(&message).0 + "\n" } else { message }
    }

    /// The last call failed: what to tell the caller.
    pub(super) fn last_error(&self) -> Error {
        let message = self.error_message().trim_end().to_owned();
        if self.is_ok() { Error::Library { message } } else { Error::Lost { message } }
    }

    /// The socket's descriptor, when there is one. It may change while connecting.
    #[must_use]
    pub fn socket(&self) -> Option<RawFd> {
        // SAFETY: the connection is live.
        let fd = unsafe { pq_sys::PQsocket(self.as_raw()) };
        (fd >= 0).then_some(fd)
    }

    /// A descriptor of its own for the socket: one that an event loop can watch, for it stays valid
    /// when libpq closes the socket on its side (it is then readable, and at its end).
    #[must_use]
    pub fn socket_duplicate(&self) -> Option<OwnedFd> {
        // SAFETY: libpq keeps the socket open during this call.
        let socket = unsafe { BorrowedFd::borrow_raw(self.socket()?) };
        socket.try_clone_to_owned().ok()
    }

    /// The server's version, as in 150020; 0 when not connected.
    #[must_use]
    pub fn server_version(&self) -> i32 {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQserverVersion(self.as_raw()) }
    }

    /// The protocol's major version: 3, or 0 when not connected.
    #[must_use]
    pub fn protocol_version(&self) -> i32 {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQprotocolVersion(self.as_raw()) }
    }

    /// The backend's process id.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQbackendPID(self.as_raw()) }
    }

    /// A setting that the server reports by itself, as in `TimeZone`.
    #[must_use]
    pub fn parameter_status(&self, name: &str) -> Option<String> {
        let name = text::c_string(name, "parameter name").ok()?;
        // SAFETY: the connection is live, the name is NUL-terminated, the answer belongs to libpq.
        unsafe {
            let value = pq_sys::PQparameterStatus(self.as_raw(), name.as_ptr());
            (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
        }
    }

    /// What the transaction is doing.
    #[must_use]
    pub fn transaction_status(&self) -> TransactionStatus {
        use pq_sys::PGTransactionStatusType as S;
        // SAFETY: the connection is live.
        match unsafe { pq_sys::PQtransactionStatus(self.as_raw()) } {
            S::PQTRANS_IDLE => TransactionStatus::Idle,
            S::PQTRANS_ACTIVE => TransactionStatus::Active,
            S::PQTRANS_INTRANS => TransactionStatus::InTransaction,
            S::PQTRANS_INERROR => TransactionStatus::InError,
            S::PQTRANS_UNKNOWN => TransactionStatus::Unknown,
        }
    }

    /// Whether the server wanted a password and none was there.
    #[must_use]
    pub fn needs_password(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQconnectionNeedsPassword(self.as_raw()) != 0 }
    }

    /// Whether a password was used to connect.
    #[must_use]
    pub fn used_password(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQconnectionUsedPassword(self.as_raw()) != 0 }
    }

    /// Whether the connection is encrypted with TLS.
    #[must_use]
    pub fn used_ssl(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { pq_sys::PQsslInUse(self.as_raw()) != 0 }
    }

    /// Takes the next notification that has arrived. Call [`Conn::consume_input`] before.
    #[must_use]
    pub fn notification(&self) -> Option<Notification> {
        // SAFETY: the connection is live; the notification is ours to free, once, after copying.
        unsafe {
            let raw = pq_sys::PQnotifies(self.as_raw());
            if raw.is_null() {
                return None;
            }
            let notification = Notification {
                channel: text::owned((*raw).relname),
                pid: (*raw).be_pid,
                payload: text::owned((*raw).extra),
            };
            pq_sys::PQfreemem(raw.cast());
            Some(notification)
        }
    }

    /// A handle by which any thread can ask the server to cancel what this connection runs.
    ///
    /// # Errors
    /// `POSTGRES LIBRARY` when the connection is bad.
    pub fn cancel_handle(&self) -> Result<Cancel, Error> {
        // SAFETY: the connection is live.
        NonNull::new(unsafe { pq_sys::PQgetCancel(self.as_raw()) })
            .map(|raw| Cancel { raw })
            .ok_or_else(|| self.last_error())
    }

    pub(super) fn result(&self, raw: *mut pq_sys::PGresult) -> Result<PgResult, Error> {
        PgResult::from_raw(raw).ok_or_else(|| self.last_error())
    }
}

/// Text facts about a connection, each empty when unknown.
macro_rules! conn_text {
    ($($(#[$doc:meta])* $name:ident = $function:ident;)*) => {
        impl Conn {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> String {
                // SAFETY: the connection is live and owns the string.
                unsafe { text::owned(pq_sys::$function(self.as_raw())) }
            }
        )*}
    };
}

conn_text! {
    /// The database name.
    database = PQdb;
    /// The user name.
    user = PQuser;
    /// The password that was used. For a caller who asks for just that: never for messages.
    password = PQpass;
    /// The host name or socket folder.
    host = PQhost;
    /// The port.
    port = PQport;
    /// The command-line options passed to the server.
    options = PQoptions;
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn").field("database", &self.database()).finish_non_exhaustive()
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        // SAFETY: the connection is live when it is ours, and finished once; the slot came from a
        // Box and nothing refers to it after PQfinish (a borrowed connection was never told of it).
        unsafe {
            if self.owned {
                pq_sys::PQfinish(self.raw.as_ptr());
            }
            drop(Box::from_raw(self.notice.as_ptr()));
        }
    }
}

/// Asks the server to cancel a connection's running command; usable from any thread.
#[derive(Debug)]
pub struct Cancel {
    raw: NonNull<pq_sys::PGcancel>,
}

// SAFETY: PQcancel is documented as safe to call from any thread, and the object is read-only.
unsafe impl Send for Cancel {}
// SAFETY: nothing changes the object: PQcancel only reads it, on whatever thread.
unsafe impl Sync for Cancel {}

impl Cancel {
    /// Sends the request. Whether the command was cancelled is seen in its result. Blocks for one
    /// round trip.
    ///
    /// # Errors
    /// `POSTGRES LIBRARY` when the request could not be sent.
    pub fn cancel(&self) -> Result<(), Error> {
        let mut message = [0u8; 256];
        // SAFETY: the buffer has the length that is passed, and libpq ends its text within it.
        let sent = unsafe {
            pq_sys::PQcancel(
                self.raw.as_ptr(),
                message.as_mut_ptr().cast::<c_char>(),
                message.len() as c_int,
            )
        };
        if sent == 1 {
            return Ok(());
        }
        let text = CStr::from_bytes_until_nul(&message).unwrap_or_default();
        Err(Error::Library { message: text.to_string_lossy().trim_end().to_owned() })
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        // SAFETY: made by PQgetCancel, freed once.
        unsafe { pq_sys::PQfreeCancel(self.raw.as_ptr()) }
    }
}
