//! Whatever is written is read: a table, a list and columns made of the input.
#![no_main]

use deltaflood::{Change, Verb, list, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let fields: Vec<&[u8]> = input.split(|&byte| byte == b'|').collect();
    let names = || fields.iter().copied().filter(|field| !field.is_empty());
    let Some(table) = names().next() else {
        return;
    };
    let mut line = Vec::new();
    let head = write::Line::begin(&mut line).table(table).unchanged(names());
    let mut columns = head.verb(Verb::Update);
    for (name, value) in names().zip(&fields) {
        columns.column(name, value);
    }
    let change = Change::parse(&line).expect("what was written");
    assert!(change.table.is_some_and(|text| text.is(table)));
    let text = change.unchanged.expect("a list").decode();
    let found = list::decode(&text).expect("a list in backslash form");
    assert!(found.iter().map(|name| name.as_ref()).eq(names()));
    let mut expected = names().zip(&fields);
    for column in change.columns() {
        let (name, value) = column.expect("a column");
        let (n, v) = expected.next().expect("no more columns than written");
        assert!(name.is(n) && value.is(v));
    }
    assert!(expected.next().is_none());
});
