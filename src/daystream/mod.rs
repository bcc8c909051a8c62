//! The log: an append-only, replayable, readable record of committed changes.
//!
//! A stream is a folder with one folder per UTC day and segment files in it, `DAY/CLOCK.SEQ.tsv`.
//! Each line is a change line (`deltaflood`) that begins with its [`Position`], `_c CLOCK _s SEQ`,
//! strictly rising through the stream. A transaction is contiguous and ends with its commit line,
//! which counts and sums its lines. Segments are cut between transactions, at a size and at
//! midnight UTC.
//!
//! - [`Writer`] appends transactions, makes them durable, and cuts off what a crash left.
//! - [`Reader`] gives out whole transactions from any place, and on as the stream grows; [`Feed`]
//!   does so for a stream on another host as well ([`remote`]).
//! - [`Identity`] says whose changes the stream holds; [`Intake`] takes in lines from elsewhere.
//! - [`info`] and [`verify`] read a whole stream; [`retain`] removes what is old.
//!
//! Limits: [`crate::limits`]; clocks to the year 9999. One writer at a time, by a lock that network
//! file systems may not have. What is not guaranteed: that a reader sees only what is durable.
//! Source of the format: `doc/daystream.md`.
#![forbid(unsafe_code)]

mod ahead;
mod begin;
mod clock;
pub mod command;
mod compress;
mod content;
mod error;
mod feed;
mod filter;
mod follow;
pub mod heartbeat;
mod identity;
mod intake;
mod last;
mod layout;
mod link;
mod locate;
mod lock;
mod long;
mod mark;
mod origin;
mod packed;
mod position;
mod reader;
mod recover;
mod registered;
pub mod remote;
mod resume;
mod retain;
mod retained;
mod scan;
mod seek;
mod segment;
mod source;
mod stamp;
mod storage;
mod survey;
mod tail;
mod text;
mod wait;
mod window;
mod work;
mod writer;

pub use clock::{Clock, HeldClock, SystemClock};
pub use compress::{Compressed, Which, compress};
pub use error::{Damage, Error};
pub use feed::Feed;
pub use filter::TableFilter;
pub use follow::Woken;
pub use identity::Identity;
pub(crate) use identity::replace_private;
pub use intake::{Intake, Taken, take_in};
pub use last::LastCommit;
pub use layout::Segment;
pub use long::Cut;
pub use mark::{Mark, behind, chain_after, chain_text, parse_chain};
pub use position::{Position, PositionError};
pub use reader::{Entry, Reader, ReaderOptions, Start, Transaction};
pub use registered::{Registered, Registration, bytes_behind, forget, registered, registered_seen};
pub use resume::Bookmark;
pub use retain::{Keep, Removed, retain, retain_regardless};
pub use source::Source;
pub use storage::{Done, Fault, Operation, Storage, Trace};
pub use survey::{Info, info, info_from, segments, verify, verify_from};
pub use text::Text;
pub use work::{Doing, Notes, Work};
pub use writer::{Begun, Commit, Writer, WriterOptions};
