//! An import that fails says where, leaves nothing behind, and both connections usable.

mod support;

use pgsqlite::error::{Code, Coded};
use pgsqlite::libpq::{Conn, Conninfo, TransactionStatus};
use pgsqlite::pg_sqlite::{Columns, Error, Import, KeyPart, Source, TableName, Target};
use pgsqlite::sqlite::{Access, Db, Reason, testing};
use std::time::{Duration, Instant};
use support::Cluster;

fn connect(cluster: &Cluster) -> Conn {
    let info = Conninfo::parse(&cluster.conninfo("postgres")).expect("conninfo");
    Conn::connect(&info).expect("connect")
}

fn create(words: &[&str]) -> Import<'static> {
    let columns = Columns::from_pairs(words.iter().copied()).expect("columns");
    Import::new(Target::Create(TableName::new("t")), columns)
}

fn tables(db: &Db) -> Option<i64> {
    db.query_int("select count(*) from sqlite_schema", &[]).expect("schema")
}

/// Runs the import in all the ways rows can come; each must fail alike, and leave nothing behind.
fn fails(sql: &str, import: impl Fn() -> Import<'static>) -> Error {
    let cluster = Cluster::shared();
    let mut conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    let mut errors = Vec::new();
    if let Ok(result) = conn.query(sql) {
        errors.push(import().run(&db, Source::Result(&result)).expect_err("result"));
    }
    conn.send_query(sql).expect("send");
    errors.push(import().run(&db, Source::StreamHere(&conn)).expect_err("here"));
    conn.send_query(sql).expect("send");
    errors.push(import().run(&db, Source::Stream(&mut conn)).expect_err("stream"));
    if !matches!(import().columns, Columns::Auto) {
        let copy = format!("copy ({sql}) to stdout");
        let source = Source::Copy { conn: &mut conn, sql: &copy };
        errors.push(import().run(&db, source).expect_err("copy"));
    }
    assert_eq!(conn.transaction_status(), TransactionStatus::Idle);
    assert_eq!(conn.query("select 1").expect("usable").text(0, 0).as_deref(), Some("1"));
    assert_eq!((tables(&db), db.in_transaction()), (Some(0), false));
    let first = errors.remove(0);
    for other in errors {
        assert_eq!(common(&other), common(&first));
    }
    first
}

/// The code without what only one of the sources can tell: COPY has no description, so that the
/// number of columns is known row by row.
fn common(error: &Error) -> Code {
    let mut code = error.code();
    if code.reason == "COLUMNS" {
        code.details.retain(|(name, _)| *name != "row");
    }
    code
}

#[test]
fn a_value_that_does_not_fit_names_column_and_row() {
    let sql = "select g, case when g = 40000 then 'nope' else g::text end from \
               generate_series(1, 100000) g";
    let error = fails(sql, || create(&["a", "int", "b c", "integer"]));
    let code = error.code();
    assert_eq!((code.stage, code.reason), ("IMPORT", "VALUE"));
    let details =
        [("column", "b c".to_owned()), ("row", "40000".to_owned()), ("type", "integer".to_owned())];
    assert_eq!(code.details, details);
    assert!(error.to_string().contains("\"b c\", row 40000"), "{error}");
}

#[test]
fn a_server_error_in_the_middle_is_postgres_own() {
    let sql = "select 1 / (g - 50000) from generate_series(1, 100000) g";
    let code = fails(sql, || create(&["a", "int"])).code();
    assert_eq!((code.stage, code.details), ("POSTGRES", vec![("sqlstate", "22012".to_owned())]));
}

#[test]
fn a_refused_row_names_table_and_row() {
    let sql = "select g % 30000 from generate_series(1, 100000) g";
    let code = fails(sql, || Import {
        key: vec![KeyPart::from_words(&["a"]).expect("key")],
        ..create(&["a", "int"])
    })
    .code();
    assert_eq!((code.stage, code.reason), ("SQLITE", "CONSTRAINT"));
    assert!(code.details.contains(&("table", "t".to_owned())), "{code:?}");
    assert!(code.details.contains(&("row", "30001".to_owned())), "{code:?}");
}

#[test]
fn the_number_of_columns_must_fit() {
    let code = fails("select 1, 2, 3", || create(&["a", "int", "b", "int"])).code();
    assert_eq!((code.stage, code.reason), ("IMPORT", "COLUMNS"));
    let code = fails("select 1", || create(&["a", "int", "b", "int"])).code();
    assert_eq!((code.stage, code.reason), ("IMPORT", "COLUMNS"));
}

