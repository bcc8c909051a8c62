//! A value of SQLite in PostgreSQL's `COPY` text format.
//!
//! Source: PostgreSQL manual, COPY, "Text Format", and the input forms of `bytea` and `float8`.

use std::io::Write;

use crate::sqlite::Value;

/// Writes cells. Backslash, TAB, LF and CR become `\\`, `\t`, `\n`, `\r`; each byte of a character
/// that begins as another separator does `\xHH`.
#[derive(Debug)]
pub(super) struct CellText {
    null: Vec<u8>,
    /// Is a byte of text written in another form?
    escaped: [bool; 256],
    /// Can the separator not be a part of a number or of a blob?
    numbers_are_plain: bool,
}

impl CellText {
    /// `null` is written as it is; `separator` is the first byte of what stands between cells.
    pub(super) fn new(null: &[u8], separator: u8) -> CellText {
        let mut escaped = [false; 256];
        for byte in [b'\\', b'\t', b'\n', b'\r', separator] {
            if let Some(flag) = escaped.get_mut(usize::from(byte)) {
                *flag = true;
            }
        }
        let numbers_are_plain =
            !separator.is_ascii_alphanumeric() && !matches!(separator, b'+' | b'-' | b'.');
        CellText { null: null.to_vec(), escaped, numbers_are_plain }
    }

    /// Can lines with a separator that begins with this byte be read back? Not when it is a part of
    /// the escapes themselves.
    pub(super) fn can_escape(separator: u8) -> bool {
        !separator.is_ascii_digit() && !matches!(separator, b'n' | b'r' | b't' | b'x')
    }

    /// Appends a value.
    #[inline]
    pub(super) fn push(&self, value: Value<'_>, line: &mut Vec<u8>) {
        match value {
            Value::Null => line.extend_from_slice(&self.null),
            Value::Text(text) => self.push_text(text, line),
            number if self.numbers_are_plain => push_number(number, line),
            number => {
                let mut text = Vec::new();
                push_number(number, &mut text);
                // The backslash of a blob is escaped already.
                let text = text.strip_prefix(b"\\").unwrap_or(&text);
                self.push_text(text, line);
            }
        }
    }

    fn push_text(&self, text: &[u8], line: &mut Vec<u8>) {
        let special = |byte: &u8| self.escaped.get(usize::from(*byte)) == Some(&true);
        let mut rest = text;
        while let Some(at) = rest.iter().position(special) {
            let (plain, tail) = rest.split_at(at);
            line.extend_from_slice(plain);
            let Some((byte, tail)) = tail.split_first() else { break };
            match byte {
                b'\\' => line.extend_from_slice(b"\\\\"),
                b'\t' => line.extend_from_slice(b"\\t"),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                other => {
                    // All of a character: half of one would be no UTF-8.
                    let more = tail.iter().take_while(|byte| **byte & 0xc0 == 0x80).count();
                    let (more, after) = tail.split_at(if *other < 0x80 { 0 } else { more });
                    for byte in [*other].iter().chain(more) {
                        line.extend_from_slice(b"\\x");
                        line.extend_from_slice(&hex(*byte));
                    }
                    rest = after;
                    continue;
                }
            }
            rest = tail;
        }
        line.extend_from_slice(rest);
    }
}

/// A number or a blob.
#[inline]
fn push_number(value: Value<'_>, line: &mut Vec<u8>) {
    match value {
        Value::Int(int) => push_int(int, line),
        Value::Real(real) => push_real(real, line),
        Value::Blob(blob) => push_blob(blob, line),
        Value::Null | Value::Text(_) => {}
    }
}

fn push_int(int: i64, line: &mut Vec<u8>) {
    // 19 digits and a sign.
    let mut text = [0_u8; 20];
    let mut at = text.len();
    let mut rest = int.unsigned_abs();
    loop {
        at = at.wrapping_sub(1);
        if let Some(place) = text.get_mut(at) {
            *place = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if int < 0 {
        line.push(b'-');
    }
    line.extend_from_slice(text.get(at..).unwrap_or_default());
}

/// The shortest text that reads back as the same number; PostgreSQL's words for infinities.
fn push_real(real: f64, line: &mut Vec<u8>) {
    if real.is_finite() {
        // Writing to memory does not fail.
        let _ = write!(line, "{real:?}");
    } else if real.is_nan() {
        line.extend_from_slice(b"NaN");
    } else {
        line.extend_from_slice(if real > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
}

/// PostgreSQL's hex form of `bytea`, its backslash escaped.
fn push_blob(blob: &[u8], line: &mut Vec<u8>) {
    line.reserve(blob.len().saturating_mul(2).saturating_add(3));
    line.extend_from_slice(b"\\\\x");
    for byte in blob {
        line.extend_from_slice(&hex(*byte));
    }
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + (n - 10) };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_between(separator: u8, value: Value<'_>) -> String {
        let mut line = Vec::new();
        CellText::new(b"\\N", separator).push(value, &mut line);
        String::from_utf8(line).expect("UTF-8")
    }

    fn text(value: Value<'_>) -> String {
        text_between(b';', value)
    }

    #[test]
    fn numbers_read_back_the_same() {
        for int in [0, -1, 7, 10, 99, 100, i64::MAX, i64::MIN] {
            assert_eq!(text(Value::Int(int)), int.to_string());
        }
        for real in [0.0, -0.0, 0.1, 1e300, 5e-324, f64::MAX, -1.5, 1e16, 123456789.125] {
            let found: f64 = text(Value::Real(real)).parse().expect("number");
            assert_eq!(found.to_bits(), real.to_bits());
        }
        assert_eq!(text(Value::Real(f64::INFINITY)), "Infinity");
        assert_eq!(text(Value::Real(f64::NEG_INFINITY)), "-Infinity");
        assert_eq!(text(Value::Real(f64::NAN)), "NaN");
    }

    #[test]
    fn text_and_bytes_are_escaped() {
        assert_eq!(text(Value::Null), "\\N");
        assert_eq!(text(Value::Text(b"")), "");
        assert_eq!(text(Value::Text(b"a\tb\nc\rd\\e;f")), "a\\tb\\nc\\rd\\\\e\\x3bf");
        assert_eq!(text(Value::Text(b"\\N")), "\\\\N");
        assert_eq!(text(Value::Blob(b"\x00\xab\x9f")), "\\\\x00ab9f");
        assert_eq!(text(Value::Blob(b"")), "\\\\x");
    }

    #[test]
    fn a_separator_is_escaped_in_numbers_and_in_whole_characters() {
        assert_eq!(text_between(b'-', Value::Int(-5)), "\\x2d5");
        assert_eq!(text_between(b'.', Value::Real(1.5)), "1\\x2e5");
        assert_eq!(text_between(b'a', Value::Blob(b"\xab")), "\\\\x\\x61b");
        // U+2014, where the separator begins as U+2192 does.
        let dash = "a\u{2014}b";
        assert_eq!(text_between(0xe2, Value::from(dash)), "a\\xe2\\x80\\x94b");
    }
}
