//! `pg_sqlite HANDLE import_postgres_result SOURCE ?option ...?`: see [`super`].

use crate::pg_sqlite::{Columns, Error, Import, KeyPart, Source, TableName, Target};
use crate::pgtcl::{self, Lent};
use crate::sqlite::Db;
use crate::tcl::sqlite_host::{self, Watched};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, event};
use std::cell::RefCell;

const USAGE: &str = "pg_sqlite handle import_postgres_result source ?option ...?";

/// Options with one value, in the order in which messages list them.
const VALUED: [&str; 13] = [
    "-sql",
    "-create",
    "-into",
    "-as",
    "-names",
    "-types",
    "-columns",
    "-pkey",
    "-null",
    "-strict",
    "-progress",
    "-poll_interval",
    "-recommit",
];
const FLAGS: [&str; 2] = ["-replace", "-rowbyrow"];

/// The options, by name.
struct Given<'a> {
    values: Vec<(&'static str, &'a Obj)>,
    flags: Vec<&'static str>,
}

impl<'a> Given<'a> {
    fn parse(words: &'a [Obj]) -> CmdResult<Given<'a>> {
        let mut given = Given { values: Vec::new(), flags: Vec::new() };
        let mut rest = words;
        while let [name, tail @ ..] = rest {
            let word = name.text_lossy();
            rest = tail;
            if let Some(flag) = FLAGS.iter().find(|flag| **flag == word) {
                given.flags.push(flag);
                continue;
            }
            let Some(option) = VALUED.iter().find(|option| **option == word) else {
                let all: Vec<&str> = VALUED.iter().chain(&FLAGS).copied().collect();
                return Err(Failure::bad_word("option", &word, &all).into());
            };
            let [value, tail @ ..] = tail else {
                let code = ["PGSQLITE", "USAGE", "NOVALUE", "option", option];
                return Err(Failure::new(format!("value for \"{option}\" missing"), &code).into());
            };
            given.values.push((option, value));
            rest = tail;
        }
        Ok(given)
    }

    fn get(&self, name: &str) -> Option<&'a Obj> {
        self.values.iter().rev().find(|(option, _)| *option == name).map(|(_, value)| *value)
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    fn texts(&self, interp: Interp, name: &str) -> CmdResult<Option<Vec<String>>> {
        self.get(name).map(|value| texts(interp, value)).transpose()
    }

    /// A number of rows, at least 1.
    fn rows(&self, interp: Interp, name: &str) -> CmdResult<Option<u64>> {
        self.get(name).map(|value| row_count(interp, name, value)).transpose()
    }
}

fn texts(interp: Interp, list: &Obj) -> CmdResult<Vec<String>> {
    list.as_list(interp)?.iter().map(|word| Ok(word.as_text()?.into_owned())).collect()
}

fn row_count(interp: Interp, name: &str, value: &Obj) -> CmdResult<u64> {
    let number = value.as_int(interp)?;
    match u64::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => {
            let message = format!("{name} needs a number of rows from 1, but got {number}");
            Err(Failure::new(message, &["PGSQLITE", "USAGE", "RANGE", "option", name]).into())
        }
    }
}

fn conflict(message: &str, reason: &str) -> Exception {
    Failure::new(message, &["PGSQLITE", "USAGE", reason]).into()
}

/// What is called every so many rows.
struct Calls {
    progress: Option<(u64, Obj)>,
    poll: Option<u64>,
}

impl Calls {
    fn from(interp: Interp, given: &Given<'_>) -> CmdResult<Calls> {
        let progress = match given.get("-progress") {
            None => None,
            Some(value) => match value.as_list(interp)?.as_slice() {
                [every, callback] => {
                    Some((row_count(interp, "-progress", every)?, callback.clone()))
                }
                _ => return Err(conflict("-progress needs {rows callback}", "PROGRESS")),
            },
        };
        Ok(Calls { progress, poll: given.rows(interp, "-poll_interval")? })
    }

    /// The greatest number that divides both intervals; 0 when nothing is called.
    fn every(&self) -> u64 {
        let (mut a, mut b) =
            (self.progress.as_ref().map_or(0, |(every, _)| *every), self.poll.unwrap_or(0));
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    }

    fn run(&self, interp: Interp, rows: u64) -> CmdResult<()> {
        if self.poll.is_some_and(|every| rows.is_multiple_of(every)) {
            event::serve_one(false);
        }
        if let Some((every, callback)) = &self.progress
            && rows.is_multiple_of(*every)
        {
            let mut words = callback.as_list(interp)?;
            words.push(Obj::from(rows));
            interp.call(&words)?;
        }
        Ok(())
    }
}

