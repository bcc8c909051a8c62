//! The options of a stream, as `pg_recvlogical -o NAME=VALUE` gives them.

use crate::names::{self, Name};
use crate::style::{Escape, Style};

/// All options; a switch that is given without a value is on.
const KNOWN: [&str; 23] = [
    "include-xids",
    "include-oids",
    "include-lsn",
    "full-name",
    "skip-nulls",
    "escape-chars",
    "escape-unicode",
    "convert-bool",
    "null",
    "separator",
    "tables",
    "only-local",
    "include-transaction",
    "include-truncate",
    "include-schema",
    "include-details",
    "include-messages",
    "include-unchanged",
    "include-timestamp",
    "schemas",
    "skip-columns",
    "only-changed",
    "publish-via-root",
];

/// What becomes of a value that does not fit into a line.
const OVERSIZE: &str = "oversize";

/// What to print, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `_xid` on every line.
    pub include_xids: bool,
    /// `_oid`, the table's, on `schema` lines. (Rows have no object ids since PostgreSQL 12.)
    pub include_oids: bool,
    /// `_lsn`, that of the commit's end, on the lines of changes.
    pub include_lsn: bool,
    /// `_qualified_table`.
    pub full_name: bool,
    /// NULL is absence; else it is the text [`Options::null`].
    pub skip_nulls: bool,
    /// `1` and `0` instead of `t` and `f`.
    pub convert_bool: bool,
    /// What stands for NULL, unescaped.
    pub null: Vec<u8>,
    /// Separator and escapes.
    pub style: Style,
    /// Only changes that were made on this server.
    pub only_local: bool,
    /// `commit` lines.
    pub include_transaction: bool,
    /// `truncate` lines.
    pub include_truncate: bool,
    /// `schema` lines.
    pub include_schema: bool,
    /// Details on `schema` lines.
    pub include_details: bool,
    /// `message` lines.
    pub include_messages: bool,
    /// `_unchanged`.
    pub include_unchanged: bool,
    /// `_time` on `commit` lines.
    pub include_timestamp: bool,
    /// An update names columns that have their old value in `_unchanged`, where it is known.
    pub only_changed: bool,
    /// Changes of partitions are those of the table at the root.
    pub publish_via_root: bool,
    /// A value that does not fit into a line is left out; else it is an error.
    pub skip_oversize: bool,
    /// `table` or `schema`, `table`; none: all.
    tables: Vec<Name>,
    /// Schemas; none: all.
    schemas: Vec<Name>,
    /// `table`, `column` or `schema`, `table`, `column`.
    skip_columns: Vec<Name>,
    /// For tests: the callback that fails, and how.
    #[cfg(feature = "failpoints")]
    pub fail: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            include_xids: true,
            include_oids: true,
            include_lsn: false,
            full_name: false,
            skip_nulls: true,
            convert_bool: true,
            null: b"NULL".to_vec(),
            style: Style::default(),
            only_local: false,
            include_transaction: false,
            include_truncate: false,
            include_schema: false,
            include_details: false,
            include_messages: false,
            include_unchanged: true,
            include_timestamp: true,
            only_changed: false,
            publish_via_root: false,
            skip_oversize: false,
            tables: Vec::new(),
            schemas: Vec::new(),
            skip_columns: Vec::new(),
            #[cfg(feature = "failpoints")]
            fail: None,
        }
    }
}

/// An option that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl OptionError {
    fn unknown(name: &str) -> OptionError {
        let known = KNOWN.join(", ");
        OptionError {
            message: format!("option \"{name}\" of the plugin deltaflood is unknown"),
            hint: format!("The options are {known}, {OVERSIZE}."),
        }
    }

    fn value(name: &str, value: Option<&[u8]>, hint: impl Into<String>) -> OptionError {
        let message = match value {
            Some(text) => {
                let text = String::from_utf8_lossy(text);
                format!("value \"{text}\" of the option \"{name}\" is not valid")
            }
            None => format!("option \"{name}\" needs a value"),
        };
        OptionError { message, hint: hint.into() }
    }
}

