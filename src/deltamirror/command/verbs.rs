//! The verbs, on a file, where events are served meanwhile, and on a handle, whose connection they
//! use, and block.

use super::events::tally_value;
use super::source;
use crate::daystream::Position;
use crate::daystream::command::position_value;
use crate::deltamirror::verbs::{self, Awaited, Kept, Listed, Retried, Which};
use crate::deltamirror::{Error, Patience, StreamSource, Suspended, TableStatus, connection};
use crate::deltastream::command::lsn_value;
use crate::libpq::Conninfo;
use crate::limits::MIRROR_BUSY_MS;
use crate::sqlite::Db;
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options, job, sqlite_host};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The rows that `errors` tells unless more are asked for.
const ERRORS_MAX: u64 = 1_000;

/// What a verb works on.
pub(super) enum On<'a> {
    /// The file that `-db` names.
    File,
    /// The database of a handle, and its stream.
    Handle(&'a Obj, &'a StreamSource),
}

pub(super) type Done = Result<Flow, Exception>;

impl On<'_> {
    /// The options of a verb, with those that say where.
    pub(super) fn options(&self, words: &[Obj], more: &[&'static str]) -> CmdResult<Options> {
        let place: &[&'static str] = match self {
            On::File => &["-db", "-busy_ms"],
            On::Handle(..) => &["-busy_ms"],
        };
        Options::parse(words, &[place, more].concat())
    }

    /// Runs the verb on a connection that writes.
    pub(super) fn run<T: Send + 'static>(
        &self,
        interp: Interp,
        options: &Options,
        work: impl FnOnce(&Db, Patience<'_>) -> Result<T, Error> + Send + 'static,
    ) -> CmdResult<T> {
        let budget = busy(interp, options)?;
        match self {
            On::File => {
                let file = super::file(interp, options)?;
                apart(interp, budget, move || connection::open_existing(&file), work)
            }
            On::Handle(handle, _) => {
                let held = sqlite_host::recover(interp, handle)?;
                let done = work(held.db(), Patience { budget, stop: held.closed() });
                if held.is_closed() {
                    return Err(sqlite_host::closed_during(handle, "the command"));
                }
                Ok(done?)
            }
        }
    }

    /// Runs the verb on a connection that reads.
    pub(super) fn look<T: Send + 'static>(
        &self,
        interp: Interp,
        options: &Options,
        work: impl FnOnce(&Db) -> Result<T, Error> + Send + 'static,
    ) -> CmdResult<T> {
        match self {
            On::File => {
                let file = super::file(interp, options)?;
                Ok(work(&connection::open_read_only(&file)?)?)
            }
            On::Handle(handle, _) => Ok(work(sqlite_host::recover(interp, handle)?.db())?),
        }
    }

    /// The file, also of a handle.
    pub(super) fn file(&self, interp: Interp, options: &Options) -> CmdResult<PathBuf> {
        match self {
            On::File => super::file(interp, options),
            On::Handle(handle, _) => {
                let held = sqlite_host::recover(interp, handle)?;
                held.db().file().ok_or_else(|| Error::NoFile.into())
            }
        }
    }

    /// The stream, where one is named.
    fn source(&self, options: &Options) -> CmdResult<Option<StreamSource>> {
        match self {
            On::Handle(_, source) => Ok(Some((*source).clone())),
            On::File => options.get("-stream").map(|_| source(options)).transpose(),
        }
    }
}

/// How long to wait for a locked database.
fn busy(interp: Interp, options: &Options) -> CmdResult<Duration> {
    Ok(Duration::from_millis(options.count(interp, "-busy_ms")?.unwrap_or(MIRROR_BUSY_MS)))
}

/// On a thread of its own, with a connection of its own.
fn apart<T: Send + 'static>(
    interp: Interp,
    budget: Duration,
    open: impl FnOnce() -> Result<Db, Error> + Send + 'static,
    work: impl FnOnce(&Db, Patience<'_>) -> Result<T, Error> + Send + 'static,
) -> CmdResult<T> {
    job::run(
        interp,
        Arc::default(),
        move |stop, _: &job::Teller<(), _>| Ok(work(&open()?, Patience { budget, stop })?),
        |_, ()| Ok(()),
    )
}

fn named(interp: Interp, options: &Options) -> CmdResult<Vec<String>> {
    Ok(options.list(interp, "-tables")?.unwrap_or_default())
}

