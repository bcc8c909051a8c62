//! PostgreSQL logical replication slot to daystream.
//!
//! ```text
//!  slot ──► Session ──► Stream ──► pgoutput ──► Queue ──► Recorder ──► daystream
//!           (connect)   (receive)  (messages    (bounded  (stamp, write,
//!                       ◄─ confirm  to lines)    in bytes) fsync, say how far)
//! ```
//!
//! A [`Capture`] has a thread that owns the connection and one that owns the log; heartbeats and
//! compression have one each where they are asked for. [`setup()`],
//! [`status_of`] and [`drop_slot`] are single blocking calls. Nothing here knows of Tcl.
//!
//! What it guarantees: every transaction that touches a published table and commits after the
//! slot's consistent point is in the log once, in commit order; the server is never told to forget
//! what is not durable in the log. What it does not: sequences, DDL (only its effect on columns, in
//! `schema` lines), large objects and unlogged tables are not in a slot's output. A value in the
//! log is what the server's output function printed when the change was decoded.
//!
//! Limits are in [`crate::limits`]: bytes queued for the disk, time between fsyncs, reconnect
//! pauses. Memory is bounded by the queue's cap plus one message (a row of PostgreSQL has at most 1
//! GiB).
#![forbid(unsafe_code)]

mod announce;
pub mod batch;
mod capture;
pub(crate) mod catalog;
mod code;
pub mod command;
mod compressor;
mod decode;
mod error;
mod fitness;
pub mod heartbeat;
mod invalid_text;
mod keeper;
mod make_slot;
mod options;
mod persistence;
pub mod pgoutput;
mod plugin;
mod plugin_lines;
mod proof;
mod publish;
mod queue;
mod receiver;
mod recorder;
mod server;
mod session;
mod setup;
mod shared;
mod side;
mod slot;
mod slot_status;
mod status;
mod stream;
pub mod tables;
mod unprintable;
mod wanted;

pub use announce::{Announce, Installed};
pub use capture::{Capture, run};
pub use error::Error;
pub use heartbeat::{Pulse, Sending};
pub use keeper::Keeper;
pub use options::{InvalidText, Options, Plugin};
pub(crate) use session::VERSION_MESSAGES;
pub use setup::{drop_slot, setup, setup_with};
pub use slot::Slot;
pub use slot_status::{SlotStatus, status_of};
pub use status::{Event, Listener, State, Status};
pub use wanted::{Dropped, Setup, SetupOptions, Waiting};
