//! The schema read from a real catalog, saved, compared, and made in SQLite.

mod support;

use pgsqlite::error::Coded;
use pgsqlite::libpq::{Conn, Conninfo, Guarded};
use pgsqlite::schema::catalog::{Selection, read};
use pgsqlite::schema::{Generated, Identity, Partition, Table, TableName, ddl, publication, saved};
use pgsqlite::sqlite;
use support::Cluster;

/// A database of its own with `sql` run in it.
fn database(cluster: &Cluster, name: &str, sql: &str) -> Guarded<'static> {
    cluster.database(name).batch_execute(sql).expect("setup");
    let info = Conninfo::parse(&cluster.conninfo(name)).expect("conninfo");
    Guarded::connect(&info).expect("connect")
}

fn named(conn: &Guarded<'_>, name: &str) -> Table {
    let names = [name.to_owned()];
    read(conn, Selection::Named(&names)).expect("read").remove(0)
}

const ODD: &str = r#"
create schema ops;
create type mood as enum ('sad', 'ok');
create domain cents as numeric(10,2) check (value >= 0);
create domain price as cents not null;
create table t (id int generated always as identity primary key, name varchar(10) not null,
  m mood default 'ok', p price, at timestamptz default now(), tags text[],
  twice int generated always as (length(name) * 2) stored);
create table ops.pair (a text, b bigint, c bytea, primary key (b, a));
create table "Odd Name" ("a""b" int, "select" text, "x\y" text);
alter table "Odd Name" replica identity full;
create table ident (k int primary key, u text not null, v int);
create unique index ident_u on ident (u);
create index ident_expr on ident (lower(u));
alter table ident replica identity using index ident_u;
create table late (k int primary key deferrable, v text unique);
alter table late replica identity full;
create table part (d date, v int) partition by range (d);
create table part_1 partition of part for values from ('2020-01-01') to ('2021-01-01');
alter table t drop column at;
"#;

#[test]
fn the_catalog_is_read_as_it_is() {
    let cluster = Cluster::shared();
    let conn = database(&cluster, "schema_read", ODD);
    let t = named(&conn, "T");
    let names: Vec<&str> = t.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["id", "name", "m", "p", "tags", "twice"]);
    assert_eq!(t.primary_key, ["id"]);
    let types: Vec<&str> = t.columns.iter().map(|c| c.type_name.as_str()).collect();
    assert_eq!(
        types,
        ["integer", "character varying(10)", "public.mood", "public.price", "text[]", "integer"]
    );
    let p = t.column("p").unwrap();
    assert_eq!((p.base_oid, p.base_name.as_str()), (1700, "numeric"));
    assert!(t.column("id").unwrap().identity && t.column("name").unwrap().not_null);
    assert_eq!(t.column("m").unwrap().default.as_deref(), Some("'ok'::public.mood"));
    assert_eq!(t.column("twice").unwrap().generated, Generated::Stored);
    let ident = named(&conn, "public.ident");
    assert_eq!(ident.identity, Identity::Index("ident_u".into()));
    assert_eq!(ident.identity_columns(), ["u"]);
    let expr = ident.indexes.iter().find(|i| i.name == "ident_expr").unwrap();
    assert_eq!(expr.columns, Vec::<String>::new());
    assert_eq!(named(&conn, "late").immediate_key(), Vec::<String>::new());
    assert_eq!(named(&conn, "part").partition, Partition::Parent("RANGE (d)".into()));
    let parent = Partition::Of(TableName::new("public", "part"));
    assert_eq!(named(&conn, "part_1").partition, parent);
    assert_eq!(named(&conn, "Odd Name").identity_columns(), ["a\"b", "select", "x\\y"]);
    let path = Conn::query(&conn, "show search_path").unwrap().text(0, 0).unwrap();
    assert_eq!(path, "\"$user\", public", "the session is left as it was");
}

#[test]
fn what_was_never_checked_is_not_said() {
    let cluster = Cluster::shared();
    let conn = database(&cluster, "schema_valid", "create table t(a int, b int not null)");
    if conn.server_version() < 180_000 {
        return;
    }
    Conn::query(&conn, "insert into t values (null, 1); alter table t add not null a not valid")
        .expect("a constraint of new rows");
    let not_null = || named(&conn, "t").columns.iter().map(|c| c.not_null).collect::<Vec<_>>();
    assert_eq!(not_null(), [false, true]);
    Conn::query(&conn, "update t set a = 1; alter table t validate constraint t_a_not_null")
        .expect("validated");
    assert_eq!(not_null(), [true, true]);
}

#[test]
fn wrong_names_are_coded_errors() {
    let cluster = Cluster::shared();
    let conn =
        database(&cluster, "schema_names", "create table t(a int); create view v as select 1");
    let code = |name: &str| {
        let names = [name.to_owned()];
        read(&conn, Selection::Named(&names)).expect_err(name).code().reason
    };
    assert_eq!(code("nope"), "NOTABLE");
    assert_eq!(code("v"), "NOTABLE");
    assert_eq!(code("a.b.c"), "BADNAME");
    assert_eq!(code("pg_catalog.pg_class"), "NOTABLE");
    assert_eq!(code("t'; drop table t; --"), "BADNAME");
    let twice = ["t".to_owned(), "public.t".to_owned(), "T".to_owned()];
    assert_eq!(read(&conn, Selection::Named(&twice)).unwrap().len(), 1);
}

