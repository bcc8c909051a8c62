//! PostgreSQL catalog, saved schema, SQLite DDL and value mapping.
#![forbid(unsafe_code)]

pub mod value;
