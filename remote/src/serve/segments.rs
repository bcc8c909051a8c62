//! Segments as they are: the list, and closed ones as files, which never change.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use hyper::{Response, StatusCode};
use pgsqlite::daystream::remote::{Fault, Reason};
use pgsqlite::daystream::{Reader, ReaderOptions, Segment, Start, segments};

use super::body::Body;
use super::reply::{self, Reply, fault_of, not_found};
use super::streams::Stream;
use super::tokens::Access;
use crate::wire::{TSV, position_text};

/// Bytes of a file in one part of an answer.
const STEP_BYTES: u64 = 128 << 10;
/// Times that the segments are listed until none is gone by the time it is looked at.
const LISTINGS_MAX: usize = 10;

/// A part of a file that is being sent.
#[derive(Debug)]
pub struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
    /// Of the stream; looked at again as long as the file goes out.
    access: Access,
    stream: String,
}

impl Part {
    /// Bytes to go.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// Those of the file system, and of a token that was taken away.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let (file, at, step) = (Arc::clone(&self.file), self.at, self.left().min(STEP_BYTES));
        if step == 0 {
            return Ok(None);
        }
        self.access.still(&self.stream)?;
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; step as usize];
            file.read_exact_at(&mut bytes, at).map(|()| bytes)
        });
        match read.await {
            Ok(Ok(bytes)) => {
                self.at += step;
                Ok(Some(Bytes::from(bytes)))
            }
            _ => Err(Fault::new(Reason::Server, "the segment cannot be read")),
        }
    }
}

/// The segments, a line each: name, bytes, position of the first line, and whether it is closed.
///
/// # Errors
/// Those of the stream.
pub fn list(stream: &Stream) -> Result<Reply, Fault> {
    let mut text = String::from("name\tbytes\tfirst\tclosed\n");
    let listed = listed(stream)?;
    let closed_to = closed(stream, &listed)?;
    for (at, (segment, bytes)) in listed.iter().enumerate() {
        let closed = u8::from(at < closed_to);
        let (name, first) = (segment.name(), position_text(segment.first));
        text.push_str(&format!("{name}\t{bytes}\t{first}\t{closed}\n"));
    }
    Ok(reply::text(StatusCode::OK, TSV, text))
}

/// The segments with their bytes, as they were at one moment: what retention or compression takes
/// away between the list and a look at a file is looked for in another list.
fn listed(stream: &Stream) -> Result<Vec<(Segment, u64)>, Fault> {
    for _ in 0..LISTINGS_MAX {
        let all = segments(&stream.dir).map_err(|error| fault_of(&error))?;
        let sized: Result<Vec<_>, _> = all
            .into_iter()
            .map(|segment| {
                let meta = segment.path(&stream.dir).symlink_metadata()?;
                Ok::<_, std::io::Error>((segment, meta.len()))
            })
            .collect();
        match sized {
            Ok(sized) => return Ok(sized),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return Err(Fault::new(Reason::Server, "a segment cannot be looked at")),
        }
    }
    Err(Fault::new(Reason::Busy, "the stream's segments change too fast to be listed"))
}

/// Number of segments that never change again. The last one grows; and so does the one before it,
/// should the transaction that began the last one be abandoned, until a transaction in it is whole.
fn closed(stream: &Stream, listed: &[(Segment, u64)]) -> Result<usize, Fault> {
    let [.., (_, _), (last, _)] = listed else { return Ok(0) };
    let end = Reader::open(&stream.dir, Start::End, ReaderOptions::default());
    let end = end.map_err(|error| fault_of(&error))?.position();
    Ok(listed.len() - if end >= Some(last.first) { 1 } else { 2 })
}

/// A closed segment, or the part of it that the request names.
///
/// # Errors
/// `NOTFOUND`, also for the segment that is being written.
pub fn segment(
    stream: &Stream,
    name: &str,
    asked: &HeaderMap,
    access: Access,
) -> Result<Reply, Fault> {
    let all = listed(stream)?;
    let at = all.iter().position(|(segment, _)| segment.name() == name).ok_or_else(not_found)?;
    if at >= closed(stream, &all)? {
        let message = "this segment is being written: read the stream itself";
        return Err(Fault::new(Reason::NotFound, message).with("segment", name));
    }
    let file = open(&stream.dir, name).ok_or_else(not_found)?;
    let meta = file.metadata().map_err(|_| not_found())?;
    let (bytes, etag) = (meta.len(), format!("\"{:x}-{:x}\"", meta.len(), meta.mtime_nsec()));
    let header = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let none_match = header(IF_NONE_MATCH).is_some_and(|list| {
        list == "*" || list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
    });
    let same = header(IF_RANGE).is_none_or(|tag| tag == etag);
    let range = header(RANGE).filter(|_| same).and_then(|text| parse_range(text, bytes));
    let (status, at, end) = match range {
        _ if none_match => (StatusCode::NOT_MODIFIED, 0, 0),
        None => (StatusCode::OK, 0, bytes),
        Some(None) => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
        Some(Some((at, end))) => (StatusCode::PARTIAL_CONTENT, at, end),
    };
    let cache = if access.is_limited() { "private" } else { "public" };
    let (file, name_of) = (Arc::new(file), stream.name.clone());
    let part = Part { file, at, end, access, stream: name_of };
    let mut reply = Response::new(Body::file(part));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    let kind = if name.ends_with(".zst") { "application/zstd" } else { TSV };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    reply::set(&mut reply, CACHE_CONTROL, &format!("{cache}, {FOREVER}"));
    reply::set(&mut reply, ETAG, &etag);
    if status != StatusCode::NOT_MODIFIED {
        reply.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(end - at));
    }
    match status {
        StatusCode::PARTIAL_CONTENT => {
            let value = format!("bytes {at}-{}/{bytes}", end - 1);
            reply::set(&mut reply, CONTENT_RANGE, &value);
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            reply::set(&mut reply, CONTENT_RANGE, &format!("bytes */{bytes}"));
        }
        _ => {}
    }
    Ok(reply)
}

const FOREVER: &str = "max-age=31536000, immutable";

fn open(dir: &Path, name: &str) -> Option<File> {
    let path = dir.join(name);
    let is_folder = path.parent()?.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let is_file = file.metadata().is_ok_and(|meta| meta.is_file());
    (is_folder && is_file).then_some(file)
}

/// The first and the last but one byte of a range; `None` when it is not understood (the whole file
/// is the answer then), `Some(None)` when the file has nothing of it.
fn parse_range(text: &str, bytes: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { Some(text.parse::<u64>().unwrap_or(u64::MAX)) } else { None }
    };
    let (at, end) = if first.is_empty() {
        (bytes.saturating_sub(number(last)?), bytes)
    } else if last.is_empty() {
        (number(first)?, bytes)
    } else {
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return None;
        }
        (first, last.saturating_add(1).min(bytes))
    };
    Some((at < end).then_some((at, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_rfc_9110_has_them() {
        for (text, wanted) in [
            ("bytes=0-9", Some(Some((0, 10)))),
            ("bytes=90-", Some(Some((90, 100)))),
            ("bytes=-10", Some(Some((90, 100)))),
            ("bytes=-1000", Some(Some((0, 100)))),
            ("bytes=50-1000", Some(Some((50, 100)))),
            ("bytes=100-", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=0-99999999999999999999999", Some(Some((0, 100)))),
            ("bytes=9-0", None),
            ("bytes=-", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(parse_range(text, 100), wanted, "{text}");
        }
    }
}
