//! PostgreSQL logical replication slot to daystream.
#![forbid(unsafe_code)]

pub mod batch;
pub mod pgoutput;
