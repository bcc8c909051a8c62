//! What scripts see of the lines: which ones, which columns, and in which form.

use super::change::{self, Names};
use crate::tcl::{CmdResult, Failure, Interp, Obj, Options};
use deltaflood::Verb;

/// The options' words for forms, in the order in which messages list them.
const FORMS: [&str; 3] = ["array", "dict", "line"];

/// The form of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    /// Elements of an array.
    #[default]
    Array,
    /// One value: names and values.
    Dict,
    /// One value: the line as it is.
    Line,
}

/// Which changes, and what of them.
#[derive(Debug, Default)]
pub struct View {
    form: Form,
    columns: Option<Vec<Vec<u8>>>,
    actions: Option<Vec<Verb>>,
}

/// A change as a script gets it.
pub enum Shown {
    /// Names and values.
    Elements(Vec<(Obj, Obj)>),
    /// A dict, or the line.
    Value(Obj),
}

impl View {
    /// From `-as`, `-columns` and `-actions`.
    ///
    /// # Errors
    /// An unknown word; columns of lines, which are as they are.
    pub fn new(interp: Interp, options: &Options) -> CmdResult<View> {
        let form = match options.text("-as")?.as_deref() {
            None | Some("array") => Form::Array,
            Some("dict") => Form::Dict,
            Some("line") => Form::Line,
            Some(word) => return Err(Failure::bad_word("form", word, &FORMS).into()),
        };
        let columns = options.list(interp, "-columns")?;
        if columns.is_some() && form == Form::Line {
            let message = "-columns does not go with -as line: a line is given as it is";
            return Err(Failure::new(message, &["PGSQLITE", "USAGE", "CONFLICT"]).into());
        }
        let columns = columns.map(|names| names.into_iter().map(String::into_bytes).collect());
        let words = options.list(interp, "-actions")?;
        let mut actions = words.as_ref().map(|_| Vec::new());
        for word in words.iter().flatten() {
            let Some(verb) = Verb::from_bytes(word.as_bytes()) else {
                let known = [
                    "insert", "update", "replace", "delete", "truncate", "commit", "schema",
                    "message",
                ];
                return Err(Failure::bad_word("action", word, &known).into());
            };
            actions.get_or_insert_with(Vec::new).push(verb);
        }
        Ok(View { form, columns, actions })
    }

    /// Whether a line with this verb is shown.
    #[must_use]
    pub fn passes(&self, verb: Verb) -> bool {
        self.actions.as_ref().is_none_or(|actions| actions.contains(&verb))
    }

    /// What is shown of a line.
    ///
    /// # Errors
    /// A line that is none.
    pub fn show(&self, line: &[u8], names: &Names) -> CmdResult<Shown> {
        if self.form == Form::Line {
            return Ok(Shown::Value(Obj::utf8(line)));
        }
        let elements = change::elements(line, names, |column| {
            self.columns.as_ref().is_none_or(|columns| columns.iter().any(|c| column.is(c)))
        })?;
        if self.form == Form::Array {
            return Ok(Shown::Elements(elements));
        }
        let words: Vec<Obj> =
            elements.into_iter().flat_map(|(name, value)| [name, value]).collect();
        Ok(Shown::Value(Obj::list(&words)))
    }
}
