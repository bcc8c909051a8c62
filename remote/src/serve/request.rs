//! What a request asks for: its path and its query.

use std::time::Duration;

use hyper::Uri;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap};
use pgsqlite::daystream::remote::{Fault, Reason};
use pgsqlite::daystream::{Position, Start, parse_chain};

use super::streams::is_name;
use super::wanted::{Follow, Wanted};
use crate::limits::{CLOCK_MAX, HEARTBEAT_SECONDS, WAIT_SECONDS_MAX};
use crate::tables;
use crate::wire::{FROM_CHAIN, FROM_LSN, MIRROR, decode, parse_position};

/// A thing that there is to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `/NAME`: the lines.
    Lines(String),
    /// `/NAME/`: the list of segments.
    Segments(String),
    /// `/NAME/DAY/FILE`: a segment.
    Segment(String, String),
    /// `/NAME/status`.
    StatusOf(String),
    /// `/status`.
    Status,
    /// `/metrics`.
    Metrics,
}

/// The thing at a path; `None` when there cannot be one.
#[must_use]
pub fn target(path: &str) -> Option<Target> {
    let parts: Option<Vec<String>> = path.strip_prefix('/')?.split('/').map(decode).collect();
    let parts = parts?;
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["status"] => Some(Target::Status),
        ["metrics"] => Some(Target::Metrics),
        [name, ..] if !is_name(name) => None,
        [name] => Some(Target::Lines((*name).to_owned())),
        [name, ""] => Some(Target::Segments((*name).to_owned())),
        [name, "status"] => Some(Target::StatusOf((*name).to_owned())),
        [name, day, file] => Some(Target::Segment((*name).to_owned(), format!("{day}/{file}"))),
        _ => None,
    }
}

/// The token of a request: what follows `Bearer`.
#[must_use]
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether the client takes zstd.
#[must_use]
pub fn takes_zstd(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        name.trim().eq_ignore_ascii_case("zstd") && !refused
    })
}

fn bad(name: &str, expected: &str) -> Fault {
    Fault::new(Reason::Request, format!("bad {name}: expected {expected}"))
}

/// What a query asks for.
///
/// # Errors
/// `REQUEST` for a parameter that is unknown, given twice or malformed: a misspelt one must not
/// give other lines than were meant.
pub fn wanted(uri: &Uri, headers: &HeaderMap) -> Result<Wanted, Fault> {
    let mut wanted = Wanted {
        start: Start::Begin,
        beyond: false,
        tables: None,
        sparse: false,
        follow: Follow::No,
        heartbeat: None,
        zstd: takes_zstd(headers),
    };
    let mut seen: Vec<String> = Vec::new();
    let (mut follow, mut wait) = (false, None);
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let (name, value) =
            decode(name).zip(decode(&value)).ok_or_else(|| bad("query", "UTF-8"))?;
        match name.as_str() {
            "from" => wanted.start = from(&value)?,
            "at" => wanted.start = Start::At(position("at", &value)?),
            "follow" => follow = flag("follow", &value)?,
            "beyond" => wanted.beyond = flag("beyond", &value)?,
            "wait" => wait = Some(seconds("wait", &value, (0, WAIT_SECONDS_MAX))?),
            "heartbeat" => {
                wanted.heartbeat = Some(seconds("heartbeat", &value, HEARTBEAT_SECONDS)?);
            }
            "tables" => {
                wanted.tables = Some(tables::parse(&value).map_err(|why| bad("tables", &why))?)
            }
            other => return Err(bad("parameter", &format!("{KNOWN}, not {other:?}"))),
        }
        if seen.contains(&name) || (name == "at" && seen.iter().any(|name| name == "from")) {
            return Err(bad(&name, "it once"));
        }
        seen.push(name);
    }
    if let Start::After(mark) = &mut wanted.start {
        mark.lsn = field(headers, FROM_LSN, |text| text.parse().ok())?;
        mark.chain = field(headers, FROM_CHAIN, parse_chain)?;
    }
    if let Some(tables) = field(headers, MIRROR, |list| tables::parse(&decode(list)?).ok())? {
        if wanted.tables.is_some() {
            return Err(bad(MIRROR, "it or tables"));
        }
        (wanted.tables, wanted.sparse) = (Some(tables.for_mirror()), true);
    }
    wanted.follow = match (follow, wait) {
        (false, None) => Follow::No,
        (false, Some(_)) => return Err(bad("wait", "it with follow=1")),
        (true, None) => Follow::Yes,
        (true, Some(wait)) => Follow::Wait(wait),
    };
    Ok(wanted)
}

/// The value of a header field, where it is there.
fn field<T>(
    headers: &HeaderMap,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Fault> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let value = value.to_str().ok().and_then(parse);
    value.map(Some).ok_or_else(|| bad(name, "what an answer's head said"))
}

const KNOWN: &str = "from, at, follow, wait, heartbeat, tables, beyond";

