//! Lists of names in options: `tables=a,s.b,"odd,name"`.
//!
//! Names stand as they are, case and all; a comma ends one and a full stop divides its parts. A
//! part in double quotes may hold both, and a doubled quote is a quote.

/// The parts of one name, outermost first: schema, table, column.
pub type Name = Vec<Vec<u8>>;

/// Reads a list of names with at least `least` and at most `most` parts each, which in messages
/// are `form`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn list(text: &[u8], least: usize, most: usize, form: &str) -> Result<Vec<Name>, String> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = one(rest)?;
        if !(least..=most).contains(&name.len()) {
            let shown = String::from_utf8_lossy(&name.join(&b'.')).into_owned();
            return Err(format!("\"{shown}\" is not {form}"));
        }
        names.push(name);
        match after.split_first() {
            None => return Ok(names),
            // What follows a name is a comma.
            Some((_, after)) => rest = after,
        }
    }
}

/// One name, and what follows it: nothing, or a comma and more.
fn one(text: &[u8]) -> Result<(Name, &[u8]), String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_ascii_start();
        let (part, after) = match rest.split_first() {
            Some((b'"', after)) => quoted(after)?,
            _ => plain(rest),
        };
        if part.is_empty() {
            return Err("a name is empty".to_owned());
        }
        parts.push(part);
        match after.first() {
            Some(b'.') => rest = after.get(1..).unwrap_or_default(),
            None | Some(b',') => return Ok((parts, after)),
            Some(_) => return Err("a comma is missing after a quoted name".to_owned()),
        }
    }
}

fn plain(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = text.iter().position(|b| matches!(b, b',' | b'.')).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    (name.trim_ascii_end().to_vec(), after)
}

fn quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut name = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.iter().position(|b| *b == b'"').ok_or("a quote is not closed")?;
        let (piece, after) = rest.split_at(end);
        name.extend_from_slice(piece);
        let after = after.get(1..).unwrap_or_default();
        if after.first() != Some(&b'"') {
            return Ok((name, after.trim_ascii_start()));
        }
        name.push(b'"');
        rest = after.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::list;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let names = list(text.as_bytes(), 1, 2, "TABLE")?;
        let text = |name: &Vec<Vec<u8>>| String::from_utf8_lossy(&name.join(&b'|')).into_owned();
        Ok(names.iter().map(text).collect())
    }

    #[test]
    fn names_and_their_parts() {
        assert_eq!(shown("a"), Ok(vec!["a".to_owned()]));
        assert_eq!(shown("a, B.c ,d").unwrap(), ["a", "B|c", "d"]);
        assert_eq!(shown(r#""a,b"."c.d","e""f" , g"#).unwrap(), ["a,b|c.d", "e\"f", "g"]);
        assert_eq!(shown("tab\there").unwrap(), ["tab\there"]);
    }

    #[test]
    fn what_is_no_list() {
        for text in ["", "a,", ",a", "a..b", "a.b.c", "\"a", "\"a\"b", "\"\""] {
            assert!(shown(text).is_err(), "{text}");
        }
    }
}
