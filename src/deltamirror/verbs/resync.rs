//! Tables that are copied again, or for the first time: by who follows and can reload, or here.

use super::{change, mirror, named};
use crate::advice;
use crate::deltamirror::alone::{Claim, Others, Role};
use crate::deltamirror::busy::Patience;
use crate::deltamirror::fill::quoted_name;
use crate::deltamirror::reload::due;
use crate::deltamirror::swap::Mode;
use crate::deltamirror::{Error, format, state, wanted};
use crate::schema::TableName;
use crate::schema::ddl;
use crate::sqlite::Db;

/// Why a table is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its rows are wanted anew.
    Resync,
    /// Its rows are made those of the source, by writing only what differs.
    Repair,
    /// It is to be in the mirror.
    Add,
}

impl Purpose {
    /// The reason, as the file tells it.
    const fn reason(self) -> &'static str {
        match self {
            Purpose::Resync => "resync was asked for",
            Purpose::Repair => "repair was asked for",
            Purpose::Add => "it was added",
        }
    }
}

/// Who makes a copy that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// One who follows into the file, within its next look at it.
    Follower,
    /// Nobody, until one follows with a connection to PostgreSQL.
    Nobody,
    /// It cannot be seen from here whether there is one.
    Unknown,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The tables, as they are called in SQLite.
    pub tables: Vec<String>,
    /// Who makes the copies.
    pub maker: Maker,
    /// What the user has to do for that; empty: nothing.
    pub message: String,
}

/// Asks for tables to be copied, in one short transaction: for new copies of those that are in the
/// mirror (none named: all of them), or for the tables named that are not in it yet, and that the
/// stream's publication must have. A table stays as it is, and is followed, until its copy takes
/// its place; a copy that goes on begins again. `fill` says how the rows come into the table: for
/// [`Purpose::Repair`] always by difference.
///
/// # Errors
/// [`Error::NotMirrored`], [`Error::TableExists`], a name that is none or that another table has:
/// then nothing is asked for. [`Error::NotFilled`] where the first fill is not over,
/// [`Error::NotInitialised`], [`Error::Busy`], [`Error::InTransaction`].
pub fn resync(
    db: &Db,
    purpose: Purpose,
    names: &[String],
    fill: Option<Mode>,
    patience: Patience<'_>,
) -> Result<Asked, Error> {
    let fill = if purpose == Purpose::Repair { Some(Mode::Difference) } else { fill };
    let sources = change(db, patience, || {
        wanted::check(db, &mirror(db)?.stream)?;
        let sources = meant(db, purpose, names)?;
        for source in &sources {
            due::request_by(db, source, purpose.reason(), fill)?;
        }
        state::raise_generation(db)?;
        Ok(sources)
    })?;
    let maker = match db.file().map(|file| Claim::seen(&file, Role::Reloads)) {
        Some(Others::Some) => Maker::Follower,
        Some(Others::None) | None => Maker::Nobody,
        Some(Others::Unknown) => Maker::Unknown,
    };
    let message = match maker {
        Maker::Nobody if !sources.is_empty() => nobody(db)?,
        _ => String::new(),
    };
    Ok(Asked { tables: sources.iter().map(ddl::sqlite_name).collect(), maker, message })
}

/// What makes the copies, where nobody does.
fn nobody(db: &Db) -> Result<String, Error> {
    let stream = mirror(db)?.stream;
    let file = db.file().unwrap_or_default().display().to_string();
    Ok(format!(
        "nobody who follows into {file} copies tables now: `deltamirror run -conninfo ... -db {} \
         -stream {}` does, and goes on from there",
        advice::word(&file),
        advice::word(&stream)
    ))
}

/// The tables that [`resync`] would ask for, for a fill that does it at once: their names, which
/// that takes, and the stream that the mirror was made from.
///
/// # Errors
/// Those of [`resync`].
pub fn to_resync(
    db: &Db,
    purpose: Purpose,
    names: &[String],
) -> Result<(Vec<String>, String), Error> {
    let stream = mirror(db)?.stream;
    Ok((meant(db, purpose, names)?.iter().map(quoted_name).collect(), stream))
}

fn meant(db: &Db, purpose: Purpose, names: &[String]) -> Result<Vec<TableName>, Error> {
    match purpose {
        Purpose::Resync | Purpose::Repair => there(db, names),
        Purpose::Add => new(db, names),
    }
}

/// Tables of the mirror, and those that a fill still owes.
fn there(db: &Db, names: &[String]) -> Result<Vec<TableName>, Error> {
    let mut all: Vec<(TableName, String)> =
        state::tables(db)?.into_iter().map(|state| (state.source, state.name)).collect();
    for source in wanted::missing(db)?.into_iter().chain(added(db)?) {
        if !all.iter().any(|(known, _)| *known == source) {
            let name = ddl::sqlite_name(&source);
            all.push((source, name));
        }
    }
    if names.is_empty() {
        return Ok(all.into_iter().map(|(source, _)| source).collect());
    }
    let mut meant: Vec<TableName> = Vec::new();
    for name in names {
        let known = all.iter().find(|(source, sqlite)| named::is_meant(source, sqlite, name));
        let Some((source, _)) = known else {
            return Err(Error::NotMirrored { table: name.clone() });
        };
        if !meant.contains(source) {
            meant.push(source.clone());
        }
    }
    Ok(meant)
}

/// Tables that are to be copied and are not in the mirror yet.
pub(super) fn added(db: &Db) -> Result<Vec<TableName>, Error> {
    let known = state::tables(db)?;
    let mut added: Vec<TableName> = due::list(db)?.into_iter().map(|due| due.source).collect();
    added.retain(|source| !known.iter().any(|state| state.source == *source));
    Ok(added)
}

/// Those of the names that are not in the mirror; each must have a place in the file.
fn new(db: &Db, names: &[String]) -> Result<Vec<TableName>, Error> {
    let known = state::tables(db)?;
    let mut new: Vec<TableName> = Vec::new();
    for name in names {
        let source = TableName::parse(name)?;
        let sqlite = ddl::sqlite_name(&source);
        let other = known.iter().find(|state| state.name.eq_ignore_ascii_case(&sqlite));
        let others = new.iter().chain(other.map(|state| &state.source));
        let same = |of: &&TableName| ddl::sqlite_name(of).eq_ignore_ascii_case(&sqlite);
        match others.clone().find(same) {
            Some(first) if *first != source => {
                return Err(Error::Schema(crate::schema::Error::TableCollision {
                    first: first.to_string(),
                    second: source.to_string(),
                    sqlite_name: sqlite,
                }));
            }
            Some(_) => {}
            None if format::has_table(db, &sqlite)? => {
                return Err(Error::TableExists { table: sqlite });
            }
            None => new.push(source),
        }
    }
    Ok(new)
}