/// Which kept rows; `None` when nothing says so.
fn which(interp: Interp, options: &Options) -> CmdResult<Option<Which>> {
    let (tables, ids) = (options.list(interp, "-tables")?, options.get("-ids"));
    let all = options.flag(interp, "-all")?.unwrap_or(false);
    if usize::from(tables.is_some()) + usize::from(ids.is_some()) + usize::from(all) > 1 {
        let message = "give one of -tables, -ids and -all";
        return Err(Failure::new(message, &["PGSQLITE", "USAGE", "WHICH"]).into());
    }
    if let Some(ids) = ids {
        let ids: CmdResult<Vec<i64>> =
            ids.as_list(interp)?.iter().map(|id| id.as_int(interp)).collect();
        return Ok(Some(Which::Ids(ids?)));
    }
    Ok(match tables {
        Some(tables) => Some(Which::Tables(tables)),
        None => all.then_some(Which::All),
    })
}

pub(super) fn remove(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &["-tables", "-keep"])?;
    options.required("-tables")?;
    let (tables, keep) = (named(interp, &options)?, options.flag(interp, "-keep")?.unwrap_or(true));
    let removed =
        on.run(interp, &options, move |db, patience| verbs::remove(db, &tables, keep, patience))?;
    Ok(Obj::text_list(&removed).into())
}

pub(super) fn tables(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &["-tables"])?;
    let names = named(interp, &options)?;
    let listed = on.look(interp, &options, move |db| verbs::tables(db, &names))?;
    Ok(Obj::dict(listed.iter().map(|listed| (listed.table.as_str(), listed_dict(listed)))).into())
}

fn listed_dict(listed: &Listed) -> Obj {
    let state = match (&listed.suspended, listed.status) {
        (Some(_), _) => "suspended",
        (None, TableStatus::Ready) => "ready",
        (None, TableStatus::Live) => "live",
    };
    let kept: Vec<Obj> = listed.kept.iter().map(|column| Obj::text(column)).collect();
    let mut dict = tally_value(&listed.tally);
    let more = [
        ("source", Obj::text(&listed.source)),
        ("state", Obj::text(state)),
        ("ddl", Obj::text(listed.policy.word())),
        ("kept", Obj::list(&kept)),
        ("copied", Obj::int(listed.copied)),
        ("touched", Obj::int(listed.touched)),
        ("changed", position_value(listed.changed)),
    ];
    for (key, value) in more {
        dict.dict_put(&Obj::text(key), &value);
    }
    if let Some(gone) = &listed.gone {
        let told = [
            ("gone", Obj::text(&gone.why)),
            ("gone_since_us", Obj::int(gone.since_us)),
            ("gone_lsn", gone.lsn.map_or_else(Obj::empty, lsn_value)),
        ];
        for (key, value) in told {
            dict.dict_put(&Obj::text(key), &value);
        }
    }
    if let Some(suspended) = &listed.suspended {
        for (key, value) in standing(suspended) {
            dict.dict_put(&Obj::text(key), &value);
        }
    }
    dict
}

fn standing(suspended: &Suspended) -> [(&'static str, Obj); 3] {
    [
        ("position", position_value(Some(suspended.mark.position))),
        ("reason", Obj::text(&suspended.reason)),
        ("message", Obj::text(&suspended.message)),
    ]
}

pub(super) fn missing(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &[])?;
    Ok(Obj::text_list(on.look(interp, &options, verbs::missing)?).into())
}

pub(super) fn errors(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &["-tables", "-ids", "-all", "-limit"])?;
    let which = which(interp, &options)?.unwrap_or(Which::All);
    let limit = options.count(interp, "-limit")?.unwrap_or(ERRORS_MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let rows = on.look(interp, &options, move |db| verbs::errors(db, &which, limit))?;
    let rows: Vec<Obj> = rows.iter().map(kept_dict).collect();
    Ok(Obj::list(&rows).into())
}

fn kept_dict(kept: &Kept) -> Obj {
    Obj::dict([
        ("id", Obj::int(kept.id)),
        ("table", Obj::text(&kept.table)),
        ("key", Obj::text(&kept.key)),
        ("reason", Obj::text(&kept.reason)),
        ("message", Obj::text(&kept.message)),
        ("position", position_value(Some(kept.position))),
        ("lsn", kept.lsn.map_or_else(Obj::empty, lsn_value)),
        ("line", Obj::text(&kept.line)),
        ("before", Obj::text(&kept.before)),
        ("whole", kept.whole.into()),
    ])
}

