//! Which tables a reader wants.

use deltaflood::Change;

/// A set of tables. Lines that name none of them are passed over; `commit` and `message` lines
/// belong to no table and are always given out.
#[derive(Debug, Clone, Default)]
pub struct TableFilter {
    tables: Vec<(Vec<u8>, Vec<u8>)>,
}

impl TableFilter {
    /// A filter that lets no table pass.
    #[must_use]
    pub fn new() -> TableFilter {
        TableFilter::default()
    }

    /// Lets a table pass.
    #[must_use]
    pub fn with(mut self, schema: &str, table: &str) -> TableFilter {
        self.tables.push((schema.as_bytes().to_vec(), table.as_bytes().to_vec()));
        self
    }

    /// Whether the line passes. A line without `_table` (but `_qualified_table`) does not.
    #[must_use]
    pub fn passes(&self, change: &Change<'_>) -> bool {
        if !change.verb.has_table() {
            return true;
        }
        let Some(table) = change.table else {
            return false;
        };
        self.tables.iter().any(|(schema, name)| {
            let same = change.schema.map_or(schema == b"public", |text| text.is(schema));
            same && table.is(name)
        })
    }
}
