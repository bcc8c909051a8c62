//! `pg_result`, and the command of a result handle.

use super::failure::result_failed;
use super::row::{Columns, Nulls, cells, values};
use super::{QueryResult, handles};
use crate::libpq::{ErrorField, PgResult, Status};
use crate::tcl::{Body, CmdResult, Exception, Failure, Flow, Interp, Iteration, Obj};
use std::rc::Rc;

const OPTIONS: [&str; 20] = [
    "-status",
    "-error",
    "-foreach",
    "-conn",
    "-oid",
    "-numTuples",
    "-cmdTuples",
    "-numAttrs",
    "-assign",
    "-assignbyidx",
    "-getTuple",
    "-tupleArray",
    "-tupleArrayWithoutNulls",
    "-attributes",
    "-lAttributes",
    "-clear",
    "-list",
    "-llist",
    "-dict",
    "-null_value_string",
];

const USAGE: &str = "pg_result result ?option? where option is
\t-status
\t-error ?subCode?
\t-foreach array code
\t-conn
\t-oid
\t-numTuples
\t-cmdTuples
\t-numAttrs
\t-assign arrayVarName
\t-assignbyidx arrayVarName ?appendstr?
\t-getTuple tupleNumber
\t-tupleArray tupleNumber arrayVarName
\t-tupleArrayWithoutNulls tupleNumber arrayVarName
\t-attributes
\t-lAttributes
\t-list
\t-llist
\t-clear
\t-dict
\t-null_value_string ?nullValueString?
";

const ERROR_FIELDS: [(&str, ErrorField); 12] = [
    ("severity", ErrorField::Severity),
    ("sqlstate", ErrorField::Sqlstate),
    ("primary", ErrorField::Primary),
    ("detail", ErrorField::Detail),
    ("hint", ErrorField::Hint),
    ("position", ErrorField::Position),
    ("internal_position", ErrorField::InternalPosition),
    ("internal_query", ErrorField::InternalQuery),
    ("context", ErrorField::Context),
    ("file", ErrorField::File),
    ("line", ErrorField::Line),
    ("function", ErrorField::Function),
];

/// `pg_result res option ...`.
pub(super) fn result(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [_, name, option, arguments @ ..] = words else {
        return Err(Failure::new(USAGE, &["TCL", "WRONGARGS"]).into());
    };
    run(interp, &handles::result(interp, name)?, option, arguments)
}

/// `$result option ...`.
pub(super) fn by_handle(
    interp: Interp,
    result: &Rc<QueryResult>,
    words: &[Obj],
) -> Result<Flow, Exception> {
    let Some(word) = words.first() else { return Ok(Obj::empty().into()) };
    result.called_by(word);
    let [_, option, arguments @ ..] = words else {
        let usage = format!("{} command...", result.name().text_lossy());
        return Err(Failure::wrong_args(&usage).into());
    };
    run(interp, result, option, arguments)
}

fn run(
    interp: Interp,
    handle: &Rc<QueryResult>,
    option: &Obj,
    arguments: &[Obj],
) -> Result<Flow, Exception> {
    let option = option.text_lossy();
    let result = handle.pg_result();
    let value = match (option.as_ref(), arguments) {
        // The second name is that of other Pgtcls; it is not in the list.
        ("-error" | "-errorField", [field]) => error_field(&result, field)?,
        ("-assign", [array]) => assign(interp, handle, array)?,
        ("-assignbyidx", [array]) => assign_by_index(interp, handle, array, "")?,
        ("-assignbyidx", [array, suffix]) => {
            assign_by_index(interp, handle, array, &suffix.as_text()?)?
        }
        ("-getTuple", [number]) => {
            let row = row_number(interp, &result, number, "getTuple")?;
            Obj::list_of(cells(&result, row, &handle.null_value()))
        }
        ("-tupleArray", [number, array]) => {
            let nulls = Nulls::Value(handle.null_value());
            tuple_array(interp, handle, number, array, &nulls)?
        }
        ("-tupleArrayWithoutNulls", [number, array]) => {
            tuple_array(interp, handle, number, array, &Nulls::Unset)?
        }
        ("-foreach", [array, body]) => return foreach(handle, array, body),
        ("-null_value_string", [value]) => {
            handle.set_null_value(value);
            value.clone()
        }
        (option, []) => match plain(handle, &result, option) {
            Some(value) => value,
            None => return Err(wrong_args(handle, option)),
        },
        (option, _) => return Err(wrong_args(handle, option)),
    };
    Ok(Flow::Value(value))
}

/// The options that take no argument; None for the others.
fn plain(handle: &QueryResult, result: &PgResult, option: &str) -> Option<Obj> {
    let rows = || 0..result.ntuples();
    let null = handle.null_value();
    Some(match option {
        "-status" => Obj::text(result.status().name()),
        "-error" => Obj::from(result.error_message()),
        "-conn" => handle.connection_name().clone(),
        "-oid" => Obj::from(u64::from(result.oid_value())),
        "-numTuples" => Obj::from(result.ntuples() as u64),
        "-cmdTuples" => Obj::from(result.cmd_tuples()),
        "-numAttrs" => Obj::from(result.nfields() as u64),
        "-attributes" => handle.columns().list(),
        "-lAttributes" => attributes(result),
        "-list" => {
            let number = result.ntuples() * result.nfields();
            Obj::list_of_about(number, rows().flat_map(|row| cells(result, row, &null)))
        }
        "-llist" => {
            Obj::list_of_lists(result.ntuples(), rows().map(|row| cells(result, row, &null)))
        }
        "-dict" => dict(handle, &null),
        "-clear" => {
            handle.clear();
            Obj::empty()
        }
        "-null_value_string" => null,
        _ => return None,
    })
}

