//! A program's words: `-option value`, `--option value`, `--option=value`, and words without one.

use std::collections::BTreeMap;

/// What a program was given.
#[derive(Debug, Default)]
pub struct Options {
    given: BTreeMap<String, String>,
    words: Vec<String>,
}

/// The words that this program was called with.
///
/// # Errors
/// One that is not UTF-8, in words.
pub fn command_line() -> Result<Vec<String>, String> {
    let word = |word: std::ffi::OsString| {
        word.into_string().map_err(|word| format!("the word {word:?} is not UTF-8"))
    };
    std::env::args_os().skip(1).map(word).collect()
}

impl Options {
    /// Takes the words apart; `known` are the options' names without a dash.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(
        words: impl IntoIterator<Item = String>,
        known: &[&str],
    ) -> Result<Options, String> {
        let mut options = Options::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
                options.words.push(word);
                continue;
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            if !known.contains(&name) {
                return Err(format!("bad option \"-{name}\": must be -{}", known.join(", -")));
            }
            let value = value.or_else(|| words.next());
            let value = value.ok_or_else(|| format!("value for \"-{name}\" missing"))?;
            options.given.insert(name.to_owned(), value);
        }
        Ok(options)
    }

    /// The words without an option.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// An option's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// The value of an option that must be given.
    ///
    /// # Errors
    /// That it is missing.
    pub fn required(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("-{name} is missing"))
    }

    /// A number; `None` when it is not given.
    ///
    /// # Errors
    /// That it is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let number = |text: &str| {
            text.parse().map_err(|_| format!("-{name} must be a number, not \"{text}\""))
        };
        self.get(name).map(number).transpose()
    }

    /// A flag, 0 unless given.
    ///
    /// # Errors
    /// That it is neither 0 nor 1.
    pub fn flag(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(other) => Err(format!("-{name} must be 0 or 1, not \"{other}\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_options_in_any_order() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let known = ["from", "follow"];
        let options = Options::parse(words("URL -from 1.2 --follow=1"), &known).unwrap();
        assert_eq!(options.words(), ["URL"]);
        assert_eq!(options.get("from"), Some("1.2"));
        assert_eq!(options.flag("follow"), Ok(true));
        assert!(options.number("from").is_err());
        for bad in ["-to 3", "-from", "--nonsense=1"] {
            assert!(Options::parse(words(bad), &known).is_err(), "{bad}");
        }
    }
}
