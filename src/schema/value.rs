//! PostgreSQL's text of a value, as SQLite stores it: one mapping for bulk copy and stream.
//!
//! | PostgreSQL | [`Kind`] | SQLite |
//! |---|---|---|
//! | smallint integer bigint oid | `Integer` | integer |
//! | real, double precision | `Real` | real; NaN as text |
//! | boolean | `Boolean` | 0, 1 |
//! | numeric | `Numeric` | a number that prints back the same value, else text |
//! | bytea | `Bytea` | blob |
//! | timestamp with time zone | `TimestampTz` | text `2026-11-20 21:53:36.912962Z` |
//! | everything else, arrays too | `Text` | text as it is |
//!
//! A numeric written without a point is an integer when it fits 64 bits; one with a point is a real
//! when the shortest decimal form of that real is the same value (so that a division is not an
//! integer division), or else an integer when its fraction is zero and it fits. Trailing zeros of
//! the fraction are not kept. Everything else keeps every digit as text.
//!
//! Values are expected under `DateStyle=ISO`; `bytea_output` and `TimeZone` may be anything (times
//! become UTC). Infinite and BC timestamps keep PostgreSQL's text. Text is not checked to be UTF-8:
//! the bytes are stored as they came. A domain is its base type: PostgreSQL itself says so in the
//! description of a result.

mod numeric;
mod scan;
#[cfg(test)]
mod tests;
mod timestamp;

use crate::sqlite::Value;

/// How values of a PostgreSQL type are stored in SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 64-bit integers.
    Integer,
    /// Double precision, infinities included.
    Real,
    /// 0 and 1.
    Boolean,
    /// Any precision: a number where that loses nothing, text otherwise.
    Numeric,
    /// Text as PostgreSQL prints it.
    Text,
    /// Bytes.
    Bytea,
    /// A point in time, in UTC.
    TimestampTz,
}

/// Why a text is not a value of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not an integer.
    #[error("not an integer")]
    NotInteger,
    /// An integer beyond 64 bits.
    #[error("an integer beyond 64 bits")]
    IntegerRange,
    /// Not a number.
    #[error("not a real number")]
    NotReal,
    /// A number beyond double precision's largest.
    #[error("a number beyond double precision")]
    RealRange,
    /// Neither true nor false.
    #[error("neither true nor false")]
    NotBoolean,
    /// Not a decimal number.
    #[error("not a decimal number")]
    NotNumeric,
    /// Neither of PostgreSQL's two forms of bytes.
    #[error("not bytes in PostgreSQL's hex or escape form")]
    NotBytea,
    /// Not a timestamp with time zone in ISO form.
    #[error("not a timestamp with time zone in ISO form: set DateStyle to ISO")]
    NotTimestampTz,
}

impl Kind {
    /// From the object id of a built-in type, as a result's description gives it; all others are
    /// text.
    #[must_use]
    pub fn from_oid(oid: u32) -> Kind {
        match oid {
            16 => Kind::Boolean,
            17 => Kind::Bytea,
            20 | 21 | 23 | 26 => Kind::Integer,
            700 | 701 => Kind::Real,
            1184 => Kind::TimestampTz,
            1700 => Kind::Numeric,
            _ => Kind::Text,
        }
    }

    /// From the name of a type as `format_type` prints it (`numeric(10,2)`, `timestamp(3) with time
    /// zone`), or as `pg_type` calls it (`int8`). Arrays, quoted and schema-qualified names are
    /// text.
    #[must_use]
    pub fn from_name(name: &str) -> Kind {
        let (word, rest) = match name.split_once('(') {
            Some((word, rest)) => (word.trim_end(), rest.split_once(')').map_or("", |(_, r)| r)),
            None => (name, ""),
        };
        match (word, rest) {
            ("smallint" | "integer" | "bigint" | "oid" | "int2" | "int4" | "int8", "") => {
                Kind::Integer
            }
            ("real" | "double precision" | "float4" | "float8", "") => Kind::Real,
            ("boolean" | "bool", "") => Kind::Boolean,
            ("numeric", "") => Kind::Numeric,
            ("bytea", "") => Kind::Bytea,
            ("timestamp with time zone" | "timestamptz", "") | ("timestamp", " with time zone") => {
                Kind::TimestampTz
            }
            _ => Kind::Text,
        }
    }

    /// The type to declare a column with in SQLite; empty for none (numeric: no affinity, nothing
    /// is converted).
    #[must_use]
    pub fn sqlite_decl(self) -> &'static str {
        match self {
            Kind::Integer => "INTEGER",
            Kind::Real => "REAL",
            Kind::Boolean => "BOOLEAN",
            Kind::Numeric => "",
            Kind::Text | Kind::TimestampTz => "TEXT",
            Kind::Bytea => "BLOB",
        }
    }

    /// The word for this kind in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Integer => "integer",
            Kind::Real => "real",
            Kind::Boolean => "boolean",
            Kind::Numeric => "numeric",
            Kind::Text => "text",
            Kind::Bytea => "bytea",
            Kind::TimestampTz => "timestamptz",
        }
    }
}

