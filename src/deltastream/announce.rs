//! What tells captures at once that something was altered: a function that a migration calls at its
//! end, and event triggers that call the like by themselves.
//!
//! ```text
//! pgsqlite.schema_changed()           any role may call it
//! pgsqlite.schema_changed_trigger()   of the event triggers pgsqlite_schema_changed (at the end of
//!                                     a statement) and pgsqlite_schema_dropped
//! ```
//! Both send the message that asks for a look ([`super::catalog`]), in the transaction that alters.
//! They are of the database, not of a slot: made where they are not there, dropped with the last
//! logical slot of the database. Who calls such a function runs what its owner put in it, so
//! what is there by these names is taken for ours only when it is to the letter what we make, and
//! of a role that is trusted ([`crate::schema::trusted`]). Nothing here calls them.

use super::publish::Refused;
use super::wanted::{Dropped, Setup};
use super::{Error, publish};
use crate::advice;
use crate::libpq::Guarded;
use crate::schema::saved::DEFAULT_SCHEMA as SCHEMA;
use crate::schema::trusted::{self, Distrust};

/// What is to tell captures at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Announce {
    /// Nothing more than there is.
    #[default]
    Nothing,
    /// The function that a migration calls.
    Function,
    /// That, and event triggers: only a superuser makes these.
    EventTrigger,
}

/// The comment on what setup made.
const MADE: &str = "made by deltastream setup";

/// The same, on a function for which setup also let everybody into the schema.
const MADE_WITH_USAGE: &str = "made by deltastream setup, with usage of its schema";

/// What asks every capture for a look.
const SEND: &str = "pg_catalog.pg_logical_emit_message(\
    true, 'pgsqlite.schema'::pg_catalog.text, ''::pg_catalog.text)";

/// A function of ours.
struct Function {
    name: &'static str,
    returns: &'static str,
    language: &'static str,
    body: String,
}

fn function() -> Function {
    let body = format!("select {SEND}");
    Function { name: "schema_changed", returns: "void", language: "sql", body }
}

/// NOTE: it must not end a statement of the owner's, whatever goes wrong in it; nor tell of what is
/// temporary.
fn trigger_function() -> Function {
    let body = format!(
        "begin if tg_event = 'sql_drop' then \
           if not exists (select from pg_catalog.pg_event_trigger_dropped_objects() o \
             where not o.is_temporary) then return; end if; \
         elsif not exists (select from pg_catalog.pg_event_trigger_ddl_commands() c \
           where c.schema_name is distinct from 'pg_temp') then return; end if; \
         perform {SEND}; exception when others then null; end"
    );
    let (name, returns) = ("schema_changed_trigger", "event_trigger");
    Function { name, returns, language: "plpgsql", body }
}

/// Event triggers: name and event.
const TRIGGERS: [(&str, &str); 2] =
    [("pgsqlite_schema_changed", "ddl_command_end"), ("pgsqlite_schema_dropped", "sql_drop")];

/// A function or event trigger that is there, and ours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct There {
    comment: String,
    /// Of an event trigger: it is not disabled.
    enabled: bool,
}

/// What is there by our names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// The function.
    pub function: bool,
    /// Both event triggers, and they are enabled.
    pub event_trigger: bool,
    /// What is there by a name of ours and is not ours, in words.
    pub distrusted: Option<String>,
}

/// An object by a name of ours that could run somebody else's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{object} (schema {SCHEMA}), of role {owner}, {why}: it could run code with the rights of \
     who calls it, or alters something; look at it, and drop it or give it to a role that you trust"
)]
pub struct Unsafe {
    /// The object.
    pub(super) object: String,
    /// The role that owns it.
    pub(super) owner: String,
    why: String,
}

impl From<Distrust> for Unsafe {
    fn from(Distrust { object, owner, why }: Distrust) -> Unsafe {
        Unsafe { object, owner, why }
    }
}

/// Why something of ours cannot be asked for.
fn catalog_error(error: crate::schema::Error) -> Error {
    match error {
        crate::schema::Error::Postgres(error) => error.into(),
        other => crate::libpq::Error::Unexpected {
            wanted: "what is in the schema pgsqlite",
            got: other.to_string(),
        }
        .into(),
    }
}