/// The arguments are not those of the option, or there is no such option.
fn wrong_args(handle: &QueryResult, option: &str) -> Exception {
    if !OPTIONS.contains(&option) {
        return Failure::bad_word("option", option, &OPTIONS).into();
    }
    let arguments = match option {
        "-error" => " ?subCode?",
        "-assign" => " arrayName",
        "-assignbyidx" => " arrayName ?append_string?",
        "-getTuple" => " tuple_number",
        "-tupleArray" | "-tupleArrayWithoutNulls" => " tuple_number array_name",
        "-foreach" => " array code",
        "-null_value_string" => " ?nullValueString?",
        _ => "",
    };
    let name = handle.name().text_lossy();
    Failure::wrong_args(&format!("pg_result {name} {option}{arguments}")).into()
}

fn error_field(result: &PgResult, field: &Obj) -> CmdResult {
    let word = field.text_lossy();
    match ERROR_FIELDS.iter().find(|(name, _)| *name == word) {
        Some((_, field)) => Ok(Obj::from(result.error_field(*field).unwrap_or_default())),
        None => {
            let known: Vec<&str> = ERROR_FIELDS.iter().map(|(name, _)| *name).collect();
            Err(Failure::bad_word("error suboption", &word, &known).into())
        }
    }
}

/// A row's number that is in range.
fn row_number(interp: Interp, result: &PgResult, word: &Obj, option: &str) -> CmdResult<usize> {
    let number = usize::try_from(word.as_int(interp)?).unwrap_or(usize::MAX);
    if number < result.ntuples() {
        return Ok(number);
    }
    let message = format!("argument to {option} cannot exceed number of tuples - 1");
    let code = ["PGSQLITE", "RESULT", "ROW", "row", &word.text_lossy()];
    Err(Failure::new(message, &code).into())
}

fn tuple_array(
    interp: Interp,
    handle: &QueryResult,
    number: &Obj,
    array: &Obj,
    nulls: &Nulls,
) -> CmdResult {
    let result = handle.pg_result();
    let row = row_number(interp, &result, number, "tupleArray")?;
    handle.columns().set(interp, Some(array), &result, row, nulls)?;
    Ok(Obj::empty())
}

/// Sets `arr(row,column)`.
fn assign(interp: Interp, handle: &QueryResult, array: &Obj) -> CmdResult {
    let result = handle.pg_result();
    let columns = Columns::of(&result);
    for row in 0..result.ntuples() {
        let all = values(&result, row, &handle.null_value());
        for (name, value) in columns.names().iter().zip(&all) {
            let element = Obj::from(format!("{row},{}", name.text_lossy()));
            interp.set_var(array, Some(&element), value)?;
        }
    }
    Ok(Obj::empty())
}

/// Sets `arr(first column's value,column SUFFIX)`, of the columns after the first.
fn assign_by_index(interp: Interp, handle: &QueryResult, array: &Obj, suffix: &str) -> CmdResult {
    let result = handle.pg_result();
    let columns = Columns::of(&result);
    for row in 0..result.ntuples() {
        let all = values(&result, row, &handle.null_value());
        let Some(first) = all.first() else { continue };
        let first = first.text_lossy();
        for (name, value) in columns.names().iter().zip(&all).skip(1) {
            let element = Obj::from(format!("{first},{}{suffix}", name.text_lossy()));
            interp.set_var(array, Some(&element), value)?;
        }
    }
    Ok(Obj::empty())
}

/// `{name typeOid typeSize}` of each column.
fn attributes(result: &PgResult) -> Obj {
    let attribute = |column| {
        Obj::list(&[
            Obj::from(result.fname(column).unwrap_or_default()),
            Obj::from(u64::from(result.ftype(column).unwrap_or_default())),
            Obj::int(result.fsize(column).unwrap_or_default().into()),
        ])
    };
    Obj::list(&(0..result.nfields()).map(attribute).collect::<Vec<_>>())
}

/// Row number to a dict of column to value.
fn dict(handle: &QueryResult, null: &Obj) -> Obj {
    let result = handle.pg_result();
    let columns = handle.columns();
    let mut all = Obj::dict::<&str>([]);
    for row in 0..result.ntuples() {
        let one = Obj::dict_of(columns.names(), cells(&result, row, null));
        all.dict_put(&Obj::from(row as u64), &one);
    }
    all
}

fn foreach(handle: &QueryResult, array: &Obj, body: &Obj) -> Result<Flow, Exception> {
    let result = handle.pg_result();
    if result.status() != Status::TuplesOk && result.status() != Status::SingleTuple {
        return Err(result_failed(&result, handle.codes()));
    }
    let columns = handle.columns();
    let rows = Foreach { result, columns, row: 0, array: array.clone() };
    Ok(Flow::Body(Body::new("pg_result_foreach", body.clone(), rows)))
}

/// The rows of `-foreach`: the script may clear the handle.
struct Foreach {
    result: Rc<PgResult>,
    columns: Rc<Columns>,
    row: usize,
    array: Obj,
}

impl Iteration for Foreach {
    fn next(&mut self, interp: Interp) -> CmdResult<bool> {
        if self.row >= self.result.ntuples() {
            return Ok(false);
        }
        self.columns.set(interp, Some(&self.array), &self.result, self.row, &Nulls::Unset)?;
        self.row += 1;
        Ok(true)
    }

    fn gives_last(&self) -> bool {
        true
    }

    fn finish(&mut self, _interp: Interp) -> CmdResult {
        Ok(Obj::empty())
    }
}
