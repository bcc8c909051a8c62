//! What the server's catalogs say of the tables of a capture, beside what its plugin says.
//!
//! [`Reader`] asks for the definition of one table, with all its details: for the `schema` lines of
//! pgoutput's tables. [`Watch`] looks at all tables with each heartbeat, and tells the stream what
//! was altered by statements that send nothing.

mod asked;
mod describe;
mod known;
mod message;
mod reader;
mod scope;
mod watch;

pub(super) use asked::Asked;
pub use describe::{Column, Described};
pub(crate) use describe::{answer, question};
pub(super) use known::key;
pub(super) use message::{Meaning, PREFIX, meaning};
pub(super) use reader::Reader;
pub(super) use scope::Scope;
pub(super) use watch::Watch;
