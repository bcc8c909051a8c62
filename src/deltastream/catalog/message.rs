//! The logical message by which a capture tells its own stream what it has found in the catalogs.
//!
//! ```text
//! prefix pgsqlite.schema content {id I key K slot S LF schema line LF schema line ...}
//! ```
//! K is what only the capture knows. Its id does not do: heartbeats carry it into the stream, and
//! who reads that, or what the server shows of statements, may be a role that may send messages.
//!
//! It is written in the transaction that read the catalogs, so it has its place among the changes;
//! in the stream stand its `schema` lines. A message of this prefix without content asks each
//! capture to look: anybody may send it, and nothing of it comes into a stream.

use std::io::Write;

/// Its prefix.
pub(in crate::deltastream) const PREFIX: &str = "pgsqlite.schema";

/// The content with these lines (UTF-8), of the capture of `slot` that has this id and key.
///
/// It is ASCII whatever is in them, `%` and each byte beyond being `%` and two hexadecimal digits:
/// the server keeps a message in the encoding of its database.
pub(super) fn content<'l>(
    (id, key): (&str, &str),
    slot: &str,
    lines: impl IntoIterator<Item = &'l [u8]>,
) -> String {
    let mut content = head(id, key, slot).into_bytes();
    for line in lines {
        content.push(b'\n');
        for byte in line {
            match byte {
                b'%' | 0 | 0x80.. => {
                    // Writing into a Vec cannot fail.
                    let _ = write!(content, "%{byte:02x}");
                }
                plain => content.push(*plain),
            }
        }
    }
    String::from_utf8_lossy(&content).into_owned()
}

fn head(id: &str, key: &str, slot: &str) -> String {
    format!("id {id} key {key} slot {slot}")
}

/// What a message of the prefix is to a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deltastream) enum Meaning {
    /// Its own: these lines.
    Lines(Vec<Vec<u8>>),
    /// Somebody asks for a look.
    Look,
    /// Nothing.
    Nothing,
}

/// What this content is to the capture of `slot` that has this id and key.
pub(in crate::deltastream) fn meaning(
    content: &[u8],
    (id, key): (&str, &str),
    slot: &str,
) -> Meaning {
    if content.is_empty() {
        return Meaning::Look;
    }
    let ours = content.strip_prefix(head(id, key, slot).as_bytes());
    match ours.and_then(|rest| rest.strip_prefix(b"\n")) {
        // NOTE: any role may send a message; who does not know the key cannot say that it is ours.
        Some(lines) if !id.is_empty() && !key.is_empty() => {
            let lines: Option<_> = lines.split(|byte| *byte == b'\n').map(plain).collect();
            lines.map_or(Meaning::Nothing, Meaning::Lines)
        }
        _ => Meaning::Nothing,
    }
}

/// A line as it was; `None` when it is not of the form.
fn plain(line: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(rest.get(..at)?);
        let digits = std::str::from_utf8(rest.get(at + 1..at + 3)?).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = rest.get(at + 3..)?;
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_id_is_ours() {
        let lines = ["one", "50 % \u{e9}\0"].map(|line| line.as_bytes().to_vec());
        let ours = content(("0a", "7"), "s", lines.iter().map(Vec::as_slice));
        assert_eq!(ours, "id 0a key 7 slot s\none\n50 %25 %c3%a9%00");
        let ours = ours.as_bytes();
        assert_eq!(meaning(ours, ("0a", "7"), "s"), Meaning::Lines(lines.to_vec()));
        for (id, key, slot) in
            [("0b", "7", "s"), ("0a", "8", "s"), ("0a", "7", "t"), ("", "7", "s"), ("0a", "", "s")]
        {
            assert_eq!(meaning(ours, (id, key), slot), Meaning::Nothing);
        }
        let none = [&b"id 0a key 7 slot s"[..], b"id 0a key 7 slot s\n%4", b"id 0a slot s\none"];
        for content in none {
            assert_eq!(meaning(content, ("0a", "7"), "s"), Meaning::Nothing);
        }
        assert_eq!(meaning(b"id 0a key  slot s\none", ("0a", ""), "s"), Meaning::Nothing);
        assert_eq!(meaning(b"", ("0a", "7"), "s"), Meaning::Look);
    }
}
