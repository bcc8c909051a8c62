//! Bulk copy between PostgreSQL and SQLite.

pub mod command;
