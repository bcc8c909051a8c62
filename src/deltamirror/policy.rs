//! What a mirrored table does when its source is altered.

use super::definition::{SchemaDiff, Step};

/// How far a table follows what is altered at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// All the way.
    #[default]
    Follow,
    /// It takes new columns, and types whose values are stored alike; it stops at anything else.
    Additive,
    /// It stops.
    Stop,
}

impl Policy {
    /// The words, in the order in which messages list them.
    pub const WORDS: [&'static str; 3] = ["follow", "additive", "stop"];

    /// The word for it, in options and in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Policy::Follow => "follow",
            Policy::Additive => "additive",
            Policy::Stop => "stop",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Policy> {
        [Policy::Follow, Policy::Additive, Policy::Stop].into_iter().find(|p| p.word() == word)
    }

    /// The steps of `diff`, if a table of this policy takes them; none when there is nothing to do.
    ///
    /// # Errors
    /// What the table stops at, in words.
    pub(super) fn steps(self, diff: &SchemaDiff) -> Result<&[Step], String> {
        let adds = |step: &Step| matches!(step, Step::Add { .. } | Step::Retype { .. });
        match diff {
            SchemaDiff::Same | SchemaDiff::Identity => Ok(&[]),
            SchemaDiff::Steps(steps) if self.takes(|| steps.iter().all(adds)) => Ok(steps),
            other => Err(self.refusal(&other.text().unwrap_or_default())),
        }
    }

    /// Whether a table goes to the name that its source has now.
    ///
    /// # Errors
    /// What the table stops at, in words.
    pub(super) fn renames(self, detail: &str) -> Result<(), String> {
        if self == Policy::Follow { Ok(()) } else { Err(self.refusal(detail)) }
    }

    fn takes(self, adds: impl Fn() -> bool) -> bool {
        match self {
            Policy::Follow => true,
            Policy::Additive => adds(),
            Policy::Stop => false,
        }
    }

    fn refusal(self, detail: &str) -> String {
        match self {
            Policy::Follow => detail.to_owned(),
            _ => format!("{detail}, and its policy is -ddl {}", self.word()),
        }
    }
}
