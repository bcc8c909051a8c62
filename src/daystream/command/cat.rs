//! `daystream cat`: the lines as they are, to a channel.

use super::options::{NAMES, Selection};
use super::walk::{Step, Walk};
use crate::limits::FOLLOW_POLL_MS;
use crate::tcl::channel::Channel;
use crate::tcl::event::{Readable, Timer};
use crate::tcl::serve::{self, Ended};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options};
use std::cell::Cell;
use std::rc::Rc;

/// Bytes gathered before they are written.
const CHUNK_BYTES: usize = 64 << 10;

pub(super) fn cat(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [source, rest @ ..] = words else {
        let usage = "daystream cat source ?-option value ...?";
        return Err(Failure::wrong_args(usage).into());
    };
    // NOTE: lines are written as they are.
    let names = NAMES.into_iter().filter(|name| !["-as", "-columns"].contains(name));
    let known: Vec<&str> = names.chain(["-channel", "-follow"]).collect();
    let options = Options::parse(rest, &known)?;
    let name = options.get("-channel").cloned().unwrap_or_else(|| Obj::text("stdout"));
    let follow = options.flag(interp, "-follow")?.unwrap_or(false);
    let walk = Walk::open(&Selection::new(interp, source, &options)?, true)?;
    loop {
        let ended = copy(interp, &walk, &name)?;
        if ended || !follow || wait(interp, &walk)? == Ended::Stopped {
            return Ok(Obj::empty().into());
        }
    }
}

/// Writes what there is; true beyond `-to`.
fn copy(interp: Interp, walk: &Walk, name: &Obj) -> CmdResult<bool> {
    // NOTE: looked up each time: between two calls a script may have closed it.
    let (channel, access) = Channel::find(interp, name)?;
    if !access.write {
        let name = name.text_lossy();
        let message = format!("channel \"{name}\" wasn't opened for writing");
        return Err(Failure::new(message, &["PGSQLITE", "CHANNEL", "WRITE"]).into());
    }
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let ended = loop {
        let step = walk.step(|line, _| {
            chunk.extend_from_slice(line);
            chunk.push(b'\n');
            Ok(())
        })?;
        match step {
            Step::Line(()) if chunk.len() < CHUNK_BYTES => {}
            Step::Line(()) => {
                channel.write(&chunk)?;
                chunk.clear();
            }
            Step::Wait => break false,
            Step::End => break true,
        }
    };
    channel.write(&chunk)?;
    interp.call(&[Obj::text("::flush"), name.clone()])?;
    Ok(ended)
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
