//! `pgsqlite::schema`: the PostgreSQL schema, saved in PostgreSQL with versions.
//!
//! ```text
//! pgsqlite::schema capture  CONN ?-tables {t1 schema.t2 ...}? ?-into pgsqlite?
//! pgsqlite::schema versions CONN ?-into pgsqlite?
//! pgsqlite::schema show     CONN VERSION ?-into pgsqlite?
//! pgsqlite::schema diff     CONN VERSION1 VERSION2 ?-into pgsqlite?
//! pgsqlite::schema sqlite   CONN ?-tables {...}? ?-version V? ?-into pgsqlite?
//! ```
//! CONN is a connection handle of `pg_connect`. All block until PostgreSQL has answered.
//!
//! `capture` saves tables, columns, types, keys, indexes and defaults in tables of the PostgreSQL
//! schema `-into` and returns the number of the new version: 1, 2, 3 ... Without `-tables` all
//! tables outside the system's schemas and `-into`. In an open transaction it is part of that.
//! `versions` is a list of dicts: `version captured_at server_version tables`.
//! `show` is a list of dicts, one for each table: `schema table columns primary_key identity
//! indexes` and, when it has a part in a partitioned table, `partitioned_by` or `partition_of`. A
//! column is a dict: `name type not_null` and, when it has one, `default`, `generated` (`stored` or
//! `virtual`) and `identity 1`; an index: `name columns unique primary definition`.
//! `diff` is a list of dicts: `table subject name action property from to`; empty when nothing
//! differs.
//! `sqlite` is the SQL that `deltamirror init` would run in SQLite: from the live catalog, or from
//! a saved version; each statement ends with a semicolon and a new line.
//!
//! Errors: `PGSQLITE SCHEMA NOTABLE|NOVERSION|BADNAME|COLLISION|UNSAFE|...`, `PGSQLITE POSTGRES
//! ...`.

use super::catalog::{Selection, read};
use super::diff::Change;
use super::model::{Column, Generated, Identity, Index, Partition, Table};
use super::{Error, TableName, ddl, saved};
use crate::libpq::{Conn, guarded};
use crate::pgtcl;
use crate::tcl::ensemble::{self, Sub};
use crate::tcl::{CmdResult, Exception, Failure, Flow, Interp, Obj, Options, other_pgtcl};
use std::ops::Deref;
use std::rc::Rc;

const SUBS: &[(&str, Sub)] = &[
    ("capture", capture),
    ("versions", versions),
    ("show", show),
    ("diff", difference),
    ("sqlite", sqlite),
];

/// Registers `pgsqlite::schema`.
///
/// # Errors
/// None in practice: the name is a constant.
pub fn register(interp: Interp) -> CmdResult<()> {
    ensemble::register(interp, "::pgsqlite::schema", SUBS)
}

/// The connection that a handle means: one of ours, or of another Pgtcl that is loaded.
enum Source {
    Ours(Rc<Conn>),
    Other(other_pgtcl::Lent),
}

impl Source {
    fn of(interp: Interp, handle: &Obj) -> CmdResult<Source> {
        match other_pgtcl::connection(interp, handle)? {
            Some(lent) => Ok(Source::Other(lent)),
            None => Ok(Source::Ours(pgtcl::connection(interp, handle)?.idle_conn()?)),
        }
    }
}

impl Deref for Source {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match self {
            Source::Ours(conn) => conn,
            Source::Other(lent) => lent.conn(),
        }
    }
}

fn usage(text: &str) -> Exception {
    Failure::wrong_args(&format!("pgsqlite::schema {text}")).into()
}

/// The PostgreSQL schema that holds the versions.
fn into(options: &Options) -> CmdResult<String> {
    Ok(options.text("-into")?.unwrap_or_else(|| saved::DEFAULT_SCHEMA.to_owned()))
}

fn capture(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [conn, rest @ ..] = words else {
        return Err(usage("capture conn ?-tables list? ?-into schema?"));
    };
    let options = Options::parse(rest, &["-tables", "-into"])?;
    let tables = options.list(interp, "-tables")?.unwrap_or_default();
    let into = into(&options)?;
    let conn = Source::of(interp, conn)?;
    let version = saved::capture(&conn, &tables, &into)?;
    Ok(version.into())
}

fn versions(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [conn, rest @ ..] = words else { return Err(usage("versions conn ?-into schema?")) };
    let into = into(&Options::parse(rest, &["-into"])?)?;
    let conn = Source::of(interp, conn)?;
    let versions = saved::versions(&conn, &into)?;
    let dicts = versions.iter().map(|version| {
        Obj::dict([
            ("version", Obj::int(version.version)),
            ("captured_at", Obj::text(&version.captured_at)),
            ("server_version", Obj::text(&version.server_version)),
            ("tables", Obj::int(version.tables)),
        ])
    });
    Ok(Obj::list(&dicts.collect::<Vec<_>>()).into())
}

