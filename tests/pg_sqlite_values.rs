//! Values of every kind of PostgreSQL type, as SQLite stores them after an import.

mod support;

use pgsqlite::libpq::{Conn, Conninfo};
use pgsqlite::pg_sqlite::{Columns, Import, Source, TableName, Target};
use pgsqlite::sqlite::{Value, testing};
use support::Cluster;

/// PostgreSQL expression, SQLite's declared type, and the value as `quote` and `typeof` show it.
const VALUES: &[(&str, &str, &str)] = &[
    ("'-32768'::smallint", "INTEGER", "integer -32768"),
    ("2147483647::integer", "INTEGER", "integer 2147483647"),
    ("'-9223372036854775808'::bigint", "INTEGER", "integer -9223372036854775808"),
    ("4294967295::oid", "INTEGER", "integer 4294967295"),
    ("0.1::real", "REAL", "real 0.1"),
    ("0.1::float8 + 0.2", "REAL", "real 0.30000000000000004"),
    ("'-1.7976931348623157e308'::float8", "REAL", "real -1.7976931348623157e308"),
    ("'Infinity'::float8", "REAL", "real inf"),
    ("'-Infinity'::real", "REAL", "real -inf"),
    ("'NaN'::float8", "REAL", "text NaN"),
    ("true", "BOOLEAN", "integer 1"),
    ("false", "BOOLEAN", "integer 0"),
    ("12::numeric", "", "integer 12"),
    ("12.50::numeric(10,2)", "", "real 12.5"),
    ("12345678901234567890123::numeric", "", "text 12345678901234567890123"),
    ("0.1234567890123456789::numeric", "", "text 0.1234567890123456789"),
    ("'NaN'::numeric", "", "text NaN"),
    ("'-Infinity'::numeric", "", "text -Infinity"),
    ("''::text", "TEXT", "text "),
    ("E'tab\\tlf\\ncr\\rback\\\\slash'", "TEXT", "text tab\tlf\ncr\rback\\slash"),
    ("U&'\\+01F600 \\00FC'", "TEXT", "text \u{1F600} \u{FC}"),
    ("'\\N'::text", "TEXT", "text \\N"),
    ("'NULL'::varchar(10)", "TEXT", "text NULL"),
    ("'ab'::char(4)", "TEXT", "text ab  "),
    ("'x'::\"char\"", "TEXT", "text x"),
    ("'n'::name", "TEXT", "text n"),
    ("'12'::xid", "TEXT", "text 12"),
    ("'pg_class'::regclass", "TEXT", "text pg_class"),
    (
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
        "TEXT",
        "text a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    ("'192.168.0.1/24'::inet", "TEXT", "text 192.168.0.1/24"),
    ("'10.0.0.0/8'::cidr", "TEXT", "text 10.0.0.0/8"),
    ("'08:00:2b:01:02:03'::macaddr", "TEXT", "text 08:00:2b:01:02:03"),
    ("'<a>b</a>'::xml", "TEXT", "text <a>b</a>"),
    ("'$1,234.50'::money", "TEXT", "text $1,234.50"),
    ("'\\x'::bytea", "BLOB", "blob "),
    ("'\\x00ff10'::bytea", "BLOB", "blob 00FF10"),
    ("'2026-11-20 21:53:36.912962+00'::timestamptz", "TEXT", "text 2026-11-20 21:53:36.912962Z"),
    ("'infinity'::timestamptz", "TEXT", "text infinity"),
    ("'0044-03-15 12:00:00+00 BC'::timestamptz", "TEXT", "text 0044-03-15 12:00:00+00 BC"),
    (
        "'294276-12-31 23:59:59.999999+00'::timestamptz",
        "TEXT",
        "text 294276-12-31 23:59:59.999999Z",
    ),
    ("'2026-11-20 21:53:36'::timestamp", "TEXT", "text 2026-11-20 21:53:36"),
    ("'4713-01-01 BC'::date", "TEXT", "text 4713-01-01 BC"),
    ("'5874897-12-31'::date", "TEXT", "text 5874897-12-31"),
    ("'24:00:00'::time", "TEXT", "text 24:00:00"),
    ("'12:00:00+05:30'::timetz", "TEXT", "text 12:00:00+05:30"),
    (
        "'1 year 2 mons -3 days 04:05:06.7'::interval",
        "TEXT",
        "text 1 year 2 mons -3 days +04:05:06.7",
    ),
    ("'{\"a\": [1, null]}'::json", "TEXT", "text {\"a\": [1, null]}"),
    ("'{\"b\":1,\"a\":2}'::jsonb", "TEXT", "text {\"a\": 2, \"b\": 1}"),
    ("array[1,null,3]", "TEXT", "text {1,NULL,3}"),
    ("array['a b','c\"d','']", "TEXT", "text {\"a b\",\"c\\\"d\",\"\"}"),
    ("int4range(1,5)", "TEXT", "text [1,5)"),
    ("'{[1,3),[5,7)}'::int4multirange", "TEXT", "text {[1,3),[5,7)}"),
    ("row(1,'x y',null)::pair", "TEXT", "text (1,\"x y\",)"),
    ("'(1.5,-2)'::point", "TEXT", "text (1.5,-2)"),
    ("'((0,0),(1,1))'::polygon", "TEXT", "text ((0,0),(1,1))"),
    ("B'1010'", "TEXT", "text 1010"),
    ("B'101'::varbit", "TEXT", "text 101"),
    ("'happy'::mood", "TEXT", "text happy"),
    ("42::positive", "INTEGER", "integer 42"),
    ("'fat cat'::tsvector", "TEXT", "text 'cat' 'fat'"),
    ("'16/B374D848'::pg_lsn", "TEXT", "text 16/B374D848"),
    ("'$.a'::jsonpath", "TEXT", "text $.\"a\""),
    ("null::integer", "INTEGER", "null"),
    ("null::text", "TEXT", "null"),
];

fn show(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Int(int) => format!("integer {int}"),
        Value::Real(real) if real.abs() > 1e20 => format!("real {real:e}"),
        Value::Real(real) => format!("real {real}"),
        Value::Text(text) => format!("text {}", std::str::from_utf8(text).expect("UTF-8")),
        Value::Blob(blob) => {
            let hex: String = blob.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("blob {hex}")
        }
    }
}

