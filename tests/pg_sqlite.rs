//! Bulk import from a real PostgreSQL into real SQLite files.

mod support;

use pgsqlite::libpq::{Conn, Conninfo, TransactionStatus};
use pgsqlite::pg_sqlite::{Columns, Import, Source, TableName, Target};
use pgsqlite::sqlite::{Access, Db, testing};
use support::Cluster;

fn connect(cluster: &Cluster) -> Conn {
    let info = Conninfo::parse(&cluster.conninfo("postgres")).expect("conninfo");
    Conn::connect(&info).expect("connect")
}

fn create(table: &str) -> Import<'static> {
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
