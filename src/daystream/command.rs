//! `daystream`: the log of changes, read.
//!
//! ```text
//! daystream open    SOURCE ?name? ?option ...?
//! daystream foreach arrayVar SOURCE ?option ...? body
//! daystream cat     SOURCE ?option ...? ?-channel stdout? ?-follow 0|1?
//! daystream pseudo
//! daystream info    SOURCE
//! daystream verify  SOURCE
//! daystream readers  DIR
//! daystream forget   DIR NAME
//! daystream compress DIR ?-older_than_days N?
//! daystream retain  DIR ?-keep_days N? ?-keep_bytes N? ?-compress_after_days N?
//! ```
//! SOURCE is the folder of a stream, or its URL where `daystream serve` has it (`https://HOST:PORT/
//! NAME`; the token is in the environment, `DAYSTREAM_TOKEN`). What takes a DIR is done where the
//! files are. Options:
//!
//! ```text
//! -from PLACE      where to begin; default begin. PLACE is begin, end, CLOCK or {CLOCK SEQ}: with
//!                  the transaction that holds the position, or has a line of that clock (epoch
//!                  seconds) or later
//! -after POSITION  behind the transaction that ends at {CLOCK SEQ}: to go on from a `position`
//! -to PLACE        no transaction that ends beyond CLOCK or {CLOCK SEQ}
//! -tables LIST     only these tables {t schema.t ...}; commit and message lines come all the same
//! -actions LIST    only these verbs {insert update replace delete truncate schema message commit}
//! -columns LIST    only these columns of each change
//! -as FORM         array (default), dict: one value of names and values, or line: as it is
//! -register NAME   reads on behind what was confirmed under this name; -from, -after: once
//! -confirm HOW     auto (default): asking for the next change confirms the transactions before it,
//!                  and so does close; manual: `confirm` does
//! -heartbeats 0|1  whether a capture's heartbeats are given out; default 0, with `cat` 1
//! -quiet_ms N      in a stream without commit lines: the last transaction counts as whole after N
//!                  ms without growth
//! ```
//!
//! Only whole transactions are ever seen, in commit order.
//!
//! `open` makes a handle command, `daystreamN` unless named:
//!
//! ```text
//! $stream next arrayVar               1 and the next change in the array, or 0 at the end for now
//! $stream foreach arrayVar body       each change that is there now; yield, break, return work
//! $stream position                    {clock seq}, the end of what was given out, or {}
//! $stream confirm ?{clock seq}?       done with everything up to there, or all that was given out
//! $stream follow -command cb          from the event loop, as the stream grows
//! $stream stop                        ends `follow`
//! $stream close
//! ```
//! The array is emptied before each change. It then has the pseudo-columns `_c _s _table _xid
//! _action` (and `_schema _lsn _time _unchanged _key ...` where there) and the table's columns, all
//! decoded; a NULL or unchanged column has no element. Where a column is called as a pseudo-column,
//! or `_columns`, the element `_columns` is a list of names and values of all columns; without it
//! the elements that `pseudo` does not list are the columns.
//!
//! `follow` calls `cb change NAME VALUE ...`, `cb end` beyond `-to`, and `cb error message M code
//! C` when reading fails; after the last two nothing follows. Errors of cb go to `interp bgerror`.
//!
//! `cat` writes the lines as they are; it blocks. With `-follow 1` it serves events and goes on as
//! the stream grows, until `-to` or `pgsqlite::stop`. `info` reads the stream and returns a dict:
//! `first last segments compressed bytes transactions lines tables`, the last a dict of line
//! counts, and `heartbeats health beat_age_ms lag_ms`: how many there are, which the counts leave
//! out, and what the last one tells (see `deltastream`); `ahead_s`: how far the last stamp is ahead
//! of this machine's clock, where that is more than an hour. `verify` does so too and checks every
//! field of every line; the first damage is its error.
//!
//! A registered reader's position is kept in the stream's folder, saved once per second, when there
//! is no more for now, by `confirm` and at `close`. `retain` waits for it. What was not confirmed
//! comes again: each transaction at least once. `readers`, and `info` under `readers`, give a dict:
//! NAME to a dict `position saved active lag_s lag_bytes`. `forget` ends a registration.
//!
//! `retain` removes the oldest segments: those written more than N times 86,400 seconds ago, and
//! those beyond the newest N bytes; without an option none. The segment being written always stays.
//! It returns a dict: `segments bytes last`, of what was removed; `last` is the position that a
//! reader must be beyond. One call at a time; writer and readers may be at work.
//!
//! `compress` makes `.tsv.zst` of closed segments, or of those that have no line of the last N
//! times 86,400 seconds; readers do not care. A dict: `segments text_bytes bytes`, the last two
//! before and after. It blocks, and can be killed at any time. With `retain -compress_after_days`,
//! the dict of `retain` also tells how many: `compressed`.
//!
//! Errors: `PGSQLITE DAYSTREAM NOTFOUND|EMPTY|CORRUPT segment F byte N damage D|GAP|...`.
#![forbid(unsafe_code)]

