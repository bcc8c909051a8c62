//! `timestamp with time zone`: PostgreSQL's ISO text to UTC with a `Z`, the form that SQLite's date
//! functions read.

use super::ValueError;
use crate::sqlite::Value;

/// See [`super::convert`].
pub(super) fn convert<'a>(
    text: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Value<'a>, ValueError> {
    if is_kept(text) {
        return Ok(Value::Text(text));
    }
    scratch.clear();
    if let Some(utc) = text.strip_suffix(b"+00")
        && is_plain(utc)
    {
        scratch.extend_from_slice(utc);
    } else {
        shift(text, scratch).ok_or(ValueError::NotTimestampTz)?;
    }
    scratch.push(b'Z');
    Ok(Value::Text(scratch))
}

/// Would [`convert`] take it?
pub(super) fn is_convertible(text: &[u8]) -> bool {
    convert(text, &mut Vec::new()).is_ok()
}

/// Infinite and BC times stay as PostgreSQL prints them.
fn is_kept(text: &[u8]) -> bool {
    matches!(text, b"infinity" | b"-infinity")
        || text
            .strip_suffix(b" BC")
            .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

/// `YYYY-MM-DD HH:MM:SS`, with more digits in the year and a fraction of a second where there are
/// some.
fn is_plain(text: &[u8]) -> bool {
    parts(text).is_some()
}

/// Year, month, day, second of the day, and the fraction with its point.
fn parts(text: &[u8]) -> Option<(i64, i64, i64, i64, &[u8])> {
    let year_end = memchr::memchr(b'-', text)?;
    let (year, rest) = text.split_at_checked(year_end)?;
    let (clock, fraction) = rest.split_at_checked(15)?;
    let [b'-', m1, m2, b'-', d1, d2, b' ', h1, h2, b':', i1, i2, b':', s1, s2] = clock else {
        return None;
    };
    let two = |a: &u8, b: &u8| {
        (a.is_ascii_digit() && b.is_ascii_digit())
            .then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
    };
    let fraction_ok = match fraction {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !fraction_ok || !(4..=7).contains(&year.len()) {
        return None;
    }
    let mut years = 0;
    for c in year {
        years = years * 10 + i64::from(c.is_ascii_digit().then(|| c - b'0')?);
    }
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let second = two(h1, h2)? * 3600 + two(i1, i2)? * 60 + two(s1, s2)?;
    ((1..=12).contains(&month) && (1..=31).contains(&day))
        .then_some((years, month, day, second, fraction))
}

/// Another zone than UTC: subtracts `+HH`, `-HH:MM`, `+HH:MM:SS`.
#[cold]
fn shift(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    use std::io::Write;
    let sign = memchr::memrchr2(b'+', b'-', text)?;
    let (local, zone) = text.split_at_checked(sign)?;
    let (year, month, day, second, fraction) = parts(local)?;
    let mut offset = 0;
    let mut unit = 3600;
    for part in std::str::from_utf8(zone.get(1..)?).ok()?.split(':') {
        offset += part.parse::<u8>().ok().map(i64::from)? * unit;
        unit /= 60;
    }
    if zone.first() == Some(&b'-') {
        offset = -offset;
    }
    let seconds = days_of_civil(year, month, day) * 86_400 + second - offset;
    let (year, month, day) = civil_of_days(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // The year before 1 AD is 1 BC: PostgreSQL would print that in UTC, and so do we.
    if year < 1 {
        return None;
    }
    write!(out, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}").ok()?;
    out.extend_from_slice(fraction);
    Some(())
}

/// Days since 1970-01-01 in the Gregorian calendar, by counting years from March, so that the leap
/// day is the last.
fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_of_civil`].
fn civil_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}
