//! Numbers in the head: canonical decimal, so that one number has one form.

/// Reads a canonical unsigned decimal: digits only, no leading zero, within 64 bits.
pub(crate) fn parse_u64(text: &[u8]) -> Option<u64> {
    let (&first, _) = text.split_first()?;
    if first == b'0' && text.len() > 1 || text.len() > 20 {
        return None;
    }
    let mut value = 0u64;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Reads a canonical signed decimal within 64 bits; `-0` is not canonical.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => match parse_u64(digits)? {
            0 => None,
            magnitude => 0i64.checked_sub_unsigned(magnitude),
        },
        None => i64::try_from(parse_u64(text)?).ok(),
    }
}

/// Reads exactly eight lower-case hexadecimal digits.
pub(crate) fn parse_hex32(text: &[u8]) -> Option<u32> {
    if text.len() != 8 {
        return None;
    }
    text.iter().try_fold(0u32, |value, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u32::from(digit))
    })
}

/// Appends `value` in decimal.
pub(crate) fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

/// Appends `value` in decimal.
pub(crate) fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// Appends `value` as eight lower-case hexadecimal digits.
pub(crate) fn push_hex32(out: &mut Vec<u8>, value: u32) {
    for shift in (0..8).rev() {
        let digit = (value >> (shift * 4) & 15) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 9, 10, 99, 100, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            push_u64(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
            assert_eq!(parse_u64(&out), Some(value));
        }
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            let mut out = Vec::new();
            push_i64(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
            assert_eq!(parse_i64(&out), Some(value));
        }
        for value in [0, 1, 0x0123_abcd, u32::MAX] {
            let mut out = Vec::new();
            push_hex32(&mut out, value);
            assert_eq!(out, format!("{value:08x}").as_bytes());
            assert_eq!(parse_hex32(&out), Some(value));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "00", "01", "+1", "-1", " 1", "1 ", "1e3", "18446744073709551616", "٣"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text}");
        }
        for text in ["-", "-0", "--1", "9223372036854775808", "-9223372036854775809"] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        for text in ["", "0123456", "012345678", "0123ABCD", "0123abcg"] {
            assert_eq!(parse_hex32(text.as_bytes()), None, "{text}");
        }
    }
}