fn from(text: &str) -> Result<Start, Fault> {
    let expected = "CLOCK.SEQ, CLOCK, begin or end";
    Ok(match text {
        "begin" | "" => Start::Begin,
        "end" => Start::End,
        _ if text.contains('.') => Start::After(position("from", text)?.into()),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let clock: i64 = text.parse().map_err(|_| bad("from", expected))?;
            // NOTE: no line is behind that, as in a folder; later days have no name.
            Start::Clock(clock.min(CLOCK_MAX))
        }
        _ => return Err(bad("from", expected)),
    })
}

fn position(name: &str, text: &str) -> Result<Position, Fault> {
    // Clocks go to the year 9999.
    let sound = |position: &Position| position.clock <= CLOCK_MAX;
    parse_position(text).filter(sound).ok_or_else(|| bad(name, "CLOCK.SEQ"))
}

fn flag(name: &str, text: &str) -> Result<bool, Fault> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(bad(name, "0 or 1")),
    }
}

fn seconds(name: &str, text: &str, (least, most): (u64, u64)) -> Result<Duration, Fault> {
    let expected = || bad(name, &format!("seconds, {least} to {most}"));
    let number: u64 = text.parse().map_err(|_| expected())?;
    let inside = (least..=most).contains(&number);
    if inside { Ok(Duration::from_secs(number)) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn asked(query: &str) -> Result<Wanted, Fault> {
        wanted(&format!("/s?{query}").parse().unwrap(), &HeaderMap::new())
    }

    #[test]
    fn paths_name_streams_and_nothing_else() {
        let name = || "a".to_owned();
        assert_eq!(target("/a"), Some(Target::Lines(name())));
        assert_eq!(target("/%61"), Some(Target::Lines(name())));
        assert_eq!(target("/a/"), Some(Target::Segments(name())));
        assert_eq!(target("/a/status"), Some(Target::StatusOf(name())));
        assert_eq!(target("/status"), Some(Target::Status));
        let file = "2017-10-09/1.0.tsv".to_owned();
        assert_eq!(target("/a/2017-10-09/1.0.tsv"), Some(Target::Segment(name(), file)));
        for bad in [
            "",
            "/",
            "//",
            "a",
            "/..",
            "/../a",
            "/%2e%2e",
            "/%2e%2e/a",
            "/.a",
            "//a",
            "/a%2fb",
            "/a%00",
            "/%ff",
            "/a%5cb",
            "/status/",
            "/status/x",
            "/metrics/a/b",
            "/a/b/c/d",
        ] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }

    #[test]
    fn queries() {
        let at = Position { clock: 15, seq: 3 };
        assert_eq!(asked("").unwrap().start, Start::Begin);
        assert_eq!(asked("from=15.3").unwrap().start, Start::After(at.into()));
        assert_eq!(asked("at=15.3").unwrap().start, Start::At(at));
        assert_eq!(asked("from=15").unwrap().start, Start::Clock(15));
        let last = Start::Clock(CLOCK_MAX);
        assert_eq!(asked("from=9223372036854775807").unwrap().start, last);
        assert_eq!(asked("from=end").unwrap().start, Start::End);
        assert_eq!(asked("follow=1").unwrap().follow, Follow::Yes);
        let wait = Follow::Wait(Duration::from_secs(30));
        assert_eq!(asked("follow=1&wait=30&heartbeat=5").unwrap().follow, wait);
        assert!(asked("tables=a,b.c").unwrap().tables.is_some());
        for bad in [
            "from=x",
            "from=-1.0",
            "from=1.0.0",
            "from=99999999999999999999",
            "follow=2",
            "from=253402300800.0",
            "wait=3",
            "follow=1&wait=301",
            "heartbeat=0",
            "tables=",
            "tables=,",
            "form=1.0",
            "from=1.0&from=2.0",
            "from=1.0&at=1.0",
            "x",
            "from=%ff",
        ] {
            assert_eq!(asked(bad).unwrap_err().reason, Reason::Request, "{bad}");
        }
    }

    #[test]
    fn tables_of_a_mirror() {
        let ask = |query: &str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(MIRROR, HeaderValue::from_str(value).unwrap());
            wanted(&format!("/s?{query}").parse().unwrap(), &headers)
        };
        let asked = ask("from=1.0", "a%2C%22x%2Cy%22").unwrap();
        assert!(asked.sparse && asked.tables.is_some());
        for (query, value) in [("", ""), ("", "%22"), ("", "%ff"), ("tables=a", "a")] {
            assert_eq!(ask(query, value).unwrap_err().reason, Reason::Request, "{value}");
        }
    }

    #[test]
    fn header_fields() {
        let mut headers = HeaderMap::new();
        assert_eq!((token(&headers), takes_zstd(&headers)), (None, false));
        let mut set = |name, value| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        set(AUTHORIZATION, "bearer abc");
        set(ACCEPT_ENCODING, "gzip, zstd;q=0.5");
        assert_eq!((token(&headers), takes_zstd(&headers)), (Some("abc"), true));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic abc"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("zstd;q=0"));
        assert_eq!((token(&headers), takes_zstd(&headers)), (None, false));
    }
}
