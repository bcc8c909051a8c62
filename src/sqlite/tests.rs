//! Statements, transactions, and rows through the virtual table, in the system's library.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::error::Coded;

fn memory() -> Db {
    testing::memory().expect("the system has libsqlite3")
}

/// Rows of the given values; fails or panics at a given row.
struct Rows<'a> {
    rows: &'a [Vec<Value<'a>>],
    at: usize,
    fail_at: Option<usize>,
    panic_at: Option<usize>,
}

impl<'a> Rows<'a> {
    fn new(rows: &'a [Vec<Value<'a>>]) -> Self {
        Rows { rows, at: 0, fail_at: None, panic_at: None }
    }
}

impl RowSource for Rows<'_> {
    type Error = String;

    fn advance(&mut self) -> std::result::Result<bool, String> {
        if self.fail_at == Some(self.at) {
            return Err(format!("row {} is bad", self.at));
        }
        assert_ne!(self.panic_at, Some(self.at), "row {} panics", self.at);
        self.at += 1;
        Ok(self.at <= self.rows.len())
    }

    fn value(&self, column: usize) -> Value<'_> {
        self.rows[self.at - 1][column]
    }
}

fn insert<'a>(table: &'a str, columns: &'a [&'a str]) -> Insert<'a> {
    Insert { schema: None, table, columns, or_replace: false }
}

const CELLS: &[Value<'static>] = &[
    Value::Null,
    Value::Int(i64::MIN),
    Value::Real(f64::INFINITY),
    Value::Text(b""),
    Value::Text("g\u{fc}n\u{1f600}".as_bytes()),
    Value::Blob(b""),
    Value::Blob(&[0, 255, 0]),
    Value::Text(b"a\0b"),
];

#[test]
fn every_kind_of_value_comes_back() {
    let db = memory();
    let mut stmt = db.prepare("SELECT ?1").unwrap();
    for cell in CELLS {
        stmt.bind(1, *cell).unwrap();
        assert!(stmt.step().unwrap());
        assert_eq!(stmt.column(0), *cell);
        assert_eq!(stmt.column(1), Value::Null, "no such column");
        stmt.reset();
    }
    assert_eq!(stmt.column(0), Value::Null, "no row");
}

#[test]
fn execute_leaves_no_borrowed_text_bound() {
    let db = memory();
    db.exec("CREATE TABLE t(a)").unwrap();
    let mut stmt = db.prepare("INSERT INTO t VALUES(?1)").unwrap();
    for text in ["one", "two"] {
        let owned = text.to_owned();
        assert_eq!(stmt.execute(&[owned.as_str().into()]).unwrap(), 1);
    }
    stmt.execute(&[]).unwrap();
    drop(stmt);
    assert_eq!(
        db.query_text("SELECT group_concat(ifnull(a, '-')) FROM t", &[]).unwrap().as_deref(),
        Some("one,two,-")
    );
}

#[test]
fn rows_of_a_source_are_inserted_as_they_are() {
    let db = memory();
    db.exec("CREATE TABLE \"select\"(\"a b\", \"c\"\"d\")").unwrap();
    let rows: Vec<_> = CELLS.iter().map(|cell| vec![*cell, Value::Int(7)]).collect();
    let n = insert("select", &["a b", "c\"d"]).run(&db, &mut Rows::new(&rows)).unwrap();
    assert_eq!(n, CELLS.len() as u64);
    let mut stmt = db.prepare("SELECT \"a b\" FROM \"select\" ORDER BY rowid").unwrap();
    for cell in CELLS {
        assert!(stmt.step().unwrap());
        assert_eq!(stmt.column(0), *cell);
    }
    drop(stmt);
    let modules = "SELECT count(*) FROM pragma_module_list WHERE name LIKE 'pgsqlite%'";
    assert_eq!(db.query_int(modules, &[]).unwrap(), Some(0));
}

#[test]
fn a_failing_source_undoes_the_insert_and_keeps_its_error() {
    let db = memory();
    db.exec("CREATE TABLE t(a)").unwrap();
    let rows: Vec<_> = (0..100).map(|n| vec![Value::Int(n)]).collect();
    let mut source = Rows { fail_at: Some(60), ..Rows::new(&rows) };
    match insert("t", &["a"]).run(&db, &mut source) {
        Err(InsertError::Source(error)) => assert_eq!(error, "row 60 is bad"),
        other => panic!("{other:?}"),
    }
    assert_eq!(db.query_int("SELECT count(*) FROM t", &[]).unwrap(), Some(0));
}

#[test]
fn a_panicking_source_panics_in_the_caller_with_the_connection_usable() {
    let db = memory();
    db.exec("CREATE TABLE t(a)").unwrap();
    let rows: Vec<_> = (0..100).map(|n| vec![Value::Int(n)]).collect();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut source = Rows { panic_at: Some(3), ..Rows::new(&rows) };
        db.atomically(|| insert("t", &["a"]).run(&db, &mut source).map_err(|_| Error::NulInSql))
    }));
    assert!(caught.is_err());
    assert!(!db.in_transaction());
    assert_eq!(insert("t", &["a"]).run(&db, &mut Rows::new(&rows)).unwrap(), 100);
}

