//! `init`: on a handle, where it blocks, and on a file, where it serves events.

use crate::deltamirror::indexes::left_out;
use crate::deltamirror::{
    Error, Filled, InitOptions, Mode, Policy, Progress, Reloading, StreamSource, connection, init,
};
use crate::libpq::Conninfo;
use crate::schema::secondary::Indexes;
use crate::tcl::mailbox::Fold;
use crate::tcl::sqlite_host::{self, Held};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options, job};
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The options of every init but those that say where.
pub(super) const OPTIONS: [&str; 10] = [
    "-conninfo",
    "-tables",
    "-progress",
    "-warning",
    "-resync",
    "-fill",
    "-indexes",
    "-ddl",
    "-busy_ms",
    "-writers_ms",
];

/// Where the rows come from, and which.
pub(super) struct Filling {
    pub(super) conninfo: Conninfo,
    pub(super) options: InitOptions,
    callbacks: Callbacks,
}

/// Who hears of a fill.
#[derive(Clone)]
struct Callbacks {
    progress: Option<Obj>,
    warning: Option<Obj>,
}

impl Filling {
    pub(super) fn new(interp: Interp, options: &Options) -> CmdResult<Filling> {
        let mut filling = InitOptions {
            tables: options.list(interp, "-tables")?.unwrap_or_default(),
            resync: options.flag(interp, "-resync")?.unwrap_or(false),
            fill: fill(options)?,
            indexes: indexes(options)?,
            ..InitOptions::default()
        };
        if let Some(word) = options.text("-ddl")? {
            let policy = Policy::from_word(&word);
            filling.policy =
                Some(policy.ok_or_else(|| Failure::bad_word("-ddl", &word, &Policy::WORDS))?);
        }
        if let Some(ms) = options.count(interp, "-busy_ms")? {
            filling.busy = Duration::from_millis(ms);
        }
        if let Some(ms) = options.count(interp, "-writers_ms")? {
            filling.writers = Duration::from_millis(ms);
        }
        if filling.resync && filling.tables.is_empty() {
            let message = "-resync 1 needs -tables: name the tables to fill again";
            return Err(Failure::new(message, &["PGSQLITE", "USAGE", "RESYNC"]).into());
        }
        let conninfo = Conninfo::parse(&options.required("-conninfo")?)?;
        let callback = |name| options.get(name).filter(|cb| !cb.internal().is_empty()).cloned();
        let callbacks =
            Callbacks { progress: callback("-progress"), warning: callback("-warning") };
        Ok(Filling { conninfo, options: filling, callbacks })
    }
}

/// How rows come into a table that is there, from `-fill`.
pub(super) fn fill(options: &Options) -> CmdResult<Option<Mode>> {
    let Some(word) = options.text("-fill")? else { return Ok(None) };
    match Mode::from_word(&word) {
        Some(mode) => Ok(Some(mode)),
        None => Err(Failure::bad_word("-fill", &word, &Mode::WORDS).into()),
    }
}

/// Which of the source's indexes are made, from `-indexes`.
fn indexes(options: &Options) -> CmdResult<Option<Indexes>> {
    let Some(word) = options.text("-indexes")? else { return Ok(None) };
    match Indexes::parse(&word) {
        Some(indexes) => Ok(Some(indexes)),
        None => Err(Failure::bad_word("-indexes", &word, &Indexes::WORDS).into()),
    }
}

/// How a follower reloads tables, from `-conninfo` and `-fill`; `None` without `-conninfo`.
pub(super) fn reloading(options: &Options) -> CmdResult<Option<Reloading>> {
    let fill = fill(options)?;
    let Some(conninfo) = options.text("-conninfo")? else { return Ok(None) };
    Ok(Some(Reloading { conninfo: Conninfo::parse(&conninfo)?, fill }))
}

/// A progress that owns what it tells: a table and its rows, or what is waited for.
#[derive(Debug)]
pub(super) enum Step {
    Waiting { transactions: u64 },
    Rows { table: String, rows: u64 },
    Ready { table: String, rows: u64 },
    Warning { message: String },
}

impl Fold for Step {
    fn fold(&mut self, next: Step) -> Option<Step> {
        match (&mut *self, next) {
            (Step::Waiting { .. }, next @ Step::Waiting { .. }) => *self = next,
            (Step::Rows { table, rows }, Step::Rows { table: same, rows: more })
                if *table == same =>
            {
                *rows = more;
            }
            (_, next) => return Some(next),
        }
        None
    }
}

impl From<&Progress<'_>> for Step {
    fn from(progress: &Progress<'_>) -> Step {
        match *progress {
            Progress::WaitingForWriters { transactions } => {
                Step::Waiting { transactions: transactions as u64 }
            }
            Progress::Rows { table, rows } => Step::Rows { table: table.to_owned(), rows },
            Progress::Ready { table, rows } => Step::Ready { table: table.to_owned(), rows },
            Progress::Unfired { table, triggers } => {
                Step::Warning { message: unfired(table, triggers) }
            }
            Progress::LeftOut { table, indexes } => {
                Step::Warning { message: left_out(table, indexes) }
            }
        }
    }
}

