use super::*;
use crate::deltastream::invalid_text::TextRule;

/// A message under construction, in the protocol's byte order.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn kind(kind: u8) -> Bytes {
        Bytes(vec![kind])
    }
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    fn text(self, text: &str) -> Self {
        self.raw(text.as_bytes()).raw(&[0])
    }
    fn u16(self, n: u16) -> Self {
        self.raw(&n.to_be_bytes())
    }
    fn u32(self, n: u32) -> Self {
        self.raw(&n.to_be_bytes())
    }
    fn u64(self, n: u64) -> Self {
        self.raw(&n.to_be_bytes())
    }
    /// A row: `None` NULL, `Some("\0u")` unchanged.
    fn row(mut self, part: u8, values: &[Option<&str>]) -> Self {
        self = self.raw(&[part]).u16(values.len() as u16);
        for value in values {
            self = match value {
                None => self.raw(b"n"),
                Some("\0u") => self.raw(b"u"),
                Some(text) => self.raw(b"t").u32(text.len() as u32).raw(text.as_bytes()),
            };
        }
        self
    }
}

fn begin(lsn: u64, xid: u32) -> Vec<u8> {
    Bytes::kind(b'B').u64(lsn).u64(0).u32(xid).0
}

fn commit(end: u64) -> Vec<u8> {
    Bytes::kind(b'C').raw(&[0]).u64(end - 8).u64(end).u64(1_000_000).0
}

fn relation(id: u32, schema: &str, table: &str, columns: &[(u8, &str, u32)]) -> Vec<u8> {
    let mut bytes = Bytes::kind(b'R').u32(id).text(schema).text(table).raw(b"d");
    bytes = bytes.u16(columns.len() as u16);
    for (flags, name, type_id) in columns {
        bytes = bytes.raw(&[*flags]).text(name).u32(*type_id).raw(&(-1i32).to_be_bytes());
    }
    bytes.0
}

fn decoder() -> Decoder {
    let mut types = TypeNames::default();
    for (id, name, base) in
        [(23, "integer", 23), (25, "text", 25), (16, "boolean", 16), (9999, "s.flag", 16)]
    {
        types.insert((id, -1), TypeName { name: name.to_owned(), base });
    }
    Decoder::new(types, Lsn(0), TextRule::default())
}

fn feed(decoder: &mut Decoder, batch: &mut Batch, messages: &[Vec<u8>]) -> Vec<Step> {
    messages.iter().map(|m| decoder.decode(m, batch).expect("decodes")).collect()
}

fn lines(batch: &Batch) -> Vec<&str> {
    std::str::from_utf8(&batch.lines).expect("UTF-8").lines().collect()
}

const COLUMNS: [(u8, &str, u32); 3] = [(1, "a", 23), (0, "b\tc", 25), (0, "on", 9999)];

#[test]
fn rows_become_lines() {
    let (mut decoder, mut batch) = (decoder(), Batch::default());
    let steps = feed(
        &mut decoder,
        &mut batch,
        &[
            begin(100, u32::MAX),
            relation(7, "public", "t", &COLUMNS),
            Bytes::kind(b'I').u32(7).row(b'N', &[Some("1"), Some("x\\\n"), Some("t")]).0,
            Bytes::kind(b'U').u32(7).row(b'N', &[Some("1"), Some("\0u"), None]).0,
            Bytes::kind(b'U')
                .u32(7)
                .row(b'K', &[Some("1"), None, None])
                .row(b'N', &[Some("2"), None, Some("f")])
                .0,
            Bytes::kind(b'D').u32(7).row(b'K', &[Some("2"), None, None]).0,
            commit(200),
        ],
    );
    assert_eq!(
        lines(&batch),
        [
            "_table\tt\t_xid\t4294967295\t_action\tinsert\ta\t1\tb\\tc\tx\\\\\\n\ton\t1",
            "_table\tt\t_xid\t4294967295\t_unchanged\tb\\\\tc\t_action\tupdate\ta\t1",
            "_table\tt\t_xid\t4294967295\t_action\treplace\ta\t1",
            "_table\tt\t_xid\t4294967295\t_action\tupdate\ta\t2\ton\t0",
            "_table\tt\t_xid\t4294967295\t_action\tdelete\ta\t2",
        ]
    );
    assert_eq!(steps.last(), Some(&Step::Committed { lsn: Lsn(200), written: true, again: None }));
    let [table, end] = batch.marks.as_slice() else { panic!("{:?}", batch.marks) };
    let What::Table { schema, xid } = &table.what else { panic!("{table:?}") };
    assert_eq!(
        String::from_utf8_lossy(&schema.line(*xid)),
        "_table\tt\t_xid\t4294967295\t_oid\t7\t_key\ta\t_action\tschema\ta\tinteger\tb\\tc\ttext\ton\ts.flag"
    );
    let What::Commit { xid, lsn, time_us } = end.what else { panic!("{end:?}") };
    assert_eq!((xid, lsn, time_us), (u32::MAX, Lsn(200), 946_684_801_000_000));
    assert_eq!(end.at, batch.lines.len());
    for line in batch.lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        deltaflood::Change::parse(line).expect("parses").validate().expect("valid");
    }
}

