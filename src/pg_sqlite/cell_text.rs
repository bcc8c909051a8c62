//! A value of SQLite in PostgreSQL's `COPY` text format.
//!
//! Source: PostgreSQL manual, COPY, "Text Format", and the input forms of `bytea` and `float8`.

use std::io::Write;

use crate::sqlite::Value;

/// Writes cells. Backslash, TAB, LF and CR become `\\`, `\t`, `\n`, `\r`; the first byte of another
/// separator `\xHH`.
#[derive(Debug)]
pub(super) struct CellText {
    null: Vec<u8>,
    /// Is a byte of text written in another form?
    escaped: [bool; 256],
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
        CellText { null: null.to_vec(), escaped }
    }

    /// Appends a value.
    #[inline]
    pub(super) fn push(&self, value: Value<'_>, line: &mut Vec<u8>) {
        match value {
            Value::Null => line.extend_from_slice(&self.null),
            Value::Int(int) => push_int(int, line),
            Value::Real(real) => push_real(real, line),
            Value::Text(text) => self.push_text(text, line),
            Value::Blob(blob) => push_blob(blob, line),
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
                    line.extend_from_slice(b"\\x");
                    line.extend_from_slice(&hex(*other));
                }
            }
            rest = tail;
        }
        line.extend_from_slice(rest);
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

    fn text(value: Value<'_>) -> String {
        let mut line = Vec::new();
        CellText::new(b"\\N", b';').push(value, &mut line);
        String::from_utf8(line).expect("UTF-8")
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
}
