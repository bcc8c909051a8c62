//! What tells columns of one name apart: attribute numbers, types by object id, and whether a
//! statement has written the table's rows again.

/// The details of a definition; what they are read from is in `doc/deltaflood.md`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Columns of the primary key, in its order; empty without one.
    pub primary: Vec<String>,
    /// Numbers of attributes that the table ever gave, those of dropped columns included.
    pub natts: u32,
    /// Attribute number of each column, in the order of the definition.
    pub numbers: Vec<u32>,
    /// Type of each column.
    pub types: Vec<TypeId>,
    /// Transaction that last changed the catalog's row of each column.
    pub stamps: Vec<u32>,
    /// Of columns that rows of before lack: the value that these rows have, in PostgreSQL's text.
    pub missing: Vec<(String, String)>,
    /// Equal when no statement has written the table's rows again. Empty when that is not known any
    /// more: definitions without details have come since.
    pub storage: String,
    /// `r` of an ordinary table, `p` of a partitioned one.
    pub kind: String,
    /// What old rows are known by: `d`, `n`, `f` or `i`.
    pub identity: String,
}

/// A type by its object id, and what modifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TypeId {
    /// Object id of the type, of the one at the bottom of a domain.
    pub base: u32,
    /// The modifier, as of the length in `varchar(10)`; `None` without one.
    pub modifier: Option<u32>,
}