fn show(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [conn, version, rest @ ..] = words else {
        return Err(usage("show conn version ?-into schema?"));
    };
    let version = version.as_int(interp)?;
    let into = into(&Options::parse(rest, &["-into"])?)?;
    let conn = Source::of(interp, conn)?;
    let tables = saved::show(&conn, version, &into)?;
    Ok(Obj::list(&tables.iter().map(table_dict).collect::<Vec<_>>()).into())
}

fn difference(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [conn, from, to, rest @ ..] = words else {
        return Err(usage("diff conn version1 version2 ?-into schema?"));
    };
    let (from, to) = (from.as_int(interp)?, to.as_int(interp)?);
    let into = into(&Options::parse(rest, &["-into"])?)?;
    let conn = Source::of(interp, conn)?;
    let changes = saved::difference(&conn, from, to, &into)?;
    Ok(Obj::list(&changes.iter().map(change_dict).collect::<Vec<_>>()).into())
}

fn sqlite(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let [conn, rest @ ..] = words else {
        return Err(usage("sqlite conn ?-tables list? ?-version version? ?-into schema?"));
    };
    let options = Options::parse(rest, &["-tables", "-version", "-into"])?;
    let wanted = options.list(interp, "-tables")?.unwrap_or_default();
    let into = into(&options)?;
    let version = options.get("-version").map(|v| v.as_int(interp)).transpose()?;
    let conn = Source::of(interp, conn)?;
    let tables = match version {
        Some(version) => pick(saved::show(&conn, version, &into)?, &wanted, version)?,
        None => guarded(&conn, |conn| match wanted.is_empty() {
            true => read(conn, Selection::AllExcept(&into)),
            false => read(conn, Selection::Named(&wanted)),
        })?,
    };
    ddl::check_names(&tables)?;
    let mut script = String::new();
    for table in &tables {
        for statement in ddl::statements(table)? {
            script.push_str(&statement);
            script.push_str(";\n");
        }
    }
    Ok(script.into())
}

/// The tables of a saved version that were asked for; all when none was.
fn pick(saved: Vec<Table>, wanted: &[String], version: i64) -> Result<Vec<Table>, Error> {
    if wanted.is_empty() {
        return Ok(saved);
    }
    let mut picked: Vec<Table> = Vec::new();
    for text in wanted {
        let parsed = TableName::parse(text);
        let found = saved.iter().find(|table| {
            table.name.is_plainly(text) || parsed.as_ref().is_ok_and(|name| *name == table.name)
        });
        let Some(table) = found else {
            let database = format!("saved as version {version}");
            return Err(Error::NoTable { table: text.clone(), database });
        };
        if !picked.iter().any(|other| other.name == table.name) {
            picked.push(table.clone());
        }
    }
    Ok(picked)
}

fn table_dict(table: &Table) -> Obj {
    let identity = match &table.identity {
        Identity::Default => "default".to_owned(),
        Identity::Full => "full".to_owned(),
        Identity::Nothing => "nothing".to_owned(),
        Identity::Index(name) => format!("index {name}"),
    };
    let columns: Vec<Obj> = table.columns.iter().map(column_dict).collect();
    let indexes: Vec<Obj> = table.indexes.iter().map(index_dict).collect();
    let mut entries = vec![
        ("schema", Obj::text(&table.name.schema)),
        ("table", Obj::text(&table.name.table)),
        ("columns", Obj::list(&columns)),
        ("primary_key", Obj::text_list(&table.primary_key)),
        ("identity", Obj::text(&identity)),
        ("indexes", Obj::list(&indexes)),
    ];
    match &table.partition {
        Partition::None => {}
        Partition::Parent(key) => entries.push(("partitioned_by", Obj::text(key))),
        Partition::Of(parent) => entries.push(("partition_of", Obj::text(&parent.to_string()))),
    }
    Obj::dict(entries)
}

fn column_dict(column: &Column) -> Obj {
    let mut entries = vec![
        ("name", Obj::text(&column.name)),
        ("type", Obj::text(&column.type_name)),
        ("not_null", Obj::from(column.not_null)),
    ];
    if let Some(default) = &column.default {
        entries.push(("default", Obj::text(default)));
    }
    match column.generated {
        Generated::No => {}
        Generated::Stored => entries.push(("generated", Obj::text("stored"))),
        Generated::Virtual => entries.push(("generated", Obj::text("virtual"))),
    }
    if column.identity {
        entries.push(("identity", Obj::int(1)));
    }
    Obj::dict(entries)
}

fn index_dict(index: &Index) -> Obj {
    Obj::dict([
        ("name", Obj::text(&index.name)),
        ("columns", Obj::text_list(&index.columns)),
        ("unique", Obj::from(index.unique)),
        ("primary", Obj::from(index.primary)),
        ("definition", Obj::text(&index.definition)),
    ])
}

fn change_dict(change: &Change) -> Obj {
    Obj::dict([
        ("table", Obj::text(&change.table)),
        ("subject", Obj::text(change.subject.word())),
        ("name", Obj::text(&change.name)),
        ("action", Obj::text(change.action.word())),
        ("property", Obj::text(change.property)),
        ("from", Obj::text(&change.from)),
        ("to", Obj::text(&change.to)),
    ])
}
