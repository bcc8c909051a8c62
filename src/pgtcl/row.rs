//! Rows of a result into variables of a script.
//!
//! The names of the columns are made into values once per result, each field's value straight from
//! libpq's buffer.

use crate::libpq::PgResult;
use crate::tcl::{Cell, CmdResult, Interp, Obj};

/// What becomes of a column that is NULL.
#[derive(Clone)]
pub(super) enum Nulls {
    /// This value stands for it.
    Value(Obj),
    /// It is not set (the array is empty before).
    Absent,
    /// It is unset.
    Unset,
}

/// The columns of a result.
pub(super) struct Columns {
    names: Vec<Obj>,
}

impl Columns {
    pub(super) fn of(result: &PgResult) -> Columns {
        let name = |column| Obj::text(&result.fname(column).unwrap_or_default());
        Columns { names: (0..result.nfields()).map(name).collect() }
    }

    /// The names as a list.
    pub(super) fn list(&self) -> Obj {
        Obj::list(&self.names)
    }

    pub(super) fn names(&self) -> &[Obj] {
        &self.names
    }

    /// Whether no name comes twice, nor is that of a field that `pg_select` adds (`.headers`, ...).
    pub(super) fn are_distinct(&self) -> bool {
        let mut names: Vec<&[u8]> = self.names.iter().map(Obj::internal).collect();
        names.sort_unstable();
        let dotted = names.iter().any(|name| name.starts_with(b"."));
        !dotted && names.windows(2).all(|pair| pair.first() != pair.last())
    }

    /// Sets a row's elements of an array; without an array, variables of the columns' names. How
    /// many were set.
    ///
    /// # Errors
    /// Tcl's own (`variable isn't array`, a trace's error).
    pub(super) fn set(
        &self,
        interp: Interp,
        array: Option<&Obj>,
        result: &PgResult,
        row: usize,
        nulls: &Nulls,
    ) -> CmdResult<usize> {
        let mut set = self.names.len();
        let binary = result.is_binary();
        for (name, value) in self.names.iter().zip(result.row(row)) {
            let (variable, element) = match array {
                Some(array) => (array, Some(name)),
                None => (name, None),
            };
            match (value, nulls) {
                (Some(bytes), _) if binary => {
                    interp.set_var(variable, element, &Obj::bytes(bytes))?;
                }
                (Some(bytes), _) => interp.set_var_utf8(variable, element, bytes)?,
                (None, Nulls::Value(value)) => interp.set_var(variable, element, value)?,
                (None, Nulls::Unset) => {
                    interp.unset_var(variable, element);
                    set -= 1;
                }
                (None, Nulls::Absent) => set -= 1,
            }
        }
        Ok(set)
    }
}

impl Columns {
    /// As [`Columns::set`], of an array in which the elements of just these columns are set
    /// already: NULL is not set, and unset only where it is. How many are then set.
    ///
    /// # Errors
    /// As [`Columns::set`].
    pub(super) fn set_over(
        &self,
        interp: Interp,
        array: &Obj,
        result: &PgResult,
        row: usize,
        present: &mut [bool],
    ) -> CmdResult<usize> {
        let mut set = 0;
        for ((name, value), present) in self.names.iter().zip(result.row(row)).zip(present) {
            match value {
                Some(bytes) => {
                    interp.set_var_utf8(array, Some(name), bytes)?;
                    set += 1;
                }
                None if *present => interp.unset_var(array, Some(name)),
                None => {}
            }
            *present = value.is_some();
        }
        Ok(set)
    }
}

/// The cells of a row.
pub(super) fn cells<'a>(
    result: &'a PgResult,
    row: usize,
    null: &'a Obj,
) -> impl Iterator<Item = Cell<'a>> {
    let binary = result.is_binary();
    result.row(row).map(move |value| match value {
        Some(bytes) if binary => Cell::Bytes(bytes),
        Some(text) => Cell::Text(text),
        None => Cell::Value(null),
    })
}

/// A row as values.
pub(super) fn values(result: &PgResult, row: usize, null: &Obj) -> Vec<Obj> {
    let made = if result.is_binary() { Obj::bytes } else { Obj::utf8 };
    result.row(row).map(|value| value.map_or_else(|| null.clone(), made)).collect()
}
