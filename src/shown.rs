//! Text that others made, before it goes to a terminal or into a log.
//!
//! A name, a message or a header field can hold what a terminal obeys (ESC, the C1 controls, BEL),
//! what breaks a line where programs do not expect it (U+2028), and what turns the rest of the line
//! around (U+202E). None of it is dropped: it is written as `\u001b`. The programs in Tcl have the
//! same rule in `tcl/program.tcl`.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character is not to be seen, or does something else than to stand there: controls,
/// line and paragraph separators, marks of direction, joiners and other formats.
#[must_use]
pub const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
    )
}

/// The text with each hidden character as `\uXXXX`; the text itself when there is none.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push(&mut out, c);
    }
    Cow::Owned(out)
}

/// Appends a character, or what stands for it.
pub fn push(out: &mut String, c: char) {
    if is_hidden(c) {
        // NOTE: writing to a string does not fail.
        let _ = write!(out, "\\u{:04x}", u32::from(c));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        for (text, wanted) in [
            ("", ""),
            ("Flüge ✈ \"a\\b\" 😀", "Flüge ✈ \"a\\b\" 😀"),
            ("\u{1b}[2J\u{7}", "\\u001b[2J\\u0007"),
            ("a\nb\u{7f}\u{9b}", "a\\u000ab\\u007f\\u009b"),
            ("x\u{2028}y\u{202e}z\u{200b}\u{feff}", "x\\u2028y\\u202ez\\u200b\\ufeff"),
        ] {
            assert_eq!(shown(text), wanted);
        }
    }
}
