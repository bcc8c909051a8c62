//! `deltastream`: a PostgreSQL replication slot into a daystream.
//!
//! ```text
//! deltastream setup  -conninfo C -slot S -stream DIR ?-tables {t1 schema.t2 ...}?
//!                    ?-publication P? ?-plugin pgoutput|deltaflood? ?-command cb?
//! deltastream run    -conninfo C -slot S -stream DIR ?-command cb? ?capture option ...?
//! deltastream open   ?name? -conninfo C -slot S -stream DIR ?capture option ...?
//! deltastream read   -stream DIR ?-channel stdin? ?-commits 0|1? ?-quiet_ms N?
//!                    ?-segment_bytes N?
//! deltastream status -conninfo C -slot S ?-stream DIR? ?-publication P?
//! deltastream drop   -conninfo C -slot S ?-publication P?
//! ```
//! `setup`, `status` and `drop` block until the server has answered; making a slot waits for the
//! transactions that are running.
//!
//! `setup` makes the publication (default: called as the slot; default tables: all) or adds tables
//! to it, makes the slot, and notes in the stream where it comes from. It may be run again. The
//! plugin deltaflood knows no publications: the stream keeps the names of the tables instead, and
//! more can be added while nothing is captured. A dict:
//! `slot publication consistent_point slot_created publication_created added tables schema_changed
//! event_trigger warnings`. `-announce 1` makes the function `pgsqlite.schema_changed()`, by which
//! a migration tells captures at once; `-event_trigger 1`, of a superuser, event triggers too.
//! With `-command` it serves events while it waits, calls `cb slotwait slot S holders {pid, ...}
//! waited_s N`, and is ended by `pgsqlite::stop`, after which there is nothing of it.
//! `status` is a dict: `slot state plugin database confirmed_lsn wal_lsn lag_bytes lag_s kept_bytes
//! wal_status safe_wal_bytes lost active_pid publication tables schema_changed event_trigger
//! distrusted stream_lsn health beat_age_ms
//! beat_lag_ms ahead_s capture capture_since_us capture_code capture_error`; what is unknown is
//! empty. `ahead_s`: the stream is stamped so many seconds ahead of the server, more than an hour.
//! `beat_...` tell of the stream's newest heartbeat; `state` is `streaming`, `unread`, `lost`,
//! `unready`, `standby` or `diverged`; `capture` is `running`, `waiting` (to try again what
//! failed), `stopped`, `failed`, `gone` (killed), `none` or `unknown`. `drop` drops the slot, and
//! the publication that setup made for it, as far as they exist, and says so in a dict:
//! `slot 0|1 publication 0|1`, and `kept P` of a publication that is somebody else's; with the last
//! logical slot of the database also the function and the event triggers (`schema_changed 0|1
//! event_trigger 0|1`; `left`: statements for those of another role).
//!
//! Capture options:
//!
//! | option | meaning |
//! |---|---|
//! | `-sync_interval_ms N` | time between two fsyncs while transactions come; default 10 |
//! | `-until_lsn L` | ends when everything committed before L is durable |
//! | `-until_idle_ms N` | ends when nothing new came for N ms and everything is durable |
//! | `-publication P`, `-plugin P` | default: those of the stream |
//! | `-invalid_text error\|replace\|bytes` | text of a `SQL_ASCII` database that is no UTF-8 |
//! | `-oversize error\|skip` | what the plugin deltaflood does with a value that fits no line |
//! | `-tables {...}` | must be in the publication, or among the stream's tables |
//! | `-segment_bytes N` | size at which a segment is cut; default 64 MiB |
//! | `-heartbeat_s N` | between two heartbeats; default 10, 0 for none; none with `-until_...` |
//! | `-compress 0\|1` | compresses closed segments, in a thread of lowest priority; default 0 |
//! | `-compress_after_days N` | compresses those that have no line of the last N days |
//!
//! `open` makes a handle command, `deltastreamN` unless named. Nothing in it blocks but `close`:
//!
//! ```text
//! $capture start ?-command cb?        captures in threads of its own; tells cb from the event loop
//! $capture stop                       asks it to end; `end` is told when it has
//! $capture status                     a dict, see below
//! $capture close                      ends it, everything received made durable (at most 10 s)
//! ```
//! `cb` is called as `cb EVENT name value ...`; its errors go to `interp bgerror`:
//!
//! | event | details |
//! |---|---|
//! | `connected` | `lsn`: from where |
//! | `reconnecting` | `message code class after_ms`: why, and when it is tried again |
//! | `timeline` | `from to`: the server was promoted |
//! | `warning` | `message`: the server warns of something in what it sends |
//! | `transactions` | `count lines position lsn time_us`: became durable |
//! | `compressed` | `segments text_bytes bytes`: closed segments were compressed |
//! | `notcompressed` | `message code class`: that failed, and is tried again later |
//! | `end` | `transactions lines lsn`: ended as asked |
//! | `error` | `message code class`: ended by an error |
//!
//! The status dict: `state` (`opened starting streaming waiting stopped failed`), `transactions
//! lines connections position durable_lsn received_lsn wal_lsn lag_bytes commit_time_us error
//! error_code since_us health heartbeat heartbeat_error beat_age_ms lag_ms clock_offset_ms`.
//! Counts begin with `start` and leave heartbeats out. `health`: `stalled` (no heartbeat for three
//! intervals), `slow` (2 s late or more), `idle` (heartbeats only), `live`, or `unknown`;
//! `heartbeat`: `off`, `waiting` (for the first), `on`, or `refused` (with `heartbeat_error`);
//! `lag_ms`: of the last heartbeat, from its commit to durable in the stream.
//!
//! `run` captures too, but blocks and serves events, until `-until_...`, an error, or
//! `pgsqlite::stop`; it returns the status dict. `read` takes lines in from a channel, those of
//! `pg_recvlogical ... -f -` or any deltaflood lines, until its end; it blocks and serves events.
//! It returns a dict: `lines transactions repeated unfinished lsn`; what ended up to `lsn` is
//! durable. In lines without commit lines a transaction ends where `_xid` changes, at the end, and
//! with `-quiet_ms` after a pause. With `-commits 1`, or when the stream's last transaction has an
//! LSN, nothing is written without a commit line.
//!
//! Errors: `PGSQLITE STREAM SLOTMISSING|SLOTINUSE|SLOTLOST|AHEAD|... slot S`,
//! `PGSQLITE DAYSTREAM LOCKED|...`, `PGSQLITE POSTGRES ...`.
#![forbid(unsafe_code)]

