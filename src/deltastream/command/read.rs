//! `deltastream read`: lines from a channel into a daystream.

use crate::daystream::command::folder_named;
use crate::daystream::{Intake, Taken, Writer, WriterOptions};
use crate::deltastream::Keeper;
use crate::tcl::channel::Channel;
use crate::tcl::event::Timer;
use crate::tcl::serve::{self, Ended};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options, command};
use deltaflood::Lsn;
use std::cell::Cell;
use std::rc::Rc;

/// Bytes read at a time.
const PIECE_BYTES: usize = 64 << 10;

const KNOWN: [&str; 7] =
    ["-stream", "-channel", "-commits", "-quiet_ms", "-segment_bytes", "-conninfo", "-slot"];

pub(super) fn read(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let options = Options::parse(words, &KNOWN)?;
    let stream = folder_named(&options.required("-stream")?)?;
    let name = options.get("-channel").cloned().unwrap_or_else(|| Obj::text("stdin"));
    let quiet_ms = options.count(interp, "-quiet_ms")?;
    let (_, access) = Channel::find(interp, &name)?;
    if !access.read {
        let message = format!("channel \"{}\" wasn't opened for reading", name.text_lossy());
        return Err(Failure::new(message, &["PGSQLITE", "CHANNEL", "READ"]).into());
    }
    let mut how = WriterOptions::default();
    if let Some(bytes) = options.count(interp, "-segment_bytes")? {
        how.segment_bytes = bytes;
    }
    let mut keeper = keeper(&options)?;
    let mut writer = Writer::open(stream, how)?;
    let mut intake = match options.flag(interp, "-commits")? {
        Some(true) => Intake::with_commits(),
        _ => Intake::new(),
    };
    let input = Input::new(interp, name)?;
    let mut sink = Sink { writer: &mut writer, keeper: keeper.as_mut() };
    let outcome = pump(interp, &input, &mut intake, &mut sink, quiet_ms);
    input.release(interp);
    if outcome.is_err() {
        writer.abandon()?;
    }
    // NOTE: what came before an error is kept, too.
    // DURABILITY: before the LSN is told, which is what the caller may let the server forget.
    writer.sync()?;
    let taken = outcome?;
    if let (Some(keeper), Some(lsn)) = (&mut keeper, writer.last_lsn()) {
        keeper.advance(lsn)?;
    }
    Ok(dict(&taken, writer.last_lsn()).into())
}

/// The slot that makes the server remember what is not durable here.
fn keeper(options: &Options) -> CmdResult<Option<Keeper>> {
    let Some(slot) = options.text("-slot")? else { return Ok(None) };
    Ok(Some(Keeper::open(&options.required("-conninfo")?, &slot)?))
}

/// Where lines go, and who is told how far they are safe.
struct Sink<'a> {
    writer: &'a mut Writer,
    keeper: Option<&'a mut Keeper>,
}

impl Sink<'_> {
    /// Makes everything durable, and tells the server from time to time.
    fn sync(&mut self) -> CmdResult<()> {
        // DURABILITY: before the server may forget it.
        self.writer.sync()?;
        if let (Some(keeper), Some(lsn)) = (&mut self.keeper, self.writer.last_lsn())
            && keeper.is_due()
        {
            keeper.advance(lsn)?;
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.is_due())
    }
}

fn dict(taken: &Taken, lsn: Option<Lsn>) -> Obj {
    Obj::dict([
        ("lines", taken.lines.into()),
        ("transactions", taken.transactions.into()),
        ("repeated", taken.repeated.into()),
        ("unfinished", taken.unfinished.into()),
        ("lsn", lsn.map_or_else(Obj::empty, |lsn| Obj::text(&lsn.to_string()))),
    ])
}

/// Takes in what comes, until the end of the channel or `pgsqlite::stop`.
fn pump(
    interp: Interp,
    input: &Input,
    intake: &mut Intake,
    sink: &mut Sink<'_>,
    quiet_ms: Option<u64>,
) -> CmdResult<Taken> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        // NOTE: looked up each time: a script may have closed it while events were served.
        let (channel, _) = Channel::find(interp, &input.name)?;
        let length = channel.read(&mut piece)?;
        if length > 0 {
            intake.push(piece.get(..length).unwrap_or_default(), sink.writer)?;
            if sink.is_due() {
                sink.sync()?;
            }
            continue;
        }
        if interp.call(&[Obj::text("::eof"), input.name.clone()])?.as_bool(interp)? {
            return Ok(intake.finish(sink.writer)?);
        }
        sink.sync()?;
        match input.wait(interp, quiet_ms)? {
            Woken::Readable => {}
            Woken::Quiet => {
                intake.quiet(sink.writer)?;
                sink.sync()?;
            }
            Woken::Stopped => return Ok(intake.finish(sink.writer)?),
        }
    }
}

enum Woken {
    Readable,
    Quiet,
    Stopped,
}

/// A channel in binary, non-blocking mode, with what it was before.
struct Input {
    name: Obj,
    readable: Rc<Cell<bool>>,
    handler: command::Command,
    before: Vec<(&'static str, Obj)>,
}

impl Input {
    fn new(interp: Interp, name: Obj) -> CmdResult<Input> {
        let readable = Rc::new(Cell::new(false));
        let seen = Rc::clone(&readable);
        let address = Rc::as_ptr(&readable).addr();
        let handler = format!("::pgsqlite::readable_{address:x}");
        let handler = command::register(interp, &handler, move |_, _| {
            seen.set(true);
            Ok(Obj::empty().into())
        })?;
        let mut before = Vec::new();
        for option in ["-encoding", "-translation", "-blocking"] {
            let words = [Obj::text("::fconfigure"), name.clone(), Obj::text(option)];
            before.push((option, interp.call(&words)?));
        }
        let input = Input { name, readable, handler, before };
        input.configure(interp, "-translation", Obj::text("binary"))?;
        input.configure(interp, "-blocking", Obj::int(0))?;
        Ok(input)
    }

    fn configure(&self, interp: Interp, option: &str, value: Obj) -> CmdResult {
        interp.call(&[Obj::text("::fconfigure"), self.name.clone(), Obj::text(option), value])
    }

    fn watch(&self, interp: Interp, script: &str) -> CmdResult {
        let (event, readable) = (Obj::text("::fileevent"), Obj::text("readable"));
        interp.call(&[event, self.name.clone(), readable, Obj::text(script)])
    }

    /// Serves events until there is something to read, or nothing came for a while.
    fn wait(&self, interp: Interp, quiet_ms: Option<u64>) -> CmdResult<Woken> {
        self.readable.set(false);
        self.watch(interp, &self.handler.full_name().unwrap_or_default())?;
        let quiet = Rc::new(Cell::new(false));
        let _timer = quiet_ms.map(|ms| {
            let over = Rc::clone(&quiet);
            let ms = u32::try_from(ms).unwrap_or(u32::MAX);
            Timer::after(interp, ms, move |_| over.set(true))
        });
        let ended = serve::until(interp, || self.readable.get() || quiet.get());
        interp.undisturbed(|| self.watch(interp, "").is_ok());
        Ok(match ended? {
            Ended::Stopped => Woken::Stopped,
            Ended::Done if self.readable.get() => Woken::Readable,
            Ended::Done => Woken::Quiet,
        })
    }

    /// Leaves the channel as it was, if it is still there.
    fn release(&self, interp: Interp) {
        interp.undisturbed(|| {
            for (option, value) in &self.before {
                let _ = self.configure(interp, option, value.clone());
            }
            self.handler.delete();
        });
    }
}
