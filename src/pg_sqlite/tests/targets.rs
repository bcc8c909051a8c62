//! Targets of every sort: odd names, odd tables, a full disk.

use super::*;
use crate::sqlite::{Db, quote_identifier};
use proptest::prelude::*;

fn one_row(db: &Db, import: Import<'_>, row: &[u8]) -> Result<Imported> {
    let mut row = Some(row);
    let mut next = |line: &mut Vec<u8>| match row.take() {
        Some(row) => {
            line.extend_from_slice(row);
            Ok(true)
        }
        None => Ok(false),
    };
    let lines = Lines { next: &mut next, separator: b"\t".to_vec(), form: LineForm::Columns };
    import.run(db, Source::Lines(lines))
}

fn into<'a>() -> Import<'a> {
    Import::new(
        Target::Into(TableName::new("t")),
        Columns::Given(columns(&["a", "int", "b", "text"])),
    )
}

proptest! {
    /// A name is never SQL: whatever it is, exactly one table of that name appears.
    #[test]
    fn no_name_is_code(table in name(), first in name(), second in name()) {
        prop_assume!(!first.eq_ignore_ascii_case(&second));
        let db = testing::memory().unwrap();
        let columns = vec![Column::new(&first, Kind::Integer), Column::new(&second, Kind::Text)];
        let target = Target::Create(TableName::new(&table));
        let mut import = Import::new(target, Columns::Given(columns.clone()));
        import.key = vec![KeyPart::from_words(&[&second, "DESC"]).unwrap()];
        one_row(&db, import, b"1\tx").unwrap();
        let mut again = Import::new(Target::Into(TableName::new(&table)), Columns::Given(columns));
        again.key = vec![KeyPart::from_words(&[&second]).unwrap()];
        again.skip_identical = true;
        prop_assert_eq!(one_row(&db, again, b"1\tx").unwrap().identical, 1);
        let tables = "SELECT group_concat(name, '\n') FROM sqlite_schema WHERE type = 'table'";
        prop_assert_eq!(db.query_text(tables, &[]).unwrap().unwrap(), table.clone());
        let sql = format!("SELECT {} FROM {}", quote_identifier(&first), quote_identifier(&table));
        prop_assert_eq!(db.query_int(&sql, &[]).unwrap(), Some(1));
    }
}

fn name() -> impl Strategy<Value = String> {
    let sql = "[\"'`\\[\\];() \\-\n\\\\$:?@%a-z]{1,12}|select|rowid|t\"; drop table t; --";
    let any = "[^\u{0}]{1,20}";
    prop_oneof![sql, any].prop_filter("SQLite keeps these for itself", |name| {
        !name.to_ascii_lowercase().starts_with("sqlite_")
    })
}

#[test]
fn a_name_with_nul_is_refused() {
    let db = testing::memory().unwrap();
    let target = Target::Create(TableName::new("a\0b"));
    let import = Import::new(target, Columns::from_names(["x"]));
    assert_eq!(one_row(&db, import, b"1").unwrap_err().code().reason, "MISUSE");
}

/// What the table is, and the outcome: the number of rows in it, or the error's reason.
const TABLES: &[(&str, &str)] = &[
    ("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT) WITHOUT ROWID", "1"),
    ("CREATE TABLE t(a INT, b TEXT, c AS (a + 1) STORED, d DEFAULT 7)", "1"),
    ("CREATE TABLE t(a INT, b TEXT); CREATE UNIQUE INDEX i ON t(upper(b)) WHERE a > 0", "1"),
    ("CREATE TABLE t(a INT, b BLOB) STRICT", "CONSTRAINT"),
    ("CREATE TABLE t(a INT, b TEXT) STRICT", "1"),
    ("CREATE TABLE t(a INT CHECK (a > 1), b TEXT)", "CONSTRAINT"),
    ("CREATE TABLE t(a INT, b TEXT, c NOT NULL)", "CONSTRAINT"),
    (
        "PRAGMA foreign_keys = 1; CREATE TABLE p(a INTEGER PRIMARY KEY);
      CREATE TABLE t(a INT REFERENCES p, b TEXT)",
        "CONSTRAINT",
    ),
    (
        "CREATE TABLE t(a INT, b TEXT); CREATE TRIGGER r BEFORE INSERT ON t
      BEGIN SELECT raise(ABORT, 'no'); END",
        "CONSTRAINT",
    ),
    (
        "CREATE TABLE t(a INT, b TEXT); CREATE TRIGGER r BEFORE INSERT ON t
      BEGIN SELECT raise(IGNORE); END",
        "0",
    ),
    (
        "CREATE TABLE u(x, y); CREATE VIEW t(a, b) AS SELECT x, y FROM u;
      CREATE TRIGGER r INSTEAD OF INSERT ON t BEGIN INSERT INTO u VALUES(NEW.a, NEW.b); END",
        "1",
    ),
    ("CREATE VIEW t(a, b) AS SELECT 1, 2", "ERROR"),
    ("CREATE TEMP TABLE t(a, b); CREATE TABLE main.t(x)", "1"),
    ("CREATE TABLE t(b TEXT)", "ERROR"),
    ("CREATE TABLE t(a INT, b TEXT); PRAGMA query_only = 1", "READONLY"),
    ("CREATE VIRTUAL TABLE t USING fts5(a, b)", "1"),
];

#[test]
fn tables_of_every_sort() {
    for (sql, outcome) in TABLES {
        let db = testing::memory().unwrap();
        db.exec(sql).unwrap();
        let found = match one_row(&db, into(), b"1\tone") {
            Ok(_) => {
                assert!(!db.in_transaction());
                db.query_int("SELECT count(*) FROM t", &[]).unwrap().unwrap().to_string()
            }
            Err(error) => error.code().reason.to_owned(),
        };
        assert_eq!(found, *outcome, "{sql}");
        assert!(!db.in_transaction(), "{sql}");
    }
}

#[test]
fn a_full_disk_leaves_nothing_and_goes_on_when_there_is_room() {
    let db = testing::memory().unwrap();
    db.exec("CREATE TABLE t(a INT, b TEXT); PRAGMA max_page_count = 10").unwrap();
    let row = format!("1\t{}", "x".repeat(100_000));
    let error = one_row(&db, into(), row.as_bytes()).unwrap_err();
    assert_eq!((error.code().reason, error.class()), ("FULL", crate::error::Class::Retry));
    assert!(!db.in_transaction());
    assert_eq!(db.query_int("SELECT count(*) FROM t", &[]).unwrap(), Some(0));
    db.exec("PRAGMA max_page_count = 1000").unwrap();
    assert_eq!(one_row(&db, into(), row.as_bytes()).unwrap().rows, 1);
    assert_eq!(db.query_text("PRAGMA integrity_check", &[]).unwrap().as_deref(), Some("ok"));
}
