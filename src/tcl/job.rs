//! Long work on a thread of its own while the command that asked for it serves events.
//!
//! The work gets a flag that says when to stop, and tells events that are handled on the
//! interpreter's thread. `pgsqlite::stop` sets the flag; so do the end of the interpreter and of
//! the thread (`exit`), which wait for the work, but not longer than [`JOB_CLOSE_MS`].

use super::error::{CmdResult, Exception, Failure};
use super::guard;
use super::interp::Interp;
use super::mailbox::{self, Fold, Sender};
use super::serve::{self, Ended};
use super::{exit, obj::Obj};
use crate::limits::JOB_CLOSE_MS;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The thread of a job, from outside.
struct Job {
    stop: Arc<AtomicBool>,
    /// Says nothing, and is disconnected when the thread is at its end.
    ended: Receiver<()>,
}

impl Job {
    fn close(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.ended.recv_timeout(Duration::from_millis(JOB_CLOSE_MS));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.close();
    }
}

/// What comes from the thread.
enum Message<E, T> {
    Event(E),
    Done(Result<T, Failure>),
}

impl<E: Fold, T> Fold for Message<E, T> {
    fn fold(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Message::Event(event), Message::Event(next)) => event.fold(next).map(Message::Event),
            (_, next) => Some(next),
        }
    }
}

/// How the work tells of events.
pub struct Teller<E, T>(Sender<Message<E, T>>);

impl<E: Fold + Send, T: Send> Teller<E, T> {
    /// Tells of an event.
    pub fn tell(&self, event: E) {
        self.0.send(Message::Event(event));
    }
}

/// Runs `work` on a thread and serves events until it is done; `stop` is the flag that it gets.
/// `heard` gets its events; an error of `heard` stops the work, and is the result.
///
/// # Errors
/// Those of the work and of `heard`; `PGSQLITE INTERNAL PANIC`; `PGSQLITE INTERP DELETED`.
pub fn run<E, T, W>(
    interp: Interp,
    stop: Arc<AtomicBool>,
    work: W,
    heard: impl Fn(Interp, E) -> CmdResult<()> + 'static,
) -> CmdResult<T>
where
    E: Fold + Send + 'static,
    T: Send + 'static,
    W: FnOnce(&AtomicBool, &Teller<E, T>) -> Result<T, Failure> + Send + 'static,
{
    let result: Rc<RefCell<Option<Result<T, Failure>>>> = Rc::default();
    let refused: Rc<RefCell<Option<Exception>>> = Rc::default();
    let (keep, refuse, halt) = (Rc::clone(&result), Rc::clone(&refused), Arc::clone(&stop));
    let (_mailbox, sender) = mailbox::open(interp, move |interp, message| match message {
        Message::Event(event) => {
            if refuse.borrow().is_none()
                && let Err(exception) = heard(interp, event)
            {
                halt.store(true, Ordering::Relaxed);
                let kept = interp.keep(exception);
                refuse.replace(Some(kept));
            }
        }
        Message::Done(outcome) => drop(keep.replace(Some(outcome))),
    });
    let job = Rc::new(start(work, Arc::clone(&stop), sender)?);
    let at_exit = Rc::downgrade(&job);
    let _guard = exit::at_exit(move || {
        if let Some(job) = at_exit.upgrade() {
            job.close();
        }
    });
    while serve::until(interp, || result.borrow().is_some())? == Ended::Stopped {
        // NOTE: the work ends in its own time; a second stop changes nothing.
        job.stop.store(true, Ordering::Relaxed);
    }
    if let Some(exception) = refused.take() {
        return Err(exception);
    }
    let outcome = result.take();
    outcome.unwrap_or_else(|| Err(Failure::plain("the work has no result"))).map_err(Into::into)
}

fn start<E, T, W>(
    work: W,
    stop: Arc<AtomicBool>,
    sender: Sender<Message<E, T>>,
) -> Result<Job, Failure>
where
    E: Fold + Send + 'static,
    T: Send + 'static,
    W: FnOnce(&AtomicBool, &Teller<E, T>) -> Result<T, Failure> + Send + 'static,
{
    let (alive, ended) = channel();
    let flag = Arc::clone(&stop);
    let spawned = std::thread::Builder::new().name("pgsqlite-job".to_owned()).spawn(move || {
        let _alive = alive;
        let teller = Teller(sender);
        let outcome = guard::caught(|| work(&flag, &teller)).unwrap_or_else(Err);
        teller.0.send(Message::Done(outcome));
    });
    match spawned {
        Ok(_) => Ok(Job { stop, ended }),
        Err(error) => {
            let message = format!("cannot start a thread: {error}");
            Err(Failure::new(message, &["PGSQLITE", "SYSTEM", "THREAD"]))
        }
    }
}

impl Interp<'_> {
    /// An exception that stays what it is while other scripts run: the error that the interpreter
    /// holds becomes one of ours.
    pub fn keep(self, exception: Exception) -> Exception {
        match exception {
            Exception::Raised(1) => {
                let message = self.result().text_lossy().into_owned();
                let code = self.error_code();
                let words = code.as_list(self).unwrap_or_default();
                let words: Vec<String> = words.iter().map(word).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                Failure::new(message, &words).into()
            }
            other => other,
        }
    }
}

fn word(value: &Obj) -> String {
    value.text_lossy().into_owned()
}
