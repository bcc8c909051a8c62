//! Going through a stream line by line, up to a place.

use super::change::{self, Names};
use super::confirming::Confirming;
use super::options::Selection;
use super::view::{Shown, View};
use crate::daystream::heartbeat::{Heartbeats, Kind};
use crate::daystream::{Feed, Position};
use crate::limits::LINES_PASSED_MAX;
use crate::tcl::{CmdResult, Exception, Failure, Interp, Iteration, Obj};
use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;

/// A reader with the place where it ends.
pub struct Walk {
    reader: RefCell<Feed>,
    /// No transaction that ends beyond this.
    to: Cell<Option<Position>>,
    /// The end of the transaction whose line was read last.
    in_hand: Cell<Option<Position>>,
    names: Names,
    view: Rc<View>,
    confirming: Option<RefCell<Confirming>>,
    /// Where it ended: `position` then, and nothing more is read.
    ended: Cell<Option<Option<Position>>>,
    /// The end of the last transaction that gave out a line.
    shown: Cell<Option<Position>>,
    /// What knows heartbeats, where they are kept back.
    beats: Option<RefCell<Heartbeats>>,
}

/// What comes next.
pub enum Step<T> {
    /// A line.
    Line(T),
    /// Only lines that are not shown, for a while; there may be more.
    Passed,
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
        let (reader, confirming) = selection.reader()?;
        let (reader, confirming) = (RefCell::new(reader), confirming.map(RefCell::new));
        let shown = selection.heartbeats.unwrap_or(heartbeats);
        let beats = (!shown).then(RefCell::default);
        let (to, in_hand) = (Cell::new(selection.to), Cell::default());
        let view = Rc::clone(&selection.view);
        let (names, ended, shown) = (Names::default(), Cell::new(None), Cell::new(None));
        Ok(Walk { reader, to, in_hand, names, view, confirming, ended, shown, beats })
    }

    /// Hands the next line to `take`. No borrow is held when this returns; `take` runs no script
    /// that could come back here, save variable traces, which find the reader busy.
    ///
    /// # Errors
    /// The reader's, or that of `take`.
    pub fn step<T>(&self, take: impl FnOnce(&[u8], &Names) -> CmdResult<T>) -> CmdResult<Step<T>> {
        let mut reader = self.reader.try_borrow_mut().map_err(|_| busy())?;
        let mut confirming = self.confirming.as_ref().and_then(|c| c.try_borrow_mut().ok());
        // NOTE: whoever serves events must come to them, too, where few lines are shown.
        for _ in 0..LINES_PASSED_MAX {
            reader.arrive()?;
            if self.ended.get().is_some() {
                return Ok(Step::End);
            }
            let before = reader.position();
            if let Some(confirming) = &mut confirming {
                confirming.asked(before)?;
            }
            let entry = reader.next()?;
            let to = self.to.get();
            let beyond = entry.is_some_and(|e| to.is_some_and(|to| e.transaction.last > to));
            let Some(entry) = entry.filter(|_| !beyond) else {
                if beyond {
                    self.ended.set(Some(before));
                }
                if let Some(confirming) = &mut confirming {
                    confirming.save()?;
                }
                return Ok(if beyond { Step::End } else { Step::Wait });
            };
            self.in_hand.set(Some(entry.transaction.last));
            let hidden = |beats: &RefCell<Heartbeats>| beats.borrow_mut().take(&entry);
            if matches!(self.beats.as_ref().map(hidden), None | Some(Kind::Change))
                && self.view.passes(entry.change.verb)
            {
                self.shown.set(Some(entry.transaction.last));
                return Ok(Step::Line(take(entry.change.line(), &self.names)?));
            }
            let (end, last) = (entry.end, entry.transaction.last);
            if let Some(confirming) = confirming.as_mut().filter(|_| end) {
                confirming.hidden(last, self.shown.get())?;
            }
        }
        Ok(Step::Passed)
    }

    /// The next change as the options want it.
    ///
    /// # Errors
    /// Those of [`Walk::step`].
    pub fn show(&self) -> CmdResult<Step<Shown>> {
        self.step(|line, names| self.view.show(line, names))
    }

    /// Confirms everything up to `position`, or all that was given out; how far that is.
    ///
    /// # Errors
    /// `USAGE UNREGISTERED`, `USAGE POSITION` beyond what was given out, those of the file system.
    pub fn confirm(&self, position: Option<Position>) -> CmdResult<Option<Position>> {
        let Some(confirming) = &self.confirming else {
            let message = "this reader is not registered: open it with -register";
            return Err(Failure::new(message, &["PGSQLITE", "USAGE", "UNREGISTERED"]).into());
        };
        let given = self.position();
        if position > given {
            let message = "a reader can confirm no more than it was given";
            return Err(Failure::new(message, &["PGSQLITE", "USAGE", "POSITION"]).into());
        }
        let mut confirming = confirming.try_borrow_mut().map_err(|_| busy())?;
        confirming.confirm(position.or(given))?;
        Ok(confirming.confirmed())
    }

    /// From now on only [`Walk::confirm`] confirms. Whether there is anything to confirm without
    /// being told to.
    pub fn defer(&self) -> bool {
        let confirming = self.confirming.as_ref().and_then(|c| c.try_borrow_mut().ok());
        confirming.is_some_and(|mut confirming| confirming.defer())
    }

    /// Whether it is time to confirm what was handed on.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let confirming = self.confirming.as_ref().and_then(|c| c.try_borrow().ok());
        confirming.is_some_and(|confirming| confirming.is_due())
    }

    /// Saves what is known to be done; for the end of reading.
    pub fn settle(&self) {
        if let Some(mut confirming) = self.confirming.as_ref().and_then(|c| c.try_borrow_mut().ok())
        {
            // NOTE: what is not saved comes again.
            let _ = confirming.save();
        }
    }

    /// The end of the last transaction that was given out.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let reader = || self.reader.try_borrow().ok().and_then(|reader| reader.position());
        self.ended.get().unwrap_or_else(reader)
    }

    /// Whether the line that was given out last is the last one of its transaction.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.in_hand.get() == self.position()
    }

    /// Ends behind the transaction whose line was read last.
    pub fn end_here(&self) {
        let here = self.in_hand.get().max(self.position()).unwrap_or(Position::MIN);
        self.to.set(Some(self.to.get().map_or(here, |to| to.min(here))));
    }

    /// When the stream was made; `None` when it does not tell.
    #[must_use]
    pub fn made(&self) -> Option<u64> {
        self.reader.try_borrow().ok().and_then(|reader| reader.made())
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
        loop {
            match self.show()? {
                Step::Line(Shown::Elements(elements)) => {
                    change::set_array(interp, array, &elements)?;
                }
                Step::Line(Shown::Value(value)) => interp.set_var(array, None, &value)?,
                Step::Passed => continue,
                Step::Wait | Step::End => return Ok(false),
            }
            return Ok(true);
        }
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
