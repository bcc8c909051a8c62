//! What the server's catalogs say of the tables of a capture, beside what its plugin says.
//!
//! [`describe`] reads definitions with all their details: for the `schema` lines of pgoutput's
//! tables.

mod describe;
mod reader;

pub use describe::{Column, Described};
pub(crate) use describe::{answer, question};
pub(super) use reader::Reader;
