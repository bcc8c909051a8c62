//! Columns dropped, renamed and added.

use super::literal::literal;
use super::{Alter, refused};
use crate::deltamirror::definition::Definition;
use crate::deltamirror::state::TableState;
use crate::deltamirror::trouble::Trouble;
use crate::deltamirror::{alter::index, check};
use crate::schema::value::{Kind, convert};
use crate::sqlite::{self, Db, quote_identifier};

/// Makes sure that the columns of `now` can be in the table of the file: SQLite ignores the case of
/// names, and the user may have columns there.
pub(super) fn check_names(db: &Db, state: &TableState, now: &Definition) -> Result<(), Trouble> {
    let names: Vec<&String> = now.columns.iter().map(|(name, _)| name).collect();
    for (at, name) in names.iter().enumerate() {
        let same = names.iter().take(at).find(|other| other.eq_ignore_ascii_case(name));
        if let Some(other) = same {
            return Err(Trouble::Drift(format!(
                "the columns \"{other}\" and \"{name}\" are the same name to SQLite, which \
                 ignores case: rename one of them in PostgreSQL"
            )));
        }
    }
    let ours = |name: &String| {
        let columns = state.definition.columns.iter().map(|(column, _)| column);
        columns.chain(&state.kept).any(|column| column == name)
    };
    let there = check::names(db, &state.name).map_err(Trouble::of)?;
    for own in there.iter().filter(|name| !ours(name)) {
        if names.iter().any(|name| name.eq_ignore_ascii_case(own)) {
            let (table, column) = (quote_identifier(&state.name), quote_identifier(own));
            return Err(Trouble::Drift(format!(
                "the table has a column \"{own}\" now, and in the file there is one of that name \
                 that is not the mirror's: rename it there by \
                 `ALTER TABLE {table} RENAME COLUMN {column} TO ...`, and start again"
            )));
        }
    }
    Ok(())
}

impl Alter<'_> {
    /// Drops a column; where something of the user's names it, it stays, with nothing in it.
    pub(super) fn drop_column(&mut self, column: &str) -> Result<(), Trouble> {
        if self.state.primary_key.iter().any(|key| key == column) {
            return Err(Trouble::Drift(format!(
                "column \"{column}\", which is in the primary key, is no longer there"
            )));
        }
        index::drop_with(self.db, &self.state.name, column)?;
        if !self.is_dropped(column)? {
            let quoted = quote_identifier(column);
            let sql = format!("UPDATE {} SET {quoted} = NULL", self.quoted());
            self.db.exec(&sql).map_err(refused)?;
            self.state.kept.push(column.to_owned());
        }
        Ok(())
    }

    /// Drops a column, unless something names it, or this SQLite is older than 3.35.
    fn is_dropped(&self, column: &str) -> Result<bool, Trouble> {
        let sql = format!("ALTER TABLE {} DROP COLUMN {}", self.quoted(), quote_identifier(column));
        match self.db.exec(&sql) {
            Ok(()) => Ok(true),
            Err(error) if error.reason() == sqlite::Reason::Error => Ok(false),
            Err(error) => Err(Trouble::Sqlite(error)),
        }
    }

    /// Columns that were dropped and stayed, and whose name is needed now: what named them may be
    /// gone meanwhile.
    fn make_room(&mut self, name: &str) -> Result<(), Trouble> {
        let kept = self.state.kept.iter().position(|kept| kept.eq_ignore_ascii_case(name));
        let Some(at) = kept else { return Ok(()) };
        let kept = self.state.kept.remove(at);
        if self.is_dropped(&kept)? {
            return Ok(());
        }
        Err(Trouble::Drift(format!(
            "the table has a column \"{name}\" now, and in the file one of that name was kept when \
             it was dropped, since an index, a view or a trigger there names it: drop that, and \
             start again"
        )))
    }

    /// Gives columns other names, all at once: they may go round.
    pub(super) fn rename_columns(&mut self, renames: &[(&str, &str)]) -> Result<(), Trouble> {
        for (_, to) in renames {
            self.make_room(to)?;
        }
        let taken = |to: &str| renames.iter().any(|(from, _)| from.eq_ignore_ascii_case(to));
        let around = renames.iter().any(|(_, to)| taken(to));
        let rename = |from: &str, to: &str| {
            let (from, to) = (quote_identifier(from), quote_identifier(to));
            self.alter(&format!("RENAME COLUMN {from} TO {to}"))
        };
        let between = |at: usize| format!("_deltamirror_column_{at}");
        for (at, (from, to)) in renames.iter().enumerate() {
            if around { rename(from, &between(at))? } else { rename(from, to)? }
        }
        for (at, (_, to)) in renames.iter().enumerate().filter(|_| around) {
            rename(&between(at), to)?;
        }
        for key in &mut self.state.primary_key {
            if let Some((_, to)) = renames.iter().find(|(from, _)| from == key) {
                *key = (*to).to_owned();
            }
        }
        Ok(())
    }

    /// Adds a column; rows that are there get `value`, PostgreSQL's text, or NULL.
    pub(super) fn add_column(
        &mut self,
        column: &str,
        base_type: Option<u32>,
        value: Option<&[u8]>,
    ) -> Result<(), Trouble> {
        self.make_room(column)?;
        let kind = Kind::from_oid(base_type.unwrap_or_default());
        let mut what = format!("ADD COLUMN {}", quote_identifier(column));
        let declared = kind.sqlite_decl();
        if !declared.is_empty() {
            what.push(' ');
            what.push_str(declared);
        }
        let Some(text) = value else { return self.alter(&what) };
        let mut scratch = Vec::new();
        let value = convert(kind, text, &mut scratch).map_err(|error| {
            Trouble::Drift(format!(
                "column \"{column}\" is new, and what rows have in it is {error}"
            ))
        })?;
        if let Some(literal) = literal(self.db, value).map_err(Trouble::Sqlite)? {
            what.push_str(" DEFAULT ");
            what.push_str(&literal);
            return self.alter(&what);
        }
        self.alter(&what)?;
        let sql = format!("UPDATE {} SET {} = ?1", self.quoted(), quote_identifier(column));
        self.db.execute(&sql, &[value]).map_err(refused)?;
        Ok(())
    }
}
