//! Names and forms that server and client share: positions, header fields, codes of errors.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use pgsqlite::daystream::remote::{Fault, Reason};
use pgsqlite::daystream::{Identity, Position};
use pgsqlite::shown::shown;

/// The lines' media type.
pub const TSV: &str = "text/tab-separated-values; charset=utf-8";

/// PostgreSQL's system identifier.
pub const SYSTEM_ID: &str = "daystream-system-id";
/// The database; percent-encoded, as the next four.
pub const DATABASE: &str = "daystream-database";
/// The replication slot.
pub const SLOT: &str = "daystream-slot";
/// The output plugin.
pub const PLUGIN: &str = "daystream-plugin";
/// The publication.
pub const PUBLICATION: &str = "daystream-publication";
/// The tables, of a plugin without publications, as one list.
pub const TABLES: &str = "daystream-tables";
/// The server's timeline.
pub const TIMELINE: &str = "daystream-timeline";
/// When the stream was made, microseconds since the Unix epoch.
pub const MADE: &str = "daystream-made";
/// Number of the stream's capture.
pub const ID: &str = "daystream-id";
/// Milliseconds between two heartbeats of the stream's capture; 0: none, or not known.
pub const HEARTBEAT_MS: &str = "daystream-heartbeat-ms";
/// End of the transaction before the first one in the answer, as `CLOCK.SEQ`.
pub const BEFORE: &str = "daystream-before";
/// Its LSN.
pub const BEFORE_LSN: &str = "daystream-before-lsn";
/// The stream's chain before the first transaction in the answer, eight hexadecimal digits.
pub const CHAIN: &str = "daystream-chain";
/// Of a request: LSN of the transaction that ends at `from`.
pub const FROM_LSN: &str = "daystream-from-lsn";
/// Of a request: the stream's chain behind that transaction.
pub const FROM_CHAIN: &str = "daystream-from-chain";
/// Of a request: the tables of a mirror, as the parameter `tables` names them; percent-encoded. Who
/// asks for them takes the definitions of all tables too, and of a transaction without a line for
/// it no commit line, unless the stream ends there for now. Of an answer: `1`, it is one like that.
/// A server that does not know the field gives all lines.
pub const MIRROR: &str = "daystream-mirror";
/// To HEAD: end of the last transaction there is.
pub const END: &str = "daystream-end";
/// To HEAD: its LSN.
pub const END_LSN: &str = "daystream-end-lsn";
/// To HEAD: the stream's chain behind it.
pub const END_CHAIN: &str = "daystream-end-chain";
/// To HEAD: number of segments.
pub const SEGMENTS: &str = "daystream-segments";
/// To HEAD: number of those that are compressed.
pub const COMPRESSED: &str = "daystream-compressed";
/// To HEAD: their bytes.
pub const BYTES: &str = "daystream-bytes";

/// A position as `CLOCK.SEQ`, as segments are named.
#[must_use]
pub fn position_text(position: Position) -> String {
    format!("{}.{}", position.clock, position.seq)
}

/// The position in a `CLOCK.SEQ`.
#[must_use]
pub fn parse_position(text: &str) -> Option<Position> {
    let (clock, seq) = text.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(clock) || !digits(seq) {
        return None;
    }
    Some(Position { clock: clock.parse().ok()?, seq: seq.parse().ok()? })
}

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Any text in a header field or a part of a URL.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// The text; `None` when it is not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Whose changes a stream holds, as header fields.
#[must_use]
pub fn identity_fields(identity: &Identity) -> [(&'static str, String); 10] {
    [
        (SYSTEM_ID, identity.system_id.to_string()),
        (DATABASE, encode(&identity.database)),
        (SLOT, encode(&identity.slot)),
        (PLUGIN, encode(&identity.plugin)),
        (PUBLICATION, encode(&identity.publication)),
        (TABLES, encode(&identity.tables_list())),
        (TIMELINE, identity.timeline.to_string()),
        (MADE, identity.made.to_string()),
        (ID, identity.id_text()),
        (HEARTBEAT_MS, identity.heartbeat_ms.to_string()),
    ]
}

/// An error in one line: the code, a tab, the message.
#[must_use]
pub fn fault_line(fault: &Fault) -> String {
    let mut line = format!("PGSQLITE DAYSTREAM {}", fault.reason.word());
    for (key, value) in &fault.details {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-:/+@%?=,".contains(c);
        if !value.is_empty() && value.chars().all(plain) {
            line.push_str(&format!(" {key} {value}"));
        } else {
            let value = value.replace(['{', '}', '\\', '\n'], "?");
            line.push_str(&format!(" {key} {{{}}}", shown(&value)));
        }
    }
    line.push('\t');
    line.push_str(&shown(&fault.message.replace(['\t', '\n', '\r'], " ")));
    line.push('\n');
    line
}

/// The error in such a line.
#[must_use]
pub fn parse_fault(text: &str) -> Option<Fault> {
    let (code, message) = text.lines().next()?.split_once('\t')?;
    let mut rest = code.strip_prefix("PGSQLITE DAYSTREAM ")?;
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('{') {
            Some(braced) => braced.split_once('}')?,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word);
        rest = after.trim_start_matches(' ');
    }
    let (reason, details) = words.split_first()?;
    let fault = Fault::new(Reason::from_word(reason)?, message);
    let pairs = details.chunks_exact(2);
    Some(pairs.fold(fault, |fault, pair| match pair {
        [key, value] => fault.with(key, value),
        _ => fault,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_one_form() {
        let position = Position { clock: 1_507_507_200, seq: 17 };
        assert_eq!(position_text(position), "1507507200.17");
        assert_eq!(parse_position("1507507200.17"), Some(position));
        for bad in ["", ".", "1", "1.", ".1", "-1.0", "+1.0", "1.0.0", "1.x", "1 .0"] {
            assert_eq!(parse_position(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_error_goes_through_a_line() {
        let odd = Fault::new(Reason::Server, "a\u{1b}]0;b\u{7}").with("path", "/\u{202e}x");
        let line = fault_line(&odd);
        assert!(line.ends_with("{/\\u202ex}\ta\\u001b]0;b\\u0007\n"), "{line}");
        let fault = Fault::new(Reason::Corrupt, "segment a\tb is\ndamaged")
            .with("segment", "2017-10-09/1.0.tsv")
            .with("byte", 7)
            .with("path", "/a {b} c");
        let line = fault_line(&fault);
        assert_eq!(line.matches('\n').count(), 1);
        let read = parse_fault(&line).unwrap();
        assert_eq!(read.reason, Reason::Corrupt);
        assert_eq!(read.detail("segment"), Some("2017-10-09/1.0.tsv"));
        assert_eq!(read.detail("byte"), Some("7"));
        assert_eq!(read.detail("path"), Some("/a ?b? c"));
        assert_eq!(read.message, "segment a b is damaged");
        for bad in ["", "<html>", "PGSQLITE DAYSTREAM NONSENSE\tx", "PGSQLITE DAYSTREAM GAP"] {
            assert_eq!(parse_fault(bad), None, "{bad}");
        }
    }
}
