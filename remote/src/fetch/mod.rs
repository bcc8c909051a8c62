//! The client: a stream by its URL, whole transactions only, through lost connections.
//!
//! A transaction is held back until it is whole and its sums are right: in memory up to
//! [`SPOOL_MEMORY_BYTES`](crate::limits::SPOOL_MEMORY_BYTES), beyond that in a file without a name.
//! When the connection is lost, the next one begins behind the last transaction given out.
//!
//! - `url` says where, `connection` asks there, `transaction` puts together what comes.
//! - `output` writes lines, and for the package the frames between them.
//! - `session` brings it together and tries again.

mod connection;
mod output;
mod session;
mod transaction;
mod url;

pub use session::{Config, run};
pub use url::Url;
