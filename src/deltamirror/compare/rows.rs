//! One table of PostgreSQL beside one of the mirror.

use std::sync::atomic::AtomicBool;

use super::Kind;
use super::{KEYS_MAX, TableState};
use crate::deltamirror::Error;
use crate::deltamirror::fill::Session;
use crate::deltamirror::row::describe;
use crate::deltamirror::sql::all_of;
use crate::deltamirror::target;
use crate::schema::ddl::{self, Lookup};
use crate::schema::publication::Published;
use crate::sqlite::{Db, Stmt, Value, quote_identifier};

/// The temporary table that holds PostgreSQL's rows.
const COPY: &str = "_deltamirror_compare";

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    /// The key's values, encoded by [`encode`].
    pub(super) key: Vec<u8>,
    /// The key in words.
    pub(super) text: String,
}

/// What the comparison of one table gave.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Rows in PostgreSQL.
    pub(super) rows: u64,
    /// Rows that differ; empty when there are too many.
    pub(super) found: Vec<Found>,
    /// Number of differing rows when there are more than are told apart.
    pub(super) too_many: u64,
}

/// Copies the table out of PostgreSQL and joins it with the mirror's.
pub(super) fn compare(
    db: &Db,
    session: &mut Session,
    published: &Published,
    state: &TableState,
    stop: &AtomicBool,
) -> Result<Compared, Error> {
    let copy = format!("temp.{}", quote_identifier(COPY));
    db.exec(&format!("DROP TABLE IF EXISTS {copy}"))?;
    db.exec(&ddl::create_table(&published.table, &copy))?;
    let rows = session.copy(db, published, ("temp", COPY), stop, &mut |_| {});
    let rows = rows.map_err(|error| match error {
        Error::Copy { source, .. } => Error::Copy { table: state.name.clone(), source },
        error => error,
    })?;
    let columns: Vec<&str> = state.definition.columns.iter().map(|c| c.0.as_str()).collect();
    let key = key_columns(state);
    let mirror = format!("main.{}", quote_identifier(&state.name));
    let mut compared = Compared { rows, ..Compared::default() };
    if key.is_empty() {
        let sql = whole_rows(&columns, &copy, &mirror);
        collect(db, &sql, &columns, &mut compared)?;
    } else {
        let names: Vec<&str> = key.iter().filter_map(|at| columns.get(*at).copied()).collect();
        let sql = keyed_rows(&columns, &names, &copy, &mirror);
        collect(db, &sql, &names, &mut compared)?;
    }
    db.exec(&format!("DROP TABLE {copy}"))?;
    Ok(compared)
}

/// The columns by which rows are told apart, here and in the stream; none: by all of them.
pub(super) fn key_columns(state: &TableState) -> Vec<usize> {
    let names = match target::lookup(state) {
        Lookup::Key(names) => names,
        Lookup::Never => state.primary_key.clone(),
        Lookup::Row => Vec::new(),
    };
    let position = |name: &String| state.definition.columns.iter().position(|c| c.0 == *name);
    names.iter().filter_map(position).collect()
}

/// Kind and key of the rows that differ, for a table with a key.
fn keyed_rows(columns: &[&str], key: &[&str], copy: &str, mirror: &str) -> String {
    let q = |side: &str, name: &str| format!("{side}.{}", quote_identifier(name));
    let on: Vec<String> =
        key.iter().map(|name| format!("{} = {}", q("p", name), q("m", name))).collect();
    let on = all_of(&on);
    let same: Vec<String> = columns
        .iter()
        .map(|name| {
            let (p, m) = (q("p", name), q("m", name));
            format!("({p} IS {m} AND typeof({p}) = typeof({m}))")
        })
        .collect();
    let first = key.first().copied().unwrap_or_default();
    let list = |side: &str| key.iter().map(|n| q(side, n)).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT CASE WHEN {m0} IS NULL THEN 0 ELSE 2 END, {p} \
           FROM {copy} AS p LEFT JOIN {mirror} AS m ON {on} \
          WHERE {m0} IS NULL OR NOT {same} \
         UNION ALL SELECT 1, {m} FROM {mirror} AS m LEFT JOIN {copy} AS p ON {on} \
          WHERE {p0} IS NULL",
        m0 = q("m", first),
        p0 = q("p", first),
        p = list("p"),
        m = list("m"),
        same = all_of(&same),
    )
}

/// Kind and values of the rows that are not there equally often, for a table without a key.
fn whole_rows(columns: &[&str], copy: &str, mirror: &str) -> String {
    let names: Vec<String> = columns.iter().map(|name| quote_identifier(name)).collect();
    // quote() tells integers from reals and text from bytes.
    let exact = names.iter().map(|name| format!("quote({name})")).collect::<Vec<_>>().join(", ");
    // By their table: a name that no column has would be a text.
    let of_t = names.iter().map(|name| format!("t.{name}")).collect::<Vec<_>>().join(", ");
    let names = names.join(", ");
    // A name that no column has.
    let mut side = "_side".to_owned();
    while columns.iter().any(|name| name.eq_ignore_ascii_case(&side)) {
        side.push('_');
    }
    format!(
        "SELECT CASE WHEN sum({side}) > 0 THEN 0 ELSE 1 END, {names} FROM \
           (SELECT {of_t}, 1 AS {side} FROM {copy} AS t \
            UNION ALL SELECT {of_t}, -1 FROM {mirror} AS t) \
         GROUP BY {exact} HAVING sum({side}) <> 0"
    )
}

fn collect(db: &Db, sql: &str, names: &[&str], compared: &mut Compared) -> Result<(), Error> {
    let mut stmt = db.prepare(sql)?;
    let mut total = 0;
    while stmt.step()? {
        total += 1;
        if total as usize <= KEYS_MAX {
            compared.found.push(found(&stmt, names));
        }
    }
    if total as usize > KEYS_MAX {
        compared.found.clear();
        compared.too_many = total;
    }
    Ok(())
}

fn found(stmt: &Stmt<'_>, names: &[&str]) -> Found {
    let kind = match stmt.column(0) {
        Value::Int(0) => Kind::Missing,
        Value::Int(1) => Kind::Extra,
        _ => Kind::Different,
    };
    let mut key = Vec::new();
    for at in 0..names.len() {
        encode(&mut key, stmt.column(at + 1));
    }
    let pairs = names.iter().enumerate().map(|(at, name)| (*name, stmt.column(at + 1)));
    Found { kind, key, text: describe(pairs) }
}

/// Appends a value so that equal values, and only they, have equal bytes.
pub(super) fn encode(out: &mut Vec<u8>, value: Value<'_>) {
    let (tag, bytes): (u8, &[u8]) = match value {
        Value::Null => (0, &[]),
        Value::Int(int) => (1, &int.to_be_bytes()),
        // SQLite does not keep the sign of a zero.
        Value::Real(real) => (2, &(real + 0.0).to_bits().to_be_bytes()),
        Value::Text(text) => (3, text),
        Value::Blob(blob) => (4, blob),
    };
    out.push(tag);
    out.extend_from_slice(&bytes.len().to_be_bytes());
    out.extend_from_slice(bytes);
}
