//! One request, from its head to its answer.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{ACCEPT_RANGES, ALLOW, CONTENT_ENCODING, VARY};
use hyper::{Method, Request, StatusCode};
use pgsqlite::daystream::remote::{Fault, Reason};
use pgsqlite::daystream::{Identity, chain_text};

use super::body::Body;
use super::feeder::{Before, Feeder};
use super::host;
use super::metrics::Metrics;
use super::pages::{self, Condition};
use super::reply::{self, Reply, fault_of, not_found, refusal};
use super::request::{self, Target, target};
use super::segments;
use super::stop::Stop;
use super::streams::{Stream, Streams};
use super::tokens::{Access, Tokens};
use crate::log::Log;
use crate::wire;

/// What all connections share.
#[derive(Debug)]
pub struct Service {
    /// The streams.
    pub streams: Streams,
    /// Who may read them; everybody when there are none.
    pub tokens: Option<Arc<Tokens>>,
    /// The port that a request without a token has to name, with a name of this machine; `None`:
    /// any will do.
    pub own_port: Option<u16>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where it is told.
    pub log: Log,
}

/// A request without its body, which nobody looks at.
type Head = hyper::http::request::Parts;

impl Service {
    /// Answers a request.
    pub async fn answer(
        self: Arc<Service>,
        request: Request<Incoming>,
        peer: &str,
        stop: Stop,
    ) -> Reply {
        let began = Instant::now();
        let (head, _) = request.into_parts();
        let (reply, name) = match self.permit(&head) {
            Err(fault) => (refusal(&fault), String::new()),
            Ok(access) => {
                let name = access.name().to_owned();
                (self.permitted(&head, access, stop).await, name)
            }
        };
        let status = reply.status();
        let good = status.as_u16() < 400;
        let metrics = &self.metrics;
        Metrics::add(if good { &metrics.requests } else { &metrics.refused });
        let ms = began.elapsed().as_millis().to_string();
        let fields = [
            ("peer", peer),
            ("token", &name),
            ("method", head.method.as_str()),
            ("path", head.uri.path()),
            ("status", status.as_str()),
            ("ms", &ms),
        ];
        self.log.info("request", &fields);
        let is_head = head.method == Method::HEAD;
        let counted = Arc::clone(&self.metrics);
        reply.map(|body| if is_head { Body::empty() } else { body.counted(counted) })
    }

    /// What the request's token is good for. The answer to a wrong one is the same for every path.
    fn permit(&self, head: &Head) -> Result<Access, Fault> {
        let Some(tokens) = &self.tokens else {
            let checked = self.own_port.map(|port| host::check(&head.uri, &head.headers, port));
            return checked.unwrap_or(Ok(())).map(|()| Access::ALL);
        };
        Access::of(tokens, request::token(&head.headers))
    }

