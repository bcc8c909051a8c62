//! A mirror behind a handle.

use super::events::{Told, applied_dict, status_dict};
use super::verbs::{self, On};
use super::{applying, fill, resync, source, until};
use crate::deltamirror::{
    Error, FollowStatus, Follower, Options as Applying, Reloading, StreamSource,
    apply as apply_stream, status,
};
use crate::tcl::callback::Callback;
use crate::tcl::ensemble::{self, Handle, Method};
use crate::tcl::mailbox::{self, Mailbox};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options, sqlite_host};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

const METHODS: &[(&str, Method<Mirror>)] = &[
    ("init", init),
    ("apply", apply),
    ("start", start),
    ("stop", stop),
    ("status", tell_status),
    ("remove", |mirror, interp, words| verbs::remove(&mirror.on(), interp, words)),
    ("tables", |mirror, interp, words| verbs::tables(&mirror.on(), interp, words)),
    ("missing", |mirror, interp, words| verbs::missing(&mirror.on(), interp, words)),
    ("errors", |mirror, interp, words| verbs::errors(&mirror.on(), interp, words)),
    ("discard", |mirror, interp, words| verbs::discard(&mirror.on(), interp, words)),
    ("add", |mirror, interp, words| resync::add(&mirror.on(), interp, words)),
    ("repair", |mirror, interp, words| resync::repair(&mirror.on(), interp, words)),
    ("resync", |mirror, interp, words| resync::resync(&mirror.on(), interp, words)),
    ("retry", |mirror, interp, words| verbs::retry(&mirror.on(), interp, words)),
    ("pause", |mirror, interp, words| verbs::pause(&mirror.on(), interp, words)),
    ("resume", |mirror, interp, words| verbs::resume(&mirror.on(), interp, words)),
    ("wait", |mirror, interp, words| verbs::wait(&mirror.on(), interp, words)),
];

/// A mirror in the database of a handle.
struct Mirror {
    /// The handle's full name.
    handle: Obj,
    source: StreamSource,
    applying: Applying,
    follow: Rc<Following>,
}

impl Mirror {
    fn on(&self) -> On<'_> {
        On::Handle(&self.handle, &self.source)
    }
}

impl Handle for Mirror {
    fn close(&self) {
        self.follow.close();
    }
}

/// A follower that may run, and who hears of it.
#[derive(Default)]
pub(super) struct Following {
    running: RefCell<Option<(Follower, Mailbox)>>,
    /// How the last follower ended.
    last: RefCell<Option<FollowStatus>>,
}

impl Following {
    /// Starts; `heard` gets each event with the status then, on the event loop.
    pub(super) fn start(
        self: &Rc<Self>,
        interp: Interp,
        file: PathBuf,
        source: StreamSource,
        (applying, reloading): (Applying, Option<Reloading>),
        heard: impl Fn(Interp, &Told, &FollowStatus) + 'static,
    ) -> CmdResult<()> {
        if self.running.borrow().is_some() {
            let message = "the mirror is being followed already";
            return Err(Failure::new(message, &["PGSQLITE", "USAGE", "RUNNING"]).into());
        }
        let own = Rc::downgrade(self);
        let (mailbox, sender) = mailbox::open(interp, move |interp, told: Told| {
            let Some(own) = own.upgrade() else { return };
            if let Some(status) = own.after(&told) {
                heard(interp, &told, &status);
            }
        });
        let tell = Box::new(move |event| sender.send(Told::from(event)));
        let follower = Follower::start_with(file, source, applying, reloading, tell)?;
        self.running.replace(Some((follower, mailbox)));
        Ok(())
    }

    /// The status after an event; a follower that has ended is put away.
    fn after(&self, told: &Told) -> Option<FollowStatus> {
        let status = self.status()?;
        if matches!(told, Told::Ended | Told::Failed { .. }) {
            let running = self.running.take();
            self.last.replace(Some(status.clone()));
            drop(running);
        }
        Some(status)
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        self.running.borrow().is_some()
    }

    /// Asks it to end.
    pub(super) fn stop(&self) {
        if let Some((follower, _)) = &*self.running.borrow() {
            follower.stop();
        }
    }

    /// How it is, or how it ended; `None` when there never was one.
    pub(super) fn status(&self) -> Option<FollowStatus> {
        match &*self.running.borrow() {
            Some((follower, _)) => Some(follower.status()),
            None => self.last.borrow().clone(),
        }
    }

    /// Ends it, and waits: at most for the SQLite call in hand.
    pub(super) fn close(&self) {
        drop(self.running.take());
    }
}

fn usage(text: &str) -> Exception {
    Failure::wrong_args(text).into()
}

pub(super) fn open(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let (name, rest) = ensemble::optional_name(words);
    let options = Options::parse(rest, &["-db", "-stream", "-on_error", "-busy_ms"])?;
    options.required("-db")?;
    let handle = options.get("-db").cloned().unwrap_or_else(Obj::empty);
    let mirror = Mirror {
        handle: sqlite_host::full_name(interp, &handle)?,
        source: source(&options)?,
        applying: applying(interp, &options)?,
        follow: Rc::default(),
    };
    Ok(ensemble::create(interp, "deltamirror", name, Rc::new(mirror), METHODS)?.into())
}

fn init(mirror: &Rc<Mirror>, interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    Ok(fill::init_handle(interp, &mirror.handle, &mirror.source, words)?.into())
}

fn apply(mirror: &Rc<Mirror>, interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let until = until(&Options::parse(words, &["-until"])?)?;
    let held = sqlite_host::recover(interp, &mirror.handle)?;
    let applied = apply_stream(held.db(), &mirror.source, until, mirror.applying, held.closed());
    if held.is_closed() {
        return Err(sqlite_host::closed_during(&mirror.handle, "the apply"));
    }
    Ok(applied_dict(&applied?).into())
}

fn start(mirror: &Rc<Mirror>, interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let options = Options::parse(words, &["-command", "-conninfo", "-fill"])?;
    let callback = Callback::new(options.get("-command"));
    let with = (mirror.applying, fill::reloading(&options)?);
    let Some(file) = sqlite_host::recover(interp, &mirror.handle)?.db().file() else {
        return Err(Error::NoFile.into());
    };
    let source = mirror.source.clone();
    mirror.follow.start(interp, file, source, with, move |interp, told, status| {
        told.tell(interp, &callback, status);
    })?;
    Ok(Obj::empty().into())
}

fn stop(mirror: &Rc<Mirror>, _: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [] = words else { return Err(usage("mirror stop")) };
    mirror.follow.stop();
    Ok(Obj::empty().into())
}

fn tell_status(mirror: &Rc<Mirror>, interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [] = words else { return Err(usage("mirror status")) };
    let held = sqlite_host::recover(interp, &mirror.handle)?;
    let known = status(held.db(), Some(&mirror.source))?;
    Ok(status_dict(&known, mirror.follow.status().as_ref()).into())
}
