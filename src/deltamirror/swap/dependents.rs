//! Views and triggers that name a table: whether SQLite can still compile them.
//!
//! SQLite looks into a view or a trigger when it is used. A trigger that does not fit its table any
//! more makes every statement fail that fires it, the mirror's among them; so it is looked at once
//! before a table takes another's place, and once after it, in the same transaction. What did not
//! work before is no reason, as a view that needs a function which this connection does not have.

use super::refused::{Kind, Refused};
use super::shadow;
use crate::deltamirror::Error;
use crate::sqlite::{Db, quote_identifier};

/// A statement that compiles what hangs on a table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Probe {
    /// The view, or the table whose triggers it fires.
    of: String,
    is_view: bool,
    verb: &'static str,
}

/// What could be compiled.
#[derive(Debug)]
pub(super) struct Working(Vec<Probe>);

impl Probe {
    /// SQLite's word where it cannot be compiled.
    fn fault(&self, db: &Db) -> Result<Option<String>, Error> {
        let name = quote_identifier(&self.of);
        let sql = match self.verb {
            "SELECT" => format!("SELECT * FROM main.{name}"),
            "INSERT" => format!("INSERT INTO main.{name} DEFAULT VALUES"),
            "DELETE" => format!("DELETE FROM main.{name}"),
            _ => {
                let columns = shadow::columns(db, &self.of)?;
                let set = columns.iter().filter(|column| !column.is_generated).map(|column| {
                    let name = quote_identifier(&column.name);
                    format!("{name} = {name}")
                });
                format!("UPDATE main.{name} SET {}", set.collect::<Vec<_>>().join(", "))
            }
        };
        Ok(db.prepare(&sql).err().map(|error| error.to_string()))
    }
}

impl Working {
    /// What works now.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub(super) fn look(db: &Db) -> Result<Working, Error> {
        let mut probes = Vec::new();
        for of in names(db, "SELECT name FROM main.sqlite_master WHERE type = 'view'")? {
            probes.push(Probe { of, is_view: true, verb: "SELECT" });
        }
        let fired = "SELECT DISTINCT tbl_name FROM main.sqlite_master WHERE type = 'trigger'";
        for of in names(db, fired)? {
            for verb in ["INSERT", "UPDATE", "DELETE"] {
                probes.push(Probe { of: of.clone(), is_view: false, verb });
            }
        }
        let mut works = Vec::new();
        for probe in probes {
            if probe.fault(db)?.is_none() {
                works.push(probe);
            }
        }
        Ok(Working(works))
    }

    /// Makes sure that all of it works still, now that another table is called `table`.
    ///
    /// # Errors
    /// [`Error::Own`] for the first that does not, [`Error::Sqlite`].
    pub(super) fn check(&self, db: &Db, table: &str) -> Result<(), Error> {
        for probe in &self.0 {
            let Some(fault) = probe.fault(db)? else { continue };
            let refused = match probe.is_view {
                true => Refused::new(table, Kind::View, &probe.of, &fault),
                false => match guilty(db, probe)? {
                    Some(trigger) => Refused::new(table, Kind::Trigger, &trigger, &fault),
                    None => Refused::new(table, Kind::Table, "", &fault),
                },
            };
            return Err(refused.into());
        }
        Ok(())
    }
}

/// The trigger that is at fault: the one with which alone it fails, too.
fn guilty(db: &Db, probe: &Probe) -> Result<Option<String>, Error> {
    let triggers = triggers(db, &probe.of)?;
    for trigger in &triggers {
        db.exec("SAVEPOINT pgsqlite_trigger")?;
        let others = triggers.iter().filter(|other| *other != trigger);
        let dropped = others.map(|name| format!("DROP TRIGGER main.{};", quote_identifier(name)));
        let fault = match db.exec(&dropped.collect::<String>()) {
            Ok(()) => probe.fault(db),
            Err(error) => Err(error.into()),
        };
        db.exec("ROLLBACK TO pgsqlite_trigger; RELEASE pgsqlite_trigger")?;
        if fault?.is_some() {
            return Ok(Some(trigger.clone()));
        }
    }
    Ok(None)
}

/// The triggers of a table in the file, by name.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn triggers(db: &Db, table: &str) -> Result<Vec<String>, Error> {
    let mut stmt = db.prepare(
        "SELECT name FROM main.sqlite_master \
         WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE ORDER BY name",
    )?;
    stmt.bind(1, table.into())?;
    let mut list = Vec::new();
    while stmt.step()? {
        list.extend(stmt.column(0).as_str().map(str::to_owned));
    }
    Ok(list)
}

fn names(db: &Db, sql: &str) -> Result<Vec<String>, Error> {
    let mut stmt = db.prepare(sql)?;
    let mut list = Vec::new();
    while stmt.step()? {
        list.extend(stmt.column(0).as_str().map(str::to_owned));
    }
    Ok(list)
}
