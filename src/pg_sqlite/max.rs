//! The greatest value of a column.

use std::cmp::Ordering;

use crate::sqlite::Value;

/// The greatest value of a column; numbers are less than text, text is compared by its bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Max {
    /// An integer.
    Int(i64),
    /// A real.
    Real(f64),
    /// Text, or a blob's bytes.
    Text(Vec<u8>),
}

impl Max {
    /// Takes over `value` when it is greater. NULL never is.
    pub(super) fn update(max: &mut Option<Max>, value: Value<'_>) {
        if max.as_ref().is_some_and(|max| max.compare(value) != Ordering::Less) {
            return;
        }
        *max = match value {
            Value::Null => return,
            Value::Int(int) => Some(Max::Int(int)),
            Value::Real(real) => Some(Max::Real(real)),
            Value::Text(bytes) | Value::Blob(bytes) => Some(Max::Text(bytes.to_vec())),
        };
    }

    fn compare(&self, value: Value<'_>) -> Ordering {
        let number = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        match (self, value) {
            (_, Value::Null) => Ordering::Greater,
            (Max::Int(a), Value::Int(b)) => a.cmp(&b),
            (Max::Int(a), Value::Real(b)) => number(*a as f64, b),
            (Max::Real(a), Value::Int(b)) => number(*a, b as f64),
            (Max::Real(a), Value::Real(b)) => number(*a, b),
            (Max::Text(a), Value::Text(b) | Value::Blob(b)) => a.as_slice().cmp(b),
            (Max::Text(_), _) => Ordering::Greater,
            (_, Value::Text(_) | Value::Blob(_)) => Ordering::Less,
        }
    }
}
