//! Numbers from text: strictly, and as C's `strtoul` and `atof` would.

use super::ValueError;

/// A whole text as a 64-bit integer: an optional sign and decimal digits, nothing else.
#[inline]
pub(super) fn integer(text: &[u8]) -> Result<i64, ValueError> {
    /// So many digits never overflow.
    const DIGITS_SAFE: usize = 18;
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(ValueError::NotInteger);
    }
    if digits.len() > DIGITS_SAFE {
        return long_integer(negative, digits);
    }
    let mut value: i64 = 0;
    for c in digits {
        let digit = c.wrapping_sub(b'0');
        if digit > 9 {
            return Err(ValueError::NotInteger);
        }
        value = value * 10 + i64::from(digit);
    }
    Ok(if negative { -value } else { value })
}

#[cold]
fn long_integer(negative: bool, digits: &[u8]) -> Result<i64, ValueError> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(ValueError::NotInteger);
    }
    let mut value: i64 = 0;
    for c in digits {
        let digit = i64::from(c.wrapping_sub(b'0'));
        // Downwards, since the smallest integer has no positive counterpart.
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(digit))
            .ok_or(ValueError::IntegerRange)?;
    }
    if negative { Ok(value) } else { value.checked_neg().ok_or(ValueError::IntegerRange) }
}

/// A whole text as a double; `NaN` and infinities by their words only, in any case.
#[inline]
pub(super) fn real(text: &[u8]) -> Result<f64, ValueError> {
    let number: f64 = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(ValueError::NotReal)?;
    let word = text.iter().any(|c| matches!(c, b'i' | b'I'));
    if number.is_infinite() && !word { Err(ValueError::RealRange) } else { Ok(number) }
}

/// What `strtoul` makes of the beginning of a text, as a signed integer; `None` where it finds no
/// number, or 0.
pub(super) fn integer_prefix(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let mut value: u64 = 0;
    for c in digits.iter().take_while(|c| c.is_ascii_digit()) {
        let digit = u64::from(c.wrapping_sub(b'0'));
        value = value.saturating_mul(10).saturating_add(digit);
    }
    let value = value as i64;
    (value != 0).then_some(if negative { value.wrapping_neg() } else { value })
}

/// What `atof` makes of the beginning of a text: 0 where there is no number.
pub(super) fn real_prefix(text: &[u8]) -> f64 {
    let text = text.trim_ascii_start();
    let numeric = text
        .iter()
        .take_while(|c| matches!(c, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))
        .count();
    let mut numeric = text.get(..numeric).unwrap_or_default();
    // The longest beginning that is a number; `1e` and `1-2` need more than one try.
    while let [shorter @ .., _] = numeric {
        if let Some(number) = std::str::from_utf8(numeric).ok().and_then(|t| t.parse().ok()) {
            return number;
        }
        numeric = shorter;
    }
    0.0
}