mod events;
mod handle;
mod read;

pub(crate) use self::events::{Told, lsn_value};
pub(crate) use self::handle::CaptureHandle;

use super::{
    Announce, InvalidText, Options as Capturing, Plugin, Setup, SetupOptions, Slot, Waiting,
    drop_slot, setup, setup_with, status_of,
};
use crate::daystream::command::folder_named;
use crate::daystream::heartbeat::{self, Beat};
use crate::tcl::callback::Callback;
use crate::tcl::ensemble::{self, Sub};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options, job};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const SUBS: &[(&str, Sub)] = &[
    ("setup", set_up),
    ("run", handle::run),
    ("open", handle::open),
    ("read", read::read),
    ("status", status),
    ("drop", drop_both),
];

const SET_UP: [&str; 9] = [
    "-conninfo",
    "-slot",
    "-stream",
    "-tables",
    "-publication",
    "-plugin",
    "-announce",
    "-event_trigger",
    "-command",
];

const CAPTURE: [&str; 15] = [
    "-conninfo",
    "-slot",
    "-stream",
    "-publication",
    "-plugin",
    "-oversize",
    "-invalid_text",
    "-tables",
    "-sync_interval_ms",
    "-until_lsn",
    "-until_idle_ms",
    "-segment_bytes",
    "-heartbeat_s",
    "-compress",
    "-compress_after_days",
];

/// Registers `deltastream`.
///
/// # Errors
/// None in practice: the name is a constant.
pub fn register(interp: Interp) -> CmdResult<()> {
    ensemble::register(interp, "::deltastream", SUBS)
}

