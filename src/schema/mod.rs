//! The PostgreSQL schema: read from the catalog, saved with versions, turned into SQLite tables.
//!
//! - [`model`]: a table as both sides see it; [`name`]: how tables are called;
//! - [`catalog`]: reads the model from PostgreSQL 14 to 18 (`pg_class`, `pg_attribute`, `pg_index`,
//!   `pg_publication_tables`: PostgreSQL manual, "System Catalogs" and "System Views");
//! - [`ddl`]: the SQLite tables of a model, and the names they get there;
//! - [`publication`]: which tables, columns and rows a publication sends;
//! - [`saved`]: versions of the schema kept in PostgreSQL tables; [`diff`]: what changed.
//!
//! Limits: tables and partitioned tables only (no views, foreign tables or sequences); PostgreSQL
//! allows 1,600 columns in a table, which is below SQLite's 2,000. Foreign keys, triggers, checks,
//! collations and privileges are not read: a mirror repeats rows that PostgreSQL has already
//! checked.
#![forbid(unsafe_code)]

pub mod catalog;
pub mod command;
pub mod ddl;
pub mod diff;
pub mod error;
pub mod model;
pub mod name;
pub mod publication;
pub mod saved;
pub mod secondary;
pub(crate) mod trusted;
pub mod value;

pub use error::Error;
pub use model::{Column, Generated, Identity, Index, Partition, Table};
pub use name::TableName;
