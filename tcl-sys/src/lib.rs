//! Raw Tcl C functions through the stub table: one binary for Tcl 8.6 and 9.0, no link to libtcl.
//!
//! An interpreter begins with `{char *result; void (*freeProc)(); int errorLine; TclStubs
//! *stubTable}` in both major versions (tcl.h, `Tcl_Interp`). The table's slots never change their
//! number; where Tcl 9 gave a function another type (`int` became `Tcl_Size`), the functions here
//! take and return `isize` and call the form of the running Tcl. Sources: tcl.h, tcl.decls and
//! tclDecls.h of Tcl 8.6 and 9.0.
//!
//! Limits: Unix; lengths above `i32::MAX` reach Tcl 8.6 as `i32::MAX` (its own limit of a value).
//! Not guaranteed: nothing is checked here; `pgsqlite::tcl` is the safe side.
//!
//! # Safety
//! Every function needs [`init`] to have succeeded in this process, pointers that are live objects
//! of the calling thread's interpreter, and the thread that owns them, as the Tcl manual pages
//! (section 3) say.
#![deny(unsafe_op_in_unsafe_fn)]
#![allow(clippy::missing_safety_doc)] // one section for all, above
#![allow(non_snake_case)] // the names are those of the C functions

mod channel;
mod command;
mod event;
mod interp;
mod object;
mod table;
mod types;
mod variable;

pub use channel::*;
pub use command::*;
pub use event::*;
pub use interp::*;
pub use object::*;
pub use table::{init, is_tcl9};
pub use types::*;
pub use variable::*;
