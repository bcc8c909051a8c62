//! `pg_sqlite HANDLE SUBCOMMAND ...`, also `pg::sqlite`: bulk copy on a handle of Tcl's own
//! `sqlite3` command.
//!
//! ```text
//! pg_sqlite HANDLE info ?-busy? ?-filename? ?-db NAME?
//! ```
//! A list of key and value: `filename F`, the file of the database NAME (default `main`; empty for
//! one in memory), and
//! `busy {SQL ...}`, the statements that are running now, when there are any. The flags choose;
//! without them both.
//!
//! Errors: `PGSQLITE HANDLE NOTFOUND|FOREIGN|CLOSED|OTHERINTERP|SECONDSQLITE|NOEXTENSION name
//! HANDLE`.
#![forbid(unsafe_code)]

use crate::sqlite::Db;
use crate::tcl::error::choice_list;
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, command, sqlite_host};

type Sub = fn(Interp, &Obj, &[Obj]) -> Result<Flow, Exception>;

const SUBS: [(&str, Sub); 1] = [("info", info)];

/// Registers `pg_sqlite` and `pg::sqlite`.
///
/// # Errors
/// None in practice: the names are constants.
pub fn register(interp: Interp) -> CmdResult<()> {
    for name in ["::pg_sqlite", "::pg::sqlite"] {
        command::register(interp, name, pg_sqlite)?;
    }
    Ok(())
}

fn pg_sqlite(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, handle, sub, rest @ ..] = words else {
        return Err(Failure::wrong_args("pg_sqlite handle subcommand ?arg ...?").into());
    };
    let word = sub.text_lossy();
    let Some((_, run)) = SUBS.iter().find(|(name, _)| *name == word) else {
        let names: Vec<&str> = SUBS.iter().map(|(name, _)| *name).collect();
        let message = format!("unknown subcommand \"{word}\": must be {}", choice_list(&names));
        return Err(Failure::new(message, &["TCL", "LOOKUP", "SUBCOMMAND", &word]).into());
    };
    run(interp, handle, rest)
}

fn info(interp: Interp, handle: &Obj, words: &[Obj]) -> Result<Flow, Exception> {
    let db = sqlite_host::recover(interp, handle)?;
    let (mut busy, mut filename, mut schema) = (false, false, "main".to_owned());
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match (&*word.text_lossy(), rest.as_slice()) {
            ("-busy", _) => busy = true,
            ("-filename", _) => filename = true,
            ("-db", [name, ..]) => {
                schema = name.as_text()?.into_owned();
                rest.next();
            }
            ("-db", []) => {
                return Err(Failure::wrong_args(
                    "pg_sqlite handle info ?-busy? ?-filename? ?-db name?",
                )
                .into());
            }
            (other, _) => {
                return Err(
                    Failure::bad_word("option", other, &["-busy", "-filename", "-db"]).into()
                );
            }
        }
    }
    let both = !busy && !filename;
    let mut result = Vec::new();
    if filename || both {
        result.push(Obj::text("filename"));
        let path = db.file_of(&schema).unwrap_or_default();
        result.push(Obj::text(&path.to_string_lossy()));
    }
    if busy || both {
        result.extend(running(&db));
    }
    Ok(Obj::list(&result).into())
}

fn running(db: &Db) -> Vec<Obj> {
    let running = db.running();
    if running.is_empty() {
        return Vec::new();
    }
    vec![Obj::text("busy"), Obj::text_list(running)]
}
