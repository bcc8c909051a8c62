//! PostgreSQL catalog, saved schema, SQLite DDL and value mapping.
