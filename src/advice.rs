//! Words of a command or a statement that a message advises: they work when they are typed.

/// A word for a shell.
#[must_use]
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,=-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A table as the only one of `-tables`, for a shell: the option is a list of Tcl.
#[must_use]
pub fn tables(table: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_.-".contains(c);
    if table.chars().all(is_plain) { word(table) } else { word(&format!("{{{table}}}")) }
}

/// The command that copies a mirror's table again.
#[must_use]
pub fn filling(table: &str) -> String {
    format!("`deltamirror resync -tables {} -conninfo ... -db ...`", tables(table))
}

/// What helps where a table is not in a mirror.
#[must_use]
pub fn adding(table: &str) -> String {
    format!(
        "`deltamirror tables -db ...` lists what is, and `deltamirror add -tables {} -conninfo ... \
         -db ...` adds a table that the stream has",
        tables(table)
    )
}

/// The command that makes a slot's publication and stream, or adds tables to them; `option` is
/// `publication` or `plugin`.
#[must_use]
pub fn setup(option: &str, value: &str, tables: &str) -> String {
    format!(
        "`deltastream setup -{option} {value} -tables {tables} -conninfo ... -slot ... -stream ...`"
    )
}

/// What is left where a stream cannot go on.
#[must_use]
pub fn begin_again() -> String {
    "begin a new stream with another slot and another folder, by `deltastream setup -conninfo ... \
     -slot ... -stream ... -tables ...`, and fill each mirror again from it, by `deltamirror init \
     -resync 1 -tables ... -conninfo ... -db ... -stream ...`"
        .to_owned()
}

/// The command that drops a slot.
#[must_use]
pub fn drop_slot(slot: &str) -> String {
    format!("`deltastream drop -conninfo ... -slot {}`", word(slot))
}

/// The statement that lets a role replicate.
#[must_use]
pub fn replication(role: &str) -> String {
    format!("`ALTER ROLE {} REPLICATION`, as a superuser", name(role))
}

/// A name in SQL.
#[must_use]
pub fn name(text: &str) -> String {
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if starts && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A table as messages write it, its schema before a point where it has one, in SQL.
#[must_use]
pub fn table(text: &str) -> String {
    match text.split_once('.') {
        _ if text.contains('"') => text.to_owned(),
        Some((schema, table)) => format!("{}.{}", name(schema), name(table)),
        None => name(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_from_a_shell_as_they_were() {
        assert_eq!(word("/var/lib/x.db"), "/var/lib/x.db");
        assert_eq!(word("it's here"), "'it'\\''s here'");
        assert_eq!(tables("other.u"), "other.u");
        assert_eq!(tables("a b"), "'{a b}'");
    }

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        assert_eq!(name("orders"), "orders");
        assert_eq!(name("Orders"), "\"Orders\"");
        assert_eq!(table("other.U"), "other.\"U\"");
    }
}
