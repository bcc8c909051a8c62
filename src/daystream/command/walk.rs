//! Going through a stream line by line, up to a place.

use super::change::{self, Names};
use super::options::Selection;
use crate::daystream::heartbeat::{Heartbeats, Kind};
use crate::daystream::{Feed, Position};
use crate::tcl::{CmdResult, Exception, Failure, Interp, Iteration, Obj};
use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;

/// A reader with the place where it ends.
pub struct Walk {
    reader: RefCell<Feed>,
    to: Option<Position>,
    names: Names,
    /// What knows heartbeats, where they are kept back.
    beats: Option<RefCell<Heartbeats>>,
}

/// What comes next.
pub enum Step<T> {
    /// A line.
    Line(T),
    /// There is no more for now.
    Wait,
    /// There is no more before the place where it ends.
    End,
}

impl Walk {
    /// Opens the stream. `heartbeats`: whether they are given out, unless the selection says so.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open(selection: &Selection, heartbeats: bool) -> CmdResult<Walk> {
        let reader = RefCell::new(selection.reader()?);
        let shown = selection.heartbeats.unwrap_or(heartbeats);
        let beats = (!shown).then(RefCell::default);
        Ok(Walk { reader, to: selection.to, names: Names::default(), beats })
    }

    /// Hands the next line to `take`. No borrow is held when this returns; `take` runs no script
    /// that could come back here, save variable traces, which find the reader busy.
    ///
    /// # Errors
    /// The reader's, or that of `take`.
    pub fn step<T>(&self, take: impl FnOnce(&[u8], &Names) -> CmdResult<T>) -> CmdResult<Step<T>> {
        let mut reader = self.reader.try_borrow_mut().map_err(|_| busy())?;
        loop {
            reader.arrive()?;
            let Some(entry) = reader.next()? else { return Ok(Step::Wait) };
            if self.to.is_some_and(|to| entry.transaction.last > to) {
                return Ok(Step::End);
            }
            let hidden = |beats: &RefCell<Heartbeats>| beats.borrow_mut().take(&entry);
            if matches!(self.beats.as_ref().map(hidden), None | Some(Kind::Change)) {
                return Ok(Step::Line(take(entry.change.line(), &self.names)?));
            }
        }
    }

    /// The end of the last transaction that was given out.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.reader.try_borrow().ok().and_then(|reader| reader.position())
    }

    /// As [`Reader::watch`].
    ///
    /// # Errors
    /// Those of the system.
    pub fn watch(&self) -> CmdResult<Option<RawFd>> {
        Ok(self.reader.try_borrow_mut().map_err(|_| busy())?.watch()?)
    }

    /// As [`Reader::look_again`].
    ///
    /// # Errors
    /// Those of the system.
    pub fn look_again(&self) -> CmdResult<()> {
        Ok(self.reader.try_borrow_mut().map_err(|_| busy())?.look_again()?)
    }

    /// Makes the array hold the next change; false when there is none.
    ///
    /// # Errors
    /// The reader's; a variable that is no array.
    pub fn set_next(&self, interp: Interp, array: &Obj) -> CmdResult<bool> {
        let step = self.step(change::elements)?;
        let Step::Line(elements) = step else { return Ok(false) };
        change::set_array(interp, array, &elements)?;
        Ok(true)
    }
}

fn busy() -> Exception {
    let message = "this reader is reading already: a script inside it cannot read on";
    Failure::new(message, &["PGSQLITE", "DAYSTREAM", "BUSY"]).into()
}

/// The changes of a stream as rows of a loop.
pub struct Changes {
    /// Where they come from.
    pub walk: Rc<Walk>,
    /// The array that holds each in turn.
    pub array: Obj,
}

impl Iteration for Changes {
    fn next(&mut self, interp: Interp) -> CmdResult<bool> {
        self.walk.set_next(interp, &self.array)
    }

    fn finish(&mut self, _interp: Interp) -> CmdResult {
        Ok(Obj::empty())
    }
}
