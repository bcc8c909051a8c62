//! Pages about streams, for people and for Prometheus.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::StatusCode;
use pgsqlite::daystream::{Mark, Position, Reader, ReaderOptions, Start, Work, segments};

use super::metrics::Metrics;
use super::reply::{self, Reply};
use super::streams::Stream;
use super::tokens::Access;
use crate::wire::{TSV, position_text};

/// How a stream is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Condition {
    /// Its last transaction's end.
    pub end: Option<Mark>,
    /// Its first segment's position.
    pub first: Option<Position>,
    /// Number of segments.
    pub segments: u64,
    /// Number of those that are compressed.
    pub compressed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether it can be read.
    pub sound: bool,
}

impl Condition {
    /// Looks at a stream.
    #[must_use]
    pub fn of(stream: &Stream) -> Condition {
        let end = Reader::open(&stream.dir, Start::End, ReaderOptions::default());
        let all = segments(&stream.dir).unwrap_or_default();
        let size = |path: std::path::PathBuf| path.symlink_metadata().map_or(0, |meta| meta.len());
        Condition {
            sound: end.is_ok(),
            end: end.ok().and_then(|reader| reader.mark()),
            first: all.first().map(|segment| segment.first),
            segments: all.len() as u64,
            compressed: all.iter().filter(|segment| segment.compressed).count() as u64,
            bytes: all.iter().map(|segment| size(segment.path(&stream.dir))).sum(),
        }
    }
}

impl Condition {
    /// The word for it.
    const fn word(&self) -> &'static str {
        match (self.sound, self.end) {
            (false, _) => "unreadable",
            (true, None) => "empty",
            (true, Some(_)) => "readable",
        }
    }
}

/// The streams that `access` may read, a line each.
#[must_use]
pub fn status(streams: &[Arc<Stream>], access: &Access) -> Reply {
    let mut text = String::from("name\tfirst\tend\tsegments\tbytes\tfollowers\tstate\tcapture\n");
    for stream in streams.iter().filter(|stream| access.may(&stream.name)) {
        let is = Condition::of(stream);
        let place = |position: Option<Position>| position.map_or(String::new(), position_text);
        text.push_str(&format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n",
            stream.name,
            place(is.first),
            place(is.end.map(|end| end.position)),
            is.segments,
            is.bytes,
            stream.followers(),
            is.word(),
            Work::of(&stream.dir).doing.word(),
        ));
    }
    reply::text(StatusCode::OK, TSV, text)
}

/// All counters.
#[must_use]
pub fn metrics(streams: &[Arc<Stream>], metrics: &Metrics) -> Reply {
    let mut text = metrics.text();
    let looks: Vec<_> = streams.iter().map(|stream| (stream, Condition::of(stream))).collect();
    type Value = fn(&Stream, &Condition) -> u64;
    let gauges: [(&str, &str, Value); 6] = [
        ("end_seconds", "Clock of the last transaction", |_, is| {
            is.end.map_or(0, |end| u64::try_from(end.position.clock).unwrap_or(0))
        }),
        ("segments", "Segments", |_, is| is.segments),
        ("bytes", "Bytes of segments", |_, is| is.bytes),
        ("followers", "Followers at the end", |stream, _| stream.followers() as u64),
        ("line_bytes_total", "Bytes of lines handed out", |stream, _| {
            stream.sent.load(Ordering::Relaxed)
        }),
        ("readable", "Whether it can be read", |_, is| u64::from(is.sound)),
    ];
    for (name, help, value) in gauges {
        let kind = if name.ends_with("total") { "counter" } else { "gauge" };
        text.push_str(&format!("# HELP daystream_stream_{name} {help}.\n"));
        text.push_str(&format!("# TYPE daystream_stream_{name} {kind}\n"));
        for (stream, is) in &looks {
            let label = stream.name.replace('\\', "\\\\").replace('"', "\\\"");
            let value = value(stream, is);
            text.push_str(&format!("daystream_stream_{name}{{stream=\"{label}\"}} {value}\n"));
        }
    }
    reply::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_a_transaction_is_not_told_to_be_in_order() {
        let mark = Mark::at(Position { clock: 1, seq: 0 });
        let word = |sound, end| Condition { sound, end, ..Condition::default() }.word();
        assert_eq!(word(true, None), "empty");
        assert_eq!(word(true, Some(mark)), "readable");
        assert_eq!(word(false, None), "unreadable");
    }
}
