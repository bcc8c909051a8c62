//! Random values of many types take every way from PostgreSQL to SQLite, and the ways back.
//! PostgreSQL is the judge: what comes back must be what was there. Each failure names its seed.

mod support;

use pgsqlite::libpq::{Conn, Conninfo};
use pgsqlite::pg_sqlite::{
    Columns, Export, Import, LineForm, Lines, PgQuery, PgTable, Source, TableName, Target,
    WriteTabsep,
};
use pgsqlite::sqlite::{Db, testing};
use support::Cluster;

const ROWS: i64 = 400;

/// Characters that a text is made of: what some format treats in its own way, and some of each
/// length in UTF-8.
const TEXT: &str = "(select coalesce(string_agg(chr((array[9,10,13,92,39,34,44,59,32,1,8,11,12,27,
    127,46,78,110,116,65,123,125,233,8364,128512,1114109])[1 + floor(random() * 26)::int]), ''), '')
    from generate_series(1, (random() * 12)::int + g * 0))";

/// A type and an expression of `g` that makes a value of it.
const TYPES: &[(&str, &str)] = &[
    ("smallint", "(random() * 65534 - 32767)::smallint"),
    ("integer", "(random() * 4294967294 - 2147483647)::integer"),
    ("bigint", "((random() - 0.5) * 1.8e19)::bigint"),
    ("oid", "(random() * 4294967295)::bigint::oid"),
    ("xid", "(random() * 4294967295)::bigint::text::xid"),
    ("real", "((random() - 0.5) * 10 ^ (random() * 60 - 30))::real"),
    ("double precision", "(random() - 0.5) * 10 ^ (random() * 600 - 300)"),
    (
        "double precision",
        "(array['NaN', 'Infinity', '-Infinity', '-0', '5e-324'])[1 + g % 5]::float8",
    ),
    ("numeric", "((random() - 0.5) * 10 ^ (random() * 40 - 20))::numeric"),
    ("numeric", "(random() * 1e15)::bigint::numeric * (random() * 1e15)::bigint"),
    ("numeric(30,10)", "((random() - 0.5) * 1e9)::numeric(30,10)"),
    ("numeric", "(array['NaN', '0', '-0.00', '1e30', '1e-30'])[1 + g % 5]::numeric"),
    ("boolean", "random() < 0.5"),
    ("text", "@"),
    ("varchar(40)", "@"),
    ("char(14)", "@"),
    ("name", "@"),
    ("\"char\"", "chr(1 + (random() * 126)::int)::\"char\""),
    ("bytea", "decode(md5(random()::text), 'hex') || convert_to(@, 'UTF8')"),
    ("bytea", "''::bytea"),
    ("uuid", "gen_random_uuid()"),
    ("date", "'0100-01-01 BC'::date + (random() * 3000000)::int"),
    ("time", "'00:00'::time + random() * interval '24 hours'"),
    ("timetz", "('00:00'::time + random() * interval '24 hours')::text::timetz"),
    ("timestamp", "'0100-01-01'::timestamp + random() * interval '80000 days'"),
    ("timestamptz", "'1883-01-01 00:00+00'::timestamptz + random() * interval '3000000 hours'"),
    (
        "timestamptz",
        "(array['infinity', '-infinity', '0044-03-15 12:00+00 BC'])[1 + g % 3]::timestamptz",
    ),
    ("interval", "(random() - 0.5) * interval '90 years 7 mons 12 days 04:05:06.789'"),
    ("money", "((random() - 0.5) * 1e9)::numeric::money"),
    ("inet", "('10.0.0.0'::inet + (random() * 16777215)::bigint)"),
    ("cidr", "set_masklen(('10.0.0.0'::inet + (g % 250) * 65536)::cidr, 16)"),
    ("macaddr", "substr(md5(random()::text), 1, 12)::macaddr"),
    ("json", "json_build_object('k', @, 'n', random())"),
    ("jsonb", "jsonb_build_array(@, random(), null, g)"),
    ("integer[]", "array[g, null, (random() * 100)::int]"),
    ("text[]", "array[@, null, '', @, 'NULL']"),
    ("int4range", "int4range(g, g + (random() * 100)::int)"),
    ("tstzrange", "tstzrange('2026-01-01 00:00+00'::timestamptz + g * interval '1 hour', null)"),
    ("int4multirange", "int4multirange(int4range(g, g + 5), int4range(g + 9, g + 12))"),
    ("point", "point(random() * 1e6, random())"),
    ("box", "box(point(random(), random()), point(g, g))"),
    ("circle", "circle(point(random(), g), random())"),
    ("polygon", "polygon(4, circle(point(0, 0), random() + 1))"),
    ("bit(12)", "(random() * 4095)::int::bit(12)"),
    ("varbit", "substring((random() * 65535)::int::bit(16) from 1 for 1 + g % 16)::varbit"),
    ("mood", "(array['sad', 'so so', 'happy'])[1 + g % 3]::mood"),
    ("positive", "(1 + g)::bigint"),
    ("pair", "row(g, @, null)::pair"),
    ("tsvector", "to_tsvector('simple', md5(random()::text) || ' it''s')"),
    ("tsquery", "('a & b' || g)::tsquery"),
    ("pg_lsn", "'0/0'::pg_lsn + (random() * 1e12)::bigint"),
    ("regclass", "'pg_class'::regclass"),
];

