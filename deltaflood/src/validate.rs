//! Everything that can be checked of a line without knowing the table.

use crate::error::fail;
use crate::{Change, Kind, ParseError, Text, list};

impl Change<'_> {
    /// Walks the whole line: fields, escapes, names, lists, columns given twice.
    ///
    /// # Errors
    /// The first malformed field; failing that, a malformed list, or details that
    /// do not fit; failing that, the first column
    /// that is there a second time.
    pub fn validate(&self) -> Result<(), ParseError> {
        let mut names = Vec::new();
        let mut columns = self.columns();
        loop {
            let at = columns.offset();
            match columns.next() {
                None => break,
                Some(Err(error)) => return Err(error),
                Some(Ok((name, _))) => names.push((name.decode(), at)),
            }
        }
        for list in [self.unchanged, self.key].into_iter().flatten() {
            self.validate_list(list)?;
        }
        self.details()?;
        names.sort_unstable();
        let twice = names.windows(2).filter_map(|pair| match pair {
            [(one, _), (other, at)] if one == other => Some(*at),
            _ => None,
        });
        match twice.min() {
            Some(at) => fail(at, Kind::DuplicateColumn),
            None => Ok(()),
        }
    }

    fn validate_list(&self, text: Text<'_>) -> Result<(), ParseError> {
        let value = text.decode();
        for name in list::names(&value) {
            if let Err(error) = name {
                let field = text.raw().as_ptr() as usize - self.line.as_ptr() as usize;
                return fail(field + text.raw_offset(error.byte), Kind::BadList);
            }
        }
        Ok(())
    }
}
