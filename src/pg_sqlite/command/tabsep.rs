//! `pg_sqlite HANDLE read_tabsep|read_tabsep_keylist|write_tabsep ...`: see [`super`].

use super::channel::{LineReader, LineWriter};
use super::options::{Given, conflict};
use super::run::run;
use crate::pg_sqlite::{Error, LineForm, Lines, Source, WriteTabsep};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, event, sqlite_host};
use std::cell::RefCell;

/// Rows from lines whose cells stand in the order of the columns.
pub(super) fn read(interp: Interp, handle: &Obj, words: &[Obj]) -> Result<Flow, Exception> {
    let given = Given::parse(words, &["-sql", "-sep", "-row", "-file"], &[])?;
    read_lines(interp, handle, &given, LineForm::Columns)
}

/// Rows from lines of keys and values.
pub(super) fn read_keys(interp: Interp, handle: &Obj, words: &[Obj]) -> Result<Flow, Exception> {
    let given = Given::parse(words, &["-sep", "-row", "-file", "-unknown"], &[])?;
    let unknown = match given.get("-unknown") {
        Some(name) => Some(name.as_text()?.into_owned()),
        None => None,
    };
    read_lines(interp, handle, &given, LineForm::Keys { unknown })
}

fn read_lines(
    interp: Interp,
    handle: &Obj,
    given: &Given<'_>,
    form: LineForm,
) -> Result<Flow, Exception> {
    let separator = separator(given.get("-sep"))?;
    let (mut row, mut channel) = match (given.get("-row"), given.get("-file")) {
        (Some(row), None) => (Some(row.as_text()?.into_owned()), None),
        (None, Some(name)) => (None, Some(LineReader::open(interp, name)?)),
        (None, None) => {
            return Err(conflict("command requires either -row or -file", "NOSOURCE"));
        }
        (Some(_), Some(_)) => return Err(conflict("Can't use both -row and -file", "CONFLICT")),
    };
    let failed = RefCell::new(None);
    let mut rows = 0;
    let mut next = |line: &mut Vec<u8>| {
        let read = match (&mut channel, row.take()) {
            (Some(channel), _) => channel.next(line),
            (None, Some(row)) => {
                line.extend_from_slice(row.as_bytes());
                Ok(true)
            }
            (None, None) => Ok(false),
        };
        rows += 1;
        read.map_err(|exception| {
            failed.replace(Some(exception));
            Error::Stopped { row: rows }
        })
    };
    run(interp, handle, given, |import, db| {
        let outcome = import.run(db, Source::Lines(Lines { next: &mut next, separator, form }));
        match failed.take() {
            Some(exception) if outcome.is_err() => Err(exception),
            _ => Ok(outcome),
        }
    })
}

fn separator(given: Option<&Obj>) -> CmdResult<Vec<u8>> {
    Ok(match given {
        Some(text) => text.as_text()?.as_bytes().to_vec(),
        None => b"\t".to_vec(),
    })
}

/// Rows of a query as lines on a channel; the result is their number.
pub(super) fn write(interp: Interp, handle: &Obj, words: &[Obj]) -> Result<Flow, Exception> {
    const USAGE: &str =
        "pg_sqlite handle write_tabsep channel sql ?-null string? ?-sep string? ?-poll_interval n?";
    let [channel, sql, options @ ..] = words else {
        return Err(Failure::wrong_args(USAGE).into());
    };
    let (mut form, mut poll) = (WriteTabsep::default(), None);
    let mut rest = options;
    while let [name, tail @ ..] = rest {
        let known = ["-null", "-sep", "-poll_interval"];
        let word = name.text_lossy();
        if !known.contains(&&*word) {
            return Err(Failure::bad_word("option", &word, &known).into());
        }
        let [value, tail @ ..] = tail else { return Err(super::options::missing(&word)) };
        match &*word {
            "-null" => form.null = value.as_text()?.as_bytes().to_vec(),
            "-sep" => form.separator = separator(Some(value))?,
            _ => poll = Some(super::options::row_count(interp, "-poll_interval", value)?),
        }
        rest = tail;
    }
    let held = sqlite_host::recover(interp, handle)?;
    let mut writer = LineWriter::open(interp, channel)?;
    let (mut failed, mut rows) = (None, 0_u64);
    let outcome = form.run(held.db(), &sql.as_text()?, &mut |line| {
        rows += 1;
        let written = writer.write(line);
        if poll.is_some_and(|every| rows % every == 0) {
            event::serve_one(false);
        }
        if held.is_closed() || interp.is_deleted() {
            return Err(Error::Stopped { row: rows });
        }
        written.map_err(|exception| {
            failed = Some(exception);
            Error::Stopped { row: rows }
        })
    });
    match (outcome, failed) {
        (Err(_), Some(exception)) => Err(exception),
        (Err(error), None) => Err(super::run::why(error, None, &held, handle, "the query")),
        (Ok(rows), _) => {
            writer.finish()?;
            Ok(rows.into())
        }
    }
}
