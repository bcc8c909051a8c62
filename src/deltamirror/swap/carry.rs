//! What the user's own columns hold, taken over by key.

use super::refused::{Kind, Refused};
use super::{is_own, shadow};
use crate::deltamirror::Error;
use crate::deltamirror::sql::all_of;
use crate::deltamirror::state::TableState;
use crate::deltamirror::target::lookup;
use crate::schema::ddl::Lookup;
use crate::sqlite::{Db, quote_identifier};

/// Writes into the rows of `into` what the user's columns hold in the rows of the same key. In a
/// transaction.
///
/// # Errors
/// [`Error::Own`] where rows have no key by which that could be done, [`Error::Sqlite`].
pub(super) fn carry(db: &Db, old: &TableState, into: &str) -> Result<(), Error> {
    let columns = shadow::columns(db, &old.name)?;
    let own: Vec<&str> = columns
        .iter()
        .filter(|column| is_own(old, &column.name) && !column.is_generated)
        // Those that the source had once hold nothing of the user's.
        .filter(|column| !old.kept.contains(&column.name))
        .map(|column| column.name.as_str())
        .collect();
    let [first, ..] = &*own else { return Ok(()) };
    let (from, to) = (quote_identifier(&old.name), quote_identifier(into));
    let there = shadow::columns(db, into)?;
    let has = |name: &String| {
        [&columns, &there].iter().all(|list| list.iter().any(|column| column.name == *name))
    };
    let key = match lookup(old) {
        Lookup::Key(key) if key.iter().all(has) => key,
        _ => {
            let used: Vec<String> =
                own.iter().map(|name| format!("{} IS NOT NULL", quote_identifier(name))).collect();
            let sql = format!("SELECT 1 FROM main.{from} WHERE {} LIMIT 1", used.join(" OR "));
            if db.query_int(&sql, &[])?.is_none() {
                return Ok(());
            }
            let detail = "no key tells which of the new rows its values belong to";
            return Err(Refused::new(&old.name, Kind::Column, first, detail).into());
        }
    };
    let tests = |test: &dyn Fn(&str) -> String, of: &[&str]| -> Vec<String> {
        of.iter().map(|name| test(&quote_identifier(name))).collect()
    };
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    let found = all_of(&tests(&|name| format!("o.{name} = n.{name}"), &key));
    let differs = tests(&|name| format!("o.{name} IS NOT n.{name}"), &own).join(" OR ");
    let set = tests(&str::to_owned, &own).join(", ");
    let values = tests(&|name| format!("o.{name}"), &own).join(", ");
    db.exec(&format!(
        "UPDATE main.{to} AS n SET ({set}) = (SELECT {values} FROM main.{from} AS o WHERE {found}) \
         WHERE EXISTS (SELECT 1 FROM main.{from} AS o WHERE {found} AND ({differs}))"
    ))?;
    Ok(())
}
