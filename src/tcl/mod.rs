//! Safe Tcl: interpreters, values, commands, script bodies, events, channels.
//!
//! `unsafe` and Tcl's internal text form stay in this folder (with `tcl-sys` below it): what leaves
//! is real UTF-8, owned reference counts, and `Result`. Every entry from Tcl catches panics: a
//! panic becomes an error of the command (`PGSQLITE INTERNAL PANIC`), never an abort of the host.
//!
//! Limits: an interpreter and its values belong to one thread; none of the types here is `Send`,
//! save [`mailbox::Sender`].

pub mod body;
mod c_interface;
pub mod callback;
pub mod cells;
pub mod channel;
pub mod command;
pub mod ensemble;
mod entry;
pub mod error;
pub mod event;
pub mod exit;
pub mod guard;
mod hold;
pub mod interp;
pub mod job;
pub mod mailbox;
pub mod obj;
pub mod options;
pub mod other_pgtcl;
#[cfg(feature = "failpoints")]
pub mod rehearsal;
pub mod serve;
pub mod signal;
pub mod sqlite_host;
pub mod state;
pub mod text;
pub mod tracked;

pub use body::{Body, Iteration};
pub use cells::Cell;
pub use command::{CommandInfo, Flow};
pub use error::{CmdResult, Exception, Failure};
pub use interp::{Interp, InterpRef, Preserved};
pub use obj::Obj;
pub use options::Options;
