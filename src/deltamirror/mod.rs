//! A daystream applied to SQLite, exactly once.
//!
//! - [`init`] makes the tables and fills them from a snapshot, while the stream runs on;
//! - [`apply()`] applies what the stream has, transaction by transaction;
//! - [`Follower`] goes on applying on a thread of its own, with a connection of its own;
//! - [`status()`] tells how far a mirror is;
//! - [`compare()`] compares the tables of both sides at one position;
//! - [`StreamSource`] is the stream;
//! - [`verbs`] are what any process may tell a mirror to do, while it is followed.
//!
//! Readers of the SQLite file see whole transactions of the source, in commit order. Rows and
//! position are in one SQLite transaction, so that any crash resumes without a gap and without
//! applying anything twice. What the file holds besides the rows is told in [`state`].
//!
//! Limits: one stream per SQLite file; memory does not depend on the size of a transaction, but on
//! the longest line (twice), besides the page cache of [`limits::MIRROR_CACHE_BYTES`] on
//! connections of its own. Not guaranteed: that two processes that apply to one file make progress
//! at the speed of one; they stay correct.
//!
//! [`limits::MIRROR_CACHE_BYTES`]: crate::limits::MIRROR_CACHE_BYTES
#![forbid(unsafe_code)]

mod alone;
mod alter;
mod apply;
mod busy;
mod check;
pub mod command;
mod compare;
pub mod connection;
mod copied;
mod counts;
mod definition;
mod error;
mod fill;
mod filling;
mod first_fill;
mod follow;
pub mod format;
mod gone;
mod heart;
mod held;
mod indexes;
mod init;
mod kept;
mod latency;
mod once;
mod own;
mod place;
mod policy;
mod reload;
mod request;
mod row;
mod snapshot;
mod source;
mod spread;
mod sql;
pub mod state;
mod statement;
mod status;
mod suspended;
mod swap;
mod tables;
mod tally;
mod target;
mod trouble;
pub mod verbs;
mod wanted;
mod work;

pub use apply::{Ended, Options};
pub use busy::Patience;
pub use compare::{
    Absent, CompareOptions, Comparison, Difference, Kind as DifferenceKind, TableComparison,
    compare,
};
pub use counts::Counts;
pub use definition::{Definition, Reason as ReloadReason, SchemaDiff, Step};
pub use error::{BadRow, Error, Place, Reason};
pub use filling::{Filled, InitOptions, Progress};
pub use follow::{Event, FollowState, FollowStatus, Follower, OnEvent};
pub use gone::Gone;
pub use heart::Passed;
pub use init::init;
pub use once::{Applied, apply};
pub use policy::Policy;
pub use reload::{Due, Reloading, request as request_reload};
pub use snapshot::Snapshot;
pub use source::StreamSource;
pub use state::TableStatus;
pub use status::{Flow, MirrorStatus, status};
pub use suspended::Suspended;
pub use swap::{Mode, Refused};
pub use tables::OnError;
pub use tally::{Tally, Touched};
