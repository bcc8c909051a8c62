//! The chain that ties each transaction to all before it, and marks, which carry it.
//!
//! Each commit line says `_chain`: the sum of the stream before it. Behind a transaction the sum is
//! the CRC-32C of 16 hexadecimal digits, those of its `_chain` and of its `_commit_crc`, which sums
//! up its lines. So one commit line tells the sum behind it, and a transaction that is missing, or
//! is another one, is found at the next. A commit line without `_chain` (format 1) counts as 0, and
//! so does what is before a stream's first transaction.

use deltaflood::{Change, Lsn};

use super::Position;

/// The chain before a stream's first transaction.
pub(super) const BEGINNING: u32 = 0;

/// The end of a transaction, and what tells that transaction from another one at its position: how
/// a reader goes on that has stored it ([`Start::After`](super::Start::After)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Position of its last line.
    pub position: Position,
    /// End of its commit record; `None`: not known.
    pub lsn: Option<Lsn>,
    /// The stream's chain behind it; `None`: not known.
    pub chain: Option<u32>,
}

impl Mark {
    /// A position, and nothing more is known.
    #[must_use]
    pub const fn at(position: Position) -> Mark {
        Mark { position, lsn: None, chain: None }
    }

    /// The end of the transaction with this commit line, at `position`.
    pub(super) fn of(position: Position, commit: &Change<'_>) -> Mark {
        Mark { position, lsn: commit.lsn, chain: Some(behind(commit)) }
    }

    /// Whether what is known of both lets them be the same transaction.
    #[must_use]
    pub fn may_be(&self, other: &Mark) -> bool {
        fn same<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.zip(other).is_none_or(|(one, other)| one == other)
        }
        self.position == other.position
            && same(self.chain, other.chain)
            && same(self.lsn, other.lsn)
    }
}

impl From<Position> for Mark {
    fn from(position: Position) -> Mark {
        Mark::at(position)
    }
}

/// The chain behind a transaction, from the one before it and the sum in its commit line.
#[must_use]
pub fn chain_after(before: u32, commit_crc: u32) -> u32 {
    let mut digits = [0; 16];
    let sums = u64::from(before) << 32 | u64::from(commit_crc);
    for (at, digit) in digits.iter_mut().enumerate() {
        let value = (sums >> (60 - 4 * at) & 15) as u8;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
    }
    crc32c::crc32c(&digits)
}

/// The chain behind the transaction that ends with this commit line.
#[must_use]
pub fn behind(commit: &Change<'_>) -> u32 {
    chain_after(commit.chain.unwrap_or(BEGINNING), commit.commit_crc.unwrap_or(0))
}

/// A chain as eight lower-case hexadecimal digits.
#[must_use]
pub fn chain_text(chain: u32) -> String {
    format!("{chain:08x}")
}

/// The chain in such a text.
#[must_use]
pub fn parse_chain(text: &str) -> Option<u32> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let sound = text.len() == 8 && text.bytes().all(digit);
    if sound { u32::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_the_sum_of_sixteen_digits() {
        assert_eq!(chain_after(0x0012_abcd, 0xdead_beef), crc32c::crc32c(b"0012abcddeadbeef"));
        let line = b"_chain\t0012abcd\t_commit_crc\tdeadbeef\t_action\tcommit";
        let commit = Change::parse(line).unwrap();
        assert_eq!(behind(&commit), chain_after(0x0012_abcd, 0xdead_beef));
        assert_eq!(behind(&Change::parse(b"_action\tcommit").unwrap()), chain_after(0, 0));
    }

    #[test]
    fn a_chain_has_one_text() {
        assert_eq!(chain_text(0xab), "000000ab");
        assert_eq!(parse_chain("000000ab"), Some(0xab));
        for bad in ["", "ab", "000000AB", "+00000ab", "000000abc", "0000000g"] {
            assert_eq!(parse_chain(bad), None, "{bad}");
        }
    }

    #[test]
    fn marks_of_two_transactions_at_one_position_differ() {
        let position = Position { clock: 7, seq: 3 };
        let one = Mark { position, lsn: Some(Lsn(5)), chain: Some(1) };
        assert!(one.may_be(&one) && one.may_be(&Mark::at(position)));
        assert!(!one.may_be(&Mark { chain: Some(2), ..one }));
        assert!(!one.may_be(&Mark { lsn: Some(Lsn(6)), chain: None, ..one }));
        assert!(!one.may_be(&Mark::at(Position { clock: 7, seq: 4 })));
    }
}