fn connect(cluster: &Cluster) -> Conn {
    let info = Conninfo::parse(&cluster.conninfo("postgres")).expect("conninfo");
    let conn = Conn::connect(&info).expect("connect");
    conn.query("set datestyle = 'ISO'; set lc_monetary = 'C'; set extra_float_digits = 1")
        .expect("settings");
    conn
}

/// Makes the types and the table `source` of this seed; every tenth value is NULL.
fn make_source(conn: &Conn, seed: f64) {
    let text = "drop schema if exists oracle cascade; create schema oracle;
        set search_path = oracle; create type mood as enum ('sad', 'so so', 'happy');
        create domain positive as bigint check (value > 0);
        create type pair as (a int, b text, c text);";
    conn.query(text).expect("types");
    let declared = TYPES.iter().enumerate().map(|(n, (name, _))| format!("c{n} {name}"));
    let declared: Vec<String> = declared.collect();
    let sql = format!("create table source (id bigint primary key, {})", declared.join(", "));
    conn.query(&sql).expect("table");
    let cell = |(_, sql): &(&str, &str)| {
        format!("case when random() > 0.1 then {} end", sql.replace('@', TEXT))
    };
    let cells: Vec<String> = TYPES.iter().map(cell).collect();
    conn.query(&format!("select setseed({seed})")).expect("seed");
    let sql = format!(
        "insert into source select g, {} from generate_series(1, {ROWS}) g",
        cells.join(", ")
    );
    conn.query(&sql).expect("rows");
}

fn create(table: &str) -> Import<'static> {
    Import::new(Target::Create(TableName::new(table)), Columns::Auto)
}

/// Fills a table of SQLite in each way; their names.
fn import_all(conn: &mut Conn, db: &Db) -> Vec<&'static str> {
    let sql = "select * from source order by id";
    let result = conn.query(sql).expect("query");
    create("by_result").run(db, Source::Result(&result)).expect("result");
    conn.send_query(sql).expect("send");
    create("by_row").run(db, Source::Stream(conn)).expect("row by row");
    conn.send_query(sql).expect("send");
    create("by_row_here").run(db, Source::StreamHere(conn)).expect("row by row, here");
    let query = PgQuery::new(sql);
    create("by_copy").run(db, Source::Query { conn, query: &query }).expect("copy");
    create("by_copy_here").run(db, Source::QueryHere { conn, query: &query }).expect("copy, here");
    let table = PgTable::parse("source").expect("name");
    let parallel = Source::Parallel { conn, table: &table, readers: 3 };
    create("by_parallel").run(db, parallel).expect("parallel");
    let mut rows = conn.copy_out(&query.copy_sql()).expect("copy out");
    let mut next = |line: &mut Vec<u8>| {
        let row = rows.next_row()?;
        line.extend_from_slice(row.as_deref().unwrap_or_default());
        assert!(row.is_none() || line.pop() == Some(b'\n'));
        Ok(row.is_some())
    };
    let columns = Columns::Given(Columns::describe(&result));
    let mut import = Import::new(Target::Create(TableName::new("by_tabsep")), columns);
    import.null = Some(b"\\N".to_vec());
    let lines = Lines { next: &mut next, separator: b"\t".to_vec(), form: LineForm::Columns };
    import.run(db, Source::Lines(lines)).expect("lines");
    vec![
        "by_result",
        "by_row",
        "by_row_here",
        "by_copy",
        "by_copy_here",
        "by_parallel",
        "by_tabsep",
    ]
}

