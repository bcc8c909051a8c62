//! Text between Tcl's internal form and real UTF-8.
//!
//! Tcl keeps NUL as C0 80. Tcl 8.6 keeps a character beyond U+FFFF that it made itself as two
//! surrogates of three bytes each (ED A0..AF xx ED B0..BF xx); Tcl 9 as four bytes. What goes to a
//! database or a file is real UTF-8; what comes back takes the form that the running Tcl makes
//! itself, so that dict keys and `string equal` agree. Sources: tclUtf.c of both versions, Unicode
//! Technical Report 26 (CESU-8).

use std::borrow::Cow;

/// A lone surrogate or another byte that is no UTF-8, at this offset of Tcl's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the text holds half a surrogate pair or bytes that are no UTF-8, at byte {byte}: it has no form in UTF-8"
)]
pub struct TextError {
    /// Offset in bytes.
    pub byte: usize,
}

/// Tcl's form to UTF-8. Borrows when nothing needs a change.
///
/// # Errors
/// A lone surrogate has no UTF-8 form.
pub fn to_utf8(tcl: &[u8]) -> Result<Cow<'_, str>, TextError> {
    match std::str::from_utf8(tcl) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) => decode(tcl, error.valid_up_to(), None).map(Cow::Owned),
    }
}

/// Tcl's form to UTF-8 for messages: what has no UTF-8 form becomes U+FFFD.
#[must_use]
pub fn to_utf8_lossy(tcl: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(tcl) {
        Ok(text) => Cow::Borrowed(text),
        Err(error) => match decode(tcl, error.valid_up_to(), Some('\u{FFFD}')) {
            Ok(text) => Cow::Owned(text),
            Err(_) => String::from_utf8_lossy(tcl),
        },
    }
}

/// Decodes from byte `start`, all before which is UTF-8.
fn decode(tcl: &[u8], start: usize, replacement: Option<char>) -> Result<String, TextError> {
    let mut out: Vec<u8> = Vec::with_capacity(tcl.len());
    out.extend_from_slice(&tcl[..start]);
    let mut at = start;
    while at < tcl.len() {
        match &tcl[at..] {
            [0xC0, 0x80, ..] => {
                out.push(0);
                at += 2;
            }
            [
                0xED,
                a @ 0xA0..=0xAF,
                b @ 0x80..=0xBF,
                0xED,
                c @ 0xB0..=0xBF,
                d @ 0x80..=0xBF,
                ..,
            ] => {
                let high = (u32::from(a & 0x0F) << 6) | u32::from(b & 0x3F);
                let low = (u32::from(c & 0x0F) << 6) | u32::from(d & 0x3F);
                let code = 0x1_0000 + (high << 10) + low;
                let mut four = [0; 4];
                let character = char::from_u32(code).ok_or(TextError { byte: at })?;
                out.extend_from_slice(character.encode_utf8(&mut four).as_bytes());
                at += 6;
            }
            rest => {
                // NOTE: one valid character at a time: this road is taken only by text with special
                // characters.
                let length = rest.iter().take(4).count();
                let valid = (1..=length).find(|n| std::str::from_utf8(&rest[..*n]).is_ok());
                match (valid, replacement) {
                    (Some(n), _) => {
                        out.extend_from_slice(&rest[..n]);
                        at += n;
                    }
                    (None, Some(character)) => {
                        let mut four = [0; 4];
                        out.extend_from_slice(character.encode_utf8(&mut four).as_bytes());
                        at += 1;
                    }
                    (None, None) => return Err(TextError { byte: at }),
                }
            }
        }
    }
    String::from_utf8(out).map_err(|error| TextError { byte: error.utf8_error().valid_up_to() })
}

/// Whether these are ASCII characters other than NUL. Eight at a time: nearly every value of a
/// database is such, and short, and this is asked of each.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // A high bit stays where a byte is 0x80 or more, or borrows because it is 0.
    let strange = |word: u64| (word | word.wrapping_sub(ONES)) & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    if words.iter().any(|word| strange(u64::from_ne_bytes(*word)) != 0) {
        return false;
    }
    rest.iter().all(|byte| (1..0x80).contains(byte))
}

