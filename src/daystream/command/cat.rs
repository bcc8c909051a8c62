//! `daystream cat`: the lines as they are, to a channel.

use super::options::{NAMES, Selection};
use super::walk::{Step, Walk};
use crate::limits::FOLLOW_POLL_MS;
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
        if ended || !follow || wait(interp, &copy.walk)? == Ended::Stopped {
            return Ok(Obj::empty().into());
        }
    }
}

impl Copy {
    /// Writes what there is.
    fn run(&self, interp: Interp) -> CmdResult<Paused> {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        // Where the transaction began in which it is to stop: it ends behind that.
        let mut stopping = None;
        loop {
            let step = self.walk.step(|line, _| {
                chunk.extend_from_slice(line);
                chunk.push(b'\n');
                Ok(())
            })?;
            let stopped = stopping.is_some_and(|began| self.walk.position() != began);
            match step {
                Step::Line(()) if chunk.len() < CHUNK_BYTES && !stopped => continue,
                Step::Line(()) | Step::Passed if !stopped => {
                    self.write(interp, &mut chunk, false)?;
                }
                Step::Wait if !stopped => {
                    self.write(interp, &mut chunk, true)?;
                    return Ok(Paused::Wait);
                }
                _ => {
                    self.write(interp, &mut chunk, true)?;
                    return Ok(Paused::End);
                }
            }
            if let Some(stop) = &self.stop {
                serve::turn(interp)?;
                if stopping.is_none() && stop.to_stop() {
                    stopping = Some(self.walk.position());
                }
            }
        }
    }

    /// Writes what was gathered. Confirms, now and then and at the end, what has left this process:
    /// what a channel refuses comes again.
    fn write(&self, interp: Interp, chunk: &mut Vec<u8>, end: bool) -> CmdResult<()> {
        // NOTE: looked up each time: between two calls a script may have closed it.
        let (channel, access) = Channel::find(interp, &self.channel)?;
        if !access.write {
            let name = self.channel.text_lossy();
            let message = format!("channel \"{name}\" wasn't opened for writing");
            return Err(Failure::new(message, &["PGSQLITE", "CHANNEL", "WRITE"]).into());
        }
        channel.write(chunk)?;
        chunk.clear();
        let due = self.confirm && (end || self.walk.is_due());
        if due || end {
            interp.call(&[Obj::text("::flush"), self.channel.clone()])?;
        }
        if due {
            self.walk.confirm(None)?;
        }
        Ok(())
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
