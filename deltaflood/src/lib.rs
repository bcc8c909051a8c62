//! The change line: one row change of PostgreSQL as tab-separated key-value text.
//!
//! ```text
//! _table  ZZZ  _xid  88628916  _action  update   a  fox61  b  hen62
//! ```
//!
//! A line is an even number of fields separated by TAB and ended by LF: key, value, key, value.
//! Pseudo-columns (`_table`, `_xid`, ...) form the head, which ends with `_action VERB`; everything
//! after the verb is a column of the table, whatever its name. NULL is absence. Backslash, TAB, LF
//! and CR are escaped as `\\`, `\t`, `\n`, `\r`, and nothing else is.
//!
//! - [`Change::parse`] reads a line without allocating or copying.
//! - [`write::Line`] writes one.
//! - [`Details`] are what a `schema` line tells beyond names.
//! - [`list`] is the form of `_unchanged` and `_key`; [`Lsn`] that of `_lsn`.
//!
//! Limits: a line is one slice in memory; the crate sets no cap of its own on its length or on the
//! number of columns. It works on bytes: that a value is valid UTF-8, or fits its column's type, is
//! for the reader of the value to check. The full contract is `doc/deltaflood.md`.
//!
//! ```
//! use deltaflood::{Change, Verb, write::Line};
//!
//! let mut line = Vec::new();
//! Line::begin(&mut line).table(b"ZZZ").xid(7).verb(Verb::Insert).column(b"a", b"two\nlines");
//! assert_eq!(line, b"_table\tZZZ\t_xid\t7\t_action\tinsert\ta\ttwo\\nlines");
//!
//! let change = Change::parse(&line)?;
//! assert_eq!(change.verb, Verb::Insert);
//! for column in change.columns() {
//!     let (name, value) = column?;
//!     assert_eq!(name.decode().as_ref(), b"a");
//!     assert_eq!(value.decode().as_ref(), b"two\nlines");
//! }
//! # Ok::<(), deltaflood::ParseError>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod details;
mod error;
pub mod list;
mod lsn;
mod model;
mod number;
mod parse;
mod text;
mod validate;
pub mod write;

pub use details::{Details, Gone, TypeId, storage_of_leaves};
pub use error::{Kind, ParseError};
pub use lsn::{Lsn, LsnError};
pub use model::{Change, Verb};
pub use parse::{Columns, PSEUDO_COLUMNS, pairs};
pub use text::Text;
