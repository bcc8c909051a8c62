//! Waiting at a stream's end until there may be more.

use std::os::fd::{BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use super::follow::{self, Watch, Woken};
use super::{Error, Reader, layout};
use crate::limits::FOLLOW_POLL_MS;

impl Reader {
    /// Whether folders may have new names since they were listed last.
    pub(super) fn names_changed(&mut self) -> Result<bool, Error> {
        match &mut self.watch {
            None => Ok(true),
            Some(watch) => {
                let drained = watch.drain();
                let (_, names) = drained.map_err(|error| Error::watch(&self.dir, error))?;
                self.look |= names;
                self.rewatch |= names;
                Ok(self.look)
            }
        }
    }

    /// Sleeps until there may be more to read, the descriptor `wake` is readable, or `timeout` is
    /// over (`None`: no limit). Call it when [`Reader::next`] has said `None`; a wait that ends
    /// without need is possible.
    ///
    /// # Errors
    /// Those of the system.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        wake: Option<BorrowedFd<'_>>,
    ) -> Result<Woken, Error> {
        let new = self.watch_folders().map_err(|error| Error::watch(&self.dir, error))?;
        if new {
            self.look = true;
            return Ok(Woken::Change);
        }
        let slow = Duration::from_millis(FOLLOW_POLL_MS);
        let slow = self.options.quiet.map_or(slow, |quiet| quiet.min(slow));
        let time = timeout.map_or(slow, |timeout| timeout.min(slow));
        let woken = follow::sleep(self.watch.as_ref().map(Watch::as_fd), wake, time);
        let woken = woken.map_err(|error| Error::watch(&self.dir, error))?;
        // NOTE: also for one that is woken all the time, for file systems that do not report.
        if woken == Woken::Timeout || self.listed_at.elapsed() >= slow {
            self.look = true;
            self.listed_at = Instant::now();
        }
        if woken != Woken::Timeout {
            return Ok(woken);
        }
        let over = timeout.is_some_and(|timeout| timeout <= slow);
        Ok(if over { Woken::Timeout } else { Woken::Change })
    }

    /// For event loops: a descriptor that is readable when there may be more to read. Call it when
    /// [`Reader::next`] has said `None`; `None` here means to call that again at once. The
    /// descriptor stays the same. File systems that do not report need a look, by
    /// [`Reader::look_again`], every [`FOLLOW_POLL_MS`].
    ///
    /// # Errors
    /// Those of the system.
    pub fn watch(&mut self) -> Result<Option<RawFd>, Error> {
        let watching = self.watch_folders();
        if watching.map_err(|error| Error::watch(&self.dir, error))? {
            self.look = true;
            return Ok(None);
        }
        Ok(self.watch.as_ref().map(Watch::descriptor))
    }

    /// Before [`Reader::next`] is called because the descriptor is readable, or time has passed:
    /// takes the kernel's reports.
    ///
    /// # Errors
    /// Those of the system.
    pub fn look_again(&mut self) -> Result<(), Error> {
        self.names_changed()?;
        // NOTE: now and then, for file systems that do not report. At each line, listing the names
        // would be half of a follower's work.
        if self.listed_at.elapsed() >= Duration::from_millis(FOLLOW_POLL_MS / 2) {
            self.look = true;
            self.listed_at = Instant::now();
        }
        Ok(())
    }

    /// Takes the kernel's reports and forgets them, as where the file system has none: for tests.
    ///
    /// # Errors
    /// Those of the system.
    #[doc(hidden)]
    pub fn forget_reports(&mut self) -> Result<(), Error> {
        self.names_changed()?;
        self.look = false;
        Ok(())
    }

    /// Watches the open segment's day and the newest; whether a watch is new, so that something may
    /// have happened before it was there.
    fn watch_folders(&mut self) -> std::io::Result<bool> {
        let mut new = false;
        if self.watch.is_none() {
            self.watch = Some(Watch::new(&self.dir)?);
            new = true;
        }
        if let Some(watch) = &mut self.watch
            && self.rewatch
        {
            let newest = layout::days(&self.dir).ok().and_then(|mut days| days.pop());
            let current = self.cursor.as_ref().map(|cursor| cursor.segment.day.clone());
            new |= watch.watch_days(&self.dir, current.into_iter().chain(newest).collect())?;
            self.rewatch = false;
        }
        Ok(new)
    }
}
