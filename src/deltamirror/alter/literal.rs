//! A value as SQL: exactly what a copy would have stored.

use std::fmt::Write;

use crate::sqlite::{self, Db, Value, quote_text};

/// `value` as it can stand behind DEFAULT; `None` where SQLite reads no text as that number.
///
/// # Errors
/// Those of a query.
pub(super) fn literal(db: &Db, value: Value<'_>) -> Result<Option<String>, sqlite::Error> {
    Ok(Some(match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(int) => int.to_string(),
        Value::Real(real) => {
            let digits = match real {
                f64::INFINITY => "9e999".to_owned(),
                f64::NEG_INFINITY => "-9e999".to_owned(),
                // With a point or an exponent always, and every digit that matters.
                real => format!("{real:?}"),
            };
            // NOTE: as a default of a column without a type, 1.0 is the integer 1. And not every
            // release of SQLite reads all digits right.
            let text = format!("(CAST({digits} AS REAL))");
            let same = db.query_int(&format!("SELECT {text} = ?1"), &[value])?;
            return Ok((same == Some(1)).then_some(text));
        }
        Value::Text(bytes) => quote_text(&String::from_utf8_lossy(bytes)),
        Value::Blob(bytes) => {
            let mut hex = String::with_capacity(bytes.len() * 2 + 3);
            hex.push_str("x'");
            for byte in bytes {
                // Writing to a String does not fail.
                let _ = write!(hex, "{byte:02x}");
            }
            hex.push('\'');
            hex
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::value::{Kind, convert};
    use crate::sqlite::testing;

    /// A value as SQLite tells it, with its type: stored as a copy does it, and by ADD COLUMN.
    fn both_ways(db: &Db, kind: Kind, text: &str) -> [Option<String>; 2] {
        let declared = kind.sqlite_decl();
        let mut scratch = Vec::new();
        let value = convert(kind, text.as_bytes(), &mut scratch).unwrap();
        let default = literal(db, value).unwrap().unwrap();
        let make = format!("CREATE TABLE a (x {declared}); CREATE TABLE b (i)");
        db.exec(&make).unwrap();
        db.execute("INSERT INTO a VALUES (?1)", &[value]).unwrap();
        db.exec("INSERT INTO b VALUES (1)").unwrap();
        db.exec(&format!("ALTER TABLE b ADD COLUMN x {declared} DEFAULT {default}")).unwrap();
        let told = ["a", "b"].map(|table| {
            db.query_text(&format!("SELECT typeof(x) || ' ' || quote(x) FROM {table}"), &[])
                .unwrap()
        });
        db.exec("DROP TABLE a; DROP TABLE b").unwrap();
        told
    }

    #[test]
    fn a_default_is_what_a_copy_stores() {
        testing::load().unwrap();
        let db = Db::open_in_memory().unwrap();
        let wide = "1234567890123456789012345678901234567890.5";
        for (kind, texts) in [
            (Kind::Integer, &["0", "-1", "9223372036854775807", "-9223372036854775808"][..]),
            (
                Kind::Real,
                &[
                    "0",
                    "-0",
                    "1",
                    "-1.5",
                    "0.1",
                    "1e300",
                    "5e-324",
                    "Infinity",
                    "-Infinity",
                    "NaN",
                    "123456789012345680000",
                    "1e21",
                ],
            ),
            (Kind::Boolean, &["t", "f", "1", "0"]),
            (
                Kind::Numeric,
                &[
                    "0",
                    "1",
                    "-1",
                    "1.0",
                    "1.50",
                    "0.1",
                    "-7.25",
                    "NaN",
                    "Infinity",
                    wide,
                    "9223372036854775808",
                    "100000000000000000000",
                    "1e3",
                ],
            ),
            (Kind::Text, &["", "it's", "a\nb\tc\\", "1", "1.0", "NULL", "'", "--", "\u{1f600}"]),
            (Kind::Bytea, &["\\x", "\\x00ff27", "\\x6162"]),
            (Kind::TimestampTz, &["2026-11-20 21:53:36.912962+02", "infinity"]),
        ] {
            for text in
                texts.iter().filter(|text| convert(kind, text.as_bytes(), &mut Vec::new()).is_ok())
            {
                let [copied, added] = both_ways(&db, kind, text);
                assert_eq!(copied, added, "{kind:?} {text}");
                assert!(copied.is_some(), "{kind:?} {text}");
            }
        }
    }
}
