//! A reader of a stream on another host.
//!
//! It reads to the stream's end, or, once it waits, follows it. Between two transactions it never
//! blocks; within one it does not have to, since the client hands on whole ones.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deltaflood::{Change, ParseError};

use super::client::Client;
use super::{Fault, Frame, Hello, PREFIX, Reason, check_same};
use crate::daystream::{
    Entry, Error, Identity, Mark, Position, ReaderOptions, Start, TableFilter, Transaction, Woken,
    chain_text,
};
use crate::interrupt;
use crate::limits::{
    FOLLOW_POLL_MS, REMOTE_RETRY_MS, REMOTE_STALL_BYTES, REMOTE_STALL_MS, REMOTE_STOP_MS,
};

/// How the connection to another host is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Reads to the end, then follows when asked to wait; a lost connection is made again, while
    /// it follows for ever.
    Patient,
    /// Follows from the beginning; a lost connection is an error, which the caller reports before
    /// it tries again.
    Impatient,
}

/// A reader of a stream on another host.
#[derive(Debug)]
pub struct RemoteReader {
    url: String,
    start: Start,
    options: ReaderOptions,
    link: Link,
    client: Option<Client>,
    /// One that has ended. Its descriptor stays open: an event loop may still wait for it, and
    /// Tcl 9 ends the process when it lets go of a descriptor that is closed.
    spent: Option<Client>,
    following: bool,
    hello: Hello,
    /// The transaction in hand, and its lines that are still to come.
    transaction: Transaction,
    left: u64,
    /// A transaction has come.
    given: bool,
    last: Option<Mark>,
    /// The stream ends here for now.
    at_end: bool,
    /// And that was said.
    told_end: bool,
}

impl RemoteReader {
    /// Asks for the stream, and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Remote`], [`Error::Gap`].
    pub fn open(
        url: &str,
        start: Start,
        options: ReaderOptions,
        link: Link,
        stop: &AtomicBool,
    ) -> Result<RemoteReader, Error> {
        let mut reader = RemoteReader {
            url: url.to_owned(),
            start,
            options,
            link,
            client: None,
            spent: None,
            following: link == Link::Impatient,
            hello: Hello::default(),
            transaction: Transaction::NONE,
            left: 0,
            given: false,
            last: None,
            at_end: false,
            told_end: false,
        };
        reader.connect()?;
        while !reader.greeted()? {
            if stop.load(Ordering::Relaxed) {
                return Err(
                    reader.error(Fault::new(Reason::Lost, "stopped before there was an answer"))
                );
            }
            reader.check_signal()?;
            reader.sleep(Duration::from_millis(50), None)?;
        }
        reader.last = reader.hello.before;
        if start == Start::End {
            // NOTE: the end is where it was now, however often it is asked for.
            reader.start = reader.last.map_or(Start::Begin, Start::After);
        }
        Ok(reader)
    }

