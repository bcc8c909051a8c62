//! Bulk import from a real PostgreSQL into real SQLite files.

mod support;

use pgsqlite::error::Coded;
use pgsqlite::libpq::{Conn, Conninfo, TransactionStatus};
use pgsqlite::pg_sqlite::{Columns, Error, Import, KeyPart, Source, TableName, Target};
use pgsqlite::sqlite::{Access, Db, testing};
use support::Cluster;

fn connect(cluster: &Cluster) -> Conn {
    let info = Conninfo::parse(&cluster.conninfo("postgres")).expect("conninfo");
    Conn::connect(&info).expect("connect")
}

fn create<'a>(table: &str) -> Import<'a> {
    Import::new(Target::Create(TableName::new(table)), Columns::Auto)
}

#[test]
fn a_stream_a_result_and_a_copy_give_the_same_rows() {
    let cluster = Cluster::shared();
    let mut conn = connect(&cluster);
    testing::load().expect("sqlite");
    let folder = tempfile::tempdir().expect("folder");
    let db = Db::open(&folder.path().join("x.db"), Access::Create).expect("db");
    let sql = "select g as a, case when g % 3 > 0 then 'text ' || g end as b, g / 4.0 as c
               from generate_series(1, 50000) g";
    let result = conn.query(sql).expect("query");
    let n = create("t1").run(&db, Source::Result(&result)).expect("result");
    assert_eq!(n.rows, 50000);
    conn.send_query(sql).expect("send");
    let n = create("t2").run(&db, Source::Stream(&mut conn)).expect("stream");
    assert_eq!(n.rows, 50000);
    assert_eq!(conn.transaction_status(), TransactionStatus::Idle);
    conn.send_query(sql).expect("send");
    let n = create("t3").run(&db, Source::StreamHere(&conn)).expect("stream here");
    assert_eq!(n.rows, 50000);
    db.exec("create table t4 as select * from t1 where false").expect("create");
    let columns = Columns::from_pairs(["a", "int", "b", "text"]).expect("columns");
    let Columns::Given(mut columns) = columns else { panic!("given") };
    columns.push(pgsqlite::pg_sqlite::Column::new(
        "c",
        pgsqlite::schema::value::Kind::from_name("numeric"),
    ));
    let import = Import::new(Target::Into(TableName::new("t4")), Columns::Given(columns));
    let copy = format!("copy ({sql}) to stdout");
    let n = import.run(&db, Source::Copy { conn: &mut conn, sql: &copy }).expect("copy");
    assert_eq!(n.rows, 50000);
    for other in ["t2", "t3", "t4"] {
        let differ = format!(
            "select count(*) from t1 join {other} o on t1.rowid = o.rowid
             where t1.a is not o.a or t1.b is not o.b or t1.c is not o.c
                or typeof(t1.c) <> typeof(o.c)"
        );
        assert_eq!(db.query_int(&differ, &[]).expect("compare"), Some(0), "{other}");
    }
}

#[test]
fn keys_reserved_words_and_replacing() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    let sql = "select n as \"select\", n % 10 as \"a \"\"b\", 'v' || n as \"Größe\" \
               from generate_series(1, 100) n";
    let result = conn.query(sql).expect("query");
    let mut import = create("order by");
    import.key = vec![KeyPart::from_words(&["a \"b", "DESC"]).expect("key")];
    import.or_replace = true;
    assert_eq!(import.run(&db, Source::Result(&result)).expect("import").rows, 100);
    let left = "select group_concat(\"Größe\", ',') from (select * from \"order by\" order by 1)";
    assert_eq!(
        db.query_text(left, &[]).expect("select").as_deref(),
        Some("v91,v92,v93,v94,v95,v96,v97,v98,v99,v100")
    );
    let mut import = create("rowid key");
    import.key = vec![KeyPart::from_words(&["select"]).expect("key")];
    import.run(&db, Source::Result(&result)).expect("import");
    let indexes = "select count(*) from pragma_index_list('rowid key')";
    assert_eq!(db.query_int(indexes, &[]).expect("indexes"), Some(0));
}

