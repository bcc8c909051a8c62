//! How fields are told apart and escaped.

use change_line::write;

/// Which bytes of a field are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// None: the line cannot be read back when a field holds a separator or a line feed.
    Nothing,
    /// Those of the change line: backslash, TAB, LF, CR.
    Line,
    /// Those, and every control character and byte above 0x7E as a backslash and three octal
    /// digits.
    Octal,
}

/// Separator and escapes of a stream's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    /// What stands between fields; TAB unless asked otherwise.
    pub separator: Vec<u8>,
    /// What is escaped.
    pub escape: Escape,
}

impl Default for Style {
    fn default() -> Style {
        Style { separator: b"\t".to_vec(), escape: Escape::Line }
    }
}

impl Style {
    /// Whether fields are those of the change line.
    pub fn is_line(&self) -> bool {
        self.escape == Escape::Line && self.separator == b"\t"
    }

    /// Whether this may stand between fields: no byte of it may be taken for a part of an escape
    /// or for the line's end.
    pub fn may_separate(text: &[u8]) -> bool {
        let wrong = |b: &u8| {
            b.is_ascii_alphanumeric() || !b.is_ascii() || matches!(b, b'\\' | b'_' | b'\n' | b'\r')
        };
        !text.is_empty() && !text.iter().any(wrong)
    }

    /// Appends a field, escaped.
    #[inline]
    pub fn field(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        if self.is_line() {
            write::escape(out, bytes);
        } else {
            self.other_field(out, bytes);
        }
    }

    fn other_field(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            match (self.escape, byte) {
                (Escape::Nothing, _) => {
                    out.extend_from_slice(rest);
                    return;
                }
                _ if byte != b'\t' && self.begins_separator(rest) => {
                    out.extend_from_slice(&[b'\\', byte]);
                }
                (_, b'\\' | b'\t' | b'\n' | b'\r') => write::escape(out, &[byte]),
                (Escape::Octal, 0..0x20 | 0x7F..) => {
                    let digit = |shift: u8| b'0' + (byte >> shift & 7);
                    out.extend_from_slice(&[b'\\', digit(6), digit(3), digit(0)]);
                }
                _ => out.push(byte),
            }
            rest = after;
        }
    }

    /// Whether a reader would find a separator at the beginning of `rest`, behind which another
    /// stands: it may begin in a field and end in what follows.
    fn begins_separator(&self, rest: &[u8]) -> bool {
        let (here, behind) = self.separator.split_at(rest.len().min(self.separator.len()));
        rest.starts_with(here) && self.separator.starts_with(behind)
    }

    /// Appends a separator and a key that needs no escape.
    pub fn key(&self, out: &mut Vec<u8>, key: &str) {
        out.extend_from_slice(&self.separator);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&self.separator);
    }

    /// So many bytes may become of one, at most.
    pub fn most_bytes(&self) -> usize {
        match self.escape {
            Escape::Nothing => 1,
            Escape::Line => 2,
            Escape::Octal => 4,
        }
    }

    /// Length of a field once it is escaped, in bytes.
    pub fn escaped_len(&self, bytes: &[u8]) -> usize {
        match self.escape {
            Escape::Line if self.separator == b"\t" => {
                let special = |b: &&u8| matches!(b, b'\\' | b'\t' | b'\n' | b'\r');
                bytes.len() + bytes.iter().filter(special).count()
            }
            // At most; such lines are for small values.
            _ => bytes.len() * self.most_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(separator: &str, escape: Escape, text: &[u8]) -> String {
        let style = Style { separator: separator.into(), escape };
        let mut out = Vec::new();
        style.field(&mut out, text);
        assert!(out.len() <= style.escaped_len(text));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn fields_are_escaped_as_asked() {
        let text = "a\tb\\c\nd\re\x1a\u{e9}".as_bytes();
        assert_eq!(shown("\t", Escape::Line, text), "a\\tb\\\\c\\nd\\re\x1a\u{e9}");
        assert_eq!(shown("\t", Escape::Nothing, text), "a\tb\\c\nd\re\x1a\u{e9}");
        assert_eq!(shown("\t", Escape::Octal, text), "a\\tb\\\\c\\nd\\re\\032\\303\\251");
        assert_eq!(shown("|", Escape::Line, b"a|b\tc"), "a\\|b\\tc");
        assert_eq!(shown(", ", Escape::Line, b"a,b, c,"), "a,b\\, c,");
        // Or `a|` and what follows it would be read as `a` and something that begins with `|`.
        assert_eq!(shown("||", Escape::Line, b"|a|b||c|"), "|a|b\\||c\\|");
        assert_eq!(shown("|-|", Escape::Line, b"a|-"), "a\\|-");
    }

    #[test]
    fn separators_that_would_be_read_as_something_else() {
        for text in ["\t", "|", ", ", "\x01"] {
            assert!(Style::may_separate(text.as_bytes()), "{text:?}");
        }
        for text in ["", "n", "\\", "a|", "\n", "\r", "_", "\u{e9}"] {
            assert!(!Style::may_separate(text.as_bytes()), "{text:?}");
        }
    }
}