impl Options {
    /// Takes one option over. The last of several with one name counts; `_` in a name is as good
    /// as `-`.
    ///
    /// # Errors
    /// An unknown option, or a value it cannot have.
    pub fn set(&mut self, name: &str, value: Option<&[u8]>) -> Result<(), OptionError> {
        let name = name.replace('_', "-");
        if let Some(switch) = self.switch(&name) {
            let hint = "It is a switch: on or off.";
            let on = value.map_or(Some(true), boolean);
            *switch = on.ok_or_else(|| OptionError::value(&name, value, hint))?;
            return Ok(());
        }
        let text = || value.ok_or_else(|| OptionError::value(&name, None, ""));
        let bad = |hint: String| OptionError::value(&name, value, hint);
        match name.as_str() {
            "escape-chars" | "escape-unicode" => self.escape(&name, value)?,
            "null" => {
                if text()?.iter().any(|b| matches!(b, b'\t' | b'\n' | b'\r')) {
                    return Err(bad("It must not break the line.".to_owned()));
                }
                self.null = text()?.to_vec();
            }
            "separator" => {
                if !Style::may_separate(text()?) {
                    let hint = "It is made of ASCII characters other than letters, digits, \
                                underscore, backslash and line ends.";
                    return Err(bad(hint.to_owned()));
                }
                self.style.separator = text()?.to_vec();
            }
            "tables" => {
                let form = "TABLE or SCHEMA.TABLE";
                self.tables = names::list(text()?, 1, 2, form).map_err(bad)?;
            }
            "schemas" => {
                let form = "the name of a schema";
                self.schemas = names::list(text()?, 1, 1, form).map_err(bad)?;
            }
            "skip-columns" => {
                let form = "TABLE.COLUMN or SCHEMA.TABLE.COLUMN";
                self.skip_columns = names::list(text()?, 2, 3, form).map_err(bad)?;
            }
            OVERSIZE => {
                self.skip_oversize = match text()? {
                    b"error" => false,
                    b"skip" => true,
                    _ => return Err(bad("It is error or skip.".to_owned())),
                }
            }
            #[cfg(feature = "failpoints")]
            "fail" => self.fail = Some(String::from_utf8_lossy(text()?).into_owned()),
            _ => return Err(OptionError::unknown(&name)),
        }
        Ok(())
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "include-xids" => &mut self.include_xids,
            "include-oids" => &mut self.include_oids,
            "include-lsn" => &mut self.include_lsn,
            "full-name" => &mut self.full_name,
            "skip-nulls" => &mut self.skip_nulls,
            "convert-bool" => &mut self.convert_bool,
            "only-local" => &mut self.only_local,
            "include-transaction" => &mut self.include_transaction,
            "include-truncate" => &mut self.include_truncate,
            "include-schema" => &mut self.include_schema,
            "include-details" => &mut self.include_details,
            "include-messages" => &mut self.include_messages,
            "include-unchanged" => &mut self.include_unchanged,
            "include-timestamp" => &mut self.include_timestamp,
            "only-changed" => &mut self.only_changed,
            "publish-via-root" => &mut self.publish_via_root,
            _ => return None,
        })
    }

    fn escape(&mut self, name: &str, value: Option<&[u8]>) -> Result<(), OptionError> {
        let hint = "It is a switch: on or off.";
        let on = value.map_or(Some(true), boolean);
        let on = on.ok_or_else(|| OptionError::value(name, value, hint))?;
        let octal = name == "escape-unicode";
        self.style.escape = match (octal, on, self.style.escape) {
            (true, true, _) => Escape::Octal,
            (true, false, Escape::Octal) | (false, true, Escape::Nothing) => Escape::Line,
            (false, false, _) => Escape::Nothing,
            (_, _, now) => now,
        };
        Ok(())
    }

    /// Whether changes of a table are wanted.
    pub fn wants_table(&self, schema: &[u8], table: &[u8]) -> bool {
        let named = |name: &Name| match name.as_slice() {
            [one] => one == table,
            [first, second] => first == schema && second == table,
            _ => false,
        };
        (self.tables.is_empty() || self.tables.iter().any(named))
            && (self.schemas.is_empty() || self.schemas.iter().flatten().any(|one| one == schema))
    }

    /// Whether a column is left out.
    pub fn skips_column(&self, schema: &[u8], table: &[u8], column: &[u8]) -> bool {
        self.skip_columns.iter().any(|name| match name.as_slice() {
            [of, this] => of == table && this == column,
            [within, of, this] => within == schema && of == table && this == column,
            _ => false,
        })
    }
}

/// A switch's value, as PostgreSQL reads booleans: the beginnings of true, false, yes, no, on, off
/// that mean only one of them, and 1 and 0.
fn boolean(text: &[u8]) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins =
        |word: &str, least: usize| text.len() >= least && word.as_bytes().starts_with(&text);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || text == b"1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || text == b"0" {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(list: &[(&str, &str)]) -> Result<Options, OptionError> {
        let mut options = Options::default();
        for (name, value) in list {
            options.set(name, Some(value.as_bytes()))?;
        }
        Ok(options)
    }

    #[test]
    fn every_known_name_is_taken_and_no_other() {
        for name in KNOWN {
            let mut options = Options::default();
            match options.set(name, None) {
                Ok(()) => {}
                Err(error) => assert!(error.message.ends_with("needs a value"), "{error:?}"),
            }
        }
        let error = with(&[("include-xid", "on")]).unwrap_err();
        assert!(error.message.contains("\"include-xid\"") && error.hint.contains("include-xids"));
    }

    #[test]
    fn switches_are_read_as_the_server_does() {
        for (text, on) in [("on", true), ("OF", false), ("t", true), ("n", false), ("1", true)] {
            let options = with(&[("include_lsn", text), ("include-xids", text)]).unwrap();
            assert_eq!((options.include_lsn, options.include_xids), (on, on), "{text}");
        }
        for text in ["", "o", "2", "truely", "maybe"] {
            assert!(with(&[("include-lsn", text)]).is_err(), "{text}");
        }
    }

    #[test]
    fn values_that_options_cannot_have() {
        for (name, text) in [
            ("oversize", "drop"),
            ("separator", "n"),
            ("null", "a\tb"),
            ("tables", "a.b.c"),
            ("schemas", "a.b"),
            ("skip-columns", "a"),
            ("escape-chars", "perhaps"),
        ] {
            let error = with(&[(name, text)]).unwrap_err();
            assert!(error.message.contains(name) && !error.hint.is_empty(), "{error:?}");
        }
    }

    #[test]
    fn tables_and_columns_are_found() {
        let options = with(&[("tables", "a,s.b"), ("skip-columns", "a.x,s.b.y")]).unwrap();
        assert!(options.wants_table(b"public", b"a") && options.wants_table(b"s", b"b"));
        assert!(!options.wants_table(b"public", b"b") && !options.wants_table(b"s", b"c"));
        assert!(options.skips_column(b"q", b"a", b"x") && options.skips_column(b"s", b"b", b"y"));
        assert!(!options.skips_column(b"q", b"b", b"y") && !options.skips_column(b"q", b"a", b"y"));
        let options = with(&[("tables", "a"), ("schemas", "s")]).unwrap();
        assert!(options.wants_table(b"s", b"a") && !options.wants_table(b"t", b"a"));
    }
}