/// Every form of a value that pgoutput can send, in every row of every message that has one.
#[test]
fn every_form_of_a_value_in_every_row_of_every_message() {
    const COLUMNS: [(u8, &str, u32); 2] = [(1, "a", 23), (1, "b", 25)];
    // What stands for the value of b in a line: its text, nothing for NULL, its name in _unchanged.
    let forms = [(Some("x"), "", "\tb\tx"), (None, "", ""), (Some("\0u"), "_unchanged\tb\t", "")];
    // The kind, the parts of its rows, the verb of each.
    let messages: [(u8, &[(u8, &str)]); 6] = [
        (b'I', &[(b'N', "insert")]),
        (b'U', &[(b'N', "update")]),
        (b'U', &[(b'K', "replace"), (b'N', "update")]),
        (b'U', &[(b'O', "replace"), (b'N', "update")]),
        (b'D', &[(b'K', "delete")]),
        (b'D', &[(b'O', "delete")]),
    ];
    for (kind, rows) in messages {
        for (at, _) in rows.iter().enumerate() {
            for (value, unchanged, text) in forms {
                let (mut decoder, mut batch) = (decoder(), Batch::default());
                let mut message = Bytes::kind(kind).u32(7);
                let mut wanted = Vec::new();
                for (row, (part, verb)) in rows.iter().enumerate() {
                    let here = row == at;
                    message =
                        message.row(*part, &[Some("1"), if here { value } else { Some("y") }]);
                    let (unchanged, text) = if here { (unchanged, text) } else { ("", "\tb\ty") };
                    wanted.push(format!(
                        "_table\tt\t_xid\t5\t{unchanged}_action\t{verb}\ta\t1{text}"
                    ));
                }
                let begun = [begin(100, 5), relation(7, "public", "t", &COLUMNS)];
                feed(&mut decoder, &mut batch, &begun);
                feed(&mut decoder, &mut batch, &[message.0]);
                assert_eq!(lines(&batch), wanted);
            }
            // Binary values come only when asked for, which this never does.
            let (mut decoder, mut batch) = (decoder(), Batch::default());
            let mut message = Bytes::kind(kind).u32(7);
            for (row, (part, _)) in rows.iter().enumerate() {
                message = message.raw(&[*part]).u16(2).raw(b"t").u32(1).raw(b"1");
                message = message.raw(if row == at { b"b" } else { b"t" }).u32(1).raw(b"2");
            }
            let begun = [begin(100, 5), relation(7, "public", "t", &COLUMNS)];
            feed(&mut decoder, &mut batch, &begun);
            let wrong = DecodeError::Kind { what: "value", kind: b'b' };
            assert_eq!(decoder.decode(&message.0, &mut batch), Err(wrong));
        }
    }
}

#[test]
fn tables_of_other_schemas_say_so_and_truncate_is_a_line_per_table() {
    let (mut decoder, mut batch) = (decoder(), Batch::default());
    let truncate = Bytes::kind(b'T').u32(2).raw(&[0]).u32(7).u32(8).0;
    let messages = [
        begin(1, 5),
        relation(7, "s x", "t\nu", &[(1, "a", 23)]),
        relation(8, "public", "v", &[(0, "a", 23)]),
        truncate,
        commit(20),
    ];
    feed(&mut decoder, &mut batch, &messages);
    assert_eq!(
        lines(&batch),
        [
            "_table\tt\\nu\t_schema\ts x\t_xid\t5\t_action\ttruncate",
            "_table\tv\t_xid\t5\t_action\ttruncate"
        ]
    );
    assert_eq!(batch.marks.len(), 3);
}