pub(super) fn discard(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &["-tables", "-ids", "-all"])?;
    let Some(which) = which(interp, &options)? else {
        let message = "name what to throw away: -tables, -ids or -all 1";
        return Err(Failure::new(message, &["PGSQLITE", "USAGE", "WHICH"]).into());
    };
    let rows =
        on.run(interp, &options, move |db, patience| verbs::discard(db, &which, patience))?;
    Ok(Obj::unsigned(rows).into())
}

pub(super) fn retry(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = match on {
        On::File => on.options(words, &["-tables", "-ids", "-all", "-stream"])?,
        On::Handle(..) => on.options(words, &["-tables", "-ids", "-all"])?,
    };
    let which = which(interp, &options)?.unwrap_or(Which::All);
    let source = on.source(&options)?;
    let retried = on.run(interp, &options, move |db, patience| {
        verbs::retry(db, source.as_ref(), &which, patience)
    })?;
    Ok(retried_dict(&retried).into())
}

fn retried_dict(retried: &Retried) -> Obj {
    let suspended = retried.suspended.iter().map(|s| (s.table.as_str(), Obj::dict(standing(s))));
    Obj::dict([
        ("applied", Obj::unsigned(retried.applied)),
        ("left", Obj::unsigned(retried.left)),
        ("live", Obj::text_list(&retried.live)),
        ("suspended", Obj::dict(suspended)),
    ])
}

pub(super) fn pause(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &[])?;
    Ok(Obj::from(on.run(interp, &options, verbs::pause)?).into())
}

pub(super) fn resume(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let options = on.options(words, &[])?;
    Ok(Obj::from(on.run(interp, &options, verbs::resume)?).into())
}

pub(super) fn wait(on: &On<'_>, interp: Interp, words: &[Obj]) -> Done {
    let known = ["-lsn", "-position", "-table", "-state", "-conninfo", "-timeout_ms"];
    let options = on.options(words, &known)?;
    let mut awaited = awaited(interp, &options)?;
    let conninfo = options.text("-conninfo")?.map(|text| Conninfo::parse(&text)).transpose()?;
    let file = on.file(interp, &options)?;
    let open = move || match connection::open_existing(&file) {
        // Who may only read waits as well.
        Err(Error::Sqlite(_)) => connection::open_read_only(&file),
        opened => opened,
    };
    let (position, lsn) = apart(interp, Duration::ZERO, open, move |db, patience| {
        if let Some(conninfo) = conninfo {
            awaited.lsn = awaited.lsn.max(Some(verbs::written(&conninfo)?));
        }
        verbs::wait(db, &awaited, patience.stop)
    })?;
    let place = [("position", position_value(Some(position))), ("lsn", lsn_value(lsn))];
    Ok(Obj::dict(place).into())
}

fn awaited(interp: Interp, options: &Options) -> CmdResult<Awaited> {
    let usage = |message: &str| {
        Exception::from(Failure::new(message.to_owned(), &["PGSQLITE", "USAGE", "WAIT"]))
    };
    let lsn = match options.text("-lsn")? {
        Some(text) => Some(text.parse().map_err(|_| {
            let message = format!("bad -lsn \"{text}\": must be as pg_current_wal_insert_lsn()");
            usage(&message)
        })?),
        None => None,
    };
    let position = match options.text("-position")? {
        Some(text) => Some(text.parse::<Position>().map_err(|_| {
            let message = format!("bad -position \"{text}\": must be {{clock seq}}");
            let code = ["PGSQLITE", "USAGE", "POSITION", "option", "-position"];
            Exception::from(Failure::new(message, &code))
        })?),
        None => None,
    };
    let table = options.text("-table")?;
    if let Some(state) = options.text("-state")? {
        if state != "live" {
            return Err(Failure::bad_word("-state", &state, &["live"]).into());
        }
        if table.is_none() {
            return Err(usage("-state needs -table"));
        }
    }
    let conninfo = options.get("-conninfo").is_some();
    if lsn.is_none() && position.is_none() && table.is_none() && !conninfo {
        return Err(usage("name what to wait for: -lsn, -position, -table or -conninfo"));
    }
    let timeout = options.count(interp, "-timeout_ms")?.map(Duration::from_millis);
    Ok(Awaited { lsn, position, table, timeout })
}
