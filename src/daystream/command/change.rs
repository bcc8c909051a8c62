//! A change as scripts see it: array elements, or a list of names and values.
//!
//! Elements are the pseudo-columns of the line (`_c _s _table _xid _action`, and `_schema _lsn
//! _time _unchanged _key ...` where the line has them) and the table's columns. NULL and unchanged
//! columns are absent. Escapes are decoded; `_unchanged` and `_key` are Tcl lists.
//!
//! A table may have a column called as a pseudo-column is, or `_columns`. That one is no element
//! then: the element `_columns` holds all columns as a list of names and values.

use crate::tcl::{CmdResult, Interp, Obj};
use deltaflood::{Change, PSEUDO_COLUMNS, Text, pairs};
use std::cell::RefCell;
use std::collections::HashMap;

/// The element that holds all columns, where one of them cannot be an element of its own.
pub const ALL: &str = "_columns";

/// Whether a column of this name cannot be an element: the name means something else.
fn is_taken(name: Text<'_>) -> bool {
    let raw = name.raw();
    raw.first() == Some(&b'_')
        && PSEUDO_COLUMNS.iter().chain([&ALL]).any(|taken| taken.as_bytes() == raw)
}

/// Column names kept as values; beyond this the memory of them begins anew.
const NAMES_MAX: usize = 4096;

/// Values of names that come again with each line.
#[derive(Default)]
pub struct Names(RefCell<HashMap<Box<[u8]>, Obj>>);

impl Names {
    fn get(&self, raw: Text<'_>) -> Obj {
        let mut names = self.0.borrow_mut();
        if let Some(name) = names.get(raw.raw()) {
            return name.clone();
        }
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        let name = Obj::utf8(&raw.decode());
        names.insert(raw.raw().into(), name.clone());
        name
    }
}

/// What a line gives: names and values in its order, of the columns that are `wanted`, then perhaps
/// `_columns`.
///
/// # Errors
/// A line that is none: readers look at heads only.
pub fn elements(
    line: &[u8],
    names: &Names,
    wanted: impl Fn(Text<'_>) -> bool,
) -> CmdResult<Vec<(Obj, Obj)>> {
    let change = Change::parse(line).map_err(bad_line)?;
    let columns_at = change.columns_offset();
    let mut elements = Vec::with_capacity(16);
    let mut hidden = false;
    let mut fields = pairs(line);
    loop {
        let in_head = fields.offset() < columns_at;
        let Some(field) = fields.next() else { break };
        let (name, value) = field.map_err(bad_line)?;
        if !in_head && !wanted(name) {
            continue;
        }
        if !in_head && is_taken(name) {
            hidden = true;
            continue;
        }
        elements.push((names.get(name), Obj::utf8(&value.decode())));
    }
    if hidden {
        let mut all = Vec::new();
        for column in change.columns() {
            let (name, value) = column.map_err(bad_line)?;
            if !wanted(name) {
                continue;
            }
            all.push(names.get(name));
            all.push(Obj::utf8(&value.decode()));
        }
        elements.push((Obj::text(ALL), Obj::list(&all)));
    }
    Ok(elements)
}

fn bad_line(error: deltaflood::ParseError) -> crate::tcl::Exception {
    let byte = error.byte.to_string();
    let code = ["PGSQLITE", "DAYSTREAM", "LINE", "byte", &byte];
    crate::tcl::Failure::new(format!("not a change line: {error}"), &code).into()
}

/// Makes `array` hold a change, and nothing else.
///
/// # Errors
/// `array` names a variable that is no array; a trace's error.
pub fn set_array(interp: Interp, array: &Obj, elements: &[(Obj, Obj)]) -> CmdResult<()> {
    clear_array(interp, array);
    for (name, value) in elements {
        interp.set_var(array, Some(name), value)?;
    }
    Ok(())
}

/// Unsets the array; a scalar of that name is left for the next assignment to complain of.
fn clear_array(interp: Interp, array: &Obj) {
    if interp.get_var(array, None).is_none() {
        interp.unset_var(array, None);
    }
}
