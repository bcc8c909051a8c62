//! The client `daystream-fetch` as a child process, and the lines it writes.
//!
//! It is killed and waited for when this is dropped, and ends by itself when this process does: it
//! sees the end of its standard input. A token goes from environment to environment, never to a
//! command line.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::io::{Errno, read};

use super::reader::without_user;
use super::{Fault, Reason};
use crate::daystream::follow::{self, Woken};
use crate::limits::{LINE_BYTES_MAX, REMOTE_BUFFER_BYTES};

/// The client's name, beside the library.
const PROGRAM: &str = "daystream-fetch";

/// A running client.
#[derive(Debug)]
pub(super) struct Client {
    child: Child,
    out: ChildStdout,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// No line feed lies before this.
    searched: usize,
    /// Nothing more comes.
    ended: bool,
}

/// The client's file: the one that `PGSQLITE_FETCH` names, else the one beside the library, else
/// the one on `PATH`.
///
/// NOTE: a library that Tcl loads out of an archive (zipfs) is a copy in the folder for temporary
/// files, where anybody may put a program of any name beside it. So what lies beside the library is
/// run only from a folder that no more people may write in than the library's owner and group.
fn program() -> PathBuf {
    if let Some(file) = std::env::var_os("PGSQLITE_FETCH").filter(|file| !file.is_empty()) {
        return PathBuf::from(file);
    }
    let own = crate::sqlite::api::own_path().map(PathBuf::from);
    let beside = own.and_then(|own| beside(&own.canonicalize().ok()?));
    beside.unwrap_or_else(|| PathBuf::from(PROGRAM))
}

/// The client beside the library in the file `own`.
fn beside(own: &Path) -> Option<PathBuf> {
    let folder = own.parent()?;
    let file = folder.join(PROGRAM);
    let closed = folder.metadata().ok()?.mode() & 0o002 == 0;
    (closed && file.is_file()).then_some(file)
}

impl Client {
    /// Starts it with these words.
    ///
    /// # Errors
    /// `LOCAL` when it is not there; `URL` for one with a password in it.
    pub(super) fn start(url: &str, words: &[String]) -> Result<Client, Fault> {
        if without_user(url).is_some() {
            // NOTE: other users can read command lines.
            let why = "a token goes into DAYSTREAM_TOKEN or a file, not into the URL";
            return Err(Fault::new(Reason::Url, why));
        }
        let program = program();
        let child = Command::new(&program)
            .arg(url)
            .args(["-frames", "1"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // NOTE: a Ctrl-C at the terminal is for us; we end the client when we are done.
            .process_group(0)
            .spawn();
        let local = |error: std::io::Error| {
            let name = program.display();
            let why = format!(
                "cannot run {name}, which reads streams of other hosts: {error}; install it, or \
                 name it in PGSQLITE_FETCH"
            );
            Fault::new(Reason::Local, why).with("path", name)
        };
        let mut child = child.map_err(local)?;
        let Some(out) = child.stdout.take() else {
            return Err(Fault::new(Reason::Local, "the client has no output"));
        };
        let client = Client {
            child,
            out,
            buffer: vec![0; REMOTE_BUFFER_BYTES],
            start: 0,
            end: 0,
            searched: 0,
            ended: false,
        };
        rustix::io::ioctl_fionbio(&client.out, true).map_err(|error| local(error.into()))?;
        Ok(client)
    }

    /// The next line, where it is there as a whole; its bytes are good until the next call.
    pub(super) fn line(&mut self) -> Result<Option<Range<usize>>, Fault> {
        loop {
            let unseen = self.buffer.get(self.searched..self.end).unwrap_or_default();
            if let Some(step) = memchr::memchr(b'\n', unseen) {
                let line = self.start..self.searched + step;
                self.start = line.end + 1;
                self.searched = self.start;
                return Ok(Some(line));
            }
            self.searched = self.end;
            if self.ended || !self.fill()? {
                return Ok(None);
            }
        }
    }

    pub(super) fn bytes(&self, line: Range<usize>) -> &[u8] {
        self.buffer.get(line).unwrap_or_default()
    }

    /// Bytes of the next line that are there.
    pub(super) const fn there(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing more comes.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads what is there; false when there is nothing for now.
    fn fill(&mut self) -> Result<bool, Fault> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            (self.start, self.searched) = (0, self.end);
            // NOTE: after a long line the buffer goes back to its ordinary size.
            if self.buffer.len() > REMOTE_BUFFER_BYTES && self.end < REMOTE_BUFFER_BYTES {
                self.buffer.truncate(REMOTE_BUFFER_BYTES);
                self.buffer.shrink_to_fit();
            }
        }
        if self.end == self.buffer.len() {
            if self.buffer.len() >= LINE_BYTES_MAX {
                return Err(Fault::new(Reason::Protocol, "a line is longer than a line can be"));
            }
            // NOTE: in steps: of the room that the vector takes beyond them nothing is touched.
            self.buffer.resize(self.buffer.len() + REMOTE_BUFFER_BYTES, 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match read(&self.out, &mut *room) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => {
                    let why = format!("cannot read from the client: {error}");
                    return Err(Fault::new(Reason::Lost, why));
                }
            }
        }
    }

    /// Sleeps until there is something to read, `wake` is readable, or the time is over.
    pub(super) fn sleep(
        &self,
        timeout: Duration,
        wake: Option<BorrowedFd<'_>>,
    ) -> std::io::Result<Woken> {
        if self.ended {
            return Ok(Woken::Change);
        }
        follow::sleep(Some(self.out.as_fd()), wake, timeout)
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.out.as_raw_fd()
    }

    /// How it ended, when nothing more comes.
    ///
    /// # Errors
    /// `LOST` when that was not by having done its work.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        let how = match self.child.wait() {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Err(Fault::new(Reason::Lost, format!("the client ended without a word ({how})")))
    }

    /// Ends it and waits for that.
    pub(super) fn stop(&mut self) {
        // NOTE: both fail when somebody else in this process has waited for it already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop();
    }
}
