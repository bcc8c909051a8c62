//! Names, keys and the feeding of rows, without a server.

mod lines;
mod targets;

use super::batch::Batch;
use super::convert::Converter;
use super::feed::{Feed, Progress};
use super::pump::{Batches, read_ahead};
use super::raw_lines::LineConverter;
use super::source::Reader;
use super::table::create_sql;
use super::*;
use crate::error::Coded;
use crate::schema::value::Kind;
use crate::sqlite::{RowSource, Value, testing};

fn columns(words: &[&str]) -> Vec<Column> {
    match Columns::from_pairs(words.iter().copied()) {
        Ok(Columns::Given(columns)) => columns,
        other => panic!("{other:?}"),
    }
}

fn ddl(words: &[&str], key: &[&[&str]]) -> Result<String> {
    let key: Result<Vec<KeyPart>> = key.iter().map(|part| KeyPart::from_words(part)).collect();
    create_sql(&TableName::new("t"), &columns(words), &key?)
}

#[test]
fn a_single_integer_key_is_the_rowid_wherever_it_stands() {
    let int_second = ["name", "text", "id", "int"];
    assert_eq!(
        ddl(&int_second, &[&["id"]]).unwrap(),
        "CREATE TABLE \"t\" (\"name\" TEXT, \"id\" INTEGER PRIMARY KEY)"
    );
    assert_eq!(
        ddl(&int_second, &[&["ID", "asc"]]).unwrap(),
        "CREATE TABLE \"t\" (\"name\" TEXT, \"id\" INTEGER PRIMARY KEY)"
    );
    assert_eq!(
        ddl(&int_second, &[&["id", "DESC"]]).unwrap(),
        "CREATE TABLE \"t\" (\"name\" TEXT, \"id\" INTEGER, PRIMARY KEY (\"id\" DESC))"
    );
}

#[test]
fn other_keys_are_constraints_and_every_type_is_declared() {
    let words = [
        "clock", "integer", "sequence", "int", "a", "real", "b", "double", "c", "boolean", "d",
        "bool", "e", "text",
    ];
    assert_eq!(
        ddl(&words, &[&["clock", "ASC"], &["sequence", "desc"]]).unwrap(),
        "CREATE TABLE \"t\" (\"clock\" INTEGER, \"sequence\" INTEGER, \"a\" REAL, \"b\" REAL, \
         \"c\" BOOLEAN, \"d\" BOOLEAN, \"e\" TEXT, \
         PRIMARY KEY (\"clock\" ASC, \"sequence\" DESC))"
    );
    assert_eq!(
        ddl(&["select", "text"], &[&["select"]]).unwrap(),
        "CREATE TABLE \"t\" (\"select\" TEXT, PRIMARY KEY (\"select\"))"
    );
}

#[test]
fn wrong_words_are_refused_with_their_code() {
    let code = |error: Error| format!("{:?}", error.code());
    let error = ddl(&["a", "int"], &[&["b"]]).unwrap_err();
    assert!(code(error).contains("KEY"));
    let error = ddl(&["a", "int"], &[&["a", "up"]]).unwrap_err();
    assert_eq!(error.code().details, [("order", "a up".to_owned())]);
    let error = Columns::from_pairs(["a", "Integer"]).unwrap_err();
    assert!(error.to_string().starts_with("Unknown type Integer"), "{error}");
    assert!(Columns::from_pairs(["a"]).is_err());
    let error = Columns::from_names_and_types(&["a", "b"], &["int"]).unwrap_err();
    assert_eq!(error.code().reason, "COLUMNS");
}

#[test]
fn a_dot_names_an_attached_database_only() {
    let db = testing::memory().unwrap();
    db.exec("ATTACH ':memory:' AS Other").unwrap();
    let name = TableName::parse(&db, "other.t").unwrap();
    assert_eq!((name.schema.as_deref(), &*name.table), (Some("Other"), "t"));
    assert_eq!(TableName::parse(&db, "temp.t").unwrap().quoted(), "\"temp\".\"t\"");
    assert_eq!(TableName::parse(&db, "a.b").unwrap().quoted(), "\"a.b\"");
}

/// Batches of integers counting up.
struct Counting {
    left: u64,
    next: i64,
    panic: bool,
}

impl Reader for Counting {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool> {
        assert!(!self.panic, "the reader panics");
        let rows = self.left.min(7);
        for _ in 0..rows {
            self.next += 1;
            batch.push(Value::Int(self.next));
            batch.end_row();
        }
        self.left -= rows;
        Ok(self.left > 0)
    }
}

