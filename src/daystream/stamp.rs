//! The beginning of every line of a stream: `_c CLOCK _s SEQ`.

use super::Position;

/// How a line of the log begins.
pub(super) const PREFIX: &[u8] = b"_c\t";
/// How a commit line ends. Other lines can end so too (a column named `_action`): only a parse of
/// the line tells.
pub(super) const COMMIT: &[u8] = b"\t_action\tcommit";

/// The position of a line, and the offset of what follows the stamp. `Err`: the offending byte.
pub(super) fn read(line: &[u8]) -> Result<(Position, usize), usize> {
    if !line.starts_with(PREFIX) {
        let same = line.iter().zip(PREFIX).take_while(|(is, should)| is == should).count();
        return Err(same);
    }
    let mut at = PREFIX.len();
    let clock = number(line, &mut at)?;
    let clock = i64::try_from(clock).map_err(|_| PREFIX.len())?;
    for &should in b"\t_s\t" {
        if line.get(at) != Some(&should) {
            return Err(at);
        }
        at += 1;
    }
    let seq = number(line, &mut at)?;
    if line.get(at) != Some(&b'\t') {
        return Err(at);
    }
    Ok((Position { clock, seq }, at + 1))
}

/// A canonical decimal number at `at`, which moves behind it.
fn number(line: &[u8], at: &mut usize) -> Result<u64, usize> {
    let start = *at;
    let mut value = 0u64;
    while let Some(digit) = line.get(*at).map(|byte| byte.wrapping_sub(b'0')).filter(|d| *d < 10) {
        let more = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit)));
        value = more.ok_or(*at)?;
        *at += 1;
    }
    let digits = *at - start;
    if digits == 0 || digits > 1 && line.get(start) == Some(&b'0') { Err(start) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_stamp_and_names_the_wrong_byte() {
        let position = Position { clock: 1_507_507_200, seq: 17 };
        assert_eq!(read(b"_c\t1507507200\t_s\t17\t_table\tz"), Ok((position, 20)));
        for (line, byte) in [
            (&b""[..], 0),
            (b"_c", 2),
            (b"_d\t1\t_s\t1\tx", 1),
            (b"_c\tx\t_s\t1\tx", 3),
            (b"_c\t01\t_s\t1\tx", 3),
            (b"_c\t1\t_t\t1\tx", 6),
            (b"_c\t1\t_s\t1", 9),
            (b"_c\t99999999999999999999\t_s\t1\t", 22),
            (b"_c\t9223372036854775808\t_s\t1\t", 3),
        ] {
            assert_eq!(read(line), Err(byte), "{}", String::from_utf8_lossy(line));
        }
    }
}
