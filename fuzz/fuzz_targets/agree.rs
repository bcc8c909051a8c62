//! The parser against a naive one: the same columns, or the same error at the same byte.
#![no_main]

use deltaflood::{Change, Kind};
use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"_table\tz\t_action\tinsert\t";

type Fault = (usize, Kind);
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Decodes one field, which begins at `at` in its line, byte by byte.
fn field(at: usize, raw: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let mut bytes = raw.iter().enumerate();
    while let Some((offset, &byte)) = bytes.next() {
        out.push(match byte {
            b'\n' => return Err((at + offset, Kind::LineFeed)),
            b'\\' => match bytes.next() {
                Some((_, b't')) => b'\t',
                Some((_, b'n')) => b'\n',
                Some((_, b'r')) => b'\r',
                Some((_, b'\\')) => b'\\',
                _ => return Err((at + offset, Kind::BadEscape)),
            },
            byte => byte,
        });
    }
    Ok(out)
}

fn naive(line: &[u8]) -> Result<Pairs, Fault> {
    let mut at = HEAD.len();
    let mut fields = line[at..].split(|&byte| byte == b'\t');
    let mut pairs = Vec::new();
    while let Some(raw) = fields.next() {
        let key_at = at;
        let key = field(at, raw)?;
        at += raw.len() + 1;
        let raw = fields.next().ok_or((line.len(), Kind::OddFields))?;
        let value = field(at, raw)?;
        at += raw.len() + 1;
        if key.is_empty() {
            return Err((key_at, Kind::EmptyKey));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn fast(line: &[u8]) -> Result<Pairs, Fault> {
    let change = Change::parse(line).map_err(|error| (error.byte, error.kind))?;
    let pairs = change.columns().map(|column| {
        let (name, value) = column.map_err(|error| (error.byte, error.kind))?;
        Ok((name.decode().into_owned(), value.decode().into_owned()))
    });
    pairs.collect()
}

fuzz_target!(|tail: &[u8]| {
    let line = [HEAD, tail].concat();
    assert_eq!(fast(&line), naive(&line));
});