/// Sees whose the schema and what is called as our functions are.
fn check_owners(conn: &Guarded<'_>) -> Result<(), Error> {
    let names = [function().name, trigger_function().name];
    match trusted::of_functions(conn, SCHEMA, &names).map_err(catalog_error)? {
        Some(distrust) => Err(Error::Unsafe(Box::new(distrust.into()))),
        None => Ok(()),
    }
}

/// A function of ours that is there; its owner is trusted already.
///
/// # Errors
/// `STREAM UNSAFE`: another one has its place.
fn find_function(conn: &Guarded<'_>, wanted: &Function) -> Result<Option<There>, Error> {
    let answer = conn.query(&format!(
        "select l.lanname, pg_catalog.format_type(p.prorettype, null), p.prosrc, \
           p.prokind = 'f' and not p.prosecdef and not p.proretset and p.provolatile = 'v' \
             and p.proconfig = array['search_path=\"\"'], \
           pg_catalog.pg_get_userbyid(p.proowner), \
           pg_catalog.obj_description(p.oid, 'pg_proc') \
         from pg_catalog.pg_proc p \
         join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
         join pg_catalog.pg_language l on l.oid = p.prolang \
         where n.nspname = '{SCHEMA}' and p.proname = '{}' and p.pronargs = 0",
        wanted.name
    ))?;
    if answer.ntuples() == 0 {
        return Ok(None);
    }
    let text = |column| answer.text(0, column).unwrap_or_default();
    let is_ours = text(0) == wanted.language
        && text(1) == wanted.returns
        && text(2) == wanted.body
        && text(3) == "t";
    if !is_ours {
        return Err(not_ours(format!("{}()", wanted.name), text(4)));
    }
    Ok(Some(There { comment: text(5), enabled: true }))
}

/// An event trigger of ours that is there.
///
/// # Errors
/// `STREAM UNSAFE`: another one has its place.
fn find_trigger(conn: &Guarded<'_>, (name, event): (&str, &str)) -> Result<Option<There>, Error> {
    let answer = conn.query(&format!(
        "select t.evtevent = '{event}' and t.evttags is null and n.nspname = '{SCHEMA}' \
             and p.proname = '{}' and p.pronargs = 0, t.evtenabled in ('O', 'A'), \
           pg_catalog.pg_get_userbyid(t.evtowner), \
           pg_catalog.obj_description(t.oid, 'pg_event_trigger') \
         from pg_catalog.pg_event_trigger t join pg_catalog.pg_proc p on p.oid = t.evtfoid \
         join pg_catalog.pg_namespace n on n.oid = p.pronamespace where t.evtname = '{name}'",
        trigger_function().name
    ))?;
    if answer.ntuples() == 0 {
        return Ok(None);
    }
    let text = |column| answer.text(0, column).unwrap_or_default();
    if text(0) != "t" {
        return Err(not_ours(format!("event trigger {name}"), text(2)));
    }
    Ok(Some(There { comment: text(3), enabled: text(1) == "t" }))
}

fn not_ours(object: String, owner: String) -> Error {
    let why = "is not what setup makes".to_owned();
    Error::Unsafe(Box::new(Unsafe { object, owner, why }))
}

/// What is there.
///
/// # Errors
/// `POSTGRES ...`.
pub(super) fn installed(conn: &Guarded<'_>) -> Result<Installed, Error> {
    let found = check_owners(conn).and_then(|()| {
        let function = find_function(conn, &function())?.is_some();
        let mut event_trigger = find_function(conn, &trigger_function())?.is_some();
        for trigger in TRIGGERS {
            event_trigger &= find_trigger(conn, trigger)?.is_some_and(|there| there.enabled);
        }
        Ok(Installed { function, event_trigger, distrusted: None })
    });
    match found {
        Err(Error::Unsafe(object)) => {
            Ok(Installed { distrusted: Some(object.to_string()), ..Installed::default() })
        }
        found => found,
    }
}

