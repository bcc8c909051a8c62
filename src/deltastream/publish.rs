//! The publication of a slot: made, extended, dropped, and known again as ours.
//!
//! Only what setup has made is altered and dropped: a comment on the publication says for which
//! slot it was. One that somebody else made is used as it is; what it lacks is its owner's to add.

use super::tables::{self, Table};
use super::wanted::Setup;
use super::{Error, fitness};
use crate::advice;
use crate::daystream::Identity;
use crate::libpq::Guarded;

/// The beginning of the comment on a publication that setup made; the slot's name follows.
const MADE: &str = "made by deltastream setup for slot ";

/// A publication that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publication {
    pub(super) name: String,
    /// The slot that it was made for, where setup made it and noted that.
    made_for: Option<String>,
    via_root: bool,
    /// Whether it sends stored generated columns (version 18 and newer).
    pub(super) generated: bool,
    all_tables: bool,
    /// The kinds of changes that it leaves out.
    leaves_out: Vec<&'static str>,
}

impl Publication {
    /// Reads one; `None` when there is none.
    ///
    /// # Errors
    /// `POSTGRES ...`.
    pub(super) fn read(conn: &Guarded<'_>, name: &str) -> Result<Option<Publication>, Error> {
        let quoted = conn.escape_literal(name)?;
        let generated = match conn.server_version() >= fitness::VERSION_SENDS_GENERATED {
            true => "pubgencols = 's'",
            false => "false",
        };
        let answer = conn.query(&format!(
            "select pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, puballtables, \
               {generated}, pg_catalog.obj_description(oid, 'pg_publication') \
             from pg_catalog.pg_publication where pubname = {quoted}"
        ))?;
        if answer.ntuples() == 0 {
            return Ok(None);
        }
        let is = |col| answer.value(0, col) == Some(b"t");
        let kinds = ["insert", "update", "delete", "truncate"].into_iter().enumerate();
        let made_for = answer.text(0, 7);
        let made_for = made_for.and_then(|text| text.strip_prefix(MADE).map(str::to_owned));
        Ok(Some(Publication {
            name: name.to_owned(),
            made_for,
            via_root: is(4),
            generated: is(6),
            all_tables: is(5),
            leaves_out: kinds.filter(|(col, _)| !is(*col)).map(|(_, kind)| kind).collect(),
        }))
    }

    /// Whether setup made it for this slot, as it noted, or as a stream says that an older setup
    /// made, which noted nothing: under the slot's name and with our options.
    fn is_ours(&self, slot: &str, stream: Option<&Identity>) -> bool {
        match &self.made_for {
            Some(made_for) => made_for == slot,
            None => {
                let older = stream.is_some_and(|s| s.publication == self.name && s.slot == slot);
                older && self.name == slot && self.via_root
            }
        }
    }
}

/// Makes the publication of `done` for `slot`, or adds the tables that it lacks.
///
/// # Errors
/// `STREAM NOTABLE`, `NOIDENTITY`, `GENERATEDKEY`, `NOTOURS`, `POSTGRES ...`.
pub(super) fn publish(
    conn: &Guarded<'_>,
    slot: &str,
    names: &[String],
    stream: Option<&Identity>,
    done: &mut Setup,
) -> Result<(), Error> {
    let mut wanted = Vec::new();
    for name in names {
        let table = tables::find(conn, name)?;
        if !wanted.contains(&table) {
            wanted.push(table);
        }
    }
    match Publication::read(conn, &done.publication)? {
        Some(publication) => extend(conn, slot, &publication, wanted, stream, done)?,
        None => make(conn, slot, &wanted, done)?,
    }
    done.tables = tables::published(conn, &done.publication)?;
    Ok(())
}

fn make(conn: &Guarded<'_>, slot: &str, wanted: &[Table], done: &mut Setup) -> Result<(), Error> {
    let quoted = conn.escape_identifier(&done.publication)?;
    let (what, checked) = if wanted.is_empty() {
        done.warnings.push(
            "the publication is of all tables, also of those to come: UPDATE and DELETE will fail \
             on one that is made without a primary key or another replica identity, and a role \
             that may make tables decides what the stream has to hold: one value whose text has \
             more than 1 GB, which a nested composite type makes of a few bytes, ends the capture \
             for good; -tables names some, and -plugin deltaflood with -oversize skip leaves \
             such a value out"
                .to_owned(),
        );
        ("all tables".to_owned(), tables::all(conn)?)
    } else {
        (format!("table {}", list(conn, wanted)?), wanted.to_vec())
    };
    let generated = fitness::check(conn, &checked, true, &mut done.warnings)?;
    // A partitioned table comes under its own name, not under those of its partitions.
    let mut with = "publish_via_partition_root = true".to_owned();
    if generated {
        with.push_str(", publish_generated_columns = stored");
    }
    let comment = conn.escape_literal(&format!("{MADE}{slot}"))?;
    let statement = format!("create publication {quoted} for {what} with ({with})");
    run(conn, &statement, &format!("comment on publication {quoted} is {comment}"))?;
    done.publication_created = true;
    done.added = wanted.iter().map(Table::to_string).collect();
    Ok(())
}

