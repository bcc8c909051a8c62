//! `resync`: by asking those who follow, or, with `-conninfo`, at once.

use super::fill::{self, Filling};
use super::verbs::{Done, On};
use crate::daystream::command::place;
use crate::deltamirror::verbs::{self, Asked, Maker, Purpose};
use crate::deltamirror::{Filled, StreamSource};
use crate::tcl::{CmdResult, Exception, Failure, Interp, Obj, Options};

const OPTIONS: [&str; 7] =
    ["-tables", "-conninfo", "-fill", "-progress", "-warning", "-writers_ms", "-stream"];

fn usage(message: &str) -> Exception {
    Failure::new(message, &["PGSQLITE", "USAGE", "WHICH"]).into()
}

pub(super) fn resync(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &known(on, &["-all"]))?;
    let names = options.list(interp, "-tables")?;
    let all = options.flag(interp, "-all")?.unwrap_or(false);
    let names = match (names, all) {
        (Some(names), false) if !names.is_empty() => names,
        (None, true) => Vec::new(),
        _ => return Err(usage("which tables? Give one of -tables and -all 1")),
    };
    Ok(copy(on, interp, &options, Purpose::Resync, names)?.into())
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
        return Ok(copied_dict(&[]));
    }
    filling.options.tables = tables;
    filling.options.resync = purpose == Purpose::Resync;
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
    Ok(copied_dict(&filled))
}

fn copied_dict(filled: &[Filled]) -> Obj {
    Obj::dict([
        ("tables", fill::filled_dict(filled)),
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
