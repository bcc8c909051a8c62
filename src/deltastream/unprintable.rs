//! A value whose text is longer than the server can make, and of which table it is.

use crate::error::Code;
use deltaflood::Lsn;

/// What is known of a value that the server cannot print.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server cannot print a value of a change after {after}, of {} ({message}): its text has \
     more than 1 GB, however small it is stored. No reader of this slot gets past it: begin again \
     with another -slot and -stream, with -tables that leave the table out, or with -plugin \
     deltaflood, which names table and column, and leaves such a value out with -oversize skip; \
     then fill the mirrors again",
    words(tables)
)]
pub struct Unprintable {
    /// End of the last transaction received.
    pub after: Lsn,
    /// The table, or those that it can be; none: not known.
    pub tables: Vec<String>,
    /// The server's words.
    pub message: String,
}

impl Unprintable {
    /// The error's code, with the table where it is known.
    pub(super) fn code(&self, code: Code) -> Code {
        let code = code.with("after", self.after);
        match self.tables.as_slice() {
            [one] => code.with("table", one),
            _ => code,
        }
    }
}

/// Tables of which one is meant, in words.
fn words(tables: &[String]) -> String {
    const SHOWN: usize = 5;
    match tables {
        [] => "a table that is not known".to_owned(),
        [one] => format!("table {one}"),
        some if some.len() <= SHOWN => format!("one of the tables {}", some.join(", ")),
        many => {
            let shown = many.get(..SHOWN).unwrap_or_default().join(", ");
            format!("one of {} tables ({shown}, ...)", many.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn tables_are_named_as_far_as_they_are_known() {
        let names = |n: usize| (0..n).map(|at| format!("t{at}")).collect::<Vec<_>>();
        assert_eq!(words(&names(0)), "a table that is not known");
        assert_eq!(words(&names(1)), "table t0");
        assert_eq!(words(&names(2)), "one of the tables t0, t1");
        assert_eq!(words(&names(6)), "one of 6 tables (t0, t1, t2, t3, t4, ...)");
    }
}