/// The SQLite value of PostgreSQL's text for a value that is not NULL. `scratch` holds the result
/// where it is not a part of `text`: its former content is lost, its room is used again.
///
/// # Errors
/// The text is not a value of that kind.
#[inline]
pub fn convert<'a>(
    kind: Kind,
    text: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Value<'a>, ValueError> {
    match kind {
        Kind::Text => Ok(Value::Text(text)),
        Kind::Integer => scan::integer(text).map(Value::Int),
        Kind::Real => real(text),
        Kind::Boolean => boolean(text).map(|truth| Value::Int(i64::from(truth))),
        Kind::Numeric => numeric::convert(text),
        Kind::Bytea => {
            bytea(text, scratch)?;
            Ok(Value::Blob(scratch))
        }
        Kind::TimestampTz => timestamp::convert(text, scratch),
    }
}

/// As [`convert`], but never fails, as Pgtcl's bulk copy did: a number is what the text begins
/// with, else 0 (or 1 for a word of truth); what is no bytes or time stays text.
pub fn convert_lenient<'a>(kind: Kind, text: &'a [u8], scratch: &'a mut Vec<u8>) -> Value<'a> {
    match kind {
        Kind::Integer => Value::Int(match scan::integer(text) {
            Ok(int) => int,
            Err(_) => scan::integer_prefix(text).unwrap_or_else(|| i64::from(looks_true(text))),
        }),
        Kind::Real => real(text).unwrap_or_else(|_| Value::Real(scan::real_prefix(text))),
        Kind::Boolean => Value::Int(match boolean(text) {
            Ok(truth) => i64::from(truth),
            Err(_) => i64::from(looks_true(text) || scan::integer_prefix(text).unwrap_or(0) != 0),
        }),
        Kind::Numeric => numeric::convert(text).unwrap_or(Value::Text(text)),
        Kind::Text => Value::Text(text),
        Kind::Bytea => match bytea(text, scratch) {
            Ok(()) => Value::Blob(scratch),
            Err(_) => Value::Text(text),
        },
        Kind::TimestampTz => match timestamp::is_convertible(text) {
            true => timestamp::convert(text, scratch).unwrap_or(Value::Text(text)),
            false => Value::Text(text),
        },
    }
}

fn real(text: &[u8]) -> Result<Value<'_>, ValueError> {
    let number = scan::real(text)?;
    // SQLite would store NULL.
    Ok(if number.is_nan() { Value::Text(b"NaN") } else { Value::Real(number) })
}

/// PostgreSQL's words for truth, and the stream's 1 and 0.
fn boolean(text: &[u8]) -> Result<bool, ValueError> {
    const TRUE: [&[u8]; 6] = [b"t", b"1", b"true", b"yes", b"on", b"y"];
    const FALSE: [&[u8]; 6] = [b"f", b"0", b"false", b"no", b"off", b"n"];
    if TRUE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        Ok(true)
    } else if FALSE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        Ok(false)
    } else {
        Err(ValueError::NotBoolean)
    }
}

fn looks_true(text: &[u8]) -> bool {
    matches!(text, [b't' | b'T' | b'y' | b'Y', ..] | [b'o' | b'O', b'n' | b'N', ..])
}

/// Bytes from `\x00ff` or from the escape form (`\\`, `\377`).
fn bytea(text: &[u8], bytes: &mut Vec<u8>) -> Result<(), ValueError> {
    bytes.clear();
    let Some(hex) = text.strip_prefix(b"\\x") else {
        return escaped(text, bytes);
    };
    let digit = |c: u8| (c as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    if hex.len() % 2 == 1 {
        return Err(ValueError::NotBytea);
    }
    bytes.reserve(hex.len() / 2);
    for pair in hex.chunks_exact(2) {
        let [high, low] = pair else { continue };
        match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(ValueError::NotBytea),
        }
    }
    Ok(())
}

fn escaped(mut text: &[u8], bytes: &mut Vec<u8>) -> Result<(), ValueError> {
    let octal = |c: &u8| matches!(c, b'0'..=b'7');
    loop {
        text = match text {
            [] => return Ok(()),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b'\\', a @ b'0'..=b'3', b, c, rest @ ..] if octal(b) && octal(c) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [b'\\', ..] => return Err(ValueError::NotBytea),
            [plain, rest @ ..] => {
                bytes.push(*plain);
                rest
            }
        };
    }
}
