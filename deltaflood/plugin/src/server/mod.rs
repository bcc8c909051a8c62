//! The boundary to the server: callbacks, catalogs, values. All `unsafe` of the plugin is here.
//!
//! The rules it relies on: a backend is one thread; a callback runs within the server's error
//! handling, and `#[pg_guard]` turns a panic into an ERROR of that backend, and an ERROR of the
//! server within Rust code into a panic up to there, so that destructors run; pointers that the
//! server passes to a callback are good until it returns.

mod callbacks;
mod catalog;
mod details;
mod encoding;
mod error;
mod failpoint;
mod message;
mod output;
mod settings;
mod stale;
mod state;
mod tuple;
mod value;

pgrx::pg_module_magic!();