#[test]
fn what_was_received_before_is_dropped_and_empty_transactions_are_not_written() {
    let (mut decoder, mut batch) = (decoder(), Batch::default());
    decoder.resume = Lsn(200);
    let insert = Bytes::kind(b'I').u32(7).row(b'N', &[Some("1")]).0;
    let steps = feed(
        &mut decoder,
        &mut batch,
        &[
            begin(192, 1),
            relation(7, "public", "t", &[(1, "a", 23)]),
            insert.clone(),
            commit(200),
            begin(200, 2),
            insert,
            commit(300),
            begin(300, 3),
            commit(400),
        ],
    );
    let ends: Vec<_> = steps.into_iter().filter(|s| *s != Step::Within).collect();
    let end = |lsn, written, again| Step::Committed { lsn: Lsn(lsn), written, again };
    let again = Again { lsn: Lsn(200), xid: 1, time_us: 946_684_801_000_000 };
    let wanted = [end(200, false, Some(again)), end(300, true, None), end(400, false, None)];
    assert_eq!(ends, wanted);
    assert_eq!(lines(&batch), ["_table\tt\t_xid\t2\t_action\tinsert\ta\t1"]);
}

#[test]
fn messages_in_and_outside_of_transactions() {
    let (mut decoder, mut batch) = (decoder(), Batch::default());
    let message = |flags, lsn, content: &[u8]| {
        Bytes::kind(b'M').raw(&[flags]).u64(lsn).text("p").u32(content.len() as u32).raw(content).0
    };
    let steps = feed(
        &mut decoder,
        &mut batch,
        &[begin(1, 9), message(1, 5, b"in"), commit(16), message(0, 20, b"\xff\x0a")],
    );
    assert_eq!(steps.last(), Some(&Step::Committed { lsn: Lsn(20), written: true, again: None }));
    assert_eq!(
        lines(&batch),
        [
            "_xid\t9\t_action\tmessage\tprefix\tp\tcontent\tin",
            "_xid\t0\t_action\tmessage\tprefix\tp\tcontent\t\\\\xff0a"
        ]
    );
}

#[test]
fn unknown_types_are_asked_for_and_the_message_is_given_again() {
    let (mut decoder, mut batch) = (decoder(), Batch::default());
    let message = relation(7, "public", "t", &[(1, "a", 23), (0, "b", 4711)]);
    let asked = decoder.decode(&message, &mut batch);
    assert_eq!(asked, Err(DecodeError::Types(vec![(4711, -1)])));
    decoder.types.insert((4711, -1), TypeName { name: "s.\"odd\ttype\"".to_owned(), base: 4711 });
    assert_eq!(decoder.decode(&message, &mut batch), Ok(Step::Within));
}

#[test]
fn a_cut_or_foreign_message_is_an_error_and_leaves_nothing_behind() {
    let (mut decoder, mut batch) = (decoder(), Batch::default());
    let insert = Bytes::kind(b'I').u32(7).row(b'N', &[Some("1"), Some("x"), None]).0;
    assert_eq!(decoder.decode(&insert, &mut batch), Err(DecodeError::Outside(b'I')));
    feed(&mut decoder, &mut batch, &[begin(1, 2)]);
    assert_eq!(decoder.decode(&insert, &mut batch), Err(DecodeError::Relation(7)));
    feed(&mut decoder, &mut batch, &[relation(7, "public", "t", &COLUMNS)]);
    for length in 0..insert.len() {
        assert!(decoder.decode(&insert[..length], &mut batch).is_err(), "{length}");
        assert!(batch.is_empty(), "{length}");
    }
    let other = Bytes::kind(b'I').u32(7).row(b'N', &[Some("1")]).0;
    let wrong = DecodeError::Columns { wanted: 3, got: 1 };
    assert_eq!(decoder.decode(&other, &mut batch), Err(wrong));
    assert!(decoder.decode(b"Z", &mut batch).is_err());
    feed(&mut decoder, &mut batch, &[insert]);
    assert_eq!(lines(&batch).len(), 1);
}
