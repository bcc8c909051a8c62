//! What a registered reader's consumer is done with, and when that is saved.

use crate::daystream::{Error, Position, Registration};
use crate::limits::READER_CONFIRM_MS;
use std::time::{Duration, Instant};

/// A registration, and what is to be confirmed under it. Dropping it saves what is done.
#[derive(Debug)]
pub struct Confirming {
    registration: Registration,
    /// Asking for the next change says that those before are done.
    auto: bool,
    /// The end of the last transaction that is done.
    done: Option<Position>,
    saved: Instant,
}

impl Confirming {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(registration: Registration, auto: bool) -> Confirming {
        let done = registration.confirmed();
        Confirming { registration, auto, done, saved: Instant::now() }
    }

    /// From now on asking for the next change says nothing: [`Confirming::confirm`] does. Whether
    /// it said something before.
    pub fn defer(&mut self) -> bool {
        std::mem::replace(&mut self.auto, false)
    }

    /// Whether it is time to save what is done.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.saved.elapsed() >= Duration::from_millis(READER_CONFIRM_MS)
    }

    /// The consumer asks for more, having got everything up to `position`. Saved from time to time.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn asked(&mut self, position: Option<Position>) -> Result<(), Error> {
        if !self.auto || position <= self.done {
            return Ok(());
        }
        self.done = position;
        if self.is_due() {
            self.save()?;
        }
        Ok(())
    }

    /// A transaction went by of which the consumer saw nothing, or not the last line: where it is
    /// done with everything that it saw, it is done with this one, too. Saved from time to time.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn hidden(&mut self, last: Position, shown: Option<Position>) -> Result<(), Error> {
        if self.auto || shown > self.done || Some(last) <= self.done {
            return Ok(());
        }
        self.done = Some(last);
        if self.is_due() {
            self.save()?;
        }
        Ok(())
    }

    /// The consumer is done with everything up to `position`; saved now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn confirm(&mut self, position: Option<Position>) -> Result<(), Error> {
        self.done = self.done.max(position);
        self.save()
    }

    /// Saves what is done.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&mut self) -> Result<(), Error> {
        self.saved = Instant::now();
        self.done.map_or(Ok(()), |done| self.registration.confirm(done))
    }

    /// Up to where it is saved.
    #[must_use]
    pub fn confirmed(&self) -> Option<Position> {
        self.registration.confirmed()
    }
}

impl Drop for Confirming {
    fn drop(&mut self) {
        // NOTE: nobody is there to be told; what is not saved comes again.
        let _ = self.save();
    }
}