#[test]
fn a_constraint_names_the_table() {
    let db = memory();
    db.exec("CREATE TABLE t(a INTEGER PRIMARY KEY)").unwrap();
    let rows = vec![vec![Value::Int(1)], vec![Value::Int(1)]];
    let Err(InsertError::Sqlite(error)) = insert("t", &["a"]).run(&db, &mut Rows::new(&rows))
    else {
        panic!("a duplicate key was taken");
    };
    assert_eq!(error.code().reason, "CONSTRAINT");
    assert!(error.code().details.contains(&("table", "t".to_owned())), "{:?}", error.code());
    let replace = Insert { or_replace: true, ..insert("t", &["a"]) };
    assert_eq!(replace.run(&db, &mut Rows::new(&rows)).unwrap(), 2);
}

#[test]
fn a_table_with_triggers_gets_copies() {
    let db = memory();
    db.exec(
        "CREATE TABLE t(a); CREATE TABLE seen(a);
         CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO seen VALUES(NEW.a || '!'); END",
    )
    .unwrap();
    let texts: Vec<String> = (0..50).map(|n| format!("row number {n} of fifty")).collect();
    let rows: Vec<_> = texts.iter().map(|text| vec![Value::from(text.as_str())]).collect();
    insert("T", &["a"]).run(&db, &mut Rows::new(&rows)).unwrap();
    let wrong = "SELECT count(*) FROM t LEFT JOIN seen ON seen.a = t.a || '!' WHERE seen.a IS NULL";
    assert_eq!(db.query_int(wrong, &[]).unwrap(), Some(0));
}

#[test]
fn a_cell_over_the_limit_is_too_big() {
    let db = memory();
    db.exec("CREATE TABLE t(a)").unwrap();
    db.set_length_limit(1000);
    assert_eq!(db.length_limit(), 1000);
    let big = vec![b'x'; 1001];
    let error = db.execute("INSERT INTO t VALUES(?1)", &[Value::Text(&big)]).unwrap_err();
    assert_eq!(error, Error::TooBig { bytes: 1001, limit: 1000 });
    let rows = vec![vec![Value::Blob(&big)]];
    let Err(InsertError::Sqlite(error)) = insert("t", &["a"]).run(&db, &mut Rows::new(&rows))
    else {
        panic!("a value over the limit was taken");
    };
    assert_eq!(error.reason(), Reason::TooBig);
}

#[test]
fn atomically_nests_in_the_callers_transaction() {
    let db = memory();
    db.exec("CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES(1)").unwrap();
    let failed = db.atomically(|| {
        db.exec("INSERT INTO t VALUES(2); INSERT INTO nowhere VALUES(3)")?;
        Ok::<(), Error>(())
    });
    assert_eq!(failed.unwrap_err().reason(), Reason::Error);
    assert!(db.in_transaction());
    db.atomically(|| db.exec("INSERT INTO t VALUES(4)")).unwrap();
    db.exec("COMMIT").unwrap();
    let all = db.query_text("SELECT group_concat(a) FROM t", &[]).unwrap();
    assert_eq!(all.as_deref(), Some("1,4"));
}

#[test]
fn a_lock_is_busy_and_a_read_only_file_readonly() {
    testing::load().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(":memory:");
    let db = Db::open(&path, Access::Create).unwrap();
    assert_eq!(db.file().unwrap().canonicalize().unwrap(), path.canonicalize().unwrap());
    db.exec("CREATE TABLE t(a); BEGIN IMMEDIATE").unwrap();
    let other = Db::open(&path, Access::Write).unwrap();
    other.busy_timeout(Duration::from_millis(1));
    let error = other.atomically(|| other.exec("INSERT INTO t VALUES(1)")).unwrap_err();
    assert_eq!(error.reason(), Reason::Busy);
    let reader = Db::open(&path, Access::Read).unwrap();
    let error = reader.exec("INSERT INTO t VALUES(1)").unwrap_err();
    assert_eq!(error.reason(), Reason::ReadOnly);
    let error = Db::open(Path::new("no/such/folder/x.db"), Access::Create).unwrap_err();
    assert_eq!(error.code().reason, "CANTOPEN");
}

#[test]
fn sql_is_checked() {
    let db = memory();
    assert_eq!(db.exec("SELECT 1\0; DROP TABLE t").unwrap_err(), Error::NulInSql);
    assert_eq!(db.prepare(" -- nothing").unwrap_err().reason(), Reason::Misuse);
    let error = db.exec("SELECT 1; SELEKT 2").unwrap_err();
    assert!(error.to_string().contains("SELEKT"), "{error}");
    db.exec(" ; ; -- only blanks\n").unwrap();
    let mut stmt = db.prepare("SELECT ?1").unwrap();
    assert_eq!(stmt.bind(2, Value::Null).unwrap_err().reason(), Reason::Range);
    assert_eq!((stmt.parameter_count(), stmt.column_count()), (1, 1));
}
