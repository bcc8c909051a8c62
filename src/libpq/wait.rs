//! Waiting for a socket with a time limit, and being woken by another thread.

use super::{Conn, Error};
use rustix::event::Timespec;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// The socket has input (or an error, which reading will tell).
    pub readable: bool,
    /// The socket takes output.
    pub writable: bool,
    /// Another thread woke this one.
    pub woken: bool,
}

/// A way for another thread to end a wait. Level-triggered: stays raised until [`Wake::clear`].
#[derive(Debug)]
pub struct Wake {
    fd: OwnedFd,
}

impl Wake {
    /// A wake that is not raised.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn new() -> std::io::Result<Wake> {
        Ok(Wake { fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// Ends present and later waits until cleared.
    pub fn raise(&self) {
        // The counter of an eventfd cannot be full here in any practical time; if so, it is raised
        // anyway.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// Lets waits wait again.
    pub fn clear(&self) {
        let mut counter = [0u8; 8];
        // EAGAIN says that it was not raised, which is what is wanted.
        let _ = rustix::io::read(&self.fd, &mut counter);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How long after a request to cancel the next one is sent: the server ignores those that come
/// before it has begun.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

impl Conn {
    /// Cancels what runs and throws its results away, until the connection is idle, but not longer
    /// than `limit`. False: it is busy still.
    pub fn cancel_and_drain(&self, limit: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < limit {
            if let Ok(cancel) = self.cancel_handle() {
                // One that cannot be sent is tried again.
                let _ = cancel.cancel();
            }
            let again = Instant::now();
            while again.elapsed() < CANCEL_AGAIN {
                while !self.is_busy() {
                    match self.get_result() {
                        None => return true,
                        // A COPY to its end is more than this is for.
                        Some(result) if result.status().is_copy() => return false,
                        Some(_) => {}
                    }
                }
                let ready = wait(self.socket(), true, false, None, Some(CANCEL_AGAIN));
                if ready.is_err() || self.consume_input().is_err() {
                    // What there is of a lost connection is there.
                    self.drain();
                    return true;
                }
            }
        }
        false
    }
}

/// Waits until `socket` can be read (or written, when `write` is given), `wake` is raised, or
/// `timeout` is over. All false means that the time is over.
///
/// # Errors
/// `POSTGRES LIBRARY` when the system refuses the wait.
pub fn wait(
    socket: Option<RawFd>,
    read: bool,
    write: bool,
    wake: Option<&Wake>,
    timeout: Option<Duration>,
) -> Result<Readiness, Error> {
    let mut fds = Vec::with_capacity(2);
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, read);
    flags.set(PollFlags::OUT, write);
    if let Some(raw) = socket.filter(|fd| *fd >= 0) {
        // SAFETY: the descriptor is not negative, and the caller got it from a live connection that
        // it keeps during this call; a closed number would make poll report POLLNVAL, nothing
        // worse.
        let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
        fds.push(PollFd::from_borrowed_fd(borrowed, flags));
    }
    let sockets = fds.len();
    if let Some(wake) = wake {
        fds.push(PollFd::new(wake, PollFlags::IN));
    }
    let limit = timeout.map(|t| Timespec {
        tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    match poll(&mut fds, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(e) => return Err(Error::Library { message: format!("poll: {e}") }),
    }
    let mut ready = Readiness::default();
    let trouble = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    for (i, fd) in fds.iter().enumerate() {
        let events = fd.revents();
        if i >= sockets {
            ready.woken = events.contains(PollFlags::IN);
        } else {
            ready.readable = read && events.intersects(PollFlags::IN | trouble);
            ready.writable = write && events.intersects(PollFlags::OUT | trouble);
        }
    }
    Ok(ready)
}
