//! Bulk copy between PostgreSQL and SQLite.
