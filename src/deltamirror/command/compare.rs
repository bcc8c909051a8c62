//! `compare`: a mirror's file with PostgreSQL.

use crate::daystream::command::position_value;
use crate::deltamirror::{CompareOptions, Comparison, compare, connection};
use crate::deltastream::command::lsn_value;
use crate::libpq::Conninfo;
use crate::tcl::{Exception, Flow, Interp, Obj, Options, job};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn compare_file(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let known = ["-conninfo", "-db", "-tables", "-stream", "-wait_ms", "-keys"];
    let options = Options::parse(words, &known)?;
    let conninfo = Conninfo::parse(&options.required("-conninfo")?)?;
    let source = options.get("-stream").map(|_| super::source(&options)).transpose()?;
    let file = super::file(interp, &options)?;
    let mut wanted = CompareOptions {
        tables: options.list(interp, "-tables")?.unwrap_or_default(),
        ..CompareOptions::default()
    };
    if let Some(ms) = options.count(interp, "-wait_ms")? {
        wanted.wait = Duration::from_millis(ms);
    }
    if let Some(keys) = options.count(interp, "-keys")? {
        wanted.keys = usize::try_from(keys).unwrap_or(usize::MAX);
    }
    let comparison = job::run(
        interp,
        Arc::default(),
        move |stop, _: &job::Teller<(), _>| {
            let db = connection::open_read_only(&file)?;
            Ok(compare(&conninfo, &db, source.as_ref(), &wanted, stop)?)
        },
        |_, ()| Ok(()),
    )?;
    Ok(comparison_dict(&comparison).into())
}

fn comparison_dict(comparison: &Comparison) -> Obj {
    let rows = comparison.tables.iter().map(|table| table.rows).sum::<u64>();
    let mut differences = Vec::new();
    for table in &comparison.tables {
        differences.extend(table.differences.iter().map(|difference| {
            Obj::dict([
                ("table", Obj::text(&table.table)),
                ("kind", Obj::text(difference.kind.word())),
                ("key", Obj::text(&difference.key)),
            ])
        }));
    }
    let tables = comparison.tables.iter().map(|table| {
        let counts = Obj::dict([
            ("rows", Obj::unsigned(table.rows)),
            ("different", Obj::unsigned(table.different)),
            ("unsettled", Obj::unsigned(table.unsettled)),
        ]);
        (table.table.as_str(), counts)
    });
    let gone = comparison.gone.iter().map(|of| (of.table.as_str(), Obj::text(of.why.as_str())));
    Obj::dict([
        ("equal", comparison.is_equal().into()),
        ("rows", rows.into()),
        ("position", position_value(Some(comparison.position))),
        ("lsn", lsn_value(comparison.lsn)),
        ("reached", comparison.reached.into()),
        ("rounds", Obj::int(comparison.rounds.into())),
        ("tables", Obj::dict(tables)),
        ("gone", Obj::dict(gone)),
        ("differences", Obj::list(&differences)),
    ])
}
