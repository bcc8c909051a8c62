//! What the user made on a table, and a table that takes its place cannot have.

use crate::advice;
use crate::error::Code;

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An index.
    Index,
    /// A trigger, of this table or of another one.
    Trigger,
    /// A view.
    View,
    /// A column that the user added.
    Column,
    /// A part of the table's own text: a constraint, `WITHOUT ROWID`, `STRICT`.
    Table,
    /// The connection is in SQLite's defensive mode, in which no table can take another's place.
    Defensive,
}

impl Kind {
    /// The word in messages and codes.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Index => "index",
            Kind::Trigger => "trigger",
            Kind::View => "view",
            Kind::Column => "column",
            Kind::Table => "table",
            Kind::Defensive => "defensive",
        }
    }
}

/// What cannot be kept; nothing of the table was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The table's name in SQLite.
    pub table: String,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Why, in words; SQLite's own where it is SQLite that refuses.
    pub detail: String,
}

impl Refused {
    pub(in crate::deltamirror) fn new(
        table: &str,
        kind: Kind,
        name: &str,
        detail: &str,
    ) -> Refused {
        let own = str::to_owned;
        Refused { table: own(table), kind, name: own(name), detail: own(detail) }
    }

    /// An error code with these details.
    pub(in crate::deltamirror) fn code(&self, code: Code) -> Code {
        let code = code.with("table", &self.table);
        match self.kind {
            Kind::Defensive => code.with("mode", "defensive"),
            Kind::Table => code,
            kind => code.with(kind.word(), &self.name),
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Refused { table, kind, name, detail } = self;
        let (filling, quoted) = (advice::filling(table), advice::name(name));
        let untouched = "nothing of the table was changed";
        match kind {
            Kind::Index | Kind::Trigger | Kind::View => {
                let verb = kind.word().to_uppercase();
                let of = if *kind == Kind::Index { "of" } else { "that names" };
                write!(
                    f,
                    "the {} \"{name}\" {of} table {table}, which is not the mirror's, does not fit \
                     the table as it is now: {detail}; {untouched}; drop it in the file (`DROP \
                     {verb} {quoted}`) and fill the table again by {filling}",
                    kind.word()
                )
            }
            Kind::Column => write!(
                f,
                "the column \"{name}\" of table {table}, which is not the mirror's, cannot be \
                 kept: {detail}; {untouched}; drop it in the file (`ALTER TABLE {} DROP COLUMN \
                 {quoted}`) and fill the table again by {filling}",
                advice::name(table)
            ),
            Kind::Table => write!(
                f,
                "table {table} was made in another way than the mirror makes it, and cannot be \
                 made like that again: {detail}; {untouched}; drop it in the file (`DROP TABLE \
                 {}`) and fill it again by {filling}",
                advice::name(table)
            ),
            Kind::Defensive => write!(
                f,
                "this connection is in SQLite's defensive mode, in which no table can take the \
                 place of {table}; {untouched}; end that mode (of a handle db: `db config \
                 defensive 0`), or fill the file by {filling}"
            ),
        }
    }
}
