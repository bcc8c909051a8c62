//! A position in PostgreSQL's write-ahead log.
//!
//! The text form is that of the type `pg_lsn`: two hexadecimal numbers of up to 8 digits each,
//! separated by a slash.

use std::fmt;
use std::str::FromStr;

/// A write-ahead log position, in bytes. Prints as `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// A text that is not an LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LsnError;

impl fmt::Display for LsnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an LSN: expected two hexadecimal numbers like 16/B374D848")
    }
}

impl std::error::Error for LsnError {}

impl Lsn {
    /// Reads the text form. Lower case and leading zeros are accepted, as PostgreSQL does.
    ///
    /// # Errors
    /// [`LsnError`] when the text has another form.
    pub fn parse(text: &[u8]) -> Result<Lsn, LsnError> {
        let slash = text.iter().position(|&b| b == b'/').ok_or(LsnError)?;
        let (high, low) = text.split_at(slash);
        let low = low.get(1..).ok_or(LsnError)?;
        Ok(Lsn(half(high)? << 32 | half(low)?))
    }
}

fn half(digits: &[u8]) -> Result<u64, LsnError> {
    if digits.is_empty() || digits.len() > 8 {
        return Err(LsnError);
    }
    let mut value = 0u64;
    for &digit in digits {
        let digit = (digit as char).to_digit(16).ok_or(LsnError)?;
        value = value << 4 | u64::from(digit);
    }
    Ok(value)
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Lsn, LsnError> {
        Lsn::parse(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_reads() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "0/1", "1/0"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        assert_eq!("16/b374d848".parse::<Lsn>().unwrap(), Lsn(0x16_B374_D848));
        assert_eq!("0/0000000A".parse::<Lsn>().unwrap(), Lsn(10));
    }

    #[test]
    fn refuses_other_forms() {
        for text in ["", "/", "1/", "/1", "1", "1/2/3", "+1/2", "1/ 2", "123456789/0", "G/0"] {
            assert_eq!(text.parse::<Lsn>(), Err(LsnError), "{text}");
        }
    }
}