#[test]
fn null_text_lenient_values_and_a_statement() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    let result = conn.query("values ('-', '12abc'), ('', null), ('x', 'true')").expect("query");
    let columns = Columns::from_pairs(["a", "text", "b", "integer"]).expect("columns");
    let mut import = Import::new(Target::Create(TableName::new("t")), columns.clone());
    (import.null, import.strict) = (Some(b"-".to_vec()), false);
    import.run(&db, Source::Result(&result)).expect("lenient");
    let all = "select group_concat(quote(a) || quote(b), ' ') from t";
    let shown = db.query_text(all, &[]).expect("select");
    assert_eq!(shown.as_deref(), Some("NULL12 ''NULL 'x'1"));
    let sql = "insert into t values(upper(?1), ?2 + 1)";
    let mut import = Import::new(Target::Statement(sql.to_owned()), columns.clone());
    import.strict = false;
    assert_eq!(import.run(&db, Source::Result(&result)).expect("statement").rows, 3);
    let shown = db.query_text(&format!("{all} where rowid > 3"), &[]).expect("select");
    assert_eq!(shown.as_deref(), Some("'-'13 ''NULL 'X'2"));
    let import = Import::new(Target::Statement("insert into t values(?1, 1)".to_owned()), columns);
    let error = import.run(&db, Source::Result(&result)).expect_err("one parameter");
    assert_eq!(error.code().reason, "COLUMNS");
}

#[test]
fn progress_is_heard_and_may_stop() {
    let cluster = Cluster::shared();
    let mut conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    let sql = "select g as a from generate_series(1, 100000) g";
    let mut heard = Vec::new();
    let mut call = |rows: u64| {
        // The connection may be used in between; its rows are not committed yet.
        assert_eq!(db.query_int("select 7", &[]).expect("select"), Some(7));
        heard.push(rows);
        true
    };
    let mut import = create("t");
    import.progress_every = 30000;
    import.progress = Some(&mut call);
    conn.send_query(sql).expect("send");
    import.run(&db, Source::Stream(&mut conn)).expect("import");
    assert_eq!(heard, [30000, 60000, 90000]);
    let mut stop = |rows: u64| rows < 60000;
    let mut import = create("t2");
    import.progress_every = 30000;
    import.progress = Some(&mut stop);
    conn.send_query(sql).expect("send");
    let error = import.run(&db, Source::Stream(&mut conn)).expect_err("stopped");
    assert!(matches!(error, Error::Stopped { row: 60000 }), "{error}");
    assert_eq!(db.query_int("select count(*) from sqlite_schema", &[]).expect("n"), Some(1));
}

#[test]
fn parts_that_are_committed_stay() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    let sql = "select case when g < 2500 then g::text else 'x' end as a \
               from generate_series(1, 3000) g";
    let result = conn.query(sql).expect("query");
    let columns = Columns::from_pairs(["a", "int"]).expect("columns");
    let mut import = Import::new(Target::Create(TableName::new("t")), columns.clone());
    import.commit_every = Some(1000);
    let error = import.run(&db, Source::Result(&result)).expect_err("x");
    assert_eq!(error.code().reason, "VALUE");
    assert!(!db.in_transaction());
    let kept = db.query_int("select count(*) from t", &[]).expect("n");
    assert_eq!(kept, Some(2000), "the parts before the bad row");
    let mut import = Import::new(Target::Create(TableName::new("whole")), columns);
    (import.commit_every, import.strict) = (Some(1000), false);
    assert_eq!(import.run(&db, Source::Result(&result)).expect("lenient").rows, 3000);
    assert_eq!(db.query_int("select count(*) from whole", &[]).expect("n"), Some(3000));
}

/// Resident memory of this process in MiB.
fn resident_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages = statm.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.expect("pages") * 4096 / (1 << 20)
}

#[test]
fn a_stream_of_any_length_needs_little_memory() {
    let cluster = Cluster::shared();
    let mut conn = connect(&cluster);
    testing::load().expect("sqlite");
    let folder = tempfile::tempdir().expect("folder");
    let db = Db::open(&folder.path().join("x.db"), Access::Create).expect("db");
    db.exec("pragma journal_mode = wal; pragma synchronous = off").expect("wal");
    let sql = "select g as a, repeat('x', 1000) as b from generate_series(1, 150000) g";
    let before = resident_mib();
    let mut most = 0;
    let mut call = |_: u64| {
        most = most.max(resident_mib());
        true
    };
    let mut import = create("t");
    import.progress_every = 1000;
    import.progress = Some(&mut call);
    conn.send_query(sql).expect("send");
    assert_eq!(import.run(&db, Source::Stream(&mut conn)).expect("import").rows, 150_000);
    assert!(most < before + 64, "{before} MiB before, {most} MiB during the import");
}
