use super::*;
use crate::table::{ColumnDefinition, Definition};

/// A row that was taken apart before.
struct Parts<'a>(Vec<Value<'a>>);

impl Row for Parts<'_> {
    fn value(&mut self, column: usize) -> Value<'_> {
        self.0.get(column).copied().unwrap_or(Value::Null)
    }
}

const OF: Transaction = Transaction { xid: u32::MAX, end: Lsn(0x1_0000_00ff) };

fn options(list: &[(&str, &str)]) -> Options {
    let mut options = Options::default();
    for (name, value) in list {
        options.set(name, Some(value.as_bytes())).expect("an option");
    }
    options
}

/// A table with the columns a (its primary key), b, c.
fn table(options: &Options, full: bool) -> Table {
    let column = |name: &str| ColumnDefinition {
        name: name.into(),
        type_name: b"text".to_vec(),
        identity: full || name == "a",
        primary: name == "a",
    };
    let columns = ["a", "b", "c"].map(column).to_vec();
    let (schema, name) = (b"public".to_vec(), b"t".to_vec());
    let qualified = b"public.t".to_vec();
    Table::new(
        &Definition { oid: 7, schema, name, qualified, full, columns, details: None },
        options,
    )
}

/// The line of a row, or the column that does not fit into `limit` bytes.
fn line(
    list: &[(&str, &str)],
    limit: usize,
    verb: Verb,
    row: &[Value<'_>],
    before: Option<&[Value<'_>]>,
) -> Result<String, Unwritten> {
    let options = options(list);
    let table = table(&options, before.is_some());
    let mut lines = Lines::new(options, limit);
    let mut before = before.map(|row| Parts(row.to_vec()));
    let before = before.as_mut().map(|row| row as &mut dyn Row);
    lines.row(&table, OF, verb, &mut Parts(row.to_vec()), before)?;
    Ok(String::from_utf8_lossy(lines.line()).replace('\t', " "))
}

#[test]
fn values_become_fields() {
    let shown = |list: &[(&str, &str)], value| {
        let line = line(list, 1000, Verb::Insert, &[value], None).expect("fits");
        line.strip_prefix("_table t _xid 4294967295 _action insert").map(str::to_owned)
    };
    let some = |text: &str| Some(format!(" a {text}"));
    assert_eq!(shown(&[], Value::Null), Some(String::new()));
    assert_eq!(shown(&[("skip-nulls", "off")], Value::Null).unwrap(), " a NULL b NULL c NULL");
    let unchanged = line(&[], 1000, Verb::Insert, &[Value::Unchanged], None).expect("fits");
    assert_eq!(unchanged, "_table t _xid 4294967295 _unchanged a _action insert");
    assert_eq!(shown(&[], Value::Boolean(true)), some("1"));
    assert_eq!(shown(&[("convert-bool", "0")], Value::Boolean(false)), some("f"));
    assert_eq!(shown(&[], Value::Integer(i64::MIN)), some("-9223372036854775808"));
    assert_eq!(shown(&[], Value::Bytes(b"\x00\xff")), some("\\\\x00ff"));
    assert_eq!(shown(&[("escape-chars", "0")], Value::Bytes(b"\n")), some("\\x0a"));
    assert_eq!(shown(&[], Value::Plain(b"1.5")), some("1.5"));
    assert_eq!(shown(&[("separator", ":")], Value::Plain(b"1:2")), None);
    assert_eq!(shown(&[], Value::Text(b"a\\b\n")), some("a\\\\b\\n"));
}

#[test]
fn what_did_not_change_is_named() {
    let text = |text: &'static str| Value::Text(text.as_bytes());
    let row = [text("1"), Value::Unchanged, text("x")];
    let head = "_table t _xid 4294967295 ";
    let shown = line(&[], 1000, Verb::Update, &row, None).unwrap();
    assert_eq!(shown, format!("{head}_unchanged b _action update a 1 c x"));
    let shown = line(&[("include-unchanged", "off")], 1000, Verb::Update, &row, None).unwrap();
    assert_eq!(shown, format!("{head}_action update a 1 c x"));
    let shown = line(&[("include-lsn", "on")], 1000, Verb::Update, &row, None).unwrap();
    assert_eq!(shown, format!("{head}_lsn 1/FF _unchanged b _action update a 1 c x"));
}

#[test]
fn an_old_row_that_is_known_tells_what_changed() {
    let (null, empty, x) = (Value::Null, Value::Text(b""), Value::Text(b"x"));
    let key = Value::Integer(1);
    let only = [("only-changed", "on")];
    for (b, old, unchanged, column) in [
        (x, x, "_unchanged b ", ""),
        (x, null, "", " b x"),
        (null, x, "", ""),
        (null, null, "", ""),
        (empty, null, "", " b "),
        (empty, empty, "_unchanged b ", ""),
        // A row of before that is not all there says nothing.
        (empty, Value::Unchanged, "", " b "),
        (Value::Unchanged, x, "_unchanged b ", ""),
    ] {
        let shown = line(&only, 1000, Verb::Update, &[key, b], Some(&[key, old])).unwrap();
        let wanted = format!("_table t _xid 4294967295 {unchanged}_action update a 1{column}");
        assert_eq!(shown, wanted, "{b:?} {old:?}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_an_error_or_left_out() {
    let (long, bytes) = ([b'x'; 60], [0; 30]);
    let special = [b'\t'; 30];
    for value in [
        Value::Text(&long),
        Value::Text(&special),
        Value::Plain(&long),
        Value::Bytes(&bytes),
        Value::TooLong(60),
    ] {
        let row = [Value::Integer(1), value, Value::Text(b"end")];
        let wrong = line(&[], 100, Verb::Insert, &row, None).unwrap_err();
        assert_eq!(wrong.column, b"b");
        assert!(matches!(wrong.why, Unfit::Long(60..=63)), "{wrong:?}");
        let shown = line(&[("oversize", "skip")], 100, Verb::Insert, &row, None).unwrap();
        assert_eq!(shown, "_table t _xid 4294967295 _unchanged b _action insert a 1 c end");
        assert!(line(&[], 120, Verb::Insert, &row, None).is_ok() || value == Value::TooLong(60));
    }
}

#[test]
fn lines_are_change_lines() {
    let options = options(&[("full-name", "on")]);
    let table = table(&options, false);
    let mut lines = Lines::new(options, 1000);
    let mut seen = Vec::new();
    let mut note = |lines: &Lines| {
        let change = change_line::Change::parse(lines.line()).expect("a line");
        change.validate().expect("valid");
        seen.push(change.verb);
    };
    lines.schema(&table, OF);
    note(&lines);
    lines.truncate(&table, OF);
    note(&lines);
    assert_eq!(lines.message(OF, b"p\t", Value::Text(b"c\n")), Ok(true));
    note(&lines);
    lines.commit(OF, -1, 3);
    note(&lines);
    assert_eq!(seen, [Verb::Schema, Verb::Truncate, Verb::Message, Verb::Commit]);
}

#[test]
fn the_content_of_messages() {
    let accent = "\u{e9}".as_bytes();
    assert_eq!(content_of(b"plain", false), Value::Text(b"plain"));
    assert_eq!(content_of(accent, true), Value::Text(accent));
    assert_eq!(content_of(accent, false), Value::Bytes(accent));
    assert_eq!(content_of(b"\xff", true), Value::Bytes(b"\xff"));
    assert_eq!(content_of(b"a\0", true), Value::Bytes(b"a\0"));
}

#[test]
fn a_message_that_does_not_fit_is_an_error_or_left_out() {
    let content = Value::Bytes(&[0; 50]);
    let mut lines = Lines::new(options(&[]), 100);
    assert!(matches!(lines.message(OF, b"p", content), Err(Unfit::Long(103))));
    let mut lines = Lines::new(options(&[("oversize", "skip")]), 100);
    assert_eq!(lines.message(OF, b"p", content), Ok(false));
    assert_eq!(lines.message(OF, b"p", Value::Text(b"c")), Ok(true));
}

#[test]
fn what_there_is_no_memory_for_is_never_left_out() {
    let mut out = b"kept".to_vec();
    assert_eq!(grow(&mut out, isize::MAX as usize), Err(Unfit::Memory(isize::MAX as usize)));
    assert_eq!((grow(&mut out, 1000), out.as_slice()), (Ok(()), &b"kept"[..]));
    let mut lines = Lines::new(options(&[("oversize", "skip")]), 100);
    assert!(lines.unfit(b"a", Unfit::Memory(1)).is_err());
    assert!(lines.unfit(b"a", Unfit::Long(1)).is_ok());
}
