//! `resync`, `repair` and `add`: by asking those who follow, or, with `-conninfo`, at once.

use super::fill::{self, Filling};
use super::verbs::{Done, On};
use crate::daystream::command::place;
use crate::deltamirror::verbs::{self, Asked, Maker, Purpose};
use crate::deltamirror::{Filled, Mode, StreamSource};
use crate::tcl::{CmdResult, Exception, Failure, Interp, Obj, Options};

const OPTIONS: [&str; 6] =
    ["-tables", "-conninfo", "-progress", "-warning", "-writers_ms", "-stream"];

fn usage(message: &str) -> Exception {
    Failure::new(message, &["PGSQLITE", "USAGE", "WHICH"]).into()
}

pub(super) fn resync(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &known(on, &["-all", "-fill"]))?;
    let names = options.list(interp, "-tables")?;
    let all = options.flag(interp, "-all")?.unwrap_or(false);
    let names = match (names, all) {
        (Some(names), false) if !names.is_empty() => names,
        (None, true) => Vec::new(),
        _ => return Err(usage("which tables? Give one of -tables and -all 1")),
    };
    Ok(copy(on, interp, &options, Purpose::Resync, names)?.into())
}

pub(super) fn repair(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &known(on, &[]))?;
    let names = options.list(interp, "-tables")?.unwrap_or_default();
    Ok(copy(on, interp, &options, Purpose::Repair, names)?.into())
}

pub(super) fn add(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &known(on, &[]))?;
    let names = options.list(interp, "-tables")?.unwrap_or_default();
    if names.is_empty() {
        return Err(usage("which tables? Give -tables"));
    }
    Ok(copy(on, interp, &options, Purpose::Add, names)?.into())
}

/// The options; a handle knows its stream.
fn known(on: &On<'_>, more: &[&'static str]) -> Vec<&'static str> {
    let mut known = [&OPTIONS, more].concat();
    if let On::Handle(..) = on {
        known.retain(|name| *name != "-stream");
    }
    known
}

fn copy(
    on: &On<'_>,
    interp: Interp,
    options: &Options,
    purpose: Purpose,
    names: Vec<String>,
) -> CmdResult {
    if options.get("-conninfo").is_some() {
        return at_once(on, interp, options, purpose, names);
    }
    let fill = fill::fill(options)?;
    let asked = on.run(interp, options, move |db, patience| {
        verbs::resync(db, purpose, &names, fill, patience)
    })?;
    Ok(asked_dict(&asked))
}

/// Copies here, as `init` does.
fn at_once(
    on: &On<'_>,
    interp: Interp,
    options: &Options,
    purpose: Purpose,
    names: Vec<String>,
) -> CmdResult {
    let mut filling = Filling::new(interp, options)?;
    let (tables, stream) =
        on.look(interp, options, move |db| verbs::to_resync(db, purpose, &names))?;
    if tables.is_empty() {
        return Ok(copied_dict(&[], purpose));
    }
    filling.options.tables = tables;
    filling.options.resync = purpose != Purpose::Add;
    if purpose == Purpose::Repair {
        filling.options.fill = Some(Mode::Difference);
    }
    let filled = match on {
        On::Handle(handle, source) => fill::on_handle(interp, handle, source, &filling)?,
        On::File => {
            let source = match options.get("-stream") {
                Some(_) => super::source(options)?,
                None => StreamSource::open(place(&Obj::text(&stream))?)?,
            };
            fill::on_file(interp, on.file(interp, options)?, source, filling)?
        }
    };
    Ok(copied_dict(&filled, purpose))
}

/// The tables with the rows that were copied, or that a repair has written.
fn copied_dict(filled: &[Filled], purpose: Purpose) -> Obj {
    let rows = |filled: &Filled| match purpose {
        Purpose::Repair => filled.changed.unwrap_or(filled.rows),
        Purpose::Resync | Purpose::Add => filled.rows,
    };
    let tables = filled.iter().map(|f| (f.table.as_str(), Obj::unsigned(rows(f))));
    Obj::dict([
        ("tables", Obj::dict(tables)),
        ("maker", Obj::text("here")),
        ("message", Obj::empty()),
    ])
}

fn asked_dict(asked: &Asked) -> Obj {
    let maker = match asked.maker {
        Maker::Follower => "follower",
        Maker::Nobody => "nobody",
        Maker::Unknown => "unknown",
    };
    let tables = asked.tables.iter().map(|table| (table.as_str(), Obj::empty()));
    Obj::dict([
        ("tables", Obj::dict(tables)),
        ("maker", Obj::text(maker)),
        ("message", Obj::text(&asked.message)),
    ])
}