#[test]
fn a_failed_import_does_not_wait_for_a_slow_query() {
    let cluster = Cluster::shared();
    let mut conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    // Enough rows for the insert to begin and fail, then a minute of silence.
    let sql = "select 1 from generate_series(1, 30000) g \
               union all select 1 from pg_sleep(case when random() >= 0 then 60 end)";
    let started = Instant::now();
    for threaded in [true, false] {
        db.exec("drop table if exists t; create table t(a primary key)").expect("table");
        let columns = Columns::from_names(["a"]);
        let import = Import::new(Target::Into(TableName::new("t")), columns);
        conn.send_query(sql).expect("send");
        let source = if threaded { Source::Stream(&mut conn) } else { Source::StreamHere(&conn) };
        let error = import.run(&db, source).expect_err("a duplicate");
        assert_eq!(error.code().reason, "CONSTRAINT");
        assert_eq!(conn.transaction_status(), TransactionStatus::Idle);
    }
    for threaded in [true, false] {
        conn.send_query(sql).expect("send");
        let source = if threaded { Source::Stream(&mut conn) } else { Source::StreamHere(&conn) };
        let error = create(&["a", "int", "b", "int"]).run(&db, source).expect_err("one column");
        assert_eq!(error.code().reason, "COLUMNS");
        assert_eq!(conn.transaction_status(), TransactionStatus::Idle);
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn the_callers_transaction_keeps_what_was_there() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    db.exec("create table mine(a); begin; insert into mine values(1)").expect("begin");
    let result = conn.query("select 'x'").expect("query");
    create(&["a", "int"]).run(&db, Source::Result(&result)).expect_err("not an integer");
    assert!(db.in_transaction());
    let import = create(&["a", "text"]);
    assert_eq!(import.run(&db, Source::Result(&result)).expect("text").rows, 1);
    assert!(db.in_transaction(), "committing is the caller's");
    db.exec("rollback").expect("rollback");
    assert_eq!(tables(&db), Some(1));
}

#[test]
fn what_is_no_query_is_refused() {
    let code = fails("create temp table if not exists x(a int)", || Import {
        columns: Columns::Auto,
        ..create(&[])
    })
    .code();
    assert_eq!((code.stage, code.reason), ("IMPORT", "NOROWS"));
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    let error = create(&["a", "int"]).run(&db, Source::StreamHere(&conn)).expect_err("idle");
    assert_eq!(error.code().reason, "NOROWS");
    let error = create(&[]).run(&db, Source::StreamHere(&conn)).expect_err("no columns");
    assert_eq!(error.code().reason, "NOROWS");
}

#[test]
fn a_table_that_is_there_or_is_not() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    db.exec("create table t(a)").expect("table");
    let result = conn.query("select 1").expect("query");
    let error = create(&["a", "int"]).run(&db, Source::Result(&result)).expect_err("exists");
    assert!(error.to_string().contains("already exists"), "{error}");
    let into = |table: &str, column| {
        let columns = Columns::from_names([column]);
        Import::new(Target::Into(TableName::new(table)), columns)
    };
    let error = into("nowhere", "a").run(&db, Source::Result(&result)).expect_err("no table");
    assert!(error.to_string().contains("nowhere"), "{error}");
    let error = into("t", "zz").run(&db, Source::Result(&result)).expect_err("no column");
    assert!(error.to_string().contains("zz"), "{error}");
    assert_eq!(error.code().reason, "ERROR");
}

#[test]
fn a_locked_file_is_busy_and_the_query_is_gone() {
    let cluster = Cluster::shared();
    let mut conn = connect(&cluster);
    testing::load().expect("sqlite");
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("x.db");
    let other = Db::open(&path, Access::Create).expect("other");
    other.exec("begin immediate").expect("lock");
    let db = Db::open(&path, Access::Write).expect("db");
    conn.send_query("select g from generate_series(1, 1000000) g").expect("send");
    let error = create(&["a", "int"]).run(&db, Source::Stream(&mut conn)).expect_err("locked");
    assert_eq!(error.code().reason, Reason::Busy.word());
    assert_eq!(conn.transaction_status(), TransactionStatus::Idle);
}

#[test]
fn sizes_up_to_the_limit_are_exact_and_beyond_it_too_big() {
    let cluster = Cluster::shared();
    let mut conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    let sql = "select n, repeat('x', n) from unnest(array[0, 1000, 1000000, 64000000]) n";
    conn.send_query(sql).expect("send");
    create(&["n", "int", "v", "text"]).run(&db, Source::Stream(&mut conn)).expect("sizes");
    let wrong = "select count(*) from t
                 where length(v) <> n or v <> replace(hex(zeroblob(n / 2)), '0', 'x')";
    assert_eq!(db.query_int(wrong, &[]).expect("compare"), Some(0));
    db.exec("drop table t").expect("drop");
    db.set_length_limit(1_000_100);
    let code = fails_too_big(&mut conn, &db, sql);
    assert_eq!((code.stage, code.reason), ("SQLITE", "TOOBIG"));
    assert!(code.details.contains(&("column", "v".to_owned())), "{code:?}");
    assert!(code.details.contains(&("row", "4".to_owned())), "{code:?}");
    assert!(code.details.contains(&("bytes", "64000000".to_owned())), "{code:?}");
    // A value as long as SQLite stores, in a row that is longer.
    db.set_length_limit(1_000_000);
    let code = fails_too_big(&mut conn, &db, "select 1, repeat('x', 1000000)");
    let details = ["column", "row", "bytes", "limit", "table"]
        .into_iter()
        .zip(["v", "1", "1000000", "1000000", "t"].map(str::to_owned));
    assert_eq!(code.details, details.collect::<Vec<_>>());
    assert_eq!(tables(&db), Some(0));
}

fn fails_too_big(conn: &mut Conn, db: &Db, sql: &str) -> pgsqlite::error::Code {
    conn.send_query(sql).expect("send");
    let import = create(&["n", "int", "v", "text"]);
    import.run(db, Source::Stream(conn)).expect_err("too big").code()
}
