//! Columns of an import: names and types.

use std::collections::HashSet;

use super::{Error, Result};
use crate::libpq::PgResult;
use crate::schema::value::Kind;

/// A column of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name, unquoted.
    pub name: String,
    /// How its values are stored.
    pub kind: Kind,
}

impl Column {
    /// A column of this name and kind.
    pub fn new(name: impl Into<String>, kind: Kind) -> Column {
        Column { name: name.into(), kind }
    }
}

/// Which columns an import fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// These, in the order of the rows' cells.
    Given(Vec<Column>),
    /// Those of the result, with its names and types (`-columns auto`).
    Auto,
}

impl Columns {
    /// From alternating names and Pgtcl's type words (`-as`).
    ///
    /// # Errors
    /// [`Error::UnknownType`]; a last name without a type is one with the empty type.
    pub fn from_pairs<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Columns> {
        let mut words = words.into_iter();
        let mut columns = Vec::new();
        while let Some(name) = words.next() {
            let kind = kind_of_word(words.next().unwrap_or_default())?;
            columns.push(Column::new(name, kind));
        }
        Ok(Columns::Given(columns))
    }

    /// All of them text (`-names`).
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Columns {
        Columns::Given(names.into_iter().map(|name| Column::new(name, Kind::Text)).collect())
    }

    /// From names and types side by side (`-names` with `-types`).
    ///
    /// # Errors
    /// [`Error::UnknownType`], [`Error::ColumnCount`] when there are more or fewer types than
    /// names.
    pub fn from_names_and_types(names: &[&str], types: &[&str]) -> Result<Columns> {
        if names.len() != types.len() {
            return Err(Error::ColumnCount { expected: names.len(), found: types.len() });
        }
        let pairs = names.iter().zip(types);
        let columns: Result<Vec<Column>> =
            pairs.map(|(name, word)| Ok(Column::new(*name, kind_of_word(word)?))).collect();
        columns.map(Columns::Given)
    }

    /// Names and types of a result's columns.
    #[must_use]
    pub fn describe(result: &PgResult) -> Vec<Column> {
        let column = |at| {
            let kind = Kind::from_oid(result.ftype(at).unwrap_or(0));
            Column::new(result.fname(at).unwrap_or_default(), kind)
        };
        (0..result.nfields()).map(column).collect()
    }

    /// The columns, once the result's description (where there is one) is known.
    pub(super) fn resolve(&self, description: Option<&PgResult>) -> Result<Vec<Column>> {
        let columns = match (self, description) {
            (Columns::Given(columns), None) => columns.clone(),
            (Columns::Given(columns), Some(result)) => {
                if columns.len() != result.nfields() {
                    let (expected, found) = (columns.len(), result.nfields());
                    return Err(Error::ColumnCount { expected, found });
                }
                columns.clone()
            }
            (Columns::Auto, Some(result)) => Columns::describe(result),
            (Columns::Auto, None) => Vec::new(),
        };
        if columns.is_empty() { Err(Error::NoColumns) } else { Ok(columns) }
    }
}

/// Refuses a column that is there twice, in whatever case: SQLite ignores that of ASCII letters.
///
/// # Errors
/// [`Error::DoubleColumn`].
pub(super) fn differ(columns: &[Column]) -> Result<()> {
    let mut seen = HashSet::with_capacity(columns.len());
    match columns.iter().find(|column| !seen.insert(column.name.to_ascii_lowercase())) {
        Some(column) => Err(Error::DoubleColumn { column: column.name.clone() }),
        None => Ok(()),
    }
}

/// The kind of one of Pgtcl's type words: integer, int, real, double, boolean, bool, text; lower
/// case only.
///
/// # Errors
/// [`Error::UnknownType`].
pub fn kind_of_word(word: &str) -> Result<Kind> {
    match word {
        "integer" | "int" => Ok(Kind::Integer),
        "real" | "double" => Ok(Kind::Real),
        "boolean" | "bool" => Ok(Kind::Boolean),
        "text" => Ok(Kind::Text),
        _ => Err(Error::UnknownType { word: word.to_owned() }),
    }
}
