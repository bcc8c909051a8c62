//! A socket whose peer must take what waits for it: [`STALL_BYTES`] in each [`STALL_TIME`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::metrics::Metrics;
use super::socket::Socket;
use crate::limits::{STALL_BYTES, STALL_TIME};

/// A socket that gives up a peer that does not read.
#[derive(Debug)]
pub struct Timed {
    socket: Socket,
    metrics: Arc<Metrics>,
    /// While bytes wait: the end of the time, and the bytes taken in it.
    waiting: Option<(Pin<Box<Sleep>>, u64)>,
}

impl Timed {
    /// Around a socket.
    #[must_use]
    pub fn new(socket: Socket, metrics: Arc<Metrics>) -> Timed {
        Timed { socket, metrics, waiting: None }
    }

    fn judge(
        &mut self,
        context: &mut Context<'_>,
        offered: usize,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match poll {
            Poll::Ready(Ok(taken)) => {
                match &mut self.waiting {
                    // NOTE: all that was offered was taken: nothing waits.
                    Some(_) if taken == offered => self.waiting = None,
                    Some((_, sum)) => *sum += taken as u64,
                    None => {}
                }
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(error) => Poll::Ready(error),
            Poll::Pending => {
                let (timer, sum) =
                    self.waiting.get_or_insert_with(|| (Box::pin(sleep(STALL_TIME)), 0));
                while timer.as_mut().poll(context).is_ready() {
                    if *sum < STALL_BYTES {
                        Metrics::add(&self.metrics.stalled);
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    *sum = 0;
                    timer.as_mut().reset(Instant::now() + STALL_TIME);
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Timed>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Timed>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.judge(context, bytes.len(), poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Timed>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.judge(context, parts.iter().map(|part| part.len()).sum(), poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Timed>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Timed>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