/// Text with bytes that are no UTF-8: each becomes the character of its number, as Tcl itself reads
/// it. They come when a script has set another `client_encoding`.
fn with_strange_bytes(utf8: &[u8]) -> String {
    let mut text = String::with_capacity(utf8.len() + 8);
    for chunk in utf8.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| char::from(*byte)));
    }
    text
}

/// UTF-8 to the form of the running Tcl; a byte that is no UTF-8 becomes the character of its
/// number. Borrows when nothing needs a change.
#[must_use]
pub fn from_utf8(utf8: &[u8], tcl9: bool) -> Cow<'_, [u8]> {
    if is_plain(utf8) {
        return Cow::Borrowed(utf8);
    }
    let text = match std::str::from_utf8(utf8) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(with_strange_bytes(utf8)),
    };
    let plain = |b: u8| b != 0 && (tcl9 || b < 0xF0);
    if text.bytes().all(plain) {
        return match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
    }
    let mut out = Vec::with_capacity(text.len() + 8);
    for character in text.chars() {
        let code = character as u32;
        if code == 0 {
            out.extend_from_slice(&[0xC0, 0x80]);
        } else if code > 0xFFFF && !tcl9 {
            let code = code - 0x1_0000;
            for half in [0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF)] {
                out.push(0xED);
                out.push(0x80 | ((half >> 6) & 0x3F) as u8);
                out.push(0x80 | (half & 0x3F) as u8);
            }
        } else {
            let mut four = [0; 4];
            out.extend_from_slice(character.encode_utf8(&mut four).as_bytes());
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_what_is_ascii_without_nul() {
        for length in 0..20 {
            assert!(is_plain(&vec![b'a'; length]));
            for at in 0..length {
                for (byte, plain) in [(0, false), (1, true), (0x7F, true), (0x80, false)] {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), plain, "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn plain_text_is_borrowed_both_ways() {
        assert!(matches!(to_utf8("aé€".as_bytes()), Ok(Cow::Borrowed("aé€"))));
        assert!(matches!(from_utf8("aé€".as_bytes(), false), Cow::Borrowed(_)));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_characters_of_their_number() {
        for tcl9 in [false, true] {
            let text = from_utf8(b"caf\xE9 \xC3\xA9\x80\xE2\x82", tcl9);
            assert_eq!(&*text, "café é\u{80}â\u{82}".as_bytes());
        }
    }

    #[test]
    fn surrogate_pairs_are_four_bytes_outside() {
        let tcl86 = from_utf8("a😀b\0c".as_bytes(), false);
        assert_eq!(&*tcl86, b"a\xED\xA0\xBD\xED\xB8\x80b\xC0\x80c");
        assert_eq!(to_utf8(&tcl86).unwrap(), "a😀b\0c");
        let tcl9 = from_utf8("a😀b\0c".as_bytes(), true);
        assert_eq!(&*tcl9, "a😀b".bytes().chain(*b"\xC0\x80c").collect::<Vec<_>>());
        assert_eq!(to_utf8(&tcl9).unwrap(), "a😀b\0c");
    }

    #[test]
    fn every_character_survives() {
        for tcl9 in [false, true] {
            for character in (0..=0x10FFFF).filter_map(char::from_u32) {
                let text = character.to_string();
                assert_eq!(to_utf8(&from_utf8(text.as_bytes(), tcl9)).unwrap(), text);
            }
        }
    }

    #[test]
    fn a_lone_surrogate_is_named_by_its_byte() {
        assert_eq!(to_utf8(b"ab\xED\xA0\xBDc"), Err(TextError { byte: 2 }));
        assert_eq!(to_utf8_lossy(b"a\xED\xA0\xBDc"), "a\u{FFFD}\u{FFFD}\u{FFFD}c");
        assert_eq!(to_utf8(b"\xC0\x80\xFF"), Err(TextError { byte: 2 }));
    }
}
