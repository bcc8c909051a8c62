//! The options that say what to read of a stream.

use super::confirming::Confirming;
use super::view::View;
use crate::daystream::remote::Link;
use crate::daystream::{
    Feed, Position, ReaderOptions, Registration, Source, Start, Storage, TableFilter,
};
use crate::schema::TableName;
use crate::tcl::{CmdResult, Failure, Interp, Obj, Options};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The options' names, in the order in which messages list them.
pub const NAMES: [&str; 11] = [
    "-from",
    "-after",
    "-to",
    "-tables",
    "-actions",
    "-columns",
    "-as",
    "-register",
    "-confirm",
    "-quiet_ms",
    "-heartbeats",
];

/// What to read.
pub struct Selection {
    /// The stream.
    pub source: Source,
    /// Where to begin.
    pub start: Start,
    /// No transaction that ends beyond this.
    pub to: Option<Position>,
    /// Whether heartbeats are given out, where that was said.
    pub heartbeats: Option<bool>,
    /// Which tables, and how.
    pub options: ReaderOptions,
    /// What is shown of the lines.
    pub view: Rc<View>,
    /// The name to read under, and whether what was handled is confirmed without being told.
    register: Option<(String, bool)>,
}

impl Selection {
    /// From SOURCE and the options.
    ///
    /// # Errors
    /// What is no folder's name, position or table list.
    pub fn new(interp: Interp, source: &Obj, options: &Options) -> CmdResult<Selection> {
        let quiet = options.count(interp, "-quiet_ms")?.map(Duration::from_millis);
        let tables = options.list(interp, "-tables")?.map(|names| filter(&names));
        Ok(Selection {
            source: place(source)?,
            heartbeats: options.flag(interp, "-heartbeats")?,
            start: start(interp, options)?,
            to: options.get("-to").map(|to| end(interp, to)).transpose()?,
            options: ReaderOptions { tables, quiet, ..ReaderOptions::default() },
            view: Rc::new(View::new(interp, options)?),
            register: register(options)?,
        })
    }

    /// Opens the reader, under its name if it has one.
    ///
    /// # Errors
    /// Those of [`Feed::open`] and [`Registration::open`]; `USAGE SOURCE` for a name under a URL:
    /// positions are kept in the stream's folder.
    pub fn reader(&self) -> CmdResult<(Feed, Option<Confirming>)> {
        let (options, stop) = (self.options.clone(), AtomicBool::new(false));
        let Some((name, auto)) = &self.register else {
            let feed = Feed::open(&self.source, self.start, options, Link::Patient, &stop)?;
            return Ok((feed, None));
        };
        let Source::Folder(dir) = &self.source else {
            let message = "-register needs the stream's folder: a position is kept in it";
            return Err(Failure::new(message, &["PGSQLITE", "USAGE", "SOURCE"]).into());
        };
        let storage = Storage::default();
        let (reader, own) = Registration::open(dir, name, self.start, options, storage)?;
        let feed = Feed::Folder(Box::new(reader));
        Ok((feed, Some(Confirming::new(own, *auto))))
    }
}

/// Where a stream is: its folder, or its URL.
///
/// # Errors
/// `PGSQLITE USAGE SOURCE` for nothing.
pub fn place(source: &Obj) -> CmdResult<Source> {
    match source.as_text()? {
        text if text.contains("://") => Ok(Source::parse(&text)),
        _ => folder(source).map(Source::Folder),
    }
}

/// `-register` and `-confirm`.
fn register(options: &Options) -> CmdResult<Option<(String, bool)>> {
    let auto = match options.text("-confirm")?.as_deref() {
        None | Some("auto") => true,
        Some("manual") => false,
        Some(word) => {
            return Err(Failure::bad_word("confirmation", word, &["auto", "manual"]).into());
        }
    };
    let name = options.text("-register")?;
    if name.is_none() && options.get("-confirm").is_some() {
        let message = "-confirm needs -register: only a registered reader confirms";
        return Err(Failure::new(message, &["PGSQLITE", "USAGE", "CONFLICT"]).into());
    }
    Ok(name.map(|name| (name, auto)))
}

