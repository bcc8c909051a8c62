//! `-option value` words of the new commands.

use super::error::{CmdResult, Failure};
use super::interp::Interp;
use super::obj::Obj;

/// Options that were given, by name.
#[derive(Debug)]
pub struct Options {
    given: Vec<(&'static str, Obj)>,
}

impl Options {
    /// Reads pairs of `-name value`. `known` are the names with their dash, in the order in which
    /// messages list them.
    ///
    /// # Errors
    /// An unknown name (`bad option ...`, errorCode `TCL LOOKUP INDEX option X`); a name without
    /// value.
    pub fn parse(words: &[Obj], known: &[&'static str]) -> CmdResult<Options> {
        let mut given = Vec::with_capacity(words.len() / 2);
        let mut rest = words;
        while let [name, tail @ ..] = rest {
            let word = name.text_lossy();
            let Some(known) = known.iter().find(|k| **k == word) else {
                return Err(Failure::bad_word("option", &word, known).into());
            };
            let [value, tail @ ..] = tail else {
                let code = ["PGSQLITE", "USAGE", "NOVALUE", "option", &word];
                return Err(Failure::new(format!("value for \"{word}\" missing"), &code).into());
            };
            given.push((*known, value.clone()));
            rest = tail;
        }
        Ok(Options { given })
    }

    /// The value of an option; the last one, when it was given twice.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Obj> {
        self.given.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The value of an option as text.
    ///
    /// # Errors
    /// Text that has no UTF-8 form.
    pub fn text(&self, name: &str) -> CmdResult<Option<String>> {
        self.get(name).map(|value| value.as_text().map(|t| t.into_owned())).transpose()
    }

    /// The value of an option that must be there.
    ///
    /// # Errors
    /// `PGSQLITE USAGE MISSING option NAME` when it is not.
    pub fn required(&self, name: &str) -> CmdResult<String> {
        self.text(name)?.ok_or_else(|| {
            let code = ["PGSQLITE", "USAGE", "MISSING", "option", name];
            Failure::new(format!("option {name} is required"), &code).into()
        })
    }

    /// The value of an option as a number that is not negative.
    ///
    /// # Errors
    /// Not an integer, or negative.
    pub fn count(&self, interp: Interp, name: &str) -> CmdResult<Option<u64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_int(interp)?;
        match u64::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                let message = format!("{name} must not be negative, but is {number}");
                Err(Failure::new(message, &["PGSQLITE", "USAGE", "RANGE", "option", name]).into())
            }
        }
    }

    /// The value of an option as a boolean.
    ///
    /// # Errors
    /// Not one of Tcl's words for true and false.
    pub fn flag(&self, interp: Interp, name: &str) -> CmdResult<Option<bool>> {
        self.get(name).map(|value| value.as_bool(interp)).transpose()
    }

    /// The value of an option as a list of texts.
    ///
    /// # Errors
    /// Not a list.
    pub fn list(&self, interp: Interp, name: &str) -> CmdResult<Option<Vec<String>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let elements = value.as_list(interp)?;
        elements
            .iter()
            .map(|element| element.as_text().map(|t| t.into_owned()))
            .collect::<CmdResult<Vec<String>>>()
            .map(Some)
    }
}
