//! Text that is no UTF-8.
//!
//! A database in another encoding converts what it sends, and refuses what it cannot. One of the
//! encoding `SQL_ASCII` knows no characters: it stores any bytes, and sends text to a client that
//! wants UTF-8 only when it happens to be that, else it ends the walsender, each time. So such a
//! database is read as it is, and this decides.

use super::options::InvalidText;
use deltaflood::{Change, Lsn};
use std::borrow::Cow;

/// What is done with the text of a server: nothing, where it is UTF-8 for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextRule(Option<InvalidText>);

/// A text that is no UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

impl TextRule {
    /// The rule for a server that sends any bytes.
    #[must_use]
    pub const fn any_bytes(wanted: InvalidText) -> TextRule {
        TextRule(Some(wanted))
    }

    /// Whether the server may send bytes that are no text.
    #[must_use]
    pub const fn is_needed(self) -> bool {
        self.0.is_some()
    }

    /// The text as it goes into a line, escaped or not.
    ///
    /// # Errors
    /// [`Invalid`], where the rule is to end.
    #[inline]
    pub fn apply(self, text: &[u8]) -> Result<Cow<'_, [u8]>, Invalid> {
        let Some(wanted) = self.0 else { return Ok(text.into()) };
        if wanted == InvalidText::Bytes || std::str::from_utf8(text).is_ok() {
            return Ok(text.into());
        }
        match wanted {
            InvalidText::Replace => {
                Ok(String::from_utf8_lossy(text).into_owned().into_bytes().into())
            }
            InvalidText::Error | InvalidText::Bytes => Err(Invalid),
        }
    }

    /// Lines as they go into the stream.
    ///
    /// # Errors
    /// Table and column of the first text that is no UTF-8, where the rule is to end.
    pub(super) fn lines(self, lines: &[u8]) -> Result<Cow<'_, [u8]>, (String, String)> {
        self.apply(lines).map_err(|Invalid| place(lines))
    }
}

/// Table and column of the first text in lines that is no UTF-8.
fn place(lines: &[u8]) -> (String, String) {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let is_wrong = |bytes: &[u8]| std::str::from_utf8(bytes).is_err();
    let wrong = lines.split(|byte| *byte == b'\n').find(|line| is_wrong(line)).unwrap_or(lines);
    let Ok(change) = Change::parse(wrong) else { return (String::new(), String::new()) };
    let table = change.table.map(|table| shown(&table.decode())).unwrap_or_default();
    let schema = change.schema.map(|schema| shown(&schema.decode()) + ".").unwrap_or_default();
    let mut columns = change.columns().filter_map(Result::ok);
    let column = columns.find(|(name, value)| is_wrong(name.raw()) || is_wrong(value.raw()));
    let column = column.map(|(name, _)| shown(&name.decode())).unwrap_or_default();
    (schema + &table, column)
}

/// Where a text stands that is no UTF-8.
#[derive(Debug, thiserror::Error)]
#[error(
    "column \"{column}\" of table {table} has a text that is no UTF-8, in a change after {after}: \
     the database's encoding is SQL_ASCII, which takes any bytes. Capture with -invalid_text \
     replace (each wrong byte becomes U+FFFD) or bytes (they stay as they are); names of tables \
     and columns have to be UTF-8"
)]
pub struct InvalidAt {
    /// End of the last transaction received.
    pub after: Lsn,
    /// The table.
    pub table: String,
    /// The column; empty: a name is meant.
    pub column: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_left_refused_or_replaced() {
        let (good, bad) = ("\u{e9}".as_bytes(), b"a\xffb".as_slice());
        for rule in [InvalidText::Error, InvalidText::Replace, InvalidText::Bytes] {
            assert_eq!(TextRule::any_bytes(rule).apply(good).as_deref(), Ok(good));
        }
        assert_eq!(TextRule::default().apply(bad).as_deref(), Ok(bad));
        assert_eq!(TextRule::any_bytes(InvalidText::Bytes).apply(bad).as_deref(), Ok(bad));
        assert_eq!(TextRule::any_bytes(InvalidText::Error).apply(bad), Err(Invalid));
        let replaced = TextRule::any_bytes(InvalidText::Replace).apply(bad);
        assert_eq!(replaced.as_deref(), Ok("a\u{fffd}b".as_bytes()));
        let lines = b"_table\tt\t_action\tinsert\ta\t1\n_table\tu\t_action\tinsert\ta\t1\tb\t\xff";
        let found = TextRule::any_bytes(InvalidText::Error).lines(lines);
        assert_eq!(found, Err(("u".to_owned(), "b".to_owned())));
    }
}
