//! What is fixed of a table's lines until its definition changes.

use crate::options::Options;
use crate::style::Style;
use change_line::{Details, list, write};

/// A column as the server describes it.
#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: Vec<u8>,
    /// Its type, as `format_type` prints it.
    pub type_name: Vec<u8>,
    /// Whether it is part of the replica identity.
    pub identity: bool,
    /// Whether it is part of the primary key.
    pub primary: bool,
}

/// A table as the server describes it.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Object id.
    pub oid: u32,
    /// Schema.
    pub schema: Vec<u8>,
    /// Name.
    pub name: Vec<u8>,
    /// Both, quoted as in SQL.
    pub qualified: Vec<u8>,
    /// Whether an update's old row is all of it: the replica identity of what is stored is FULL.
    pub full: bool,
    /// Columns in order, without those that are dropped, generated or skipped.
    pub columns: Vec<ColumnDefinition>,
    /// What its `schema` line tells beyond names, where that is asked for.
    pub details: Option<Details>,
}

/// A column of a line.
#[derive(Debug)]
pub struct Column {
    /// Separator, escaped name, separator.
    pub key: Vec<u8>,
    /// The name itself.
    pub name: Vec<u8>,
    /// In an update's line whether it has changed or not.
    pub stays: bool,
}

/// The fixed parts of a table's lines.
#[derive(Debug)]
pub struct Table {
    /// Object id.
    pub oid: u32,
    /// The line up to `_xid`.
    pub head: Vec<u8>,
    /// The `schema` line after `_xid`.
    pub schema_tail: Vec<u8>,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Whether an update's old row is all of it.
    pub full: bool,
    /// Schema and name, quoted as in SQL.
    pub qualified: Vec<u8>,
}

impl Table {
    /// Renders a definition.
    pub fn new(definition: &Definition, options: &Options) -> Table {
        let style = &options.style;
        let mut head = b"_table".to_vec();
        head.extend_from_slice(&style.separator);
        style.field(&mut head, &definition.name);
        if definition.schema != b"public" {
            style.key(&mut head, "_schema");
            style.field(&mut head, &definition.schema);
        }
        if options.full_name {
            style.key(&mut head, "_qualified_table");
            style.field(&mut head, &definition.qualified);
        }
        let columns = definition.columns.iter().map(|column| column_of(style, column)).collect();
        Table {
            oid: definition.oid,
            head,
            schema_tail: schema_tail(definition, options),
            columns,
            full: definition.full,
            qualified: definition.qualified.clone(),
        }
    }
}

fn column_of(style: &Style, column: &ColumnDefinition) -> Column {
    let mut key = style.separator.clone();
    style.field(&mut key, &column.name);
    key.extend_from_slice(&style.separator);
    Column { key, name: column.name.clone(), stays: column.primary }
}

fn schema_tail(definition: &Definition, options: &Options) -> Vec<u8> {
    let style = &options.style;
    let mut tail = Vec::new();
    if options.include_oids {
        style.key(&mut tail, "_oid");
        write::number(&mut tail, u64::from(definition.oid));
    }
    let identity = definition.columns.iter().filter(|c| c.identity).map(|c| c.name.as_slice());
    let identity = list::encode(identity);
    if !identity.is_empty() {
        style.key(&mut tail, "_key");
        style.field(&mut tail, &identity);
    }
    for (key, value) in definition.details.iter().flat_map(Details::fields) {
        style.key(&mut tail, key);
        style.field(&mut tail, &value);
    }
    style.key(&mut tail, "_action");
    tail.extend_from_slice(b"schema");
    for column in &definition.columns {
        tail.extend_from_slice(&style.separator);
        style.field(&mut tail, &column.name);
        tail.extend_from_slice(&style.separator);
        style.field(&mut tail, &column.type_name);
    }
    tail
}
