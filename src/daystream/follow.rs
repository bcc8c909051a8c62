//! Waiting for more: inotify, with a slow look from time to time for file systems that do not
//! report.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// There may be more to read.
    Change,
    /// The wake descriptor is readable. It was not read from.
    Wake,
    /// The time is over.
    Timeout,
}

/// The kernel's reports about a stream's folder and of day folders in it.
#[derive(Debug)]
pub(super) struct Watch {
    fd: OwnedFd,
    days: Vec<(String, i32)>,
    /// The system has no reports to give: only a look from time to time helps.
    blind: bool,
}

/// What happens to names: made, moved, gone.
const NAMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ONLYDIR);

impl Watch {
    /// Watches the stream's folder. A user has only so many watches (128, often): without one the
    /// descriptor is one that is never readable.
    pub(super) fn new(dir: &Path) -> io::Result<Watch> {
        let made = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .and_then(|fd| inotify::add_watch(&fd, dir, NAMES).map(|_| fd));
        let (fd, blind) = match made {
            Ok(fd) => (fd, false),
            Err(errno) if is_exhausted(errno) => {
                (eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?, true)
            }
            Err(errno) => return Err(errno.into()),
        };
        Ok(Watch { fd, days: Vec::new(), blind })
    }

    /// Watches the day folders `days` and no others; whether a watch is new.
    pub(super) fn watch_days(&mut self, dir: &Path, days: Vec<String>) -> io::Result<bool> {
        if self.blind {
            return Ok(false);
        }
        let fd = &self.fd;
        self.days.retain(|(day, watch)| {
            let stays = days.contains(day);
            if !stays {
                // NOTE: fails when the folder was removed, which is as good.
                let _ = inotify::remove_watch(fd, *watch);
            }
            stays
        });
        let mut new = false;
        for day in days {
            if self.days.iter().any(|(watched, _)| *watched == day) {
                continue;
            }
            match inotify::add_watch(&self.fd, dir.join(&day), NAMES | WatchFlags::MODIFY) {
                Ok(watch) => self.days.push((day, watch)),
                Err(Errno::NOENT) => continue,
                // NOTE: tried again when the days change.
                Err(errno) if is_exhausted(errno) => continue,
                Err(errno) => return Err(errno.into()),
            }
            new = true;
        }
        Ok(new)
    }

    /// The same, for a wait.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The descriptor that is readable when there are reports.
    pub(super) fn descriptor(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Takes all reports; whether there was any, and whether one was about names.
    pub(super) fn drain(&mut self) -> io::Result<(bool, bool)> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        if self.blind {
            return Ok((false, false));
        }
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        let (mut any, mut names) = (false, false);
        loop {
            match reader.next() {
                Ok(event) => {
                    any = true;
                    names |= !event.events().contains(inotify::ReadFlags::MODIFY);
                }
                Err(Errno::AGAIN) => return Ok((any, names)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Sleeps until `own` is readable (as a watch with a report is), `wake` is, or the time is over.
pub(super) fn sleep(
    own: Option<BorrowedFd<'_>>,
    wake: Option<BorrowedFd<'_>>,
    timeout: Duration,
) -> io::Result<Woken> {
    let until = Instant::now() + timeout;
    let wakes = usize::from(wake.is_some());
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let time = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let wake = wake.iter().map(|fd| PollFd::new(fd, PollFlags::IN));
        let own = own.iter().map(|fd| PollFd::new(fd, PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> = wake.chain(own).collect();
        match poll(&mut fds, Some(&time)) {
            Ok(_) if wakes > 0 && ready(&fds, 0) => return Ok(Woken::Wake),
            Ok(_) if ready(&fds, wakes) => return Ok(Woken::Change),
            Ok(_) => return Ok(Woken::Timeout),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the system has no more watches to give: then only a look from time to time helps.
fn is_exhausted(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOSPC | Errno::NOMEM | Errno::NOSYS)
}

fn ready(fds: &[PollFd<'_>], index: usize) -> bool {
    fds.get(index).is_some_and(|fd| !fd.revents().is_empty())
}
