//! `deltamirror`: a daystream into SQLite.
//!
//! ```text
//! deltamirror open ?name? -db HANDLE -stream SOURCE ?apply option ...?
//! deltamirror init    -conninfo C -db FILE -stream SOURCE ?-tables {t1 schema.t2 ...}?
//!                     ?-progress cb? ?-resync 0|1? ?-fill replace|difference?
//!                     ?-ddl follow|additive|stop? ?-busy_ms N? ?-writers_ms N?
//! deltamirror run     -db FILE -stream SOURCE ?-until end|{CLOCK SEQ}? ?-command cb?
//!                     ?apply option ...?
//! deltamirror live    -conninfo C -db FILE ?-tables {...}? ?-slot S? ?-stream DIR?
//!                     ?-publication P? ?-command cb? ?apply option ...?
//! deltamirror status  -db FILE ?-stream SOURCE?
//! deltamirror compare -conninfo C -db FILE ?-tables {...}? ?-stream SOURCE? ?-wait_ms N?
//!                     ?-keys N?
//! deltamirror remove  -db FILE -tables {...} ?-keep 0|1?
//! deltamirror tables  -db FILE ?-tables {...}?
//! deltamirror missing -db FILE
//! deltamirror errors  -db FILE ?-tables {...} | -ids {...}? ?-limit N?
//! deltamirror discard -db FILE -tables {...} | -ids {...} | -all 1
//! deltamirror retry   -db FILE ?-tables {...} | -ids {...}? ?-stream SOURCE?
//! deltamirror resync  -db FILE -tables {...} | -all 1 ?-fill replace|difference?
//!                     ?-conninfo C ?-stream SOURCE? ?-progress cb? ?-warning cb? ?-writers_ms N??
//! deltamirror repair  -db FILE ?-tables {...}? ?-conninfo C ...?
//! deltamirror add     -db FILE -tables {...} ?-conninfo C ...?
//! deltamirror pause   -db FILE
//! deltamirror resume  -db FILE
//! deltamirror wait    -db FILE ?-lsn L? ?-position {CLOCK SEQ}? ?-table T ?-state live??
//!                     ?-conninfo C? ?-timeout_ms N?
//! ```
//! SOURCE is the folder of a stream or its URL on another host (`https://HOST:PORT/NAME`), HANDLE a
//! command of the `sqlite3` package, FILE an SQLite file, for which the package `sqlite3` is
//! loaded.
//!
//! `open` makes a handle command, `deltamirrorN` unless named:
//!
//! ```text
//! $mirror init -conninfo C ?-tables {...}? ?-progress cb? ?-resync 0|1?
//!             ?-fill replace|difference?                                 blocks
//! $mirror apply ?-until end|{CLOCK SEQ}?                                  blocks
//! $mirror start ?-command cb?      follows, in a thread with a connection of its own
//! $mirror stop                     asks it to end; `end` is told when it has
//! $mirror status                   a dict, see below
//! $mirror remove | tables | missing | errors | discard | retry | resync | repair | add ...
//! $mirror pause | resume | wait ...
//! $mirror close
//! ```
//! `init` makes the tables from the PostgreSQL schema (without `-tables` all of the stream's
//! publication) and copies them from a consistent snapshot, while the stream runs on. Tables that
//! are ready are kept; `-resync 1` fills those named anew. It returns a dict of table and rows. The
//! progress callback is called as `cb TABLE ROWS` every 10,000 rows and at a table's end; TABLE is
//! empty while ROWS transactions that wrote before are waited for; its error ends the init. `apply`
//! applies what is there, whole transactions, on HANDLE, and returns a dict: `transactions changes
//! held repeated other_tables errors passed_over ended position lsn`, where `ended` is `end` or
//! `until`. A
//! database without a file can be applied to, but not followed.
//!
//! The verbs from `remove` on work beside a follower (`verbs`); each takes `-busy_ms` too.
//!
//! Apply options: `-on_error stop|keep|suspend` (a row that cannot be applied ends it, is kept in
//! `_deltamirror_error`, or its table stands still; default stop), `-busy_ms N` (how long to wait
//! for a locked database; default 5000).
//!
//! A `-command` callback is called as `cb EVENT name value ...`; its errors go to `interp bgerror`:
//!
//! | event | details |
//! |---|---|
//! | `applied` | `transactions changes errors position lsn tables`: became visible |
//! | `retrying` | `message code class after_ms`: a failure that may pass |
//! | `resumed` | `position lsn`: it goes on after `retrying` |
//! | `suspended` | `table message code class`: a table stands still, the others go on |
//! | `warning` | `message`: as that another process follows into the file |
//! | `reloading` | `table reason`: a table is copied again while the mirror goes on |
//! | `copying` | `table rows`: rows of it so far |
//! | `reloaded` | `table rows`, `changed` by difference: the new copy is in place |
//! | `reload_waits` | `table message code class after_ms`: tried again after a pause |
//! | `end` | `position lsn transactions changes`: ended as asked |
//! | `error` | `message code class`: ended by an error |
//!
//! `live` tells besides: `setup` (`slot stream publication created`), `copying` and `copied`
//! (`table rows`), `waiting` (`transactions`), `following` (`position`), and the events of a
//! capture: `connected reconnecting timeline transactions`.
//!
//! The status dict: `state stream position lsn commit_time_us lag_ms transactions changes tables
//! errors end health held_at capture_lag_ms apply_lag_ms`, and while it follows `latency_us`
//! (median and 99th percentile, commit to visible) and `last_error`. `health` is that of
//! `deltastream`, `held_at` where it is stalled or slow: `capture` or `apply`.
//! `state` is `applying waiting retrying stopped failed`, or `idle` when nobody
//! follows here. `lag_ms` is empty when it is not known: the stream cannot
//! be seen from here, nothing was applied yet, or the capture is stalled.
//!
//! `init`, `run`, `live` and `compare` with FILE block, but serve events; `pgsqlite::stop` ends
//! them cleanly. `run` and `apply` return the same dict. `live` makes slot and publication (called
//! `deltamirror_NAME_...` after the file), writes the stream beside the file (`FILE.daystream`),
//! copies, and follows; run again it goes on. `compare` compares every row with PostgreSQL, waiting
//! up to `-wait_ms` (default 10000) for changes that are on their way to the mirror. A dict: `equal
//! rows position lsn reached rounds tables differences`. `differences` is a list of dicts: `table
//! kind key`, with at most `-keys` (default 20) for each table, where `kind` is `missing` (in
//! PostgreSQL only), `extra` (in the mirror only) or `different`. `tables` is a dict of dicts:
//! `rows different unsettled`, the last those that were written to all the time. `reached` is 0
//! when the mirror was not seen to have all that PostgreSQL had.
//!
//! Errors: `PGSQLITE MIRROR DRIFT|NOROW|CONFLICT|VALUE|NOTINITIALISED|... table T`,
//! `PGSQLITE SQLITE BUSY|...`, `PGSQLITE DAYSTREAM ...`, `PGSQLITE STREAM ...`.
#![forbid(unsafe_code)]

