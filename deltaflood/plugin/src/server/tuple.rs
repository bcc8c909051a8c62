//! A row as the server hands it over.

use super::value::Output;
use crate::line::{Row, Value};
use pgrx::pg_sys;

/// Room for the values of a row, used again for the next.
#[derive(Debug, Default)]
pub struct Room {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

/// A row taken apart.
#[derive(Debug)]
pub struct Tuple<'r> {
    outputs: &'r [Output],
    room: &'r Room,
}

impl Room {
    /// Takes a row apart.
    ///
    /// # Safety
    /// `tuple` has the form of `description`, `outputs` are for columns of it; the row is not
    /// freed while the result is in use.
    pub unsafe fn deform<'r>(
        &'r mut self,
        tuple: pg_sys::HeapTuple,
        description: pg_sys::TupleDesc,
        outputs: &'r [Output],
    ) -> Tuple<'r> {
        // SAFETY: the description is good, see the caller.
        let count = usize::try_from(unsafe { (*description).natts }).unwrap_or_default();
        if self.values.len() < count {
            self.values.resize(count, pg_sys::Datum::from(0usize));
            self.nulls.resize(count, true);
        }
        let (values, nulls) = (self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
        // SAFETY: there is room for each attribute of the description.
        unsafe { pg_sys::heap_deform_tuple(tuple, description, values, nulls) };
        Tuple { outputs, room: self }
    }
}

impl Row for Tuple<'_> {
    #[inline]
    fn value(&mut self, column: usize) -> Value<'_> {
        let Some(output) = self.outputs.get(column) else { return Value::Null };
        let at = output.attribute;
        match (self.room.nulls.get(at), self.room.values.get(at)) {
            // SAFETY: the attribute's value, of the row that is not freed before `self`.
            (Some(false), Some(&datum)) => unsafe { output.value(datum) },
            _ => Value::Null,
        }
    }
}

/// The new or old row of a change.
#[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
pub type Carrier = *mut pg_sys::ReorderBufferTupleBuf;

/// The new or old row of a change.
#[cfg(any(feature = "pg17", feature = "pg18"))]
pub type Carrier = pg_sys::HeapTuple;

/// The tuple of a row that a change carries; `None` when it carries none.
///
/// # Safety
/// `carrier` is null, or of a change that is being shown.
pub unsafe fn of_change(carrier: Carrier) -> Option<pg_sys::HeapTuple> {
    if carrier.is_null() {
        return None;
    }
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
    // SAFETY: not null, see above.
    return Some(unsafe { &raw mut (*carrier).tuple });
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    return Some(carrier);
}