mod cat;
mod change;
mod confirming;
mod follow;
mod options;
mod readers;
mod retain;
mod view;
mod walk;

use self::follow::Follow;
use self::options::{NAMES, Selection};
pub(crate) use self::options::{folder, folder_named, place};
use self::walk::{Changes, Walk};
use super::heartbeat::{self, Beat, Health};
use super::{Info, Position, Source};
use crate::limits::CLOCK_AHEAD_S;
use crate::tcl::callback::Callback;
use crate::tcl::ensemble::{self, Handle, Method, Sub};
use crate::tcl::{Body, CmdResult, Exception, Failure, Flow, Interp, Obj, Options};
use std::cell::RefCell;
use std::rc::Rc;

const SUBS: &[(&str, Sub)] = &[
    ("open", open),
    ("foreach", foreach),
    ("cat", cat::cat),
    ("pseudo", pseudo),
    ("info", info),
    ("verify", verify),
    ("readers", readers::readers),
    ("forget", readers::forget),
    ("compress", retain::compress),
    ("retain", retain::retain),
];

const METHODS: &[(&str, Method<Stream>)] = &[
    ("next", next),
    ("foreach", foreach_here),
    ("position", position),
    ("made", made),
    ("confirm", confirm),
    ("follow", follow_here),
    ("stop", stop),
];

/// Registers `daystream`.
///
/// # Errors
/// None in practice: the name is a constant.
pub fn register(interp: Interp) -> CmdResult<()> {
    ensemble::register(interp, "::daystream", SUBS)
}

/// What is behind a handle.
struct Stream {
    walk: Rc<Walk>,
    follow: RefCell<Option<Rc<Follow>>>,
}

impl Handle for Stream {
    fn close(&self) {
        let follow = self.follow.take();
        if let Some(follow) = follow {
            follow.stop();
        }
        self.walk.settle();
    }
}

impl Stream {
    /// Reading on by hand is not possible while events do it.
    fn idle(&self) -> CmdResult<()> {
        if self.follow.borrow().as_ref().is_some_and(|follow| !follow.has_ended()) {
            let message = "the stream is being followed: stop that first";
            return Err(Failure::new(message, &["PGSQLITE", "USAGE", "FOLLOWING"]).into());
        }
        Ok(())
    }
}

fn usage(text: &str) -> Exception {
    Failure::wrong_args(text).into()
}

fn open(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [source, rest @ ..] = words else {
        return Err(usage("daystream open source ?name? ?-option value ...?"));
    };
    let (name, rest) = ensemble::optional_name(rest);
    let selection = Selection::new(interp, source, &Options::parse(rest, &NAMES)?)?;
    let walk = Rc::new(Walk::open(&selection, false)?);
    let stream = Rc::new(Stream { walk, follow: RefCell::default() });
    Ok(ensemble::create(interp, "daystream", name, stream, METHODS)?.into())
}

fn foreach(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [array, source, rest @ .., body] = words else {
        return Err(usage("daystream foreach arrayVar source ?-option value ...? body"));
    };
    let selection = Selection::new(interp, source, &Options::parse(rest, &NAMES)?)?;
    let walk = Rc::new(Walk::open(&selection, false)?);
    let changes = Changes { walk, array: array.clone() };
    Ok(Flow::Body(Body::new("daystream foreach", body.clone(), changes)))
}

fn next(stream: &Rc<Stream>, interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [array] = words else { return Err(usage("stream next arrayVar")) };
    stream.idle()?;
    Ok(stream.walk.set_next(interp, array)?.into())
}

fn foreach_here(stream: &Rc<Stream>, _: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [array, body] = words else { return Err(usage("stream foreach arrayVar body")) };
    stream.idle()?;
    let changes = Changes { walk: Rc::clone(&stream.walk), array: array.clone() };
    Ok(Flow::Body(Body::new("daystream foreach", body.clone(), changes)))
}