/// What is said of triggers that have not fired.
pub(super) fn unfired(table: &str, triggers: &[String]) -> String {
    format!(
        "table {table} was replaced by a new copy, and its triggers have not fired for what is \
         different now ({}): bring what they keep up to date",
        triggers.join(", ")
    )
}

/// Calls `cb TABLE ROWS`, or `cb MESSAGE`.
fn call(interp: Interp, callbacks: &Callbacks, step: &Step) -> CmdResult<()> {
    let (callback, told) = match step {
        Step::Waiting { transactions } => {
            (&callbacks.progress, vec![Obj::text(""), Obj::unsigned(*transactions)])
        }
        Step::Rows { table, rows } | Step::Ready { table, rows } => {
            (&callbacks.progress, vec![Obj::text(table), Obj::unsigned(*rows)])
        }
        Step::Warning { message } => (&callbacks.warning, vec![Obj::text(message)]),
    };
    let Some(callback) = callback else { return Ok(()) };
    let mut words = callback.as_list(interp)?;
    words.extend(told);
    match interp.call(&words) {
        // A `return` in the callback is a normal end of it.
        Ok(_) | Err(Exception::Raised(2)) => Ok(()),
        Err(exception) => Err(exception),
    }
}

/// The tables that were filled, with their rows.
pub(super) fn filled_dict(filled: &[Filled]) -> Obj {
    Obj::dict(filled.iter().map(|filled| (filled.table.as_str(), Obj::unsigned(filled.rows))))
}

/// On the user's handle, on the interpreter's own thread.
pub(super) fn init_handle(
    interp: Interp,
    handle: &Obj,
    source: &StreamSource,
    words: &[Obj],
) -> CmdResult {
    let filling = Filling::new(interp, &Options::parse(words, &OPTIONS)?)?;
    Ok(filled_dict(&on_handle(interp, handle, source, &filling)?))
}

/// The same, of what is known already.
pub(super) fn on_handle(
    interp: Interp,
    handle: &Obj,
    source: &StreamSource,
    filling: &Filling,
) -> CmdResult<Vec<Filled>> {
    let held = sqlite_host::recover(interp, handle)?;
    let stop = AtomicBool::new(false);
    let raised: RefCell<Option<Exception>> = RefCell::new(None);
    let mut progress = |progress: &Progress<'_>| {
        let called = call(interp, &filling.callbacks, &progress.into());
        if called.is_err() || held.is_closed() || interp.is_deleted() {
            stop.store(true, Ordering::Relaxed);
        }
        if let Err(exception) = called {
            raised.replace(Some(interp.keep(exception)));
        }
    };
    let options = &filling.options;
    let filled = init(held.db(), &filling.conninfo, source, options, &stop, &mut progress);
    match (filled, raised.take()) {
        (Ok(filled), None) if !held.is_closed() => Ok(filled),
        (Ok(_), raised) => Err(why(Error::Stopped, raised, &held, handle)),
        (Err(error), raised) => Err(why(error, raised, &held, handle)),
    }
}

/// The error to report: the callback's own, the handle's end, or the init's.
fn why(error: Error, raised: Option<Exception>, held: &Held, handle: &Obj) -> Exception {
    match (error, raised) {
        (_, _) if held.is_closed() => sqlite_host::closed_during(handle, "the init"),
        (Error::Stopped, Some(failure @ Exception::Failure(_))) => failure,
        (error, _) => error.into(),
    }
}

/// On a file, on a thread of its own.
pub(super) fn init_file(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let known: Vec<&str> = OPTIONS.into_iter().chain(["-db", "-stream"]).collect();
    let options = Options::parse(words, &known)?;
    let filling = Filling::new(interp, &options)?;
    let source = super::source(&options)?;
    let file = super::file(interp, &options)?;
    Ok(filled_dict(&on_file(interp, file, source, filling)?).into())
}

/// The same, of what is known already.
pub(super) fn on_file(
    interp: Interp,
    file: PathBuf,
    source: StreamSource,
    filling: Filling,
) -> CmdResult<Vec<Filled>> {
    let callbacks = filling.callbacks;
    let (conninfo, options) = (filling.conninfo, filling.options);
    job::run(
        interp,
        Arc::default(),
        move |stop, teller| {
            let db = connection::open(&file)?;
            let mut tell = |progress: &Progress<'_>| teller.tell(Step::from(progress));
            Ok(init(&db, &conninfo, &source, &options, stop, &mut tell)?)
        },
        move |interp, step| call(interp, &callbacks, &step),
    )
}