/// Every way must store the same values of the same storage classes.
fn compare_in_sqlite(db: &Db, ways: &[&str], seed: f64) {
    for way in ways {
        for (n, (name, _)) in TYPES.iter().enumerate() {
            let sql = format!(
                "select count(*) from by_result a join {way} b using (id)
                 where a.c{n} is b.c{n} and typeof(a.c{n}) = typeof(b.c{n})"
            );
            let same = db.query_int(&sql, &[]).expect("compare");
            assert_eq!(same, Some(ROWS), "{way} of {name} (column {n}, seed {seed})");
        }
    }
}

/// What came back must be what was there. Numbers are compared as numbers (1.50 is 1.5, NaN is
/// NaN, and SQLite keeps no sign of a zero), everything else by its text.
fn compare_in_postgres(conn: &Conn, way: &str, seed: f64) {
    for (n, (name, _)) in TYPES.iter().enumerate() {
        let number = ["numeric", "real", "double"].iter().any(|kind| name.starts_with(kind));
        let cast = if number { "" } else { "::text" };
        let sql = format!(
            "select id, a.c{n}::text, b.c{n}::text from source a join back b using (id)
             where a.c{n}{cast} is distinct from b.c{n}{cast} order by id limit 1"
        );
        let differ = conn.query(&sql).expect("compare");
        let texts = (0..3).map(|at| differ.text(0, at)).collect::<Vec<_>>();
        assert_eq!(differ.ntuples(), 0, "{way} of {name} (column {n}, seed {seed}): {texts:?}");
    }
    let count = conn.query("select count(*) from back").expect("count");
    assert_eq!(count.text(0, 0), Some(ROWS.to_string()), "{way}");
}

#[test]
fn every_way_there_and_back_keeps_every_value() {
    let cluster = Cluster::shared();
    let mut conn = connect(&cluster);
    for (seed, zone, bytea) in
        [(0.25, "UTC", "hex"), (-0.5, "Asia/Kolkata", "escape"), (0.75, "America/New_York", "hex")]
    {
        make_source(&conn, seed);
        conn.query(&format!("set timezone = '{zone}'; set bytea_output = {bytea}")).expect("zone");
        let db = testing::memory().expect("sqlite");
        let ways = import_all(&mut conn, &db);
        compare_in_sqlite(&db, &ways, seed);

        conn.query("create table back (like source)").expect("back");
        let table = PgTable::parse("back").expect("name");
        let export = Export { table, columns: None, progress_every: 0, progress: None, stop: None };
        let n = export.run(&db, "select * from by_copy", &conn).expect("export");
        assert_eq!(i64::try_from(n), Ok(ROWS));
        compare_in_postgres(&conn, "export", seed);

        conn.query("truncate back").expect("truncate");
        conn.copy_in("copy back from stdin").expect("copy in");
        let form = WriteTabsep { null: b"\\N".to_vec(), ..WriteTabsep::default() };
        form.run(&db, "select * from by_tabsep", &mut |line| {
            conn.put_copy_data(line)?;
            Ok(())
        })
        .expect("write_tabsep");
        conn.finish_copy_in().expect("end");
        compare_in_postgres(&conn, "write_tabsep", seed);
    }
    conn.query("drop schema oracle cascade").expect("drop");
}