/// Makes what is wanted and not there, all of it or nothing.
///
/// # Errors
/// `STREAM UNSAFE`, `NOTALLOWED`, `POSTGRES ...`.
pub(super) fn install(conn: &Guarded<'_>, wanted: Announce, done: &mut Setup) -> Result<(), Error> {
    if wanted == Announce::Nothing {
        return Ok(());
    }
    conn.begin("")?;
    let mut undo = Vec::new();
    let made = make(conn, wanted, &mut undo).and_then(|made| Ok(conn.commit().map(|()| made)?));
    let made = made.inspect_err(|_| conn.roll_back())?;
    (done.schema_changed, done.event_trigger) = (made.function, made.event_trigger);
    undo.reverse();
    done.undo = undo;
    Ok(())
}

/// Takes back what [`install`] made, for a setup that could not do the rest.
pub(super) fn take_back(conn: &Guarded<'_>, done: &Setup) {
    for statement in &done.undo {
        // NOTE: the error to tell is why the rest could not be done.
        let _ = conn.query(statement);
    }
}

fn make(conn: &Guarded<'_>, wanted: Announce, undo: &mut Vec<String>) -> Result<Installed, Error> {
    let mut made = Installed::default();
    let there = "select 1 from pg_catalog.pg_namespace where nspname = ";
    if conn.query(&format!("{there}'{SCHEMA}'"))?.ntuples() == 0 {
        let statement = format!("create schema {SCHEMA}");
        run(conn, &statement, || publish::grant_create(conn))?;
        conn.query(&format!("comment on schema {SCHEMA} is '{MADE}'"))?;
        undo.push(format!("drop schema {SCHEMA}"));
    }
    // NOTE: behind it, since somebody else may have made one a moment ago.
    check_owners(conn)?;
    if find_function(conn, &function())?.is_none() {
        let usage = open_schema(conn, undo)?;
        make_function(conn, &function(), if usage { MADE_WITH_USAGE } else { MADE }, undo)?;
        made.function = true;
    }
    if wanted != Announce::EventTrigger {
        return Ok(made);
    }
    if find_function(conn, &trigger_function())?.is_none() {
        make_function(conn, &trigger_function(), MADE, undo)?;
    }
    for (name, event) in TRIGGERS {
        if find_trigger(conn, (name, event))?.is_some() {
            continue;
        }
        let function = trigger_function().name;
        let statement = format!(
            "create event trigger {name} on {event} execute function {SCHEMA}.{function}()"
        );
        let remedy = || {
            "only a superuser makes an event trigger: let one set up; without it, a migration \
             calls pgsqlite.schema_changed() at its end"
                .to_owned()
        };
        run(conn, &statement, remedy)?;
        conn.query(&format!("comment on event trigger {name} is '{MADE}'"))?;
        undo.push(format!("drop event trigger {name}"));
        made.event_trigger = true;
    }
    Ok(made)
}

/// Lets everybody into the schema, to call the function; false where everybody may already.
fn open_schema(conn: &Guarded<'_>, undo: &mut Vec<String>) -> Result<bool, Error> {
    let may = format!("select pg_catalog.has_schema_privilege('public', '{SCHEMA}', 'usage')");
    if conn.query(&may)?.value(0, 0) == Some(b"t") {
        return Ok(false);
    }
    let statement = format!("grant usage on schema {SCHEMA} to public");
    let remedy = || {
        "as the owner of the schema, or a superuser: `GRANT USAGE ON SCHEMA pgsqlite TO PUBLIC`"
            .to_owned()
    };
    run(conn, &statement, remedy)?;
    // NOTE: the server only warns of what it does not grant.
    if conn.query(&may)?.value(0, 0) != Some(b"t") {
        let message = "it was not granted".to_owned();
        return Err(Refused::error(message, &statement, remedy()));
    }
    undo.push(format!("revoke usage on schema {SCHEMA} from public"));
    Ok(true)
}