    /// As [`crate::daystream::Reader::position`].
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.last.map(|last| last.position)
    }

    /// As [`crate::daystream::Reader::mark`].
    #[must_use]
    pub const fn mark(&self) -> Option<Mark> {
        self.last
    }

    /// Whose changes the stream holds, as its server says.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        self.hello.identity.as_ref()
    }

    /// As [`crate::daystream::Reader::next`].
    ///
    /// # Errors
    /// [`Error::Remote`], [`Error::Gap`].
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        self.next_unless(None)
    }

    /// As [`RemoteReader::next`], ended by `stop`.
    ///
    /// # Errors
    /// [`Error::Remote`], [`Error::Gap`].
    pub(in crate::daystream) fn next_unless(
        &mut self,
        stop: Option<&AtomicBool>,
    ) -> Result<Option<Entry<'_>>, Error> {
        let line = loop {
            if self.left == 0 {
                let knows = self.knows_next()?;
                if !knows || self.left == 0 {
                    self.told_end = self.at_end;
                    return Ok(None);
                }
            }
            let line = self.line_in_hand(stop)?;
            self.left -= 1;
            let change =
                self.client.as_ref().map(|client| Change::parse(client.bytes(line.clone())));
            let passes = |change: &Change<'_>| {
                self.options.tables.as_ref().is_none_or(|tables| tables.passes(change))
            };
            let wanted = match &change {
                Some(Ok(change)) => self.left == 0 || passes(change),
                _ => return Err(self.error(Fault::new(Reason::Protocol, "a malformed line"))),
            };
            if self.left == 0 {
                self.last = Some(self.transaction.mark());
            }
            if wanted {
                break line;
            }
        };
        let bytes = self.client.as_ref().map_or(&[][..], |client| client.bytes(line));
        // It was parsed above; a lending loop cannot keep it.
        let Ok(change) = Change::parse(bytes) else { return Ok(None) };
        let (clock, seq) = (change.clock.unwrap_or(0), change.seq.unwrap_or(0));
        let (position, end) = (Position { clock, seq }, self.left == 0);
        Ok(Some(Entry { position, change, cut: None, end, transaction: self.transaction }))
    }

    /// Whether [`RemoteReader::next`] knows what comes next.
    ///
    /// # Errors
    /// [`Error::Remote`], [`Error::Gap`].
    pub fn knows_next(&mut self) -> Result<bool, Error> {
        if self.left > 0 {
            return Ok(true);
        }
        if self.client.is_none() {
            if self.at_end && !self.told_end {
                return Ok(true);
            }
            self.connect()?;
        }
        self.look()
    }

    /// Blocks until it knows, unless it follows.
    ///
    /// # Errors
    /// [`Error::Remote`], [`Error::Gap`].
    pub fn arrive(&mut self) -> Result<(), Error> {
        while !self.following && !self.knows_next()? {
            self.check_signal()?;
            self.sleep(Duration::from_millis(FOLLOW_POLL_MS), None)?;
        }
        Ok(())
    }

    /// As [`crate::daystream::Reader::wait`]. At the end, it begins to follow.
    ///
    /// # Errors
    /// [`Error::Remote`]; those of the system.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        wake: Option<BorrowedFd<'_>>,
    ) -> Result<Woken, Error> {
        if self.client.is_none() {
            self.follow()?;
        }
        let slow = Duration::from_millis(FOLLOW_POLL_MS);
        let woken = self.sleep(timeout.map_or(slow, |timeout| timeout.min(slow)), wake)?;
        let over = timeout.is_some_and(|timeout| timeout <= slow);
        Ok(if woken == Woken::Timeout && !over { Woken::Change } else { woken })
    }

    /// As [`crate::daystream::Reader::watch`]. It follows from now on.
    ///
    /// # Errors
    /// [`Error::Remote`].
    pub fn watch(&mut self) -> Result<RawFd, Error> {
        if !self.following || self.client.is_none() {
            self.follow()?;
        }
        Ok(self.client.as_ref().map_or(-1, Client::descriptor))
    }

    fn follow(&mut self) -> Result<(), Error> {
        self.following = true;
        self.connect()
    }

    /// Starts a client behind what was given out.
    fn connect(&mut self) -> Result<(), Error> {
        self.client = None;
        self.left = 0;
        (self.at_end, self.told_end) = (false, false);
        let words = self.words();
        self.client = Some(Client::start(&self.url, &words).map_err(|fault| self.error(fault))?);
        Ok(())
    }

    fn words(&self) -> Vec<String> {
        let place = |position: Position| format!("{}.{}", position.clock, position.seq);
        let start = match self.last {
            Some(last) if self.given => Start::After(last),
            _ => self.start,
        };
        let (option, value) = match start {
            Start::Begin => ("-from", "begin".to_owned()),
            Start::End => ("-from", "end".to_owned()),
            Start::Clock(clock) => ("-from", clock.max(0).to_string()),
            Start::At(position) => ("-at", place(position)),
            Start::After(mark) => ("-from", place(mark.position)),
        };
        let follow = u8::from(self.following).to_string();
        let mut words = vec![option.to_owned(), value, "-follow".to_owned(), follow];
        if let Start::After(mark) = start {
            if let Some(lsn) = mark.lsn {
                words.extend(["-lsn".to_owned(), lsn.to_string()]);
            }
            if let Some(chain) = mark.chain {
                words.extend(["-chain".to_owned(), chain_text(chain)]);
            }
        }
        // NOTE: the lines of other tables need not come at all. Their sums are the server's to
        // check then.
        if let Some(tables) = self.options.tables.as_ref().and_then(TableFilter::query) {
            words.extend(["-tables".to_owned(), tables]);
            if self.options.tables.as_ref().is_some_and(TableFilter::is_for_mirror) {
                words.extend(["-mirror", "1"].map(str::to_owned));
            }
        }
        // Whoever has read beyond the end of a stream whose machine went down knows what comes
        // again by its LSN, as with a folder.
        words.extend(["-beyond", "1"].map(str::to_owned));
        match (self.link, self.following) {
            (Link::Impatient, _) => words.extend(["-retry_ms", "0"].map(str::to_owned)),
            (Link::Patient, true) => words.extend(["-wait_for_server", "1"].map(str::to_owned)),
            (Link::Patient, false) => {
                words.extend(["-retry_ms".to_owned(), REMOTE_RETRY_MS.to_string()]);
            }
        }
        words
    }

    /// Whether the answer has come.
    fn greeted(&mut self) -> Result<bool, Error> {
        let Some(frame) = self.frame()? else {
            return match &mut self.client {
                Some(client) if client.has_ended() => {
                    let none = || Fault::new(Reason::Lost, "the client ended before it answered");
                    let fault = client.end().err().unwrap_or_else(none);
                    Err(self.error(fault))
                }
                _ => Ok(false),
            };
        };
        match frame {
            Frame::Stream(hello) => {
                self.hello = *hello;
                Ok(true)
            }
            Frame::Error(fault) => Err(self.error(fault)),
            _ => Err(self.error(Fault::new(Reason::Protocol, "lines before the first answer"))),
        }
    }

    /// Looks for the next transaction; whether it is known what comes next.
    fn look(&mut self) -> Result<bool, Error> {
        loop {
            if self.client.as_ref().is_none_or(|client| client.has_ended()) {
                return self.ended().map(|()| true);
            }
            match self.frame()? {
                None if self.client.as_ref().is_some_and(Client::has_ended) => {}
                None => return Ok(self.at_end),
                Some(Frame::Transaction(transaction)) => {
                    self.at_end = false;
                    self.given = true;
                    self.left = transaction.lines;
                    self.transaction = transaction;
                    return Ok(true);
                }
                Some(Frame::End) => self.at_end = true,
                Some(Frame::Stream(hello)) => {
                    let same = check_same(self.hello.identity.as_ref(), hello.identity.as_ref());
                    same.map_err(|fault| self.error(fault))?;
                    self.hello = *hello;
                }
                Some(Frame::Error(fault)) => return Err(self.error(fault)),
            }
        }
    }

    /// The client has ended: at the stream's end, or without a word.
    fn ended(&mut self) -> Result<(), Error> {
        let Some(client) = &mut self.client else { return Ok(()) };
        let how = client.end();
        self.spend();
        match how {
            Ok(()) if !self.following => {
                self.at_end = true;
                Ok(())
            }
            Ok(()) => Err(self.error(Fault::new(Reason::Lost, "the client has ended"))),
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// The next line, which is a frame; `None` when it is not there yet.
    fn frame(&mut self) -> Result<Option<Frame>, Error> {
        let Some(client) = &mut self.client else { return Ok(None) };
        let line = match client.line() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(None),
            Err(fault) => return Err(self.error(fault)),
        };
        let bytes = client.bytes(line);
        let frame = if bytes.starts_with(PREFIX) { Frame::decode(bytes) } else { None };
        match frame {
            Some(frame) => Ok(Some(frame)),
            None => {
                Err(self.error(Fault::new(Reason::Protocol, "the client wrote what is no frame")))
            }
        }
    }

    /// The next line of the transaction in hand. The client has written all of it, or is about to.
    /// One that hangs must not hold up a caller that wants to end.
    fn line_in_hand(&mut self, stop: Option<&AtomicBool>) -> Result<std::ops::Range<usize>, Error> {
        let mut heard = (Instant::now(), 0);
        loop {
            let Some(client) = &mut self.client else {
                return Err(self.error(Fault::new(Reason::Lost, "the client is gone")));
            };
            match client.line() {
                Ok(Some(line)) => return Ok(line),
                Ok(None) if client.has_ended() => {
                    let fault = Fault::new(Reason::Lost, "the client ended within a transaction");
                    return Err(self.error(fault));
                }
                Ok(None) if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) => {
                    let why = "stopped in the middle of a transaction";
                    return Err(self.error(Fault::new(Reason::Lost, why)));
                }
                Ok(None) => {
                    let there = client.there();
                    if there.abs_diff(heard.1) >= REMOTE_STALL_BYTES {
                        heard = (Instant::now(), there);
                    } else if heard.0.elapsed() >= Duration::from_millis(REMOTE_STALL_MS) {
                        let why = "the client hangs in the middle of a transaction";
                        return Err(self.error(Fault::new(Reason::Lost, why)));
                    }
                    self.sleep(Duration::from_millis(REMOTE_STOP_MS), None)?
                }
                Err(fault) => return Err(self.error(fault)),
            };
        }
    }

    /// Ends a wait of a script's thread when a signal has come for which a script of it waits.
    fn check_signal(&mut self) -> Result<(), Error> {
        if interrupt::has_come() { Err(self.error(interrupted())) } else { Ok(()) }
    }

    fn sleep(&self, time: Duration, wake: Option<BorrowedFd<'_>>) -> Result<Woken, Error> {
        let Some(client) = &self.client else { return Ok(Woken::Change) };
        client.sleep(time, wake).map_err(|error| Error::io(&self.url, "wait for", error))
    }

    /// The error that a folder would give, where it is one of those; the client goes.
    fn error(&mut self, fault: Fault) -> Error {
        self.spend();
        self.left = 0;
        of(&self.url, fault)
    }

    /// The client is done with.
    fn spend(&mut self) {
        if let Some(mut client) = self.client.take() {
            client.stop();
            self.spent = Some(client);
        }
    }
}

