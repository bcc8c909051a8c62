//! Streams on other hosts: what server, client and package say to each other.
#![forbid(unsafe_code)]

mod fault;
mod frame;

pub use fault::{Fault, Reason};
pub use frame::{Frame, Hello, PREFIX};
