//! Bodies of answers: made as the client takes them, never ahead.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use pgsqlite::daystream::remote::Fault;

use super::feeder::Feeder;
use super::metrics::Metrics;
use super::segments::Part;

type Taken<T> = (Box<T>, Result<Option<Bytes>, Fault>);
type Taking<T> = Pin<Box<dyn Future<Output = Taken<T>> + Send>>;

enum State {
    Whole(Option<Bytes>),
    Lines(Option<Box<Feeder>>),
    TakingLines(Taking<Feeder>),
    File(Option<Box<Part>>),
    TakingFile(Taking<Part>),
}

/// A body.
pub struct Body {
    state: State,
    metrics: Option<Arc<Metrics>>,
}

impl Body {
    /// One that is there.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Body {
        Body { state: State::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())), metrics: None }
    }

    /// None at all.
    #[must_use]
    pub fn empty() -> Body {
        Body::whole(Bytes::new())
    }

    /// The lines of a feeder.
    #[must_use]
    pub fn lines(feeder: Feeder) -> Body {
        Body { state: State::Lines(Some(Box::new(feeder))), metrics: None }
    }

    /// A part of a file.
    #[must_use]
    pub fn file(part: Part) -> Body {
        Body { state: State::File(Some(Box::new(part))), metrics: None }
    }

    /// Counts its bytes.
    #[must_use]
    pub fn counted(mut self, metrics: Arc<Metrics>) -> Body {
        self.metrics = Some(metrics);
        self
    }

    fn step(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            match &mut self.state {
                State::Whole(bytes) => return Poll::Ready(bytes.take().map(Ok)),
                State::Lines(feeder) => {
                    let Some(mut feeder) = feeder.take() else { return Poll::Ready(None) };
                    self.state = State::TakingLines(Box::pin(async move {
                        let taken = feeder.next().await;
                        (feeder, taken)
                    }));
                }
                State::File(part) => {
                    let Some(mut part) = part.take() else { return Poll::Ready(None) };
                    self.state = State::TakingFile(Box::pin(async move {
                        let taken = part.next().await;
                        (part, taken)
                    }));
                }
                State::TakingLines(taking) => {
                    let Poll::Ready((feeder, taken)) = taking.as_mut().poll(context) else {
                        return Poll::Pending;
                    };
                    let more = matches!(taken, Ok(Some(_)));
                    self.state = State::Lines(more.then_some(feeder));
                    return Poll::Ready(taken.transpose());
                }
                State::TakingFile(taking) => {
                    let Poll::Ready((part, taken)) = taking.as_mut().poll(context) else {
                        return Poll::Pending;
                    };
                    let more = matches!(taken, Ok(Some(_)));
                    self.state = State::File(more.then_some(part));
                    return Poll::Ready(taken.transpose());
                }
            }
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Body>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let step = std::task::ready!(self.step(context));
        if let (Some(metrics), Some(Ok(bytes))) = (&self.metrics, &step) {
            metrics.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(step.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Whole(None) | State::Lines(None) | State::File(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            State::File(Some(part)) => SizeHint::with_exact(part.left()),
            _ => SizeHint::default(),
        }
    }
}
