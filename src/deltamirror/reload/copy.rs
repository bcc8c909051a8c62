//! The copy of a table, by a thread with a connection of its own.
//!
//! The order of things is that of [`super::super::init`]: the place in the stream first, then the
//! end of those who wrote before, then the snapshot, then what proves it, then the rows.

use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::daystream::Mark;
use crate::deltamirror::fill::{Session, quoted_name};
use crate::deltamirror::snapshot::Snapshot;
use crate::deltamirror::{Error, StreamSource};
use crate::libpq::Conninfo;
use crate::limits;
use crate::pg_sqlite::pieces::Piece;
use crate::schema::TableName;
use crate::schema::publication::Published;

/// Raises whoever waits for the copy.
pub(in crate::deltamirror) type Raise = Arc<dyn Fn() + Send + Sync>;

/// What the thread says, in this order.
#[derive(Debug)]
pub(super) enum Message {
    /// The snapshot is taken.
    Begun(Box<Begun>),
    /// Rows of it.
    Rows(Piece),
    /// There are no more.
    Done,
    /// It is over before that.
    Failed(Box<Error>),
}

/// What is copied.
#[derive(Debug)]
pub(super) struct Begun {
    /// The table as the snapshot shows it.
    pub(super) published: Published,
    pub(super) snapshot: Snapshot,
    /// The place of the stream behind which everything comes that the snapshot does not hold.
    pub(super) begin: Mark,
}

/// A copy that goes on. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Copy {
    messages: Option<Receiver<Message>>,
    stop: Arc<AtomicBool>,
    socket: Arc<Mutex<Option<OwnedFd>>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
struct Work {
    conninfo: Conninfo,
    source: StreamSource,
    table: TableName,
    /// The longest value that SQLite takes.
    limit: u64,
    stop: Arc<AtomicBool>,
    socket: Arc<Mutex<Option<OwnedFd>>>,
    sender: SyncSender<Message>,
    raise: Raise,
}

impl Copy {
    /// Begins; `raise` is called whenever there is something to take.
    ///
    /// # Errors
    /// [`Error::Io`] when there can be no thread.
    pub(super) fn start(
        conninfo: &Conninfo,
        source: &StreamSource,
        table: &TableName,
        limit: u64,
        raise: &Raise,
    ) -> Result<Copy, Error> {
        let (sender, messages) = sync_channel(limits::RELOAD_PIECES_WAITING);
        let (stop, socket) = (Arc::default(), Arc::default());
        let work = Work {
            conninfo: conninfo.clone(),
            source: source.clone(),
            table: table.clone(),
            limit,
            stop: Arc::clone(&stop),
            socket: Arc::clone(&socket),
            sender,
            raise: Arc::clone(raise),
        };
        let thread = std::thread::Builder::new()
            .name("deltamirror-copy".to_owned())
            .spawn(move || {
                let said = match work.run() {
                    Ok(()) => Message::Done,
                    Err(error) => Message::Failed(Box::new(error)),
                };
                work.say(said);
            })
            .map_err(|source| Error::Io {
                what: "cannot start a thread to copy a table",
                source,
            })?;
        Ok(Copy { messages: Some(messages), stop, socket, thread: Some(thread) })
    }

    /// What it says next; `None` when there is nothing for now.
    pub(super) fn take(&self) -> Option<Message> {
        let gone = || Error::Defect { what: "the thread that copies is gone".to_owned() };
        match self.messages.as_ref().map(Receiver::try_recv) {
            Some(Ok(message)) => Some(message),
            Some(Err(TryRecvError::Empty)) => None,
            Some(Err(TryRecvError::Disconnected)) | None => Some(Message::Failed(Box::new(gone()))),
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.messages.take());
        let Some(thread) = self.thread.take() else { return };
        // NOTE: not by asking the server to cancel it, which waits for the network; a thread that
        // is still about to connect is left to itself, and ends then.
        let until = Instant::now() + Duration::from_millis(limits::RELOAD_END_MS);
        loop {
            let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(socket) = socket {
                let _ = TcpStream::from(socket).shutdown(Shutdown::Both);
            }
            if thread.is_finished() {
                let _ = thread.join();
                return;
            }
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Work {
    fn say(&self, message: Message) -> bool {
        let heard = self.sender.send(message).is_ok();
        (self.raise)();
        heard && !self.stop.load(Ordering::Relaxed)
    }

    fn run(&self) -> Result<(), Error> {
        let session = Session::open(&self.conninfo, &self.source)?;
        let socket = session.conn.socket_duplicate();
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = socket;
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let names = [quoted_name(&self.table)];
        let published = session.tables(&names)?;
        let begin = self.source.here(&self.stop)?;
        let writers = Duration::from_millis(limits::MIRROR_WRITERS_MS);
        session.wait_for_writers(&published, writers, &self.stop, &mut |_| {})?;
        let mut snapshot = session.snapshot(&published)?;
        snapshot.barrier = Session::prove(&self.conninfo, &self.source)?;
        // As the snapshot shows it.
        let published = session.tables(&names)?.into_iter().next();
        let gone = || Error::NotMirrored { table: self.table.to_string() };
        let published = published.ok_or_else(gone)?;
        let rows = published.clone();
        if !self.say(Message::Begun(Box::new(Begun { published, snapshot, begin }))) {
            return Err(Error::Stopped);
        }
        let mut give = |piece| self.say(Message::Rows(piece));
        match session.read(&rows, self.limit, &mut give)? {
            true => session.end(),
            false => Err(Error::Stopped),
        }
    }
}
