//! Safe libpq: connection, result, COPY, replication stream.
//!
//! The one place of the crate that calls the PostgreSQL client library. Owners release what they
//! own when dropped; everything else borrows. Nothing here knows of Tcl, of change lines or of
//! SQLite.
//!
//! - [`Conninfo`]: connection parameters, parsed by libpq itself, so that options are added or
//!   replaced instead of pasted into a string.
//! - [`Conn`]: a connection. Blocking calls (`exec`, `exec_params`, ...), asynchronous calls
//!   (`send_query`, `consume_input`, `get_result`, ...), COPY in both directions, large objects,
//!   notifications.
//! - [`Guarded`], [`guarded`]: a connection on which statements of ours run, whatever the settings
//!   and the objects of others are.
//! - [`PgResult`]: a result; values borrow from it.
//! - [`Replication`]: a logical replication stream.
//!
//! Limits: a text parameter or statement must not contain a NUL byte (coded error `POSTGRES NUL`);
//! one value is at most 1 GiB (PostgreSQL's own limit). A connection may move to another thread and
//! is used by one at a time. Client encoding is UTF-8, whatever the environment says. Messages of
//! the server are silent unless a hook is set ([`Conn::set_notice_hook`]).
//!
//! Format source: PostgreSQL manual, "libpq - C Library" and "Streaming Replication Protocol".

mod conn;
mod connect;
mod conninfo;
mod copy;
mod error;
mod escape;
mod guarded;
mod large_object;
mod message;
mod notice;
mod query;
mod replication;
mod result;
mod settings;
mod text;
mod wait;

pub use conn::{Cancel, Conn, Notification, TransactionStatus};
pub use connect::{Connecting, Progress};
pub use conninfo::{ConnDefault, Conninfo, conndefaults};
pub use copy::{CopyData, CopyOut, CopyRead};
pub use error::{Error, ServerError};
pub use escape::{escape_bytea, escape_string, unescape_bytea};
pub use guarded::{Guarded, guarded};
pub use large_object::{LargeObjectMode, Whence};
pub use message::names;
pub use notice::{CodedHook as CodedNoticeHook, Hook as NoticeHook};
pub use query::{Call, Param, ParamList, Target};
pub use replication::{Message, NewSlot, Replication, SystemIdentity, WalData, system_id};
pub use result::{ErrorField, PgResult, Status};
pub use wait::{Readiness, Wake, wait};

/// A PostgreSQL object id.
pub type Oid = u32;

/// The version number of the libpq in use, as in 150020 for 15.20.
#[must_use]
pub fn library_version() -> i32 {
    // SAFETY: PQlibVersion has no preconditions.
    unsafe { pq_sys::PQlibVersion() }
}

/// Where the libpq in use is: two copies in one process have different ones.
#[must_use]
pub fn library_address() -> *mut std::ffi::c_void {
    pq_sys::PQstatus as *mut std::ffi::c_void
}

#[cfg(test)]
mod tests;
