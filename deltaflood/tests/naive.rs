//! The fast parser against a naive one: the same columns, or the same error at the same byte.

use deltaflood::{Change, Kind, Verb, list, write};
use proptest::prelude::*;

type Fault = (usize, Kind);
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

const HEAD: &[u8] = b"_table\tz\t_action\tinsert\t";

/// Decodes one field, which begins at `at` in its line, byte by byte.
fn naive_field(at: usize, raw: &[u8]) -> Result<Vec<u8>, Fault> {
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

/// The columns behind [`HEAD`].
fn naive(line: &[u8]) -> Result<Pairs, Fault> {
    let mut at = HEAD.len();
    let mut fields = line[at..].split(|&byte| byte == b'\t');
    let mut pairs = Vec::new();
    while let Some(raw) = fields.next() {
        let key_at = at;
        let key = naive_field(at, raw)?;
        at += raw.len() + 1;
        let raw = fields.next().ok_or((line.len(), Kind::OddFields))?;
        let value = naive_field(at, raw)?;
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
        let value = (value.in_line(), value.decode());
        assert!(value.0.is_none_or(|text| text == value.1.as_ref()), "{value:?}");
        Ok((name.decode().into_owned(), value.1.into_owned()))
    });
    pairs.collect()
}

/// A line with the columns `pairs`.
fn written(table: &[u8], pairs: &Pairs) -> Vec<u8> {
    let mut line = Vec::new();
    let mut columns = write::Line::begin(&mut line).table(table).verb(Verb::Insert);
    for (name, value) in pairs {
        columns.column(name, value);
    }
    line
}

/// Bytes in which the special ones are frequent.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => proptest::sample::select(b"\\\\tnr\t\tab_ c\t\\r".to_vec()),
        1 => any::<u8>(),
    ];
    proptest::collection::vec(byte, 0..60)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 1..40)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..90)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, ..ProptestConfig::default() })]

    #[test]
    fn fast_and_naive_agree(tail in bytes()) {
        let line = [HEAD, &tail].concat();
        prop_assert_eq!(fast(&line), naive(&line));
    }

    #[test]
    fn the_length_of_what_is_escaped_is_known_before(text in bytes()) {
        let mut out = b"x".to_vec();
        write::escape(&mut out, &text);
        prop_assert_eq!(write::escaped_len(&text), out.len() - 1);
    }

    #[test]
    fn no_input_panics_and_what_is_sound_is_written_back(tail in bytes()) {
        if let Ok(change) = Change::parse(&tail) {
            let _ = change.validate();
        }
        let line = [HEAD, &tail].concat();
        if let Ok(pairs) = fast(&line) {
            prop_assert_eq!(fast(&written(b"z", &pairs)), Ok(pairs));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_read(
        table in name(),
        pairs in proptest::collection::vec((name(), value()), 0..6),
    ) {
        let line = written(&table, &pairs);
        prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        let change = Change::parse(&line).unwrap();
        prop_assert!(change.table.unwrap().is(&table));
        prop_assert_eq!(fast(&line), Ok(pairs));
    }

    #[test]
    fn lists_come_back_and_other_bytes_never_panic(
        names in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..5),
        other in bytes(),
    ) {
        let text = list::encode(names.iter().map(Vec::as_slice));
        prop_assert_eq!(list::decode(&text).unwrap(), names);
        if let Ok(names) = list::decode(&other) {
            let again = list::encode(names.iter().map(|name| name.as_ref()));
            prop_assert_eq!(again, other);
        }
    }
}
