//! Streams on other hosts: what server, client and package say to each other, and reading them.
//!
//! The package has neither TLS nor HTTP: it starts the client `daystream-fetch`, which hands on
//! whole transactions through a pipe, with [`Frame`]s between them.
#![forbid(unsafe_code)]

mod ask;
mod client;
mod fault;
mod frame;
mod reader;

pub use ask::ask;
pub use fault::{Fault, Reason, check_same};
pub use frame::{Frame, Hello, PREFIX};
pub(super) use reader::bad_line;
pub use reader::{Link, RemoteReader};
