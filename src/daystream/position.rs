//! A place in a stream: a second and a number within it.

use std::fmt;
use std::str::FromStr;

/// Position of a line: strictly rising through the whole stream.
///
/// Prints as `CLOCK SEQ`, which is also a Tcl list of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Seconds since the Unix epoch, not negative.
    pub clock: i64,
    /// Number of the line among those with this clock, from 0.
    pub seq: u64,
}

impl Position {
    /// Before every line.
    pub const MIN: Position = Position { clock: 0, seq: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.clock, self.seq)
    }
}

/// A text that is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected a clock and a sequence number, as in {{1507507200 17}}")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Position, PositionError> {
        let mut words = text.split_ascii_whitespace();
        let (clock, seq) = (words.next(), words.next());
        match (clock, seq, words.next()) {
            (Some(clock), Some(seq), None) => {
                let clock: i64 = clock.parse().map_err(|_| PositionError)?;
                let seq = seq.parse().map_err(|_| PositionError)?;
                if clock < 0 { Err(PositionError) } else { Ok(Position { clock, seq }) }
            }
            _ => Err(PositionError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_clock_then_seq_and_prints_what_it_reads() {
        let early = Position { clock: 7, seq: 900 };
        let late = Position { clock: 8, seq: 0 };
        assert!(early < late && Position::MIN < early);
        assert_eq!("8 0".parse(), Ok(late));
        assert_eq!(early.to_string(), "7 900");
        for text in ["", "8", "8 0 1", "-8 0", "8 -1", "a b"] {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text}");
        }
    }
}