/// What a capture needs, from its options.
fn capturing(interp: Interp, options: &Options) -> CmdResult<Capturing> {
    let conninfo = options.required("-conninfo")?;
    let slot = options.required("-slot")?;
    let stream = folder_named(&options.required("-stream")?)?;
    let mut capture = Capturing::new(&conninfo, &slot, stream);
    capture.publication = options.text("-publication")?;
    capture.plugin = plugin(options)?;
    check_publication(capture.plugin, capture.publication.as_ref())?;
    capture.oversize_skip = match options.text("-oversize")?.as_deref() {
        None | Some("error") => false,
        Some("skip") => true,
        Some(word) => {
            return Err(Failure::bad_word("value of -oversize", word, &["error", "skip"]).into());
        }
    };
    capture.invalid_text = invalid_text(options)?;
    capture.tables = options.list(interp, "-tables")?.unwrap_or_default();
    if let Some(ms) = options.count(interp, "-sync_interval_ms")? {
        capture.sync_interval_ms = ms;
    }
    if let Some(text) = options.text("-until_lsn")? {
        capture.until_lsn = Some(text.parse().map_err(|_| bad_lsn(&text))?);
    }
    capture.until_idle_ms = options.count(interp, "-until_idle_ms")?;
    if let Some(bytes) = options.count(interp, "-segment_bytes")? {
        capture.segment_bytes = bytes;
    }
    if let Some(seconds) = options.count(interp, "-heartbeat_s")? {
        capture.heartbeat_ms = seconds.saturating_mul(1000);
    }
    let days = options.count(interp, "-compress_after_days")?;
    let now = options.flag(interp, "-compress")?.unwrap_or(days.is_some());
    // More days than fit are never over.
    let days = u32::try_from(days.unwrap_or(0)).unwrap_or(u32::MAX);
    capture.compress_after_days = now.then_some(days);
    Ok(capture)
}

/// `-invalid_text`.
pub(crate) fn invalid_text(options: &Options) -> CmdResult<InvalidText> {
    let Some(word) = options.text("-invalid_text")? else { return Ok(InvalidText::default()) };
    let known = || Failure::bad_word("value of -invalid_text", &word, &InvalidText::WORDS);
    Ok(InvalidText::from_word(&word).ok_or_else(known)?)
}

fn bad_lsn(text: &str) -> Failure {
    let message = format!("\"{text}\" is not an LSN: it must look like 16/B374D848");
    Failure::new(message, &["PGSQLITE", "USAGE", "LSN", "option", "-until_lsn"])
}

fn plugin(options: &Options) -> CmdResult<Option<Plugin>> {
    let Some(name) = options.text("-plugin")? else { return Ok(None) };
    match Plugin::from_name(&name) {
        Some(plugin) => Ok(Some(plugin)),
        None => Err(Failure::bad_word("plugin", &name, &["pgoutput", "deltaflood"]).into()),
    }
}

/// A publication named for a plugin that takes no notice of it would not choose anything.
fn check_publication(plugin: Option<Plugin>, publication: Option<&String>) -> CmdResult<()> {
    if plugin == Some(Plugin::Deltaflood) && publication.is_some() {
        let message = "the plugin deltaflood knows no publications: name tables by -tables";
        return Err(Failure::new(message, &["PGSQLITE", "USAGE", "CONFLICT"]).into());
    }
    Ok(())
}

/// What is to tell captures of statements.
fn announce(interp: Interp, options: &Options) -> CmdResult<Announce> {
    let function = options.flag(interp, "-announce")?;
    match options.flag(interp, "-event_trigger")? {
        Some(true) => Ok(Announce::EventTrigger),
        _ if function == Some(true) => Ok(Announce::Function),
        _ => Ok(Announce::Nothing),
    }
}

fn set_up(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let options = Options::parse(words, &SET_UP)?;
    let wanted = SetupOptions {
        conninfo: options.required("-conninfo")?,
        slot: options.required("-slot")?,
        stream: Some(folder_named(&options.required("-stream")?)?),
        tables: options.list(interp, "-tables")?.unwrap_or_default(),
        publication: options.text("-publication")?,
        plugin: plugin(&options)?.unwrap_or_default(),
        announce: announce(interp, &options)?,
    };
    check_publication(Some(wanted.plugin), wanted.publication.as_ref())?;
    let done = match options.get("-command") {
        None => setup(&wanted)?,
        told => set_up_and_tell(interp, wanted.clone(), &Callback::new(told), Arc::default())?,
    };
    let dict = Obj::dict([
        ("slot", Obj::text(&wanted.slot)),
        ("publication", Obj::text(&done.publication)),
        ("consistent_point", Obj::text(&done.consistent_point.to_string())),
        ("slot_created", done.slot_created.into()),
        ("publication_created", done.publication_created.into()),
        ("added", Obj::text_list(&done.added)),
        ("tables", Obj::text_list(&done.tables)),
        ("schema_changed", done.schema_changed.into()),
        ("event_trigger", done.event_trigger.into()),
        ("warnings", Obj::text_list(&done.warnings)),
    ]);
    Ok(dict.into())
}

