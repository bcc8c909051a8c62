//! A table whose rows were just copied: what is noted of it, and the index that its rows choose.

use super::definition::Definition;
use super::snapshot::Snapshot;
use super::state::{TableState, TableStatus};
use super::swap::Shadow;
use super::{Error, Policy, spread};
use crate::schema::ddl;
use crate::schema::publication::Published;
use crate::sqlite::Db;

/// What is noted of a table that is called `name` in SQLite and has so many rows.
pub(super) fn state(
    published: &Published,
    name: &str,
    snapshot: &Snapshot,
    rows: u64,
) -> TableState {
    let table = &published.table;
    TableState {
        name: name.to_owned(),
        source: table.name.clone(),
        status: TableStatus::Ready,
        definition: Definition { details: published.details.clone(), ..Definition::of(table) },
        base_types: table.columns.iter().map(|column| column.base_oid).collect(),
        primary_key: ddl::primary_key(table).to_vec(),
        row_filter: published.row_filter.clone(),
        snapshot: snapshot.clone(),
        rows: rows as i64,
        policy: Policy::default(),
        kept: Vec::new(),
    }
}

/// What a table that takes the place of `old` has from it: its policy, and the columns that the
/// source does not have, which go over with the user's own.
pub(super) fn inherit(state: &mut TableState, old: &TableState) {
    state.policy = old.policy;
    let known = |name: &String| state.definition.columns.iter().any(|(column, _)| column == name);
    let kept: Vec<String> = old.kept.iter().filter(|name| !known(name)).cloned().collect();
    state.kept.extend(kept);
}

/// Makes the index by which whole rows are found, where they are and nothing else helps.
///
/// # Errors
/// [`Error::Schema`], [`Error::Sqlite`].
pub(super) fn index_rows(
    db: &Db,
    shadow: &Shadow,
    published: &Published,
    rows: u64,
) -> Result<(), Error> {
    let table = &published.table;
    let by_rows = ddl::lookup(table, &table.identity_columns()) == ddl::Lookup::Row;
    if shadow.has_rows_index || !by_rows {
        return Ok(());
    }
    let columns: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    spread::index(db, &shadow.name, &columns, ddl::rowid_name(table)?, rows as i64)
}