fn connect(cluster: &Cluster) -> Conn {
    let info = Conninfo::parse(&cluster.conninfo("postgres")).expect("conninfo");
    let conn = Conn::connect(&info).expect("connect");
    conn.query("set timezone = 'UTC'; set datestyle = 'ISO'; set lc_monetary = 'C'").expect("set");
    conn
}

fn create(table: &str) -> Import<'static> {
    Import::new(Target::Create(TableName::new(table)), Columns::Auto)
}

#[test]
fn every_type_is_stored_as_documented() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let types = "create type pair as (a int, b text, c text);
                 create type mood as enum ('sad', 'happy');
                 create domain positive as bigint check (value > 0)";
    conn.query(types).expect("types");
    let cells: Vec<String> =
        VALUES.iter().enumerate().map(|(n, (sql, ..))| format!("{sql} as c{n}")).collect();
    conn.send_query(&format!("select {}", cells.join(", "))).expect("send");
    let db = testing::memory().expect("sqlite");
    create("t").run(&db, Source::StreamHere(&conn)).expect("import");
    let mut row = db.prepare("select * from t").expect("select");
    assert!(row.step().expect("row"));
    let mut declared = db.prepare("select type from pragma_table_info('t')").expect("info");
    let mut wrong = Vec::new();
    for (n, (sql, decl, stored)) in VALUES.iter().enumerate() {
        assert!(declared.step().expect("column"));
        let found = (declared.column(0).as_str().unwrap_or("").to_owned(), show(row.column(n)));
        if found != ((*decl).to_owned(), (*stored).to_owned()) {
            wrong.push(format!("{sql}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_bytes_and_all_zones() {
    let cluster = Cluster::shared();
    let conn = connect(&cluster);
    let db = testing::memory().expect("sqlite");
    let all: Vec<u8> = (0..=255).collect();
    let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
    for (output, table) in [("hex", "h"), ("escape", "e")] {
        conn.query(&format!("set bytea_output = {output}")).expect("set");
        let result = conn.query(&format!("select '\\x{hex}'::bytea as a")).expect("bytes");
        create(table).run(&db, Source::Result(&result)).expect("import");
        let sql = format!("select a from {table}");
        let mut stmt = db.prepare(&sql).expect("select");
        assert!(stmt.step().expect("row"));
        assert_eq!(stmt.column(0), Value::Blob(&all), "{output}");
    }
    // Hours, not days: a day is not always 24 hours.
    let times = "select '1883-01-01 00:00+00'::timestamptz + g * interval '2407:11:13.12' as a
                 from generate_series(0, 570) g";
    let utc = conn.query(times).expect("times");
    create("utc").run(&db, Source::Result(&utc)).expect("import");
    for zone in ["Asia/Kolkata", "America/New_York", "Pacific/Apia", "Europe/Amsterdam"] {
        conn.query(&format!("set timezone = '{zone}'")).expect("zone");
        let local = conn.query(times).expect("times");
        db.exec("drop table if exists local").expect("drop");
        create("local").run(&db, Source::Result(&local)).expect("import");
        let differ = "select count(*) from utc join local on utc.rowid = local.rowid
                      where utc.a is not local.a or utc.a not like '%Z'";
        assert_eq!(db.query_int(differ, &[]).expect("compare"), Some(0), "{zone}");
    }
}