fn make_function(
    conn: &Guarded<'_>,
    wanted: &Function,
    comment: &str,
    undo: &mut Vec<String>,
) -> Result<(), Error> {
    let Function { name, returns, language, body } = wanted;
    let body = conn.escape_literal(body)?;
    let statement = format!(
        "create function {SCHEMA}.{name}() returns pg_catalog.{returns} language {language} \
         security invoker set search_path = '' as {body}"
    );
    run(conn, &statement, || grant_on_schema(conn))?;
    conn.query(&format!(
        "grant execute on function {SCHEMA}.{name}() to public; \
         comment on function {SCHEMA}.{name}() is '{comment}'"
    ))?;
    undo.push(format!("drop function {SCHEMA}.{name}()"));
    Ok(())
}

/// What lets this role make something in the schema.
fn grant_on_schema(conn: &Guarded<'_>) -> String {
    let role = advice::name(&conn.user());
    format!(
        "as the owner of the schema, or a superuser: `GRANT CREATE ON SCHEMA {SCHEMA} TO {role}`"
    )
}

/// Runs a statement; which right is missing the server does not say.
fn run(conn: &Guarded<'_>, statement: &str, remedy: impl FnOnce() -> String) -> Result<(), Error> {
    let Err(error) = conn.query(statement) else { return Ok(()) };
    if error.sqlstate() != Some("42501") {
        return Err(error.into());
    }
    Err(Refused::error(error.to_string(), statement, remedy()))
}

/// Drops what setup made, where no other logical slot is in this database: captures of others hear
/// of it as well.
///
/// # Errors
/// `POSTGRES ...`. What is another role's stays, and is told in `dropped`.
pub(super) fn remove(conn: &Guarded<'_>, slot: &str, dropped: &mut Dropped) -> Result<(), Error> {
    let slot = conn.escape_literal(slot)?;
    let others = conn.query(&format!(
        "select 1 from pg_catalog.pg_replication_slots where slot_type = 'logical' \
         and database = pg_catalog.current_database() and slot_name <> {slot} limit 1"
    ))?;
    if others.ntuples() > 0 || is_unsafe(check_owners(conn))? {
        return Ok(());
    }
    let mut left = Vec::new();
    for (name, event) in TRIGGERS {
        let found = find_trigger(conn, (name, event));
        if found.is_ok_and(|found| found.is_some_and(|there| there.comment == MADE)) {
            let statement = format!("drop event trigger {name}");
            dropped.event_trigger |= drop_it(conn, &statement, &mut left)?;
        }
    }
    for wanted in [trigger_function(), function()] {
        let comment = match find_function(conn, &wanted) {
            Ok(Some(there)) => there.comment,
            Ok(None) | Err(Error::Unsafe(_)) => continue,
            Err(error) => return Err(error),
        };
        if comment != MADE && comment != MADE_WITH_USAGE {
            continue;
        }
        let statement = format!("drop function {SCHEMA}.{}()", wanted.name);
        let gone = drop_it(conn, &statement, &mut left)?;
        dropped.schema_changed |= gone && wanted.name == function().name;
        if gone && comment == MADE_WITH_USAGE {
            conn.query(&format!("revoke usage on schema {SCHEMA} from public"))?;
        }
    }
    let made = format!(
        "select 1 from pg_catalog.pg_namespace n where n.nspname = '{SCHEMA}' \
         and pg_catalog.obj_description(n.oid, 'pg_namespace') = '{MADE}'"
    );
    if conn.query(&made)?.ntuples() > 0 {
        // What else is in it keeps it.
        drop_it(conn, &format!("drop schema {SCHEMA}"), &mut left)?;
    }
    if !left.is_empty() {
        dropped.left = Some(left.join("; "));
    }
    Ok(())
}

/// Whether something is not ours; other errors go on.
fn is_unsafe(checked: Result<(), Error>) -> Result<bool, Error> {
    match checked {
        Ok(()) => Ok(false),
        Err(Error::Unsafe(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Drops one thing; false where something hangs on it, or it is another role's, which is then in
/// `left`.
fn drop_it(conn: &Guarded<'_>, statement: &str, left: &mut Vec<String>) -> Result<bool, Error> {
    match conn.query(statement) {
        Ok(_) => Ok(true),
        // dependent_objects_still_exist
        Err(error) if error.sqlstate() == Some("2BP01") => Ok(false),
        // insufficient_privilege
        Err(error) if error.sqlstate() == Some("42501") => {
            left.push(statement.to_owned());
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
