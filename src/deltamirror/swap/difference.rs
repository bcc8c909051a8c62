//! The rows of one table brought to those of another, by statements that fire triggers: only what
//! differs is deleted, updated, inserted.

use crate::deltamirror::sql::all_of;
use crate::deltamirror::state::TableState;
use crate::deltamirror::target::lookup;
use crate::deltamirror::{Error, check};
use crate::schema::ddl::Lookup;
use crate::sqlite::{Db, quote_identifier};

/// Makes the rows of `table` those of `from`, in the mirror's columns. Returns how many it changed.
/// In a transaction.
///
/// # Errors
/// [`Error::State`] where rows without a key have no row number, [`Error::Sqlite`], as when a
/// trigger or a unique index of the user's refuses a row.
pub(super) fn apply(db: &Db, table: &TableState, from: &str) -> Result<u64, Error> {
    let columns: Vec<String> =
        table.definition.columns.iter().map(|(name, _)| quote_identifier(name)).collect();
    let (to, from) = (quote_identifier(&table.name), quote_identifier(from));
    match lookup(table) {
        Lookup::Key(key) => {
            let key: Vec<String> = key.iter().map(|name| quote_identifier(name)).collect();
            by_key(db, &to, &from, &columns, &key)
        }
        Lookup::Row | Lookup::Never => {
            let odd = || Error::State { what: format!("the rows of {to} have no number") };
            let rowid = check::columns(db, table)?.ok_or_else(odd)?;
            by_row(db, &to, &from, &columns, rowid)
        }
    }
}

fn by_key(db: &Db, to: &str, from: &str, columns: &[String], key: &[String]) -> Result<u64, Error> {
    let of = |names: &[String], form: &dyn Fn(&String) -> String| -> Vec<String> {
        names.iter().map(form).collect()
    };
    let found = all_of(&of(key, &|name| format!("n.{name} = o.{name}")));
    let there = format!("EXISTS (SELECT 1 FROM main.{from} AS n WHERE {found}");
    let mut changed = db.execute(&format!("DELETE FROM main.{to} AS o WHERE NOT {there})"), &[])?;
    let others: Vec<String> = columns.iter().filter(|name| !key.contains(name)).cloned().collect();
    if !others.is_empty() {
        let differs = of(&others, &|name| {
            format!("(o.{name} IS NOT n.{name} OR typeof(o.{name}) <> typeof(n.{name}))")
        });
        let values = of(&others, &|name| format!("n.{name}")).join(", ");
        let set = others.join(", ");
        changed += db.execute(
            &format!(
                "UPDATE OR ABORT main.{to} AS o SET ({set}) = (SELECT {values} FROM main.{from} \
                 AS n WHERE {found}) WHERE {there} AND NOT {})",
                all_of(&differs.iter().map(|test| format!("NOT {test}")).collect::<Vec<_>>())
            ),
            &[],
        )?;
    }
    let list = columns.join(", ");
    changed += db.execute(
        &format!(
            "INSERT OR ABORT INTO main.{to} ({list}) SELECT {list} FROM main.{from} AS n \
             WHERE NOT EXISTS (SELECT 1 FROM main.{to} AS o WHERE {found})"
        ),
        &[],
    )?;
    Ok(changed)
}

/// Rows that are equal are told apart by a number within their group.
fn by_row(db: &Db, to: &str, from: &str, columns: &[String], rowid: &str) -> Result<u64, Error> {
    let list = columns.join(", ");
    let typed: Vec<String> = columns.iter().map(|name| format!("typeof({name})")).collect();
    let group = format!("{list}, {}", typed.join(", "));
    let numbered = |table: &str, side: i32| {
        format!(
            "SELECT {rowid} AS _r, {side} AS _side, {list}, \
             row_number() OVER (PARTITION BY {group}) AS _n FROM main.{table}"
        )
    };
    let only_in = |side: i32| {
        format!(
            "SELECT max(_r) FROM ({} UNION ALL {}) GROUP BY {group}, _n \
             HAVING count(*) = 1 AND max(_side) = {side}",
            numbered(to, 1),
            numbered(from, 0)
        )
    };
    let mut changed =
        db.execute(&format!("DELETE FROM main.{to} WHERE {rowid} IN ({})", only_in(1)), &[])?;
    changed += db.execute(
        &format!(
            "INSERT OR ABORT INTO main.{to} ({list}) SELECT {list} FROM main.{from} \
             WHERE {rowid} IN ({})",
            only_in(0)
        ),
        &[],
    )?;
    Ok(changed)
}
