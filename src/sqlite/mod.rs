//! Safe SQLite, through the API table of the very library that owns the user's handle.
//!
//! A process may hold several SQLite libraries, some with hidden symbols; calling one library's
//! function on another's connection crashes. So nothing here is linked: the library hands over its
//! own table of functions when it loads [`api::pgsqlite_sqlite3_entry`] as an extension, once per
//! process. A second, different library is refused.
//!
//! - [`Db`]: a connection, owned (opened here) or borrowed (behind a Tcl `sqlite3` command, see
//!   [`handle`]).
//! - [`Stmt`]: a prepared statement that cannot outlive the borrow of its `Db`: `$db close` never
//!   finds one of ours.
//! - [`RowSource`] and [`Insert`]: rows inserted through a virtual table, the fastest way into
//!   SQLite.
//! - [`quote_identifier`]: the one place where a name becomes SQL text.
//!
//! Limits: SQLite 3.34.1 or newer. A connection is used on one thread at a time; nothing here is
//! `Send`. Not guaranteed: that a borrowed connection is still open after a script has run; look it
//! up again then.
//!
//! Sources: the C interface at <https://sqlite.org/c3ref/intro.html>, loadable extensions at
//! <https://sqlite.org/loadext.html>, virtual tables at <https://sqlite.org/vtab.html>.

pub mod api;
mod atomic;
mod cache;
mod db;
mod error;
pub mod handle;
mod insert;
mod journal;
mod quote;
mod stmt;
pub mod testing;
#[cfg(test)]
mod tests;
mod value;
mod vtab;
mod writeback;

pub use cache::Cache;
pub use db::{Access, Db};
pub use error::{Error, Reason, Result};
pub use insert::{Insert, InsertError, RowSource};
pub use journal::WithoutWal;
pub use quote::{quote_identifier, quote_text};
pub use stmt::Stmt;
pub use value::Value;