#[test]
fn sqlite_takes_the_tables_and_their_keys() {
    let cluster = Cluster::shared();
    let conn = database(&cluster, "schema_ddl", ODD);
    let tables = read(&conn, Selection::AllExcept("pgsqlite")).expect("read");
    let db = sqlite::testing::memory().expect("sqlite");
    for statement in ddl::script(&tables).expect("ddl") {
        db.exec(&statement).expect(&statement);
    }
    let sql = |name: &str| {
        let sql = "select sql from sqlite_master where name = ?1";
        db.query_text(sql, &[name.into()]).unwrap().unwrap_or_default()
    };
    assert!(sql("t").contains("\"id\" INTEGER PRIMARY KEY NOT NULL,\n"), "{}", sql("t"));
    assert!(sql("t").contains("\"p\",\n"), "numeric has no declared type: {}", sql("t"));
    let pair = sql("ops.pair");
    assert!(pair.contains("\"a\" TEXT NOT NULL") && pair.contains("PRIMARY KEY (\"b\", \"a\")"));
    assert_eq!(
        sql("_deltamirror_identity_ident"),
        "CREATE UNIQUE INDEX \"_deltamirror_identity_ident\" ON \"ident\" (\"u\")"
    );
    assert!(!sql("late").contains("PRIMARY KEY"), "a deferrable key is no key: {}", sql("late"));
    assert!(sql("_deltamirror_index0_late").contains("(\"k\")"));
    assert!(sql("_deltamirror_index1_late").contains("(\"v\")"));
    assert!(sql("Odd Name").contains("\"a\"\"b\" INTEGER"));
}

#[test]
fn names_that_sqlite_cannot_tell_apart_are_refused() {
    let cluster = Cluster::shared();
    let conn = database(
        &cluster,
        "schema_collide",
        r#"create table a(x int); create table "A"(x int); create table cols(x int, "X" int);
           create table sqlite_x(a int); create table "_Deltamirror_t"(a int);
           create schema s; create table s.b(x int); create table "s.b"(x int);
           create table nothing();
           create table rows(rowid int, oid int, "_ROWID_" int);
           alter table rows replica identity full"#,
    );
    let code = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let tables = read(&conn, Selection::Named(&names)).expect("read");
        ddl::script(&tables).expect_err("refused").code().reason
    };
    assert_eq!(code(&["a", "\"A\""]), "COLLISION");
    assert_eq!(code(&["s.b", "\"s.b\""]), "COLLISION");
    assert_eq!(code(&["cols"]), "COLLISION");
    assert_eq!(code(&["sqlite_x"]), "RESERVED");
    assert_eq!(code(&["_Deltamirror_t"]), "RESERVED");
    assert_eq!(code(&["nothing"]), "NOCOLUMNS");
    assert_eq!(code(&["rows"]), "NOROWID");
}

#[test]
fn versions_are_kept_and_compared() {
    let cluster = Cluster::shared();
    let conn = database(&cluster, "schema_saved", ODD);
    let into = "my \"catalog\"";
    assert_eq!(saved::versions(&conn, into).unwrap(), []);
    assert_eq!(saved::show(&conn, 1, into).expect_err("none").code().reason, "NOVERSION");
    assert_eq!(saved::capture(&conn, &[], into).expect("capture"), 1);
    let all = read(&conn, Selection::AllExcept(into)).expect("read");
    assert_eq!(saved::show(&conn, 1, into).expect("show"), all);
    Conn::query(&conn, "alter table t rename name to title; alter table ident alter v type bigint")
        .expect("alter");
    Conn::query(&conn, "drop table ops.pair; create table brand_new(a int)").expect("ddl");
    assert_eq!(saved::capture(&conn, &[], into).expect("capture"), 2);
    assert_eq!(saved::capture(&conn, &["t".into()], into).expect("capture"), 3);
    let counts: Vec<_> =
        saved::versions(&conn, into).unwrap().iter().map(|v| (v.version, v.tables)).collect();
    assert_eq!(counts, [(1, 7), (2, 7), (3, 1)]);
    let changes = saved::difference(&conn, 1, 2, into).expect("diff");
    let lines: Vec<String> = changes
        .iter()
        .map(|c| {
            let (s, a) = (c.subject.word(), c.action.word());
            format!("{} {s} {} {a} {} -> {}", c.table, c.name, c.from, c.to)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "ops.pair table  removed  -> ",
            "public.brand_new table  added  -> ",
            "public.ident column v changed integer -> bigint",
            "public.t column name renamed name -> title",
            "public.t column twice changed (length((name)::text) * 2) -> \
             (length((title)::text) * 2)",
        ]
    );
    // A failed capture leaves no version behind.
    assert!(saved::capture(&conn, &["nope".into()], into).is_err());
    assert_eq!(saved::versions(&conn, into).unwrap().len(), 3);
}

#[test]
fn a_publication_tells_tables_columns_and_filters() {
    let cluster = Cluster::shared();
    let conn = database(&cluster, "schema_published", ODD);
    assert!(!publication::exists(&conn, "p").unwrap());
    Conn::query(&conn, "create publication p for table t, ops.pair, part").unwrap();
    Conn::query(&conn, "create publication root for table part with (publish_via_partition_root)")
        .unwrap();
    assert!(publication::exists(&conn, "p").unwrap());
    let names = |publication: &str| -> Vec<String> {
        let tables = publication::tables(&conn, publication).expect("tables");
        tables.iter().map(|p| p.table.name.to_string()).collect()
    };
    assert_eq!(names("p"), ["ops.pair", "public.part_1", "public.t"]);
    assert_eq!(names("root"), ["public.part"]);
    let t = publication::tables(&conn, "p").unwrap().remove(2).table;
    assert!(t.column("twice").is_none(), "a generated column is not published");
    if conn.server_version() >= 150_000 {
        Conn::query(&conn, "create publication q for table ident (k, u) where (k > 5)").unwrap();
        let q = publication::tables(&conn, "q").unwrap().remove(0);
        assert_eq!(q.table.columns.len(), 2);
        assert_eq!(q.row_filter.as_deref(), Some("(k > 5)"));
    }
}
