//! Lines in, lines out, comparison and greatest value, without a server.

use super::*;
use crate::pg_sqlite::lines::{LineForm, Lines};
use crate::sqlite::Db;
use proptest::prelude::*;

fn read(db: &Db, import: Import<'_>, text: &[u8], sep: &str, form: LineForm) -> Result<Imported> {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let mut next = |line: &mut Vec<u8>| {
        let Some(text) = lines.next() else { return Ok(false) };
        line.extend_from_slice(text.strip_suffix(b"\n").unwrap_or(text));
        Ok(true)
    };
    let separator = sep.as_bytes().to_vec();
    import.run(db, Source::Lines(Lines { next: &mut next, separator, form }))
}

fn into<'a>(words: &[&str]) -> Import<'a> {
    Import::new(Target::Into(TableName::new("t")), Columns::Given(columns(words)))
}

fn all(db: &Db) -> String {
    let sql = "SELECT group_concat(quote(a) || ' ' || quote(b), '|') FROM t";
    db.query_text(sql, &[]).unwrap().unwrap_or_default()
}

const AB: [&str; 4] = ["a", "int", "b", "text"];

#[test]
fn cells_in_the_order_of_the_columns() {
    let db = testing::memory().unwrap();
    db.exec("CREATE TABLE t(a, b)").unwrap();
    let mut import = into(&AB);
    import.null = Some(b"\\N".to_vec());
    let text = b"1\tx\\ty\n\\N\t\n3\t\\\\N\n4\tC:\\dir\\q\\x41\\xzz";
    assert_eq!(read(&db, import, text, "\t", LineForm::Columns).unwrap().rows, 4);
    assert_eq!(all(&db), "1 'x\ty'|NULL ''|3 '\\N'|4 'C:\\dir\\qA\\xzz'");
    assert_eq!(read(&db, into(&AB), b"", "\t", LineForm::Columns).unwrap().rows, 0);
    read(&db, into(&AB), b"5, a\tb\n", ", ", LineForm::Columns).unwrap();
    assert!(all(&db).ends_with("|5 'a\tb'"));
}

#[test]
fn lines_with_too_few_or_too_many_cells() {
    let db = testing::memory().unwrap();
    db.exec("CREATE TABLE t(a, b)").unwrap();
    for (text, found) in [(b"1\tx\n2\n".as_slice(), 1), (b"1\tx\n2\ty\tz\n", 3)] {
        let error = read(&db, into(&AB), text, "\t", LineForm::Columns).unwrap_err();
        let code = error.code();
        assert_eq!((code.reason, code.details[0].1.as_str()), ("COLUMNS", "2"));
        assert_eq!(code.details[2].1, found.to_string());
        let import = Import { strict: false, ..into(&AB) };
        read(&db, import, text, "\t", LineForm::Columns).unwrap();
    }
    assert_eq!(all(&db), "1 'x'|2 NULL|1 'x'|2 'y'");
    for separator in ["", "\\", "a\n"] {
        let error = read(&db, into(&AB), b"", separator, LineForm::Columns).unwrap_err();
        assert_eq!(error.code().reason, "SEPARATOR");
    }
}

#[test]
fn keys_and_values_in_any_order() {
    let db = testing::memory().unwrap();
    db.exec("CREATE TABLE t(a, b)").unwrap();
    let keys = || LineForm::Keys { unknown: None };
    let text = b"b\tx\ta\t1\n\na\t2\nb\t-\ta\t3\ta\t4\n";
    let import = Import { null: Some(b"-".to_vec()), ..into(&AB) };
    assert_eq!(read(&db, import, text, "\t", keys()).unwrap().rows, 3);
    assert_eq!(all(&db), "1 'x'|2 NULL|4 NULL");
    let error = read(&db, into(&AB), b"a\t1\nz\t1\n", "\t", keys()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 2: unknown key \"z\"; with -unknown it goes to a column of its own"
    );
    let error = read(&db, into(&AB), b"a\t1\tb", "\t", keys()).unwrap_err();
    assert_eq!(error.code().reason, "LINES");
    db.exec("DROP TABLE t").unwrap();
    let create = Import { target: Target::Create(TableName::new("t")), ..into(&["a", "int"]) };
    let form = LineForm::Keys { unknown: Some("b".to_owned()) };
    read(&db, create, b"a\t1\ty z\t{\tx\t\nb\t7\n", "\t", form).unwrap();
    assert_eq!(all(&db), "1 'y\\ z \\{ x {}'|NULL 'b 7'");
}

