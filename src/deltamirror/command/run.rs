//! `run`: the changes of a stream into a file, until stopped or until a place.

use super::events::{Told, applied_dict, followed_dict};
use super::handle::Following;
use super::{applying, file, fill, source, until};
use crate::deltamirror::{Options as Applying, Reloading, StreamSource, apply, connection};
use crate::tcl::callback::{Callback, Report};
use crate::tcl::serve::{self, Ended};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options, exit, job};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

pub(super) fn run(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let known =
        ["-db", "-stream", "-until", "-command", "-on_error", "-busy_ms", "-conninfo", "-fill"];
    let options = Options::parse(words, &known)?;
    let source = source(&options)?;
    let applying = applying(interp, &options)?;
    let reloading = fill::reloading(&options)?;
    let file = file(interp, &options)?;
    if reloading.is_some() && options.get("-until").is_some() {
        let message = "-conninfo is for a mirror that follows: leave out -until";
        return Err(Failure::new(message, &["PGSQLITE", "USAGE", "UNTIL"]).into());
    }
    if options.get("-until").is_none() {
        let callback = Callback::new(options.get("-command"));
        return Ok(follow(interp, file, source, (applying, reloading), callback)?.into());
    }
    let until = until(&options)?;
    let applied = job::run(
        interp,
        Arc::default(),
        move |stop, _: &job::Teller<(), _>| {
            let db = connection::open_existing(&file)?;
            Ok(apply(&db, &source, until, applying, stop)?)
        },
        |_, ()| Ok(()),
    )?;
    Ok(applied_dict(&applied).into())
}

/// Follows until `pgsqlite::stop`, or until it fails.
fn follow(
    interp: Interp,
    file: PathBuf,
    source: StreamSource,
    with: (Applying, Option<Reloading>),
    callback: Callback,
) -> CmdResult {
    let following: Rc<Following> = Rc::default();
    let failed: Rc<RefCell<Option<Report>>> = Rc::default();
    let failing = Rc::clone(&failed);
    let at_exit = Rc::downgrade(&following);
    let _guard = exit::at_exit(move || {
        if let Some(following) = at_exit.upgrade() {
            following.close();
        }
    });
    following.start(interp, file, source, with, move |interp, told, status| {
        if let Told::Failed { why } = told {
            failing.replace(Some(why.clone()));
        }
        told.tell(interp, &callback, status);
    })?;
    let ended = || !following.is_running();
    while serve::until(interp, ended)? == Ended::Stopped {
        following.stop();
    }
    if let Some(why) = failed.take() {
        return Err(why.failure.into());
    }
    Ok(following.status().map_or_else(Obj::empty, |status| followed_dict(&status)))
}