fn position(stream: &Rc<Stream>, _: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [] = words else { return Err(usage("stream position")) };
    Ok(position_value(stream.walk.position()).into())
}

fn made(stream: &Rc<Stream>, _: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [] = words else { return Err(usage("stream made")) };
    Ok(stream.walk.made().map_or_else(Obj::empty, Obj::unsigned).into())
}

fn confirm(stream: &Rc<Stream>, interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let position = match words {
        [] => None,
        [position] => Some(options::position(interp, position)?),
        _ => return Err(usage("stream confirm ?position?")),
    };
    Ok(position_value(stream.walk.confirm(position)?).into())
}

fn follow_here(stream: &Rc<Stream>, interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let options = Options::parse(words, &["-command"])?;
    let Some(callback) = options.get("-command") else {
        return Err(usage("stream follow -command prefix"));
    };
    stream.idle()?;
    let callback = Callback::new(Some(callback));
    let follow = Follow::start(interp, Rc::clone(&stream.walk), callback);
    drop(stream.follow.replace(Some(follow)));
    Ok(Obj::empty().into())
}

fn stop(stream: &Rc<Stream>, _: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [] = words else { return Err(usage("stream stop")) };
    stream.close();
    Ok(Obj::empty().into())
}

/// `{clock seq}`, or the empty list.
pub(crate) fn position_value(position: Option<Position>) -> Obj {
    let Some(position) = position else { return Obj::empty() };
    Obj::list(&[Obj::int(position.clock), Obj::unsigned(position.seq)])
}

/// The names of the pseudo-columns, and `_columns`.
fn pseudo(_: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [] = words else { return Err(usage("daystream pseudo")) };
    Ok(Obj::text_list(deltaflood::PSEUDO_COLUMNS.into_iter().chain([change::ALL])).into())
}

fn info(_: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [source] = words else { return Err(usage("daystream info source")) };
    let source = place(source)?;
    let dict = match &source {
        Source::Url(url) => info_dict(&super::info_from(url)?),
        Source::Folder(dir) => {
            let info = super::info(dir)?;
            let mut dict = info_dict(&info);
            let (seen, unseen) = readers::seen(dir, info.last)?;
            dict.dict_put(&Obj::text("readers"), &seen);
            let unseen: Vec<Obj> = unseen.iter().map(|name| Obj::text(name)).collect();
            dict.dict_put(&Obj::text("unseen_readers"), &Obj::list(&unseen));
            dict
        }
    };
    Ok(dict.into())
}

fn verify(_: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [source] = words else { return Err(usage("daystream verify source")) };
    let (info, damage) = match place(source)? {
        Source::Url(url) => super::verify_from(&url)?,
        Source::Folder(dir) => super::verify(&dir)?,
    };
    match damage {
        Some(damage) => Err(damage.into()),
        None => Ok(info_dict(&info).into()),
    }
}

fn info_dict(info: &Info) -> Obj {
    let tables = info.tables.iter().map(|((schema, table), lines)| {
        let name = if schema == "public" { table.clone() } else { format!("{schema}.{table}") };
        (name, Obj::unsigned(*lines))
    });
    let of_beat = |number: fn(&Beat) -> u64| match &info.tail {
        Some(tail) => Obj::unsigned(number(&tail.beat)),
        None => Obj::empty(),
    };
    let now = heartbeat::now_us();
    let age = info.tail.map_or_else(Obj::empty, |tail| Obj::int(tail.beat.seen_ms(now)));
    let ahead_s = info.last.map(|last| last.clock.saturating_sub(now / 1_000_000));
    let ahead_s = ahead_s.filter(|ahead| *ahead > CLOCK_AHEAD_S);
    Obj::dict([
        ("first", position_value(info.first)),
        ("last", position_value(info.last)),
        ("segments", Obj::unsigned(info.segments)),
        ("compressed", Obj::unsigned(info.compressed)),
        ("bytes", Obj::unsigned(info.bytes)),
        ("transactions", Obj::unsigned(info.transactions)),
        ("lines", Obj::unsigned(info.lines)),
        ("tables", Obj::dict(tables)),
        ("heartbeats", Obj::unsigned(info.heartbeats)),
        ("health", Obj::text(Health::of_stream(info.tail.as_ref()).word())),
        ("beat_age_ms", age),
        ("lag_ms", of_beat(Beat::capture_lag_ms)),
        ("ahead_s", ahead_s.map_or_else(Obj::empty, Obj::int)),
    ])
}
