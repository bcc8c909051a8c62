//! The options of the reading sub-commands: see [`super`].

use crate::pg_sqlite::{Columns, Import, KeyPart, TableName, Target};
use crate::sqlite::Db;
use crate::tcl::{CmdResult, Exception, Failure, Interp, Obj};

/// Options with one value that all of them have, in the order in which messages list them.
const VALUED: [&str; 14] = [
    "-create",
    "-into",
    "-as",
    "-names",
    "-types",
    "-pkey",
    "-null",
    "-strict",
    "-progress",
    "-poll_interval",
    "-recommit",
    "-index",
    "-analyze",
    "-exclusive",
];
const FLAGS: [&str; 2] = ["-replace", "-check"];

/// The options, by name.
pub(super) struct Given<'a> {
    values: Vec<(&'static str, &'a Obj)>,
    flags: Vec<&'static str>,
    /// Column and variable of `-max`.
    pub(super) max: Option<(&'a Obj, &'a Obj)>,
}

impl<'a> Given<'a> {
    /// The options of `words`: those of every reading command, `more` ones with a value, and
    /// `more_flags`.
    pub(super) fn parse(
        words: &'a [Obj],
        more: &[&'static str],
        more_flags: &[&'static str],
    ) -> CmdResult<Given<'a>> {
        let valued: Vec<&'static str> = VALUED.iter().chain(more).copied().collect();
        let flags: Vec<&'static str> = FLAGS.iter().chain(more_flags).copied().collect();
        let mut given = Given { values: Vec::new(), flags: Vec::new(), max: None };
        let mut rest = words;
        while let [name, tail @ ..] = rest {
            let word = name.text_lossy();
            rest = tail;
            if word == "-max" {
                let [column, variable, tail @ ..] = tail else {
                    return Err(missing("-max"));
                };
                given.max = Some((column, variable));
                rest = tail;
                continue;
            }
            if let Some(flag) = flags.iter().find(|flag| **flag == word) {
                given.flags.push(flag);
                continue;
            }
            let Some(option) = valued.iter().find(|option| **option == word) else {
                let all: Vec<&str> =
                    valued.iter().chain(&flags).chain(&["-max"]).copied().collect();
                return Err(Failure::bad_word("option", &word, &all).into());
            };
            let [value, tail @ ..] = tail else { return Err(missing(option)) };
            given.values.push((option, value));
            rest = tail;
        }
        Ok(given)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Obj> {
        self.values.iter().rev().find(|(option, _)| *option == name).map(|(_, value)| *value)
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    fn texts(&self, interp: Interp, name: &str) -> CmdResult<Option<Vec<String>>> {
        self.get(name).map(|value| texts(interp, value)).transpose()
    }

    /// A number of rows, at least 1.
    pub(super) fn rows(&self, interp: Interp, name: &str) -> CmdResult<Option<u64>> {
        self.get(name).map(|value| row_count(interp, name, value)).transpose()
    }
}

pub(super) fn missing(option: &str) -> Exception {
    let code = ["PGSQLITE", "USAGE", "NOVALUE", "option", option];
    Failure::new(format!("value for \"{option}\" missing"), &code).into()
}

fn texts(interp: Interp, list: &Obj) -> CmdResult<Vec<String>> {
    list.as_list(interp)?.iter().map(|word| Ok(word.as_text()?.into_owned())).collect()
}

pub(super) fn row_count(interp: Interp, name: &str, value: &Obj) -> CmdResult<u64> {
    let number = value.as_int(interp)?;
    match u64::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => {
            let message = format!("{name} needs a number of rows from 1, but got {number}");
            Err(Failure::new(message, &["PGSQLITE", "USAGE", "RANGE", "option", name]).into())
        }
    }
}

pub(super) fn conflict(message: &str, reason: &str) -> Exception {
    Failure::new(message, &["PGSQLITE", "USAGE", reason]).into()
}

/// The import that the options describe.
///
/// # Errors
/// Options that contradict each other or make no sense.
pub(super) fn describe<'a>(interp: Interp, db: &Db, given: &Given<'_>) -> CmdResult<Import<'a>> {
    let target = target(db, given)?;
    let columns = columns(interp, given, &target)?;
    let mut import = Import::new(target, columns);
    if let Some(list) = given.get("-pkey") {
        import.key = key_parts(interp, list)?;
    }
    if let Some(list) = given.get("-index") {
        for index in list.as_list(interp)? {
            let parts = key_parts(interp, &index)?;
            if parts.is_empty() {
                return Err(conflict("-index needs a list of lists of columns", "INDEX"));
            }
            import.indexes.push(parts);
        }
    }
    if let Some(analyze) = given.get("-analyze") {
        import.analyze = analyze.as_bool(interp)?;
    }
    if let Some(exclusive) = given.get("-exclusive") {
        import.exclusive = Some(exclusive.as_bool(interp)?);
    }
    let table = !matches!(import.target, Target::Statement(_));
    let exclusive = import.exclusive == Some(true);
    if !table && (import.analyze || exclusive || !import.indexes.is_empty()) {
        let message = "-index, -analyze and -exclusive need a table: -create or -into, not -sql";
        return Err(conflict(message, "CONFLICT"));
    }
    import.or_replace = given.has("-replace");
    if let Some(null) = given.get("-null") {
        import.null = Some(null.as_text()?.as_bytes().to_vec());
    }
    if let Some(strict) = given.get("-strict") {
        import.strict = strict.as_bool(interp)?;
    }
    import.skip_identical = given.has("-check");
    if let Some((column, _)) = given.max {
        import.max_column = Some(column.as_text()?.into_owned());
    }
    import.commit_every = given.rows(interp, "-recommit")?;
    Ok(import)
}

/// Columns, each perhaps with ASC or DESC.
fn key_parts(interp: Interp, list: &Obj) -> CmdResult<Vec<KeyPart>> {
    let part = |part: &Obj| -> CmdResult<KeyPart> {
        let words = texts(interp, part)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(KeyPart::from_words(&words)?)
    };
    list.as_list(interp)?.iter().map(part).collect()
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
            if pairs.len() % 2 == 1 {
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
