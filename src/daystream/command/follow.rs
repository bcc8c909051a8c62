//! Changes to a callback as they come, from the event loop.
//!
//! The kernel's reports make a descriptor readable; then lines are handed out, for a few
//! milliseconds at a time, so that other events have their turn.

use super::view::Shown;
use super::walk::{Step, Walk};
use crate::limits::FOLLOW_POLL_MS;
use crate::tcl::callback::Callback;
use crate::tcl::event::{Readable, Timer};
use crate::tcl::{CmdResult, Exception, Interp, Obj};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// How long lines are handed out before other events have their turn.
const TURN: Duration = Duration::from_millis(5);

/// A callback that hears of changes until this is dropped or stopped.
pub struct Follow {
    walk: Rc<Walk>,
    callback: Callback,
    readable: RefCell<Option<Readable>>,
    timer: RefCell<Option<Timer>>,
    ended: Cell<bool>,
}

impl Follow {
    /// Begins; the first change is handed out from the event loop, not before.
    #[must_use]
    pub fn start(interp: Interp, walk: Rc<Walk>, callback: Callback) -> Rc<Follow> {
        let follow = Rc::new(Follow {
            walk,
            callback,
            readable: RefCell::default(),
            timer: RefCell::default(),
            ended: Cell::new(false),
        });
        follow.later(interp, 0);
        follow
    }

    /// Hands out no more.
    pub fn stop(&self) {
        self.ended.set(true);
        drop(self.readable.take());
        drop(self.timer.take());
    }

    /// Whether it has been stopped, or has come to its end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    fn later(self: &Rc<Follow>, interp: Interp, milliseconds: u64) {
        let follow = Rc::downgrade(self);
        let wait = u32::try_from(milliseconds).unwrap_or(u32::MAX);
        let timer = Timer::after(interp, wait, move |interp| turn(&follow, interp));
        drop(self.timer.replace(Some(timer)));
    }

    /// Hands out what there is, for one turn.
    fn run(self: &Rc<Follow>, interp: Interp) -> CmdResult<()> {
        let until = Instant::now() + TURN;
        self.walk.look_again()?;
        while !self.ended.get() && !interp.is_deleted() {
            match self.walk.show()? {
                Step::Line(Shown::Elements(elements)) => {
                    self.callback.tell_objects(interp, "change", elements);
                }
                Step::Line(Shown::Value(value)) => {
                    self.callback.tell_value(interp, "change", value);
                }
                Step::Passed => {}
                Step::End => {
                    self.stop();
                    self.callback.tell(interp, "end", &[]);
                    return Ok(());
                }
                Step::Wait => match self.watch(interp)? {
                    true => {
                        self.later(interp, FOLLOW_POLL_MS);
                        return Ok(());
                    }
                    false => continue,
                },
            }
            if Instant::now() >= until {
                if !self.ended.get() {
                    self.later(interp, 0);
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sees to it that the event loop wakes us; false when there may be more already.
    fn watch(self: &Rc<Follow>, interp: Interp) -> CmdResult<bool> {
        let Some(descriptor) = self.walk.watch()? else { return Ok(false) };
        if self.readable.borrow().is_none() {
            let follow = Rc::downgrade(self);
            let readable = Readable::new(interp, descriptor, move |interp| turn(&follow, interp));
            self.readable.replace(Some(readable));
        }
        Ok(true)
    }
}

fn turn(follow: &Weak<Follow>, interp: Interp) {
    let Some(follow) = follow.upgrade() else { return };
    if follow.ended.get() {
        return;
    }
    if let Err(exception) = follow.run(interp) {
        follow.stop();
        match exception {
            Exception::Failure(failure) => {
                let code = Obj::text_list(failure.code());
                let details = [("message", Obj::text(failure.message())), ("code", code)];
                follow.callback.tell(interp, "error", &details);
            }
            raised @ Exception::Raised(_) => interp.background(&raised),
        }
    }
}
