//! Answers: their status, header fields, and errors in one line.

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, IntoHeaderName, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use pgsqlite::daystream::remote::{Fault, Reason};
use pgsqlite::daystream::{Error, Mark, chain_text};
use pgsqlite::error::Coded;

use super::body::Body;
use crate::wire::{TSV, fault_line, position_text};

/// An answer.
pub type Reply = Response<Body>;

/// The fault that a client is told of an error of the log. Paths of this machine are not.
#[must_use]
pub fn fault_of(error: &Error) -> Fault {
    match error {
        Error::NotFound { .. } | Error::Empty { .. } | Error::Refused { .. } => not_found(),
        Error::Gap { wanted, removed } => Fault::new(Reason::Gap, error.report())
            .with("wanted", position_text(*wanted))
            .with("removed", position_text(*removed)),
        Error::Corrupt { segment, byte, damage } => Fault::new(Reason::Corrupt, error.report())
            .with("segment", segment)
            .with("byte", byte)
            .with("damage", damage.word()),
        Error::Changed { .. } => Fault::made_anew(),
        _ => Fault::new(
            Reason::Server,
            format!("the server cannot read the stream ({})", error.reason()),
        ),
    }
}

/// There is no such stream, or it is not for this token: nobody learns which.
#[must_use]
pub fn not_found() -> Fault {
    let message = "there is nothing of this name, or not for this token";
    Fault::new(Reason::NotFound, message)
}

/// The status of a fault.
#[must_use]
pub const fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::Gap => StatusCode::GONE,
        Reason::Ahead | Reason::Changed => StatusCode::CONFLICT,
        Reason::Token => StatusCode::UNAUTHORIZED,
        Reason::Request | Reason::Url => StatusCode::BAD_REQUEST,
        Reason::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to a request that failed.
#[must_use]
pub fn refusal(fault: &Fault) -> Reply {
    let mut reply = text(status_of(fault.reason), "text/plain; charset=utf-8", fault_line(fault));
    if fault.reason == Reason::Token {
        let value = HeaderValue::from_static("Bearer realm=\"daystream\"");
        reply.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    reply
}

/// An answer that is there as a whole.
#[must_use]
pub fn text(status: StatusCode, media_type: &'static str, text: impl Into<Bytes>) -> Reply {
    let text = text.into();
    let length = HeaderValue::from(text.len());
    let mut reply = Response::new(Body::whole(text));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The head of an answer of lines, whose end is not known yet.
#[must_use]
pub fn lines(body: Body) -> Reply {
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TSV));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The end of a transaction, in three header fields: position, LSN and chain.
pub fn mark(reply: &mut Reply, names: [&'static str; 3], mark: Option<Mark>) {
    let [position, lsn, chain] = names;
    let Some(mark) = mark else { return };
    set(reply, position, &position_text(mark.position));
    if let Some(is) = mark.lsn {
        set(reply, lsn, &is.to_string());
    }
    if let Some(is) = mark.chain {
        set(reply, chain, &chain_text(is));
    }
}

/// A header field; one that cannot be is left out.
pub fn set(reply: &mut Reply, name: impl IntoHeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}
