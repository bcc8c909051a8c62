//! Bulk copy between PostgreSQL and SQLite.
//!
//! Rows come from a result ([`Source::Result`]), from a query that is running ([`Source::Stream`])
//! or by `COPY ... TO STDOUT` ([`Source::Query`], [`Source::Copy`]); they are converted as
//! [`crate::schema::value`] says and go into SQLite through a virtual table, by one
//! `INSERT ... SELECT`. A running query is read and converted by a thread of its own while the
//! calling thread inserts: SQLite is called on the calling thread only. A large table can be
//! read by several connections at once ([`Source::Parallel`]). [`Export`] is the way back.
//!
//! All or nothing: an import that fails leaves no row and no table behind; it runs in a transaction
//! of its own, or in a savepoint of the caller's. With [`Import::commit_every`] the parts already
//! committed stay.
//!
//! Limits: memory of a streaming import is a few batches (`IMPORT_BATCH_BYTES` each,
//! `IMPORT_BATCHES_WAITING` of them), or a few times the longest row when that is longer. At most
//! 2000 columns (SQLite's default). Values up to the connection's length limit, 1,000,000,000 bytes
//! by default.
#![forbid(unsafe_code)]

mod batch;
mod cell_text;
mod check;
mod columns;
pub mod command;
mod convert;
mod copy_text;
mod error;
mod export;
mod feed;
mod import;
mod journal;
mod lines;
mod max;
mod parallel;
mod pg_query;
pub(crate) mod pieces;
mod pump;
mod raw_lines;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use columns::{Column, Columns, kind_of_word};
pub use error::{Error, Result};
pub use export::Export;
pub use import::{Import, Imported, Target};
pub use lines::{LineForm, Lines, NextLine};
pub use max::Max;
pub use pg_query::{PgQuery, PgTable};
pub use source::Source;
pub use table::{KeyPart, Order, TableName};
pub use write::WriteTabsep;