mod compare;
mod events;
mod fill;
mod handle;
mod live;
mod resync;
mod run;
mod verbs;

use self::verbs::On;
use super::{OnError, Options as Applying, StreamSource, connection, status};
use crate::daystream::Position;
use crate::daystream::command::place;
use crate::tcl::ensemble::{self, Sub};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options, sqlite_host};
use std::path::PathBuf;
use std::time::Duration;

const SUBS: &[(&str, Sub)] = &[
    ("open", handle::open),
    ("init", fill::init_file),
    ("run", run::run),
    ("live", live::live),
    ("status", status_of_file),
    ("compare", compare::compare_file),
    ("remove", |interp, words| verbs::remove(&On::File, interp, words)),
    ("tables", |interp, words| verbs::tables(&On::File, interp, words)),
    ("missing", |interp, words| verbs::missing(&On::File, interp, words)),
    ("errors", |interp, words| verbs::errors(&On::File, interp, words)),
    ("discard", |interp, words| verbs::discard(&On::File, interp, words)),
    ("add", |interp, words| resync::add(&On::File, interp, words)),
    ("repair", |interp, words| resync::repair(&On::File, interp, words)),
    ("resync", |interp, words| resync::resync(&On::File, interp, words)),
    ("retry", |interp, words| verbs::retry(&On::File, interp, words)),
    ("pause", |interp, words| verbs::pause(&On::File, interp, words)),
    ("resume", |interp, words| verbs::resume(&On::File, interp, words)),
    ("wait", |interp, words| verbs::wait(&On::File, interp, words)),
];

/// Registers `deltamirror`.
///
/// # Errors
/// None in practice: the name is a constant.
pub fn register(interp: Interp) -> CmdResult<()> {
    ensemble::register(interp, "::deltamirror", SUBS)
}

/// How to apply, from `-on_error` and `-busy_ms`.
fn applying(interp: Interp, options: &Options) -> CmdResult<Applying> {
    let mut applying = Applying::default();
    match options.text("-on_error")?.as_deref() {
        None | Some("stop") => applying.on_error = OnError::Stop,
        Some("keep") => applying.on_error = OnError::Keep,
        Some("suspend") => applying.on_error = OnError::Suspend,
        Some(word) => {
            let known = ["stop", "keep", "suspend"];
            return Err(Failure::bad_word("-on_error", word, &known).into());
        }
    }
    if let Some(ms) = options.count(interp, "-busy_ms")? {
        applying.busy = Duration::from_millis(ms);
    }
    Ok(applying)
}

/// The stream that an option names.
fn source(options: &Options) -> CmdResult<StreamSource> {
    options.required("-stream")?;
    let name = options.get("-stream").cloned().unwrap_or_else(Obj::empty);
    Ok(StreamSource::open(place(&name)?)?)
}

/// The file that `-db` names; the SQLite of the package is made available.
fn file(interp: Interp, options: &Options) -> CmdResult<PathBuf> {
    let file = options.required("-db")?;
    sqlite_host::prepare(interp)?;
    Ok(PathBuf::from(file))
}

/// Where to end, from `-until`; `None`: at the end of the stream.
fn until(options: &Options) -> CmdResult<Option<Position>> {
    let Some(text) = options.text("-until")? else { return Ok(None) };
    if text == "end" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let message = format!("bad -until \"{text}\": must be end or {{clock seq}}");
        let code = ["PGSQLITE", "USAGE", "POSITION", "option", "-until"];
        Failure::new(message, &code).into()
    })
}

fn status_of_file(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let options = Options::parse(words, &["-db", "-stream"])?;
    let file = file(interp, &options)?;
    let source = options.get("-stream").map(|_| source(&options)).transpose()?;
    let db = connection::open_read_only(&file)?;
    Ok(events::status_dict(&status(&db, source.as_ref())?, None).into())
}