fn extend(
    conn: &Guarded<'_>,
    slot: &str,
    publication: &Publication,
    wanted: Vec<Table>,
    stream: Option<&Identity>,
    done: &mut Setup,
) -> Result<(), Error> {
    let name = &publication.name;
    for kind in &publication.leaves_out {
        done.warnings.push(format!("publication \"{name}\" leaves out {kind}"));
    }
    let mut missing = Vec::new();
    for table in wanted {
        if tables::is_published(conn, name, &table)? {
            continue;
        }
        match tables::parts_published(conn, name, &table)?.first() {
            Some(part) => done.warnings.push(format!(
                "publication \"{name}\" sends the changes of the partitioned table {table} under \
                 the names of its partitions, as {part}: mirror these, or \
                 `ALTER PUBLICATION {} SET (publish_via_partition_root = true)`",
                conn.escape_identifier(name)?
            )),
            None => missing.push(table),
        }
    }
    if missing.is_empty() {
        let all = tables::of_publication(conn, name)?;
        fitness::warn_of_keys(conn, &all, publication.generated, &mut done.warnings)?;
        return Ok(());
    }
    let (quoted, tables) = (conn.escape_identifier(name)?, list(conn, &missing)?);
    let add = format!("ALTER PUBLICATION {quoted} ADD TABLE {tables}");
    if publication.all_tables || !publication.is_ours(slot, stream) {
        let tables = missing.iter().map(Table::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::NotOurs { publication: name.clone(), tables, remedy: add });
    }
    let others = tables::of_publication(conn, name)?;
    // Generated columns of the other tables would begin to be sent, too.
    let can_turn_on = !fitness::have_generated(conn, &others)?;
    let may = publication.generated || can_turn_on;
    let mut sql = String::new();
    if fitness::check(conn, &missing, may, &mut done.warnings)? && !publication.generated {
        sql = format!("alter publication {quoted} set (publish_generated_columns = stored); ");
    }
    let comment = conn.escape_literal(&format!("{MADE}{slot}"))?;
    run(conn, &format!("{sql}{add}"), &format!("comment on publication {quoted} is {comment}"))?;
    done.added = missing.iter().map(Table::to_string).collect();
    Ok(())
}

/// What a role may not do that sets up.
#[derive(Debug, thiserror::Error)]
#[error("{message}; the statement was: {statement}; {remedy}")]
pub struct Refused {
    /// The server's words.
    message: String,
    /// What was refused.
    statement: String,
    /// Which right is missing, and who gives it.
    remedy: String,
}

impl Refused {
    /// The error of it.
    pub(super) fn error(message: String, statement: &str, remedy: String) -> Error {
        let statement = statement.to_owned();
        Error::NotAllowed(Box::new(Refused { message, statement, remedy }))
    }
}

/// Runs a statement that publishes tables, and the comment that tells whose publication it is.
/// Which right is missing the server does not say.
fn run(conn: &Guarded<'_>, statement: &str, comment: &str) -> Result<(), Error> {
    let Err(error) = conn.query(&format!("{statement}; {comment}")) else { return Ok(()) };
    if error.sqlstate() != Some("42501") {
        return Err(error.into());
    }
    // NOTE: the message would tell, in the language of the server.
    let remedy = if statement.starts_with("create ") && !may_create(conn) {
        grant_create(conn)
    } else if statement.contains(" for all tables ") {
        "only a superuser publishes all tables: name them with -tables".to_owned()
    } else {
        "only the owner of a table publishes it, or a superuser".to_owned()
    };
    Err(Refused::error(error.to_string(), statement, remedy))
}

/// What lets this role make publications and schemas in this database.
pub(super) fn grant_create(conn: &Guarded<'_>) -> String {
    let (database, role) = (advice::name(&conn.database()), advice::name(&conn.user()));
    format!("as a superuser: `GRANT CREATE ON DATABASE {database} TO {role}`")
}

/// Whether the role may make publications in this database; yes, where the server does not say.
fn may_create(conn: &Guarded<'_>) -> bool {
    let sql = "select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')";
    conn.query(sql).map_or(true, |answer| answer.value(0, 0) != Some(b"f"))
}

/// Takes back what a setup did with the publication, that could not do the rest.
pub(super) fn take_back(conn: &Guarded<'_>, done: &Setup) {
    if done.publication_created
        && let Ok(quoted) = conn.escape_identifier(&done.publication)
    {
        // NOTE: the error to tell is why the rest could not be done.
        let _ = conn.query(&format!("drop publication {quoted}"));
    }
}

/// Drops the publication that setup made for `slot`. `false`: there is none, or it is somebody
/// else's, who is then in `kept`.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn drop_made_for(
    conn: &Guarded<'_>,
    slot: &str,
    name: &str,
    kept: &mut Option<String>,
) -> Result<bool, Error> {
    let Some(publication) = Publication::read(conn, name)? else { return Ok(false) };
    if !publication.is_ours(slot, None) {
        *kept = Some(name.to_owned());
        return Ok(false);
    }
    conn.query(&format!("drop publication {}", conn.escape_identifier(name)?))?;
    Ok(true)
}

/// Names for SQL, separated by commas.
fn list(conn: &Guarded<'_>, tables: &[Table]) -> Result<String, Error> {
    let mut list = String::new();
    for table in tables {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&conn.escape_identifier(&table.schema)?);
        list.push('.');
        list.push_str(&conn.escape_identifier(&table.name)?);
    }
    Ok(list)
}