pub(super) fn interrupted() -> Fault {
    Fault::new(Reason::Lost, "a signal came before there was an answer")
}

/// The error that a folder would give, where it is one of those.
pub(super) fn of(url: &str, fault: Fault) -> Error {
    let place = |key| fault.detail(key).and_then(|text| text.replace('.', " ").parse().ok());
    if let (Reason::Gap, Some(wanted), Some(removed)) =
        (fault.reason, place("wanted"), place("removed"))
    {
        return Error::Gap { wanted, removed };
    }
    Error::Remote {
        url: without_user(url).unwrap_or_else(|| url.to_owned()),
        fault: Box::new(fault),
    }
}

/// A line that the server took for sound, and of which a field is malformed.
pub(in crate::daystream) fn bad_line(url: &str, at: Position, error: ParseError) -> Error {
    let ParseError { byte, kind, .. } = error;
    let message = format!("the line at {{{at}}} is damaged at byte {byte}: {}", kind.text());
    let fault = Fault::new(Reason::Corrupt, message).with("byte", byte);
    of(url, fault.with("damage", kind.word()))
}

/// The URL without the user and the password in it; `None` when it has none.
pub(super) fn without_user(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let (user, _) = authority.rsplit_once('@')?;
    Some(format!("{scheme}://{}", rest.get(user.len() + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::without_user;

    #[test]
    fn no_password_is_ever_told() {
        let told = |url| without_user(url);
        assert_eq!(told("https://u:p@h:1/a").as_deref(), Some("https://h:1/a"));
        assert_eq!(told("https://u@x@h/a@b").as_deref(), Some("https://h/a@b"));
        assert_eq!(told("https://h/a@b"), None);
        assert_eq!(told("https://h"), None);
    }
}
