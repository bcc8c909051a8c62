//! The shared vectors (`tests/vectors`), through this parser and this writer.

use std::path::Path;

use deltaflood::{Change, ParseError, Verb, list, write};

/// The fields of a vector file's lines, their `\t \n \r \\ \xHH` decoded.
fn vectors(name: &str) -> Vec<Vec<Vec<u8>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').map(decode).collect()).collect()
}

fn decode(field: &str) -> Vec<u8> {
    let mut bytes = field.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().unwrap() {
            b't' => b'\t',
            b'n' => b'\n',
            b'r' => b'\r',
            b'\\' => b'\\',
            b'x' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("escape {other}"),
        });
    }
    out
}

/// Verb and columns of a line in which everything is sound.
fn read(line: &[u8]) -> Result<Vec<Vec<u8>>, ParseError> {
    let change = Change::parse(line)?;
    change.validate()?;
    let mut fields = vec![change.verb.as_str().as_bytes().to_vec()];
    for column in change.columns() {
        let (name, value) = column?;
        fields.push(name.decode().into_owned());
        fields.push(value.decode().into_owned());
    }
    Ok(fields)
}

/// The outcome in the form of the vectors.
fn outcome(line: &[u8]) -> Vec<Vec<u8>> {
    match read(line) {
        Ok(mut fields) => {
            fields.insert(0, b"ok".to_vec());
            fields
        }
        Err(error) => {
            let words = ["error", error.kind.word(), &error.byte.to_string()];
            words.iter().map(|word| word.as_bytes().to_vec()).collect()
        }
    }
}

#[test]
fn lines_are_read_as_the_vectors_say() {
    let vectors = vectors("line.tsv");
    assert!(vectors.len() >= 60);
    for vector in vectors {
        let name = String::from_utf8_lossy(&vector[0]);
        assert_eq!(outcome(&vector[1]), vector[2..], "{name}");
    }
}

#[test]
fn what_the_vectors_hold_is_written_and_read_again() {
    for vector in vectors("line.tsv").iter().filter(|vector| vector[2] == b"ok") {
        let verb = Verb::from_bytes(&vector[3]).unwrap();
        let mut line = Vec::new();
        let mut columns = write::Line::begin(&mut line).table(b"z").verb(verb);
        for pair in vector[4..].chunks(2) {
            columns.column(&pair[0], &pair[1]);
        }
        assert_eq!(read(&line).unwrap(), vector[3..], "{}", String::from_utf8_lossy(&line));
    }
}

#[test]
fn lists_are_read_and_written_as_the_vectors_say() {
    for vector in vectors("list.tsv") {
        let what = String::from_utf8_lossy(&vector[0]);
        let (text, names) = (&vector[1], &vector[2..]);
        assert_eq!(list::decode(text).unwrap(), names, "{what}");
        assert_eq!(&list::encode(names.iter().map(Vec::as_slice)), text, "{what}");
    }
}

#[test]
fn a_line_of_many_columns_is_read() {
    let mut line = Vec::new();
    let mut columns = write::Line::begin(&mut line).table(b"z").verb(Verb::Insert);
    for n in 0..200_000 {
        columns.column(format!("c{n}").as_bytes(), b"\t");
    }
    let change = Change::parse(&line).unwrap();
    change.validate().unwrap();
    assert_eq!(change.columns().count(), 200_000);
}

#[test]
fn all_fields_of_two_bytes_come_back() {
    let mut line = Vec::new();
    for field in 0..=u16::MAX {
        let field = field.to_be_bytes();
        line.clear();
        let head = write::Line::begin(&mut line).table(&field).schema(&field);
        head.unchanged([&field[..]]).verb(Verb::Update).column(&field, &field);
        let change = Change::parse(&line).unwrap();
        change.validate().unwrap();
        assert!(change.table.unwrap().is(&field) && change.schema.unwrap().is(&field));
        let (name, value) = change.columns().next().unwrap().unwrap();
        assert!(name.is(&field) && value.is(&field));
        let list = change.unchanged.unwrap().decode();
        assert_eq!(list::decode(&list).unwrap(), [&field[..]]);
    }
}
