//! A daystream served to other hosts, and read from there: `daystream-serve` and
//! `daystream-fetch`.
//!
//! They are programs of their own, so that what every script loads has neither TLS nor HTTP in it.
//! The log itself is read through [`pgsqlite::daystream`] only.
//!
//! - [`serve`]: streams under a folder, by HTTP/1.1, with TLS and tokens.
//! - [`fetch`]: a stream by its URL, transaction by transaction, through lost connections.
//! - [`tables`]: how a request names tables.
//! - [`wire`]: names and forms that both sides share.
//!
//! Limits: [`limits`].
#![forbid(unsafe_code)]

pub mod fetch;
pub mod limits;
pub mod log;
pub mod options;
pub mod serve;
pub mod tables;
pub mod wire;