/// Batches of lines, of which one is no number.
struct Unconverted {
    left: u64,
    next: u64,
    bad: u64,
    converter: LineConverter,
}

impl Reader for Unconverted {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool> {
        for _ in 0..self.left.min(7) {
            self.next += 1;
            let text = if self.next == self.bad { "x".to_owned() } else { self.next.to_string() };
            batch.raw.push(self.next, format!("{text}\n").as_bytes());
            self.left -= 1;
        }
        Ok(self.left > 0)
    }

    fn convert(&mut self, batch: &mut Batch) -> Result<()> {
        self.converter.convert(batch)
    }
}

#[test]
fn lines_are_converted_on_either_side() {
    let converter =
        || LineConverter::new(Converter::new(columns(&["a", "int"]), None, true, 1 << 20));
    for here in [Some(converter()), None] {
        for (bad, want) in [(0, 500), (1, 0), (7, 6), (8, 7), (300, 299)] {
            let reader = || Ok(Unconverted { left: 500, next: 0, bad, converter: converter() });
            let mut found = 0;
            let result = read_ahead(reader, None, here.clone(), |ahead| {
                let mut feed = Feed::new(ahead, 1, None);
                while feed.advance()? {
                    found += 1;
                    assert_eq!(feed.value(0).as_int(), Some(found));
                }
                Ok(())
            });
            assert_eq!(found, want, "those before the bad one");
            match result {
                Ok(()) => assert_eq!(bad, 0),
                Err(Error::Value { row, .. }) => assert_eq!(row, bad),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

fn sum(feed: &mut Feed<'_, impl Batches>) -> Result<i64> {
    let mut sum = 0;
    while feed.advance()? {
        sum += feed.value(0).as_int().unwrap();
    }
    Ok(sum)
}

#[test]
fn reading_ahead_gives_every_row_once() {
    for rows in [0, 1, 7, 8, 1000] {
        let reader = || Ok(Counting { left: rows, next: 0, panic: false });
        let total =
            read_ahead(reader, None, None, |ahead| sum(&mut Feed::new(ahead, 1, None))).unwrap();
        assert_eq!(total, (rows * (rows + 1) / 2) as i64);
    }
}

#[test]
fn a_writer_that_gives_up_ends_the_reader() {
    let reader = || Ok(Counting { left: u64::MAX, next: 0, panic: false });
    let result: Result<()> = read_ahead(reader, None, None, |ahead| {
        let mut feed = Feed::new(ahead, 1, None);
        assert!(feed.advance()?);
        Err(Error::Stopped { row: feed.rows() })
    });
    assert!(matches!(result, Err(Error::Stopped { row: 1 })));
}

#[test]
fn a_reader_that_fails_or_panics_is_heard_of() {
    let result = read_ahead(
        || Err::<Counting, _>(Error::NoColumns),
        None,
        None,
        |ahead| sum(&mut Feed::new(ahead, 1, None)),
    );
    assert!(matches!(result, Err(Error::NoColumns)));
    let panicked = std::panic::catch_unwind(|| {
        let reader = || Ok(Counting { left: 1, next: 0, panic: true });
        read_ahead(reader, None, None, |ahead| sum(&mut Feed::new(ahead, 1, None)))
    });
    assert!(panicked.is_err());
}

#[test]
fn progress_and_pauses_fall_on_whole_counts() {
    let mut heard = Vec::new();
    let mut call = |rows| {
        heard.push(rows);
        true
    };
    let reader = || Ok(Counting { left: 20, next: 0, panic: false });
    let parts = read_ahead(reader, None, None, |ahead| {
        let progress = Progress { every: 5, call: &mut call };
        let mut feed = Feed::new(ahead, 1, Some(progress));
        let mut parts = Vec::new();
        while !feed.ended() {
            feed.pause_after(10);
            parts.push(sum(&mut feed)?);
        }
        Ok(parts)
    });
    assert_eq!(parts.unwrap(), [55, 155, 0]);
    assert_eq!(heard, [5, 10, 15, 20]);
}

#[test]
fn errors_name_the_place_but_never_the_value() {
    let error = Error::Value {
        column: "a b".to_owned(),
        row: 7,
        kind: Kind::Integer,
        reason: crate::schema::value::ValueError::NotInteger,
    };
    let code = error.code();
    assert_eq!((code.stage, code.reason), ("IMPORT", "VALUE"));
    assert_eq!(
        code.details,
        [("column", "a b".to_owned()), ("row", "7".to_owned()), ("type", "integer".to_owned())]
    );
}
