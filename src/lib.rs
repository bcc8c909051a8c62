//! Live SQLite copies of PostgreSQL tables, driven from Tcl.
//!
//! The modules in the order in which a row travels:
//!
//! ```text
//!              rows (COPY / result)
//! PostgreSQL ──────────────────────────► pg_sqlite ─────────► SQLite
//!     │ slot: pgoutput                                          ▲
//!     ▼                                                         │
//! deltastream ──► daystream (files) ──► deltamirror ────────────┘
//! ```
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

pub mod advice;
pub mod commands;
pub mod error;
pub mod failpoint;
pub mod interrupt;
pub mod limits;
pub mod shown;

pub mod libpq;
pub mod sqlite;
pub mod tcl;

pub mod daystream;
pub mod deltamirror;
pub mod deltastream;
pub mod pg_sqlite;
pub mod pgtcl;
pub mod schema;
