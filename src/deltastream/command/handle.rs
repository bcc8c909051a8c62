//! Captures behind handles, and the one that blocks.

use super::events::{Told, listener, status_dict};
use super::{CAPTURE, capturing};
use crate::deltastream::{Capture, Options as Capturing, Status};
use crate::limits::CAPTURE_CLOSE_MS;
use crate::tcl::callback::{Callback, Report};
use crate::tcl::ensemble::{self, Handle, Method};
use crate::tcl::mailbox::{self, Mailbox};
use crate::tcl::serve::{self, Ended};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options};
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

const METHODS: &[(&str, Method<CaptureHandle>)] =
    &[("start", start), ("stop", stop), ("status", status)];

/// A capture that may run, and who hears of it.
pub(crate) struct CaptureHandle {
    options: Capturing,
    running: RefCell<Option<Running>>,
    /// The status of the last capture that ended.
    last: RefCell<Option<Status>>,
}

struct Running {
    capture: Capture,
    _mailbox: Mailbox,
}

impl Handle for CaptureHandle {
    fn close(&self) {
        let running = self.running.take();
        if let Some(running) = running {
            running.capture.close(Duration::from_millis(CAPTURE_CLOSE_MS));
        }
    }
}

impl CaptureHandle {
    pub(crate) fn new(options: Capturing) -> Rc<CaptureHandle> {
        let (running, last) = (RefCell::default(), RefCell::default());
        Rc::new(CaptureHandle { options, running, last })
    }

    /// Starts the capture; `heard` gets each event with the status then, on the event loop.
    pub(crate) fn start(
        self: &Rc<Self>,
        interp: Interp,
        heard: impl Fn(Interp, &Told, &Status) + 'static,
    ) -> CmdResult<()> {
        // NOTE: also one that has ended, as long as nobody was told: that would never come.
        if let Some(running) = &*self.running.borrow() {
            let message = if running.capture.is_finished() {
                "the capture has ended, and its end is not told yet: let the event loop turn"
            } else {
                "the capture runs already"
            };
            return Err(Failure::new(message, &["PGSQLITE", "USAGE", "RUNNING"]).into());
        }
        let own = Rc::downgrade(self);
        let (mailbox, sender) = mailbox::open(interp, move |interp, told: Told| {
            let status = own.upgrade().map(|own| own.after(&told)).unwrap_or_default();
            heard(interp, &told, &status);
        });
        let capture = Capture::start(self.options.clone(), listener(sender))?;
        self.running.replace(Some(Running { capture, _mailbox: mailbox }));
        Ok(())
    }

    /// Whether it is not running, and its end was told.
    pub(crate) fn has_ended(&self) -> bool {
        self.running.borrow().is_none()
    }

    /// The status after an event; a capture that has ended is put away.
    fn after(&self, told: &Told) -> Status {
        let status = self.status();
        if matches!(told, Told::Ended | Told::Failed { .. }) {
            // NOTE: the mailbox is dropped while it delivers, which it allows.
            let running = self.running.take();
            self.last.replace(Some(status.clone()));
            drop(running);
        }
        status
    }

    /// Asks a capture that runs to end.
    pub(crate) fn stop(&self) {
        if let Some(running) = &*self.running.borrow() {
            running.capture.stop();
        }
    }

    pub(crate) fn status(&self) -> Status {
        match &*self.running.borrow() {
            Some(running) => running.capture.status(),
            None => self.last.borrow().clone().unwrap_or_default(),
        }
    }

    fn state(&self) -> &'static str {
        if self.running.borrow().is_none() && self.last.borrow().is_none() {
            return "opened";
        }
        self.status().state.word()
    }

    pub(crate) fn status_dict(&self) -> Obj {
        status_dict(&self.status(), self.state())
    }
}

fn usage(text: &str) -> Exception {
    Failure::wrong_args(text).into()
}

pub(super) fn open(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let (name, rest) = ensemble::optional_name(words);
    let options = capturing(interp, &Options::parse(rest, &CAPTURE)?)?;
    let handle = CaptureHandle::new(options);
    Ok(ensemble::create(interp, "deltastream", name, handle, METHODS)?.into())
}

fn start(handle: &Rc<CaptureHandle>, interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let options = Options::parse(words, &["-command"])?;
    let callback = Callback::new(options.get("-command"));
    handle.start(interp, move |interp, told, status| told.tell(interp, &callback, status))?;
    Ok(Obj::empty().into())
}

fn stop(handle: &Rc<CaptureHandle>, _: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [] = words else { return Err(usage("capture stop")) };
    handle.stop();
    Ok(Obj::empty().into())
}

fn status(handle: &Rc<CaptureHandle>, _: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [] = words else { return Err(usage("capture status")) };
    Ok(handle.status_dict().into())
}

/// Captures until told to end, serving events.
pub(super) fn run(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let known: Vec<&str> = CAPTURE.into_iter().chain(["-command"]).collect();
    let options = Options::parse(words, &known)?;
    let handle = CaptureHandle::new(capturing(interp, &options)?);
    let callback = Callback::new(options.get("-command"));
    let failed: Rc<RefCell<Option<Report>>> = Rc::default();
    let failing = Rc::clone(&failed);
    // However this ends, the capture ends with it.
    let _closing = Closing(Rc::downgrade(&handle));
    handle.start(interp, move |interp, told, status| {
        if let Told::Failed { why } = told {
            failing.replace(Some(why.clone()));
        }
        told.tell(interp, &callback, status);
    })?;
    let ended = || handle.has_ended();
    if serve::until(interp, ended)? == Ended::Stopped {
        handle.stop();
        // NOTE: a second `pgsqlite::stop` does not wait for the clean end of the first.
        serve::until(interp, ended)?;
    }
    if let Some(why) = failed.take() {
        return Err(why.failure.into());
    }
    Ok(handle.status_dict().into())
}

struct Closing(Weak<CaptureHandle>);

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(handle) = self.0.upgrade() {
            handle.close();
        }
    }
}
