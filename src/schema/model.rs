//! A table as PostgreSQL's catalog describes it.

use super::TableName;

/// A table or partitioned table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Schema and name.
    pub name: TableName,
    /// Object id of the table.
    pub oid: u32,
    /// The columns in order, without dropped ones.
    pub columns: Vec<Column>,
    /// Column names of the primary key, in key order; empty without one.
    pub primary_key: Vec<String>,
    /// What an old row is known by in the stream.
    pub identity: Identity,
    /// Every valid index, the primary key's included, ordered by name.
    pub indexes: Vec<Index>,
    /// Part in a partitioned table.
    pub partition: Partition,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Attribute number in PostgreSQL, 1 or more.
    pub number: i32,
    /// Type as `format_type` prints it, with modifiers: `character varying(10)`; types outside
    /// `pg_catalog` with their schema.
    pub type_name: String,
    /// Object id of the type.
    pub type_oid: u32,
    /// Object id of the type at the bottom of a domain; otherwise that of the type itself.
    pub base_oid: u32,
    /// Name of the base type, without modifiers.
    pub base_name: String,
    /// `NOT NULL`, by constraint or key (not by domain).
    pub not_null: bool,
    /// Default or generation expression, as SQL.
    pub default: Option<String>,
    /// Computed from other columns?
    pub generated: Generated,
    /// `GENERATED ... AS IDENTITY`.
    pub identity: bool,
}

/// How a generated column is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generated {
    /// An ordinary column.
    No,
    /// `STORED`.
    Stored,
    /// `VIRTUAL` (PostgreSQL 18).
    Virtual,
}

/// REPLICA IDENTITY: what `replace` and `delete` lines carry of the old row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The primary key.
    Default,
    /// The whole row.
    Full,
    /// Nothing: PostgreSQL refuses updates and deletes of a published table.
    Nothing,
    /// The columns of the named unique index.
    Index(String),
}

/// One index; expressions are seen only by their presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Name.
    pub name: String,
    /// Key columns in order (without INCLUDE); empty when any is an expression.
    pub columns: Vec<String>,
    /// Unique?
    pub unique: bool,
    /// The primary key's index?
    pub primary: bool,
    /// Checked at once, not at the end of the transaction (not `DEFERRABLE`).
    pub immediate: bool,
    /// With a `WHERE`?
    pub partial: bool,
    /// The definition as PostgreSQL prints it.
    pub definition: String,
}

/// Part in a partitioned table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partition {
    /// Neither parent nor part.
    None,
    /// Partitioned; the key as PostgreSQL prints it: `RANGE (at)`. May be a part itself.
    Parent(String),
    /// A part of the named table, with rows of its own.
    Of(TableName),
}

impl Table {
    /// The column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The primary key, when PostgreSQL checks it row by row. A `DEFERRABLE` key may be double
    /// for a moment inside a transaction, so that a mirror cannot hold it as a key.
    #[must_use]
    pub fn immediate_key(&self) -> &[String] {
        let deferrable = self.indexes.iter().any(|index| index.primary && !index.immediate);
        if deferrable { &[] } else { &self.primary_key }
    }

    /// The columns of an old row that the stream carries: key columns, index columns, all
    /// columns (FULL), or none.
    #[must_use]
    pub fn identity_columns(&self) -> Vec<String> {
        match &self.identity {
            Identity::Default => self.immediate_key().to_vec(),
            Identity::Nothing => Vec::new(),
            Identity::Full => self.columns.iter().map(|column| column.name.clone()).collect(),
            Identity::Index(name) => self
                .indexes
                .iter()
                .find(|index| index.name == *name)
                .map(|index| index.columns.clone())
                .unwrap_or_default(),
        }
    }
}

impl Identity {
    /// The letter in `pg_class.relreplident`.
    #[must_use]
    pub const fn letter(&self) -> char {
        match self {
            Identity::Default => 'd',
            Identity::Full => 'f',
            Identity::Nothing => 'n',
            Identity::Index(_) => 'i',
        }
    }
}

impl Generated {
    /// The letter in `pg_attribute.attgenerated`; empty for an ordinary column.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Generated::No => "",
            Generated::Stored => "s",
            Generated::Virtual => "v",
        }
    }

    /// From the letter in `pg_attribute.attgenerated`.
    #[must_use]
    pub fn from_letter(letter: &str) -> Generated {
        match letter {
            "s" => Generated::Stored,
            "v" => Generated::Virtual,
            _ => Generated::No,
        }
    }
}