#[test]
fn identical_rows_are_left_alone_and_changed_ones_replaced() {
    let db = testing::memory().unwrap();
    let table = "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT COLLATE NOCASE, c REAL);
                 INSERT INTO t VALUES(1, 'one', 1), (2, 'two', NULL), (3, 'three', 3)";
    db.exec(table).unwrap();
    let words = ["a", "int", "b", "text", "c", "real"];
    let check = || {
        let mut import = into(&words);
        import.key = vec![KeyPart::from_words(&["a"]).unwrap()];
        import.skip_identical = true;
        import.null = Some(b"-".to_vec());
        import.max_column = Some("c".to_owned());
        import
    };
    let text = b"1\tone\t1\n2\ttwo\t-\n3\tTHREE\t3\n4\tfour\t-7\n";
    let before = db.total_changes();
    let done = read(&db, check(), text, "\t", LineForm::Columns).unwrap();
    assert_eq!((done.rows, done.identical, done.max), (2, 2, Some(Max::Real(3.0))));
    let done = read(&db, check(), text, "\t", LineForm::Columns).unwrap();
    assert_eq!((done.rows, done.identical), (0, 4));
    assert_eq!(db.total_changes() - before, 2);
    assert_eq!(db.query_text("SELECT b FROM t WHERE a = 3", &[]).unwrap().unwrap(), "THREE");
    let mut no_key = check();
    no_key.key.clear();
    let error = read(&db, no_key, text, "\t", LineForm::Columns).unwrap_err();
    assert!(matches!(error, Error::CheckWithoutKey));
    let mut no_column = check();
    no_column.max_column = Some("nix".to_owned());
    let error = read(&db, no_column, text, "\t", LineForm::Columns).unwrap_err();
    assert_eq!(error.code().reason, "MAX");
}

#[test]
fn the_greatest_value_is_exact() {
    let max = |values: &[Value<'_>]| {
        let mut max = None;
        values.iter().for_each(|value| Max::update(&mut max, *value));
        max
    };
    assert_eq!(max(&[Value::Null]), None);
    let big = [Value::Int(5_000_000_000), Value::Null, Value::Int(-1)];
    assert_eq!(max(&big), Some(Max::Int(5_000_000_000)));
    let text = [Value::Text(b"a"), Value::Text("\u{fc}".as_bytes()), Value::Text(b"z")];
    assert_eq!(max(&text), Some(Max::Text("\u{fc}".into())));
    assert_eq!(max(&[Value::Int(1), Value::Real(1.5), Value::Int(-9)]), Some(Max::Real(1.5)));
}

fn row() -> impl Strategy<Value = (String, Option<String>)> {
    ("\\PC*|[\\\\\t\n\rx41;,]*", proptest::option::of("[ab]*"))
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        rows in proptest::collection::vec(row(), 0..5),
        separator in "\t|;|, |ab",
    ) {
        let db = testing::memory().unwrap();
        db.exec("CREATE TABLE t(a, b); CREATE TABLE s(a, b)").unwrap();
        for (a, b) in &rows {
            let b = b.as_deref().map_or(Value::Null, Value::from);
            db.execute("INSERT INTO s VALUES(?1, ?2)", &[a.as_str().into(), b]).unwrap();
        }
        let form = WriteTabsep { null: b"\\N".to_vec(), separator: separator.clone().into() };
        let mut text = Vec::new();
        let written = form.run(&db, "SELECT * FROM s", &mut |line| {
            text.extend_from_slice(line);
            Ok(())
        });
        prop_assert_eq!(written.unwrap(), rows.len() as u64);
        let mut import = into(&["a", "text", "b", "text"]);
        import.null = Some(b"\\N".to_vec());
        read(&db, import, &text, &separator, LineForm::Columns).unwrap();
        let differ = "SELECT count(*) FROM s LEFT JOIN t ON s.rowid = t.rowid
                      WHERE s.a IS NOT t.a OR s.b IS NOT t.b";
        prop_assert_eq!(db.query_int(differ, &[]).unwrap(), Some(0), "{:?}", text);
    }
}

#[test]
fn values_are_written_as_postgresql_reads_them() {
    let db = testing::memory().unwrap();
    let mut text = Vec::new();
    let sql = "SELECT NULL, -7, 0.1 + 0.2, 1e300 * 1e10, x'00ff', 'a;b' || char(9, 92, 10, 13), ''";
    let n = WriteTabsep::default().run(&db, sql, &mut |line| {
        text.extend_from_slice(line);
        Ok(())
    });
    assert_eq!(n.unwrap(), 1);
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "\t-7\t0.30000000000000004\tInfinity\t\\\\x00ff\ta;b\\t\\\\\\n\\r\t\n"
    );
}
