//! `daystream cat`: the lines as they are, to a channel.

use super::options::{NAMES, Selection};
use super::walk::{Step, Walk};
use crate::limits::{CAT_END_MS, CAT_PENDING_BYTES_MAX, FOLLOW_POLL_MS};
use crate::tcl::channel::Channel;
use crate::tcl::event::{Readable, Timer};
use crate::tcl::serve::{self, Asked, Ended};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options};
use std::cell::Cell;
use std::rc::Rc;

/// Bytes gathered before they are written.
const CHUNK_BYTES: usize = 64 << 10;

/// A stream on its way to a channel.
struct Copy {
    walk: Walk,
    channel: Obj,
    /// It reads under a name, and what is written is confirmed.
    confirm: bool,
    /// Set where events are served.
    stop: Option<Asked>,
}

/// Why no more was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paused {
    /// There is no more for now.
    Wait,
    /// It is beyond `-to`, or was stopped.
    End,
}

pub(super) fn cat(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [source, rest @ ..] = words else {
        let usage = "daystream cat source ?-option value ...?";
        return Err(Failure::wrong_args(usage).into());
    };
    // NOTE: lines are written as they are.
    let names = NAMES.into_iter().filter(|name| !["-as", "-columns"].contains(name));
    let known: Vec<&str> = names.chain(["-channel", "-follow"]).collect();
    let options = Options::parse(rest, &known)?;
    let channel = options.get("-channel").cloned().unwrap_or_else(|| Obj::text("stdout"));
    let follow = options.flag(interp, "-follow")?.unwrap_or(false);
    let walk = Walk::open(&Selection::new(interp, source, &options)?, true)?;
    let (confirm, stop) = (walk.defer(), follow.then(|| Asked::since_now(interp)));
    let copy = Copy { walk, channel, confirm, stop };
    loop {
        let ended = copy.run(interp)? == Paused::End;
        if ended || copy.is_to_stop() || wait(interp, &copy.walk)? == Ended::Stopped {
            return Ok(Obj::empty().into());
        }
    }
}

/// Lines that were gathered.
struct Chunk {
    bytes: Vec<u8>,
    /// Those of whole transactions, from the beginning.
    whole: usize,
}

impl Copy {
    /// Whether it ends where the stream does now.
    fn is_to_stop(&self) -> bool {
        self.stop.as_ref().is_none_or(Asked::to_stop)
    }

    /// Writes what there is. When reading fails, what is whole before that is written and
    /// confirmed first.
    fn run(&self, interp: Interp) -> CmdResult<Paused> {
        let mut chunk = Chunk { bytes: Vec::with_capacity(CHUNK_BYTES), whole: 0 };
        loop {
            let step = match self.step(&mut chunk) {
                Ok(step) => step,
                Err(exception) => {
                    let exception = interp.keep(exception);
                    chunk.bytes.truncate(chunk.whole);
                    self.write(interp, &mut chunk, true)?;
                    return Err(exception);
                }
            };
            match step {
                Step::Line(()) if chunk.bytes.len() < CHUNK_BYTES => continue,
                Step::Line(()) | Step::Passed => self.write(interp, &mut chunk, false)?,
                Step::Wait => {
                    self.write(interp, &mut chunk, true)?;
                    return Ok(Paused::Wait);
                }
                Step::End => {
                    self.write(interp, &mut chunk, true)?;
                    return Ok(Paused::End);
                }
            }
            if let Some(stop) = &self.stop {
                serve::turn(interp)?;
                if stop.to_stop() {
                    self.walk.end_here();
                }
            }
        }
    }

    /// Gathers the next line.
    fn step(&self, chunk: &mut Chunk) -> CmdResult<Step<()>> {
        let (before, gathered) = (self.walk.position(), chunk.bytes.len());
        let step = self.walk.step(|line, _| {
            chunk.bytes.extend_from_slice(line);
            chunk.bytes.push(b'\n');
            Ok(())
        });
        if self.walk.position() != before {
            chunk.whole = gathered;
        }
        if self.walk.is_whole() {
            chunk.whole = chunk.bytes.len();
        }
        step
    }

    /// Writes what was gathered. Confirms, now and then and at the end, what has left this process:
    /// what a channel refuses, or keeps, comes again.
    fn write(&self, interp: Interp, chunk: &mut Chunk, end: bool) -> CmdResult<()> {
        // NOTE: looked up each time: between two calls a script may have closed it.
        let (channel, access) = Channel::find(interp, &self.channel)?;
        if !access.write {
            let name = self.channel.text_lossy();
            let message = format!("channel \"{name}\" wasn't opened for writing");
            return Err(Failure::new(message, &["PGSQLITE", "CHANNEL", "WRITE"]).into());
        }
        channel.write(&chunk.bytes)?;
        chunk.bytes.clear();
        chunk.whole = 0;
        let due = self.confirm && (end || self.walk.is_due());
        if due || end {
            self.flush(interp)?;
        } else if channel.pending() > CAT_PENDING_BYTES_MAX {
            self.drain(interp)?;
        }
        // DURABILITY: retention removes what was confirmed: nothing of it may still be in here.
        if due && Channel::find(interp, &self.channel)?.0.pending() == 0 {
            self.walk.confirm(None)?;
        }
        Ok(())
    }

    /// Hands all that was written to the system.
    fn flush(&self, interp: Interp) -> CmdResult<()> {
        interp.call(&[Obj::text("::flush"), self.channel.clone()])?;
        self.drain(interp)
    }

    /// Waits until a channel that does not block has given away what it holds: with events being
    /// served, where they are, until they ask to stop.
    fn drain(&self, interp: Interp) -> CmdResult<()> {
        let pending = || Channel::lookup(interp, &self.channel).map_or(0, |c| c.pending());
        if pending() == 0 {
            return Ok(());
        }
        if let Some(stop) = &self.stop {
            // Who is asked to end waits for a moment only.
            let late = Rc::new(Cell::new(false));
            let in_time = Rc::clone(&late);
            let _timer = stop
                .to_stop()
                .then(|| Timer::after(interp, CAT_END_MS, move |_| in_time.set(true)));
            serve::until(interp, || pending() == 0 || late.get())?;
            return Ok(());
        }
        let configure = |value| {
            let words = ["::fconfigure", "", "-blocking", value].map(Obj::text);
            let [command, _, option, value] = words;
            interp.call(&[command, self.channel.clone(), option, value])
        };
        configure("1")?;
        let flushed = interp.call(&[Obj::text("::flush"), self.channel.clone()]);
        let flushed = flushed.map_err(|exception| interp.keep(exception));
        configure("0")?;
        flushed.map(drop)
    }
}

/// Serves events until the stream may have grown.
fn wait(interp: Interp, walk: &Walk) -> CmdResult<Ended> {
    let Some(descriptor) = walk.watch()? else { return Ok(Ended::Done) };
    let grown = Rc::new(Cell::new(false));
    let (by_report, by_time) = (Rc::clone(&grown), Rc::clone(&grown));
    // NOTE: the handler lasts only as long as the descriptor is waited for, so that the loop below
    // comes round once for each report.
    let _readable = Readable::new(interp, descriptor, move |_| by_report.set(true));
    let poll = u32::try_from(FOLLOW_POLL_MS).unwrap_or(u32::MAX);
    let _timer = Timer::after(interp, poll, move |_| by_time.set(true));
    let ended = serve::until(interp, || grown.get())?;
    walk.look_again()?;
    Ok(ended)
}
