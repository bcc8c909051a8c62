//! The server: streams under a folder, by HTTP/1.1.
//!
//! ```text
//! GET /NAME?from=CLOCK.SEQ&follow=1      lines behind a position, and on as the stream grows
//! GET /NAME/                             the list of segments
//! GET /NAME/DAY/CLOCK.SEQ.tsv[.zst]      a closed segment, which never changes
//! GET /NAME/status, /status, /metrics    pages
//! ```
//! Two threads serve all connections, a few read files, and one for each stream that is followed
//! watches its end for all. Nothing is written to a stream's folder, no lock is taken there.
//!
//! - `request` says what is asked for, `tokens` who may, `service` brings both together.
//! - `feeder` gives the lines of one answer (`wanted`), from `ring` (shared) or from the files, by
//!   `slice`.
//! - `listener` and `socket` have the sockets; `timed` and [`crate::limits`] say what a client may
//!   cost.

mod block;
mod body;
mod feeder;
mod guests;
mod host;
mod listener;
mod metrics;
mod pages;
mod parked;
mod reply;
mod request;
mod ring;
mod segments;
mod service;
mod slice;
mod socket;
mod stop;
mod streams;
mod timed;
mod tls;
pub mod tokens;
mod wanted;

pub use listener::{Config, run};
pub use socket::Listen;
