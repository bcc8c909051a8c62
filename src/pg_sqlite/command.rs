//! `pg_sqlite HANDLE SUBCOMMAND ...`, also `pg::sqlite`: bulk copy on a handle of Tcl's own
//! `sqlite3` command.
//!
//! ```text
//! pg_sqlite HANDLE import_postgres_result RESULT ?option ...?
//! pg_sqlite HANDLE import_postgres_result CONN -rowbyrow ?option ...?
//! pg_sqlite HANDLE copy CONN QUERY|TABLE ?option ...?
//! pg_sqlite HANDLE read_tabsep ?-row S? ?-file CHANNEL? ?-sep S? ?option ...?
//! pg_sqlite HANDLE read_tabsep_keylist ?-row S? ?-file CHANNEL? ?-sep S? ?-unknown COL? ?option
//! ...? pg_sqlite HANDLE write_tabsep CHANNEL SQL ?-null S? ?-sep S? ?-poll_interval N?
//! pg_sqlite HANDLE export QUERY CONN TABLE ?-columns LIST? ?-progress {n cb}?
//! pg_sqlite HANDLE info ?-busy? ?-filename? ?-db NAME?
//! ```
//! `import_postgres_result` writes the rows of a result handle, or with `-rowbyrow` those of the
//! command that `pg_sendquery` has just sent on a connection, and returns their number. It blocks
//! until all are in. All or nothing: when it fails no row and no table of it is left; in an open
//! transaction of the handle it is a part of that. With `-rowbyrow` memory stays small whatever the
//! number of rows, and the connection is ready for the next command afterwards.
//!
//! | option | meaning |
//! |---|---|
//! | `-create T` | makes the table T, in `main` or, as `db.T`, in an attached database |
//! | `-into T` | writes into the table T |
//! | `-sql S` | runs the statement S for each row, with a `?` for each column |
//! | `-as {n t ...}` | names and types: integer int real double boolean bool text |
//! | `-names {n ...}` | names; `-types {t ...}` their types, all text without |
//! | `-columns auto` | names and types from the result's own description |
//! | `-pkey {a {b DESC}}` | primary key of the table that `-create` makes |
//! | `-replace` | replaces rows of the same key |
//! | `-check` | leaves rows alone that are there with the same values, replaces changed ones |
//! | `-max C VAR` | sets VAR to the greatest value of column C, when there is one |
//! | `-null S` | S means NULL, beside NULL itself |
//! | `-strict 0\|1` | 1 (default): a value that does not fit is an error; 0: Pgtcl's conversion |
//! | `-progress {n cb}` | calls `cb ROWS` every n rows; its error (or `break`) ends the import |
//! | `-poll_interval n` | serves one event, if there is one, every n rows |
//! | `-recommit n` | commits every n rows, what is in stays; refused in an open transaction |
//! | `-index {{a} {b {c DESC}}}` | makes indexes once the rows are in |
//! | `-analyze 0\|1` | gathers statistics of the table at the end |
//! | `-exclusive 0\|1` | locks a database with a WAL and loads it without: see [`super::Import`] |
//!
//! `copy` does the same with the rows of a query or a table (named as in SQL), read by `COPY` on a
//! thread of its own: the fastest way. It is described first, so `-columns auto` costs nothing.
//! `-parallel n` has n more connections read a table under one snapshot, in no order.
//!
//! A callback may use the handle, but not end the transaction; closing the handle ends the import.
//! Errors: `PGSQLITE IMPORT VALUE column C row N type T`, `PGSQLITE IMPORT COLUMNS|TYPE|KEY|...`,
//! `PGSQLITE SQLITE ...`, `PGSQLITE POSTGRES ...`, `PGSQLITE USAGE ...`.
//!
//! `read_tabsep` and `read_tabsep_keylist` take the same options and read one row (`-row`) or the
//! lines of a channel (`-file`): cells in the order of the columns, or keys and values by turns.
//! See [`super::Lines`]. `write_tabsep` writes the rows of a query as lines, as
//! [`super::WriteTabsep`] says; its result is their number.
//!
//! `export QUERY CONN TABLE ?-columns LIST? ?-progress {n cb}? ?-poll_interval n?` writes the rows
//! of a query into a table of PostgreSQL by one COPY, all or nothing: [`super::Export`].
//! Errors: `PGSQLITE EXPORT TEXT|NUL column C row N`, `PGSQLITE POSTGRES SERVER sqlstate S row N`.
//!
//! `info` is a list of key and value: `filename F`, the file of the database NAME (default `main`;
//! empty for one in memory), and
//! `busy {SQL ...}`, the statements that are running now, when there are any. The flags choose;
//! without them both.
//!
//! Errors: `PGSQLITE HANDLE NOTFOUND|FOREIGN|CLOSED|OTHERINTERP|SECONDSQLITE|NOEXTENSION name
//! HANDLE`.
#![forbid(unsafe_code)]

mod channel;
mod copy;
mod export;
mod import;
mod options;
mod run;
mod tabsep;

use crate::sqlite::Db;
use crate::tcl::error::choice_list;
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, command, sqlite_host};

type Sub = fn(Interp, &Obj, &[Obj]) -> Result<Flow, Exception>;

const SUBS: [(&str, Sub); 7] = [
    ("info", info),
    ("import_postgres_result", import::import),
    ("copy", copy::copy),
    ("export", export::export),
    ("read_tabsep", tabsep::read),
    ("read_tabsep_keylist", tabsep::read_keys),
    ("write_tabsep", tabsep::write),
];

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
    let held = sqlite_host::recover(interp, handle)?;
    let db = held.db();
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
        result.extend(running(db));
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