    async fn permitted(self: &Arc<Service>, head: &Head, access: Access, stop: Stop) -> Reply {
        if ![Method::GET, Method::HEAD].contains(&head.method) {
            let fault = Fault::new(Reason::Request, "only GET and HEAD are understood");
            let mut reply = refusal(&fault);
            *reply.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            reply::set(&mut reply, ALLOW, "GET, HEAD");
            return reply;
        }
        let Some(target) = target(head.uri.path()) else { return refusal(&not_found()) };
        let allowed = match &target {
            Target::Lines(name) | Target::Segments(name) => access.may(name),
            Target::Segment(name, _) | Target::StatusOf(name) => access.may(name),
            Target::Status => true,
            Target::Metrics => access.may("/metrics"),
        };
        if !allowed {
            return refusal(&not_found());
        }
        let (service, head) = (Arc::clone(self), head.clone());
        // Everything below looks at files.
        let work = move || service.look(&target, &head, access, stop);
        let looked = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(Found::Lines(lines))) => lines.reply().await,
            Ok(Ok(Found::Page(reply))) => Ok(*reply),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::new(Reason::Server, "the reading thread is gone")),
        };
        looked.unwrap_or_else(|fault| refusal(&fault))
    }

    fn look(
        &self,
        target: &Target,
        head: &Head,
        access: Access,
        stop: Stop,
    ) -> Result<Found, Fault> {
        let find = |name: &str| self.streams.find(name).ok_or_else(not_found);
        let page = match target {
            Target::Lines(name) => return self.lines(find(name)?, head, access, stop),
            Target::Segments(name) => segments::list(&*find(name)?)?,
            Target::Segment(name, file) => {
                segments::segment(&*find(name)?, file, &head.headers, access)?
            }
            Target::StatusOf(name) => pages::status(&[find(name)?], &access),
            Target::Status => pages::status(&self.streams.all(), &access),
            Target::Metrics => pages::metrics(&self.streams.all(), &self.metrics),
        };
        Ok(Found::Page(Box::new(page)))
    }

    fn lines(
        &self,
        stream: Arc<Stream>,
        head: &Head,
        access: Access,
        stop: Stop,
    ) -> Result<Found, Fault> {
        let wanted = request::wanted(&head.uri, &head.headers)?;
        let (zstd, sparse) = (wanted.zstd, wanted.sparse);
        let identity = Identity::load(&stream.dir).map_err(|error| fault_of(&error))?;
        let answer = self.streams.next_answer();
        let (feeder, before) = Feeder::open(Arc::clone(&stream), answer, wanted, access, stop)?;
        let made = identity.as_ref().map(|identity| identity.made).filter(|made| *made > 0);
        if made != feeder.made() {
            // NOTE: it was removed or made anew between the two looks; the head must be true.
            return Err(Fault::new(Reason::Server, "the stream is being made again"));
        }
        let lines = Lines { feeder, before, identity, zstd, sparse };
        if head.method != Method::HEAD {
            return Ok(Found::Lines(Box::new(lines)));
        }
        let mut reply = lines.dressed(reply::lines(Body::empty()), true);
        let is = Condition::of(&stream);
        reply::mark(&mut reply, [wire::END, wire::END_LSN, wire::END_CHAIN], is.end);
        for (name, number) in [
            (wire::SEGMENTS, is.segments),
            (wire::COMPRESSED, is.compressed),
            (wire::BYTES, is.bytes),
        ] {
            reply::set(&mut reply, name, &number.to_string());
        }
        Ok(Found::Page(Box::new(reply)))
    }
}

/// What there is at a path.
enum Found {
    Page(Box<Reply>),
    Lines(Box<Lines>),
}

/// An answer of lines that has not begun.
struct Lines {
    feeder: Feeder,
    before: Before,
    identity: Option<Identity>,
    zstd: bool,
    sparse: bool,
}

impl Lines {
    async fn reply(mut self: Box<Lines>) -> Result<Reply, Fault> {
        self.feeder.begin().await?;
        if let Some(bytes) = self.feeder.whole() {
            let reply = reply::text(StatusCode::OK, wire::TSV, bytes);
            return Ok(self.dressed(reply, false));
        }
        let head = self.dressed(reply::lines(Body::empty()), false);
        Ok(head.map(|_| Body::lines(self.feeder)))
    }

    /// The reply with what its head says of the stream.
    fn dressed(&self, mut reply: Reply, tables: bool) -> Reply {
        let Before { mark, chain } = self.before;
        reply::mark(&mut reply, [wire::BEFORE, wire::BEFORE_LSN, wire::CHAIN], mark);
        if let Some(chain) = chain {
            reply::set(&mut reply, wire::CHAIN, &chain_text(chain));
        }
        // NOTE: to HEAD only: the names of thousands of tables are no part of each answer.
        let fields = self.identity.iter().flat_map(wire::identity_fields);
        for (name, value) in fields.filter(|(name, _)| tables || *name != wire::TABLES) {
            reply::set(&mut reply, name, &value);
        }
        reply::set(&mut reply, ACCEPT_RANGES, "none");
        reply::set(&mut reply, VARY, "accept-encoding");
        if self.zstd {
            reply::set(&mut reply, CONTENT_ENCODING, "zstd");
        }
        if self.sparse {
            reply::set(&mut reply, wire::MIRROR, "1");
        }
        reply
    }
}