/// Imports; the result is the number of rows written.
pub(super) fn import(interp: Interp, handle: &Obj, words: &[Obj]) -> Result<Flow, Exception> {
    let [source, words @ ..] = words else { return Err(Failure::wrong_args(USAGE).into()) };
    let given = Given::parse(words)?;
    let watched = sqlite_host::recover_watched(interp, handle)?;
    let calls = Calls::from(interp, &given)?;
    let stopped: RefCell<Option<Exception>> = RefCell::new(None);
    let mut progress = |rows: u64| {
        let outcome = calls.run(interp, rows);
        let gone = watched.is_closed() || interp.is_deleted();
        match outcome {
            // A `return` in the callback is a normal end of it.
            Ok(()) | Err(Exception::Raised(2)) => !gone,
            Err(exception) => {
                stopped.replace(Some(exception));
                false
            }
        }
    };
    let mut import = describe(interp, watched.db(), &given)?;
    import.progress_every = calls.every();
    import.progress = Some(&mut progress);
    let db = watched.db();
    let outcome = if given.has("-rowbyrow") {
        pgtcl::connection(interp, source)?.lend(|lent| match lent {
            Lent::Alone(conn) => import.run(db, Source::Stream(conn)),
            Lent::Shared(conn) => import.run(db, Source::StreamHere(conn)),
        })?
    } else {
        let result = pgtcl::result(interp, source)?.pg_result();
        import.run(db, Source::Result(&result))
    };
    match outcome {
        Ok(imported) => Ok(imported.rows.into()),
        Err(error) => Err(why(error, stopped.take(), &watched, handle)),
    }
}

/// The error to report: the callback's own, the handle's end, or the import's.
fn why(error: Error, stopped: Option<Exception>, watched: &Watched, handle: &Obj) -> Exception {
    match (error, stopped) {
        (Error::Stopped { .. }, _) if watched.is_closed() => {
            let name = handle.text_lossy();
            let message = format!("the sqlite3 handle \"{name}\" was closed during the import");
            Failure::new(message, &["PGSQLITE", "HANDLE", "CLOSED", "name", &name]).into()
        }
        (Error::Stopped { .. }, Some(raised @ (Exception::Raised(1) | Exception::Failure(_)))) => {
            raised
        }
        (error, _) => error.into(),
    }
}

fn describe<'a>(interp: Interp, db: &Db, given: &Given<'_>) -> CmdResult<Import<'a>> {
    let target = target(db, given)?;
    let columns = columns(interp, given, &target)?;
    let mut import = Import::new(target, columns);
    if let Some(list) = given.get("-pkey") {
        for part in list.as_list(interp)? {
            let words = texts(interp, &part)?;
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            import.key.push(KeyPart::from_words(&words)?);
        }
    }
    import.or_replace = given.has("-replace");
    if let Some(null) = given.get("-null") {
        import.null = Some(null.as_text()?.as_bytes().to_vec());
    }
    if let Some(strict) = given.get("-strict") {
        import.strict = strict.as_bool(interp)?;
    }
    import.commit_every = given.rows(interp, "-recommit")?;
    Ok(import)
}

fn target(db: &Db, given: &Given<'_>) -> CmdResult<Target> {
    let table =
        |name: &Obj| -> CmdResult<TableName> { Ok(TableName::parse(db, &name.as_text()?)?) };
    match (given.get("-sql"), given.get("-create"), given.get("-into")) {
        (Some(sql), None, None) => Ok(Target::Statement(sql.as_text()?.into_owned())),
        (None, Some(name), None) => Ok(Target::Create(table(name)?)),
        (None, None, Some(name)) => Ok(Target::Into(table(name)?)),
        (None, None, None) => {
            Err(conflict("one of -create, -into or -sql must say where the rows go", "NOTARGET"))
        }
        (Some(_), ..) => Err(conflict("Can't use both -sql and -into", "CONFLICT")),
        _ => Err(conflict("Can't use both -create and -into", "CONFLICT")),
    }
}

fn columns(interp: Interp, given: &Given<'_>, target: &Target) -> CmdResult<Columns> {
    let template = given.texts(interp, "-as")?;
    let (names, types) = (given.texts(interp, "-names")?, given.texts(interp, "-types")?);
    let auto = match given.get("-columns").map(Obj::text_lossy) {
        None => false,
        Some(word) if word == "auto" => true,
        Some(word) => return Err(Failure::bad_word("-columns", &word, &["auto"]).into()),
    };
    if auto && (template.is_some() || names.is_some() || types.is_some()) {
        return Err(conflict("Can't use both -columns and -as, -names or -types", "CONFLICT"));
    }
    match (template, names, types) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(conflict("Can't use both -names/-types and -as", "CONFLICT"))
        }
        (Some(pairs), None, None) => {
            if !pairs.len().is_multiple_of(2) {
                let message = "-as needs a list of names and types, each name with its type";
                return Err(conflict(message, "TEMPLATE"));
            }
            Ok(Columns::from_pairs(pairs.iter().map(String::as_str))?)
        }
        (None, Some(names), None) => Ok(Columns::from_names(names.iter().map(String::as_str))),
        (None, Some(names), Some(types)) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let types: Vec<&str> = types.iter().map(String::as_str).collect();
            Ok(Columns::from_names_and_types(&names, &types)?)
        }
        (None, None, Some(types)) if matches!(target, Target::Statement(_)) => {
            let words = types.iter().flat_map(|word| ["", word.as_str()]);
            Ok(Columns::from_pairs(words)?)
        }
        (None, None, Some(_)) => Err(conflict("-types needs -names", "TEMPLATE")),
        (None, None, None) if auto || matches!(target, Target::Statement(_)) => Ok(Columns::Auto),
        (None, None, None) => {
            let option = if matches!(target, Target::Create(_)) { "-create" } else { "-into" };
            let message = format!("No template (-as) provided for {option}");
            Err(conflict(&message, "TEMPLATE"))
        }
    }
}