/// The folder of a stream.
///
/// # Errors
/// `PGSQLITE USAGE SOURCE` for a URL: what is asked for is done where the files are.
pub fn folder(source: &Obj) -> CmdResult<PathBuf> {
    folder_named(&source.as_text()?)
}

/// The same of a name that is text already.
///
/// # Errors
/// As [`folder`].
pub fn folder_named(text: &str) -> CmdResult<PathBuf> {
    if text.is_empty() || text.contains("://") {
        let message = match text.is_empty() {
            true => "the folder of a daystream has a name, which is empty here".to_owned(),
            false => format!(
                "\"{text}\" is not the folder of a daystream: this is done where the files are"
            ),
        };
        let code = ["PGSQLITE", "USAGE", "SOURCE", "source", text];
        return Err(Failure::new(message, &code).into());
    }
    Ok(PathBuf::from(text))
}

fn start(interp: Interp, options: &Options) -> CmdResult<Start> {
    match (options.get("-from"), options.get("-after")) {
        (Some(_), Some(_)) => {
            let message = "use one of -from and -after";
            Err(Failure::new(message, &["PGSQLITE", "USAGE", "CONFLICT"]).into())
        }
        (None, None) => Ok(Start::Begin),
        (None, Some(after)) => match words(interp, "-after", after)? {
            Place::Position(position) => Ok(Start::After(position.into())),
            _ => Err(bad_position("-after", after)),
        },
        (Some(from), None) => Ok(match words(interp, "-from", from)? {
            Place::Begin => Start::Begin,
            Place::End => Start::End,
            Place::Clock(clock) => Start::Clock(clock),
            Place::Position(position) => Start::At(position),
        }),
    }
}

fn end(interp: Interp, to: &Obj) -> CmdResult<Position> {
    match words(interp, "-to", to)? {
        Place::Clock(clock) => Ok(Position { clock, seq: u64::MAX }),
        Place::Position(position) => Ok(position),
        Place::Begin | Place::End => Err(bad_position("-to", to)),
    }
}

/// A position, `{clock seq}`.
///
/// # Errors
/// What is none.
pub fn position(interp: Interp, value: &Obj) -> CmdResult<Position> {
    match words(interp, "-after", value)? {
        Place::Position(position) => Ok(position),
        _ => Err(bad_position("-after", value)),
    }
}

/// A place as it is written.
enum Place {
    Begin,
    End,
    Clock(i64),
    Position(Position),
}

fn words(interp: Interp, option: &str, value: &Obj) -> CmdResult<Place> {
    let bad = || bad_position(option, value);
    match value.as_list(interp).map_err(|_| bad())?.as_slice() {
        [word] => match &*word.text_lossy() {
            "begin" => Ok(Place::Begin),
            "end" => Ok(Place::End),
            _ => match word.as_int(interp) {
                Ok(clock @ 0..) => Ok(Place::Clock(clock)),
                _ => Err(bad()),
            },
        },
        [clock, seq] => {
            let text = format!("{} {}", clock.text_lossy(), seq.text_lossy());
            text.parse().map(Place::Position).map_err(|_| bad())
        }
        _ => Err(bad()),
    }
}

fn bad_position(option: &str, value: &Obj) -> crate::tcl::Exception {
    let value = value.text_lossy();
    let what = match option {
        "-from" => "begin, end, a clock or {clock seq}",
        "-after" => "{clock seq}",
        _ => "a clock or {clock seq}",
    };
    let message = format!("bad {option} \"{value}\": must be {what}");
    Failure::new(message, &["PGSQLITE", "USAGE", "POSITION", "option", option]).into()
}

/// A filter that lets the tables pass: as they are called (`table` of schema public, or
/// `schema.table`), and by PostgreSQL's rules (`"Odd Name"`, lower case).
#[must_use]
pub fn filter(names: &[String]) -> TableFilter {
    let mut filter = TableFilter::new();
    for name in names {
        filter = filter.with("public", name);
        if let Some((schema, table)) = name.split_once('.') {
            filter = filter.with(schema, table);
        }
        if let Ok(parsed) = TableName::parse(name) {
            filter = filter.with(&parsed.schema, &parsed.table);
        }
    }
    filter
}
