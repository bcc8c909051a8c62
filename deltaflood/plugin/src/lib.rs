//! deltaflood, an output plugin of PostgreSQL: row changes as lines of tab-separated keys and
//! values.
//!
//! ```text
//! pg_recvlogical -d db --slot s --create-slot --plugin deltaflood
//! pg_recvlogical -d db --slot s --start -f -
//! ```
//!
//! The lines' form is `doc/deltaflood.md`, and the crate `deltaflood` is what writes fields and
//! lists here as elsewhere. What is said of the server's values, catalogs and callbacks, and all
//! `unsafe`, is in `server`; the rest knows nothing of PostgreSQL.
//!
//! There are no callbacks for streaming or for prepared transactions, on purpose. A line of the
//! form cannot be taken back, so nothing may be printed of a transaction that may still abort. The
//! server then does what it does for any such plugin: what exceeds `logical_decoding_work_mem` is
//! kept in files until the commit, and a prepared transaction comes at COMMIT PREPARED.
#![deny(unsafe_op_in_unsafe_fn)]
// Without a server most of it is for tests only.
#![cfg_attr(
    not(any(
        feature = "pg13",
        feature = "pg14",
        feature = "pg15",
        feature = "pg16",
        feature = "pg17",
        feature = "pg18"
    )),
    allow(dead_code)
)]

mod line;
mod names;
mod options;
mod style;
mod table;

#[cfg(any(
    feature = "pg13",
    feature = "pg14",
    feature = "pg15",
    feature = "pg16",
    feature = "pg17",
    feature = "pg18"
))]
mod server;
