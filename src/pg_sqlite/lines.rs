//! Rows from lines of text: cells in the order of the columns, or keys and values.
//!
//! Cells stand between separators (TAB unless told otherwise). Escapes are those of `COPY` text
//! format that the server writes, and `\xHH`; a backslash before anything else is itself, as in
//! files that know no escapes. The text that means NULL is compared before escapes are decoded, so
//! that `\N` and a cell with a backslash and an N are different. Nothing means NULL unless told so.
//! An empty line of keys and values is skipped.

use super::batch::Batch;
use super::convert::Converter;
use super::source::Reader;
use super::{Error, Result};

/// Puts the next line (UTF-8, without its end) into the empty buffer; `false` at the end.
pub type NextLine<'a> = dyn FnMut(&mut Vec<u8>) -> Result<bool> + 'a;

/// Lines to read rows from.
pub struct Lines<'a> {
    /// Gives the lines.
    pub next: &'a mut NextLine<'a>,
    /// What stands between two cells; not empty.
    pub separator: Vec<u8>,
    /// What the cells are.
    pub form: LineForm,
}

/// What the cells of a line are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineForm {
    /// The columns, in order. With too few or too many the row is an error; without `strict` the
    /// missing ones are NULL, and those too many are ignored.
    Columns,
    /// Keys and values by turns; a column that is not there is NULL, of a key given twice the last
    /// one counts.
    Keys {
        /// The column that takes pairs with other keys, as a Tcl list; without it they are an
        /// error.
        unknown: Option<String>,
    },
}

/// Reads and converts lines.
pub(super) struct LineRows<'a> {
    next: &'a mut NextLine<'a>,
    separator: Vec<u8>,
    keys: bool,
    /// The number of the column for unknown keys.
    unknown: Option<usize>,
    null: Option<Vec<u8>>,
    converter: Converter,
    line: Vec<u8>,
    scratch: Vec<u8>,
}

impl<'a> LineRows<'a> {
    /// `converter` must not know the text for NULL: it would see it decoded.
    ///
    /// # Errors
    /// [`Error::Separator`].
    pub(super) fn new(
        lines: Lines<'a>,
        null: Option<&[u8]>,
        converter: Converter,
    ) -> Result<LineRows<'a>> {
        check_separator(&lines.separator)?;
        let (keys, unknown) = match &lines.form {
            LineForm::Columns => (false, None),
            LineForm::Keys { unknown: None } => (true, None),
            LineForm::Keys { unknown: Some(name) } => (true, converter.position(name.as_bytes())),
        };
        Ok(LineRows {
            next: lines.next,
            separator: lines.separator,
            keys,
            unknown,
            null: null.map(<[u8]>::to_vec),
            converter,
            line: Vec::new(),
            scratch: Vec::new(),
        })
    }

    fn columns(&mut self, batch: &mut Batch) -> Result<()> {
        self.converter.begin_row();
        let lenient = !self.converter.is_strict();
        let escaped = memchr::memchr(b'\\', &self.line).is_some();
        for cell in cells(&self.line, &self.separator) {
            if lenient && self.converter.missing() == 0 {
                break;
            }
            let cell = match self.null.as_deref() == Some(cell) {
                true => None,
                false if escaped => Some(unescape(cell, &mut self.scratch)),
                false => Some(cell),
            };
            self.converter.push(batch, cell)?;
        }
        while lenient && self.converter.missing() > 0 {
            self.converter.push(batch, None)?;
        }
        self.converter.end_row(batch)
    }

    fn pairs(&mut self, batch: &mut Batch) -> Result<()> {
        self.converter.begin_row();
        let mut values: Vec<Option<&[u8]>> = vec![None; self.converter.missing()];
        let mut others = Vec::new();
        let mut cells = cells(&self.line, &self.separator);
        while let Some(key) = cells.next() {
            let key = unescape(key, &mut self.scratch);
            let row = self.converter.row();
            let Some(value) = cells.next() else {
                let key = String::from_utf8_lossy(key).into_owned();
                return Err(Error::KeyAlone { row, key });
            };
            let column = self.converter.position(key).filter(|at| Some(*at) != self.unknown);
            match column.and_then(|at| values.get_mut(at)) {
                Some(place) => *place = Some(value).filter(|v| self.null.as_deref() != Some(*v)),
                None if self.unknown.is_some() => {
                    deltaflood::list::push(&mut others, key);
                    deltaflood::list::push(&mut others, unescape(value, &mut self.scratch));
                }
                None => {
                    let key = String::from_utf8_lossy(key).into_owned();
                    return Err(Error::UnknownColumn { row, key });
                }
            }
        }
        for (at, value) in values.into_iter().enumerate() {
            let value = match value {
                _ if Some(at) == self.unknown => Some(&*others).filter(|list| !list.is_empty()),
                Some(value) => Some(unescape(value, &mut self.scratch)),
                None => None,
            };
            self.converter.push(batch, value)?;
        }
        self.converter.end_row(batch)
    }
}

impl Reader for LineRows<'_> {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool> {
        while !batch.is_full() {
            self.line.clear();
            if !(self.next)(&mut self.line)? {
                return Ok(false);
            }
            if !self.keys {
                self.columns(batch)?;
            } else if !self.line.is_empty() {
                self.pairs(batch)?;
            }
        }
        Ok(true)
    }
}

/// # Errors
/// [`Error::Separator`].
pub(super) fn check_separator(separator: &[u8]) -> Result<()> {
    let escaped = |byte: &u8| matches!(byte, b'\\' | b'\n' | b'\r');
    if separator.is_empty() || separator.iter().any(escaped) {
        return Err(Error::Separator);
    }
    Ok(())
}

/// The parts of a line between separators: one more than there are separators.
struct Cells<'l> {
    rest: Option<&'l [u8]>,
    separator: &'l [u8],
}

fn cells<'l>(line: &'l [u8], separator: &'l [u8]) -> Cells<'l> {
    Cells { rest: Some(line), separator }
}

impl<'l> Iterator for Cells<'l> {
    type Item = &'l [u8];

    #[inline]
    fn next(&mut self) -> Option<&'l [u8]> {
        let rest = self.rest?;
        let end = match self.separator {
            [byte] => memchr::memchr(*byte, rest),
            more => memchr::memmem::find(rest, more),
        };
        let (cell, after) = rest.split_at(end.unwrap_or(rest.len()));
        self.rest = end.and_then(|_| after.get(self.separator.len()..));
        Some(cell)
    }
}

/// The text of a cell, in `scratch` when it differs from the cell.
fn unescape<'a>(cell: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if memchr::memchr(b'\\', cell).is_none() {
        return cell;
    }
    let hex = |digit: &u8| char::from(*digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    scratch.clear();
    let mut rest = cell;
    while let [first, after @ ..] = rest {
        let (byte, used) = match (first, after) {
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b'b', ..]) => (8, 2),
            (b'\\', [b'f', ..]) => (12, 2),
            (b'\\', [b'v', ..]) => (11, 2),
            (b'\\', [b'x', high, low, ..]) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => (high << 4 | low, 4),
                _ => (b'\\', 1),
            },
            (other, _) => (*other, 1),
        };
        scratch.push(byte);
        rest = rest.get(used..).unwrap_or_default();
    }
    scratch
}