/// Sets up on a thread of its own, while events are served; tells what it waits for.
pub(crate) fn set_up_and_tell(
    interp: Interp,
    wanted: SetupOptions,
    callback: &Callback,
    stop: Arc<AtomicBool>,
) -> CmdResult<Setup> {
    let callback = callback.clone();
    let work = move |stop: &AtomicBool, teller: &job::Teller<Waiting, Setup>| {
        Ok(setup_with(&wanted, stop, &mut |waiting| teller.tell(waiting.clone()))?)
    };
    job::run(interp, stop, work, move |interp, waiting: Waiting| {
        let details = [
            ("slot", Obj::text(&waiting.slot)),
            ("holders", Obj::text(&waiting.holders)),
            ("waited_s", Obj::unsigned(waiting.waited.as_secs())),
        ];
        callback.tell(interp, "slotwait", &details);
        Ok(())
    })
}

fn status(_: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let options = Options::parse(words, &["-conninfo", "-slot", "-stream", "-publication"])?;
    let stream = options.text("-stream")?.map(|name| folder_named(&name)).transpose()?;
    let (conninfo, slot) = (options.required("-conninfo")?, options.required("-slot")?);
    let publication = options.text("-publication")?;
    let status = status_of(&conninfo, &slot, stream.as_deref(), publication.as_deref())?;
    let Slot { name, plugin, database, active_pid, confirmed, wal_status, safe_wal_bytes, .. } =
        &status.slot;
    let optional = |value: Option<String>| Obj::text(&value.unwrap_or_default());
    let of_beat = |number: fn(&Beat) -> u64| {
        optional(status.tail.as_ref().map(|tail| number(&tail.beat).to_string()))
    };
    let now = heartbeat::now_us();
    let age = status.tail.map_or_else(Obj::empty, |tail| Obj::int(tail.beat.seen_ms(now)));
    let dict = Obj::dict([
        ("slot", Obj::text(name)),
        ("state", Obj::text(status.state)),
        ("plugin", Obj::text(plugin)),
        ("database", Obj::text(database)),
        ("confirmed_lsn", Obj::text(&confirmed.to_string())),
        ("wal_lsn", Obj::text(&status.wal_lsn.to_string())),
        ("lag_bytes", status.lag_bytes.into()),
        ("lag_s", status.lag_s.map_or_else(Obj::empty, Obj::real)),
        ("kept_bytes", status.kept_bytes.into()),
        ("wal_status", Obj::text(wal_status)),
        ("safe_wal_bytes", optional(safe_wal_bytes.map(|bytes| bytes.to_string()))),
        ("lost", optional(status.slot.lost.clone())),
        ("active_pid", optional(active_pid.map(|pid| pid.to_string()))),
        ("publication", Obj::text(&status.publication)),
        ("tables", Obj::text_list(&status.tables)),
        ("schema_changed", status.announced.function.into()),
        ("event_trigger", status.announced.event_trigger.into()),
        ("distrusted", optional(status.announced.distrusted.clone())),
        ("stream_lsn", optional(status.stream_lsn.map(|lsn| lsn.to_string()))),
        ("health", Obj::text(status.health().word())),
        ("beat_age_ms", age),
        ("beat_lag_ms", of_beat(Beat::capture_lag_ms)),
        ("ahead_s", status.ahead_s.map_or_else(Obj::empty, Obj::int)),
        ("capture", Obj::text(status.capture.doing.word())),
        ("capture_since_us", optional(status.capture.since_us.map(|us| us.to_string()))),
        ("capture_code", Obj::text(&status.capture.code)),
        ("capture_error", Obj::text(&status.capture.message)),
    ]);
    Ok(dict.into())
}

fn drop_both(_: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let options = Options::parse(words, &["-conninfo", "-slot", "-publication"])?;
    let (conninfo, slot) = (options.required("-conninfo")?, options.required("-slot")?);
    let publication = options.text("-publication")?;
    let dropped = drop_slot(&conninfo, &slot, publication.as_deref())?;
    let mut entries =
        vec![("slot", dropped.slot.into()), ("publication", dropped.publication.into())];
    if dropped.schema_changed || dropped.event_trigger {
        entries.push(("schema_changed", dropped.schema_changed.into()));
        entries.push(("event_trigger", dropped.event_trigger.into()));
    }
    if let Some(left) = &dropped.left {
        entries.push(("left", Obj::text(left)));
    }
    if let Some(kept) = &dropped.kept {
        entries.push(("kept", Obj::text(kept)));
    }
    Ok(Obj::dict(entries).into())
}
