//! PostgreSQL's `numeric`: a number in SQLite where that loses nothing.

use super::{ValueError, scan};
use crate::sqlite::Value;

/// A decimal's value: digits without leading and trailing zeros, and the power of ten of the first
/// one (`1.5`: 15, 0).
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    /// At most [`DIGITS_MAX`]; a decimal with more is no double.
    digits: u64,
    count: u32,
    exponent: i64,
}

/// No double's shortest form has more digits.
const DIGITS_MAX: u32 = 17;
/// Every decimal of so many digits is some double's shortest form, far from the ends of the range.
const DIGITS_SAFE: u32 = 15;
/// Far from the ends of the range: 1e-290 to 1e290.
const EXPONENT_SAFE: i64 = 290;

/// See [`super::convert`].
pub(super) fn convert(text: &[u8]) -> Result<Value<'_>, ValueError> {
    if matches!(text, b"NaN" | b"Infinity" | b"-Infinity") {
        return Ok(Value::Text(text));
    }
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, fraction) = match memchr::memchr(b'.', unsigned) {
        Some(point) => (
            unsigned.get(..point).unwrap_or_default(),
            Some(unsigned.get(point.saturating_add(1)..).unwrap_or_default()),
        ),
        None => (unsigned, None),
    };
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !digits(whole) || fraction.is_some_and(|fraction| !digits(fraction)) {
        return Err(ValueError::NotNumeric);
    }
    let Some(fraction) = fraction else {
        return Ok(scan::integer(text).map_or_else(|_| real_or_text(text), Value::Int));
    };
    if let Some(real) = exact_real(text) {
        return Ok(Value::Real(real));
    }
    let before_point = text.get(..text.len().saturating_sub(fraction.len().saturating_add(1)));
    match before_point.map(scan::integer) {
        Some(Ok(int)) if fraction.iter().all(|c| *c == b'0') => Ok(Value::Int(int)),
        _ => Ok(Value::Text(text)),
    }
}

fn real_or_text(text: &[u8]) -> Value<'_> {
    exact_real(text).map_or(Value::Text(text), Value::Real)
}

/// The double whose shortest decimal form is this very value.
fn exact_real(text: &[u8]) -> Option<f64> {
    let decimal = decimal(text)?;
    let real: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if decimal.count <= DIGITS_SAFE && decimal.exponent.abs() < EXPONENT_SAFE {
        return Some(real);
    }
    if !real.is_finite() {
        return None;
    }
    // Rust prints the shortest form that reads back as the same double.
    (shortest(real)? == decimal).then_some(real)
}

fn shortest(real: f64) -> Option<Decimal> {
    let text = format!("{:e}", real.abs());
    let (mantissa, exponent) = text.split_once('e')?;
    let mantissa = decimal(mantissa.as_bytes())?;
    Some(Decimal { exponent: exponent.parse().ok()?, ..mantissa })
}

/// Sign, digits and a point; `None` with more than [`DIGITS_MAX`] significant digits.
fn decimal(text: &[u8]) -> Option<Decimal> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let point = memchr::memchr(b'.', text).unwrap_or(text.len());
    let mut decimal = Decimal { digits: 0, count: 0, exponent: 0 };
    let mut zeros: u32 = 0;
    for (at, c) in text.iter().enumerate() {
        if *c == b'.' {
            continue;
        }
        let digit = u64::from(c.wrapping_sub(b'0'));
        if digit == 0 {
            // Counted only when another digit follows.
            zeros = zeros.saturating_add(u32::from(decimal.count > 0));
            continue;
        }
        if decimal.count == 0 {
            let at = i64::try_from(at).ok()?;
            let point = i64::try_from(point).ok()?;
            decimal.exponent = if at < point { point - at - 1 } else { point - at };
        }
        decimal.count = decimal.count.saturating_add(zeros).saturating_add(1);
        if decimal.count > DIGITS_MAX {
            return None;
        }
        decimal.digits = decimal.digits * 10_u64.pow(zeros + 1) + digit;
        zeros = 0;
    }
    Some(decimal)
}
