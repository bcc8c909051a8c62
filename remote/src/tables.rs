//! The tables that a request names: `t1,schema.t2,"a,b",s."c.d"`.
//!
//! Names stand between commas, each of a table in `public` or with its schema before a dot. One
//! that has a comma, a dot or a quote in it stands in double quotes, as in SQL, with each of its
//! own quotes twice. Client and server read the same form, up to the same size.

use pgsqlite::daystream::TableFilter;

use crate::limits::{TABLES_BYTES_MAX, TABLES_MAX};

/// The filter that a list of tables means.
///
/// # Errors
/// What is expected instead, in words.
pub fn parse(text: &str) -> Result<TableFilter, String> {
    if text.len() > TABLES_BYTES_MAX {
        return Err(format!(
            "at most {TABLES_BYTES_MAX} bytes of names, not {}; without names all lines come",
            text.len()
        ));
    }
    let (mut filter, mut count, mut rest) = (TableFilter::new(), 0, text);
    while !rest.is_empty() {
        rest = match rest.strip_prefix(',') {
            Some(after) => after,
            None => {
                count += 1;
                let (tables, after) = one(rest, filter)?;
                filter = tables;
                after
            }
        };
    }
    if count == 0 || count > TABLES_MAX {
        return Err(format!("1 to {TABLES_MAX} names"));
    }
    Ok(filter)
}

/// The filter with the first name of a list, and what follows that.
fn one(text: &str, filter: TableFilter) -> Result<(TableFilter, &str), String> {
    let (first, rest) = part(text)?;
    if let Some(after) = rest.strip_prefix('.') {
        let (table, rest) = part(after)?;
        end(rest)?;
        return Ok((filter.with(&first.name, &table.name), rest));
    }
    end(rest)?;
    let filter = filter.with("public", &first.name);
    Ok(match first.name.split_once('.').filter(|_| !first.quoted) {
        // Without quotes it can be either.
        Some((schema, table)) => (filter.with(schema, table), rest),
        None => (filter, rest),
    })
}

fn end(rest: &str) -> Result<(), String> {
    if rest.is_empty() || rest.starts_with(',') { Ok(()) } else { Err(malformed(rest)) }
}

/// A name, or one side of a dot.
struct Part {
    name: String,
    quoted: bool,
}

/// The first part of a text, and what follows it. Without quotes it goes up to a comma, or to the
/// dot before a quote.
fn part(text: &str) -> Result<(Part, &str), String> {
    let Some(mut inside) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        let end = text.find(".\"").map_or(end, |dot| dot.min(end));
        let (name, rest) = text.split_at(end);
        let is_whole = !name.is_empty() && !name.contains('"');
        return match is_whole {
            true => Ok((Part { name: name.to_owned(), quoted: false }, rest)),
            false => Err(malformed(text)),
        };
    };
    let mut name = String::new();
    loop {
        let (before, after) = inside.split_once('"').ok_or_else(|| malformed(text))?;
        name.push_str(before);
        inside = match after.strip_prefix('"') {
            Some(more) => more,
            None if name.is_empty() => return Err(malformed(text)),
            None => return Ok((Part { name, quoted: true }, after)),
        };
        name.push('"');
    }
}

fn malformed(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!(
        "names with commas between them, one that has a comma, a dot or a quote in it in double \
         quotes, not {shown}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltaflood::Change;

    /// Which of these tables pass.
    fn passing<'t>(list: &str, tables: &[(&str, &'t str)]) -> Vec<&'t str> {
        let filter = parse(list).unwrap();
        let passes = |schema: &str, table: &str| {
            let line = format!("_table\t{table}\t_schema\t{schema}\t_action\ttruncate");
            filter.passes(&Change::parse(line.as_bytes()).unwrap())
        };
        tables.iter().filter(|(schema, table)| passes(schema, table)).map(|t| t.1).collect()
    }

    #[test]
    fn every_name_has_a_form() {
        let tables = [
            ("public", "a"),
            ("public", "x,y"),
            ("s", "b"),
            ("public", "s.b"),
            ("s,t", "c.d"),
            ("public", "q\"q"),
            ("s", "e,f"),
        ];
        assert_eq!(passing("a,s.b", &tables), ["a", "b", "s.b"]);
        assert_eq!(passing("\"s.b\"", &tables), ["s.b"]);
        assert_eq!(passing("\"s\".\"b\"", &tables), ["b"]);
        assert_eq!(passing("\"x,y\",\"s,t\".\"c.d\"", &tables), ["x,y", "c.d"]);
        assert_eq!(passing("\"q\"\"q\",s.\"e,f\",", &tables), ["q\"q", "e,f"]);
        for bad in ["", ",", "\"a", "\"\"", "a\"b", "\"a\"b", "\"a\".", "a.\"b\"c", ".\"b\""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bounds_are_those_of_a_request() {
        let many = |n: usize| vec!["t"; n].join(",");
        assert!(parse(&many(TABLES_MAX)).is_ok() && parse(&many(TABLES_MAX + 1)).is_err());
        let long = |n: usize| "x".repeat(n);
        assert!(parse(&long(TABLES_BYTES_MAX)).is_ok());
        let error = parse(&long(TABLES_BYTES_MAX + 1)).unwrap_err();
        assert!(error.contains("without names all lines come"), "{error}");
        // Each byte as three, and room for the rest of the head.
        const ROOM: usize = crate::limits::CONNECTION_BUFFER_BYTES - (4 << 10);
        const { assert!(3 * TABLES_BYTES_MAX <= ROOM) }
    }
}
