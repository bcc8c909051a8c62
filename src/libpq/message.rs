//! What the server's and libpq's messages say, in whatever language they are: words and quotes are
//! translated, names, codes and the places in the server's source are not.

/// Whether a message has `name` in quotes: `"t"`, `»t«`, `« t »`.
#[must_use]
pub fn names(message: &str, name: &str) -> bool {
    let is_quote = |c: char| !c.is_alphanumeric() && !c.is_whitespace() && c != '_';
    // French has a blank between the quotes and what they hold.
    let quoted = |near: &mut dyn Iterator<Item = char>| match near.next() {
        Some(' ' | '\u{a0}' | '\u{202f}') => near.next().is_some_and(is_quote),
        next => next.is_some_and(is_quote),
    };
    !name.is_empty()
        && message.match_indices(name).any(|(at, _)| {
            let before = message.get(..at).unwrap_or_default();
            let behind = message.get(at + name.len()..).unwrap_or_default();
            quoted(&mut before.chars().rev()) && quoted(&mut behind.chars())
        })
}

/// A verbose text without its source locations, and the SQLSTATE that is taken out of it.
pub(super) fn plain_message(verbose: &str) -> (String, String) {
    let mut sqlstate = String::new();
    let mut lines = Vec::new();
    for line in verbose.trim_end().lines() {
        if is_location(line) {
            continue;
        }
        match split_sqlstate(line) {
            Some((before, code, after)) => {
                code.clone_into(&mut sqlstate);
                lines.push(format!("{before}:  {after}"));
            }
            None => lines.push(line.to_owned()),
        }
    }
    (lines.join("\n"), sqlstate)
}

/// Whether a message has a line that tells a place in the server's source.
pub(super) fn has_location(message: &str) -> bool {
    message.lines().any(is_location)
}

/// `LOCATION:  InitPostgres, postinit.c:1018`, the first word in any language. Of a source that is
/// none of C (an extension's) only in English.
fn is_location(line: &str) -> bool {
    if line.starts_with("LOCATION:") {
        return true;
    }
    let Some((label, place)) = line.split_once(':') else { return false };
    let Some((function, file)) = place.trim().split_once(", ") else { return false };
    let Some((file, number)) = file.rsplit_once(':') else { return false };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !label.starts_with(char::is_whitespace)
        && !function.is_empty()
        && function.chars().all(is_name)
        && [".c", ".l", ".y"]
            .iter()
            .find_map(|suffix| file.strip_suffix(suffix))
            .is_some_and(|file| file.chars().all(|c| is_name(c) || "./-".contains(c)))
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Splits `...FATAL:  28P01: text` into what is before, the code, and the text.
fn split_sqlstate(line: &str) -> Option<(&str, &str, &str)> {
    line.match_indices(":  ").find_map(|(at, _)| {
        let rest = line.get(at + 3..)?;
        let code = rest.get(..5)?;
        let after = rest.get(5..)?.strip_prefix(": ")?;
        let valid = code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        valid.then(|| (line.get(..at).unwrap_or_default(), code, after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_the_quotes_of_any_language() {
        for message in [
            "publication \"a b\" does not exist",
            "Publikation »a b« existiert nicht",
            "la publication « a b » n'existe pas",
            "la publication «\u{a0}a b\u{a0}» n'existe pas",
            "パブリケーション\"a b\"は存在しません",
        ] {
            assert!(names(message, "a b"), "{message}");
            assert!(!names(message, "a") && !names(message, ""), "{message}");
        }
        // Words of the message, and parts of another name, are none.
        assert!(!names("replication slot \"x\" does not exist", "slot"));
        assert!(!names("replication slot \"one_slot\" does not exist", "slot"));
        assert!(names("\"slot\": replication slot \"x_slot\" does not exist", "slot"));
    }

    #[test]
    fn places_in_the_source_are_taken_out_in_any_language() {
        for label in ["LOCATION", "ORT", "EMPLACEMENT ", "ПОЛОЖЕНИЕ", "場所"] {
            let text = format!(
                "FATAL:  3D000: database \"x\" does not exist\n{label}:  InitPostgres, \
                 postinit.c:1018\n"
            );
            assert!(has_location(&text), "{label}");
            let plain = "FATAL:  database \"x\" does not exist";
            assert_eq!(plain_message(&text), (plain.to_owned(), "3D000".to_owned()));
        }
        for line in ["LOCATION:  a::b, src/lib.rs:7", "ORT:  scanner_yyerror, scan.l:1176"] {
            assert!(has_location(line), "{line}");
        }
        for line in ["DETAIL:  x, y:1", "DETAIL:  see a b, c.c:1", "no place", "a:  f, b.c:x"] {
            assert!(!has_location(line), "{line}");
        }
    }
}
