//! The one list of what each session of ours sets before it runs anything else.
//!
//! Without it a statement of ours would mean what the settings of the database, of the role or of
//! the environment make of it: `search_path` decides which function and operator a name is, others
//! decide how values and names are printed, or end the session. Derived from the manual's chapter
//! "Server Configuration": every setting that a plain role, or the owner of a database by `ALTER
//! DATABASE ... SET`, can make, and that changes what is printed, what our SQL means, or how long a
//! session lives.

use std::fmt::Write;

/// For whom a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// What a statement of ours means and prints: also while it runs on a connection that is a
    /// user's.
    Meaning,
    /// How long a session lives, and what it may read: those that are wholly ours.
    Session,
}

/// A setting, and which servers have it.
struct Setting {
    scope: Scope,
    name: &'static str,
    value: &'static str,
    known: fn(i32) -> bool,
}

const fn meaning(name: &'static str, value: &'static str) -> Setting {
    Setting { scope: Scope::Meaning, name, value, known: |_| true }
}

const fn session(name: &'static str, value: &'static str) -> Setting {
    Setting { scope: Scope::Session, name, value, known: |_| true }
}

/// All of them. The first is the path: nothing before it may look a name up.
const SETTINGS: [Setting; 22] = [
    meaning("search_path", ""),
    // How literals, lists and comparisons of our SQL, and of a row filter, are read.
    meaning("standard_conforming_strings", "on"),
    meaning("transform_null_equals", "off"),
    meaning("array_nulls", "on"),
    // How values and names are printed: the contract of the line format.
    meaning("quote_all_identifiers", "off"),
    meaning("DateStyle", "ISO"),
    meaning("IntervalStyle", "postgres"),
    meaning("TimeZone", "UTC"),
    meaning("extra_float_digits", "1"),
    meaning("bytea_output", "hex"),
    meaning("lc_monetary", "C"),
    // All rows, or an error: the stream has them whatever the policies let this role see.
    meaning("row_security", "off"),
    meaning("gin_fuzzy_search_limit", "0"),
    session("statement_timeout", "0"),
    session("lock_timeout", "0"),
    session("idle_in_transaction_session_timeout", "0"),
    Setting {
        scope: Scope::Session,
        name: "idle_session_timeout",
        value: "0",
        known: |version| version >= 140_000,
    },
    Setting {
        scope: Scope::Session,
        name: "transaction_timeout",
        value: "0",
        known: |version| version >= 170_000,
    },
    // A name that cannot be read is an answer, not an end.
    session("exit_on_error", "off"),
    session("client_min_messages", "warning"),
    // Compiling a question to the catalog takes longer than its answer.
    session("jit", "off"),
    // What was a table when it was looked at, and is a view now, has functions of its owner in it.
    Setting {
        scope: Scope::Session,
        name: "restrict_nonsystem_relation_kind",
        value: "view",
        known: restricts_views,
    },
];

/// The minor releases of August 2024 brought it.
fn restricts_views(version: i32) -> bool {
    let since = match version / 10_000 {
        14 => 140_013,
        15 => 150_008,
        16 => 160_004,
        _ => 170_000,
    };
    version >= since
}

/// `SET` statements for a server of this version, each with its semicolon: for the session, or
/// (`local`) for the transaction that they stand in.
pub(super) fn statements(version: i32, widest: Scope, local: bool) -> String {
    let set = if local { "SET LOCAL" } else { "SET" };
    let mut sql = String::new();
    for setting in chosen(version, widest) {
        // Writing into a String cannot fail.
        let _ = write!(sql, "{set} {} = '{}'; ", setting.name, setting.value);
    }
    sql
}

/// The names of those that [`statements`] sets.
pub(super) fn names(version: i32, widest: Scope) -> impl Iterator<Item = &'static str> {
    chosen(version, widest).map(|setting| setting.name)
}

fn chosen(version: i32, widest: Scope) -> impl Iterator<Item = &'static Setting> {
    let within = move |s: &&Setting| widest == Scope::Session || s.scope == Scope::Meaning;
    SETTINGS.iter().filter(within).filter(move |s| (s.known)(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_comes_first_and_what_a_server_does_not_know_is_left_out() {
        let old = statements(140_000, Scope::Session, true);
        assert!(old.starts_with("SET LOCAL search_path = ''; "), "{old}");
        assert!(!old.contains(" transaction_timeout"), "{old}");
        assert!(!old.contains("restrict_nonsystem"), "{old}");
        let new = statements(180_000, Scope::Session, false);
        assert!(new.contains("SET transaction_timeout = '0'; "), "{new}");
        assert!(new.contains("SET restrict_nonsystem_relation_kind = 'view'; "), "{new}");
        let users = statements(180_000, Scope::Meaning, true);
        assert!(!users.contains("timeout"), "a user's time limits are his: {users}");
        assert_eq!(names(180_000, Scope::Session).count(), SETTINGS.len());
    }
}
