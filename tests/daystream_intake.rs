//! Lines from elsewhere into a stream.

mod log;

use std::io::{Read, Result};

use log::{Hand, all, open, reason};
use pgsqlite::daystream::{Error, Intake, Taken, Writer, WriterOptions, take_in};
use pgsqlite::error::Coded;

/// A pipe that gives a few bytes at a time.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let length = self.0.len().min(self.1).min(out.len());
        let (now, later) = self.0.split_at(length);
        out[..length].copy_from_slice(now);
        self.0 = later;
        Ok(length)
    }
}

fn row(xid: u32) -> String {
    format!("_table\tz\t_xid\t{xid}\t_action\tinsert\tid\t1\n")
}

fn commit(xid: u32) -> String {
    format!("_xid\t{xid}\t_lsn\t0/{xid}00\t_time\t-5\t_action\tcommit\n")
}

/// What comes of an input, in pieces of every size.
fn take(input: &str) -> (std::result::Result<Taken, Error>, Vec<(u32, usize)>) {
    let mut result = None;
    for size in [1, 2, 7, 1000] {
        let dir = log::folder();
        let mut writer = open(dir.path());
        let taken = take_in(Drip(input.as_bytes(), size), &mut writer);
        let found = all(dir.path());
        if let Some((_, other)) = &result {
            assert_eq!(other, &found);
        }
        result = Some((taken, found));
    }
    result.unwrap()
}

#[test]
fn transactions_end_at_their_commit_lines() {
    let input = [row(1), row(1), commit(1), commit(2), row(3), commit(3), row(4)].concat();
    let (taken, found) = take(&input);
    let expected = Taken { lines: 7, transactions: 2, repeated: 0, unfinished: 1 };
    assert_eq!(taken.unwrap(), expected);
    assert_eq!(found, [(1, 2), (3, 1)]);
}

#[test]
fn without_commit_lines_transactions_end_where_the_xid_changes() {
    let (taken, found) = take(&[row(1), row(1), row(2), row(3)].concat());
    assert_eq!(taken.unwrap().transactions, 3);
    assert_eq!(found, [(1, 2), (2, 1), (3, 1)]);
}

/// The plugin's option `include-xids=off`: the commit line alone ends a transaction.
#[test]
fn without_xids_transactions_end_at_their_commit_lines() {
    let row = "_table\tz\t_action\tinsert\tid\t1\n";
    let end = |lsn: u32| format!("_lsn\t0/{lsn}00\t_time\t-5\t_lines\t2\t_action\tcommit\n");
    let input = [row, row, &end(1), row, row, &end(2), row].concat();
    for intake in [Intake::new, Intake::with_commits] {
        let dir = log::folder();
        let (mut writer, mut intake) = (open(dir.path()), intake());
        intake.push(input.as_bytes(), &mut writer).unwrap();
        let taken = intake.finish(&mut writer).unwrap();
        let expected = Taken { lines: 7, transactions: 2, repeated: 0, unfinished: 1 };
        assert_eq!(taken, expected);
        writer.sync().unwrap();
        let (lines, error) = log::lines(dir.path());
        assert!(error.is_none(), "{error:?}");
        let commits = lines.iter().filter(|line| line.ends_with(b"\t_action\tcommit"));
        let lsns = commits.map(|line| deltaflood::Change::parse(line).unwrap().lsn.unwrap().0);
        assert_eq!((lines.len(), lsns.collect::<Vec<_>>()), (6, vec![0x100, 0x200]));
    }
}

#[test]
fn what_the_end_cuts_off_is_not_written_where_there_are_commit_lines() {
    let (taken, found) = take(&[row(1), commit(1), row(2), "_table\tz".to_owned()].concat());
    let expected = Taken { lines: 4, transactions: 1, repeated: 0, unfinished: 2 };
    assert_eq!(taken.unwrap(), expected);
    assert_eq!(found, [(1, 1)]);

    // Even before the first commit line, when the caller says that they come.
    let dir = log::folder();
    let mut writer = open(dir.path());
    let mut intake = Intake::with_commits();
    intake.push(row(1).as_bytes(), &mut writer).unwrap();
    intake.quiet(&mut writer).unwrap();
    intake.push(b"_tab", &mut writer).unwrap();
    assert_eq!(intake.finish(&mut writer).unwrap().unfinished, 2);
    // Without them, half a line cannot be told from a whole transaction's end.
    let (taken, found) = take(&[row(1), "_table\tz".to_owned()].concat());
    let error = taken.unwrap_err();
    assert_eq!((reason(&error), error.code().details[2].1.as_str()), ("INPUT", "NOLINEFEED"));
    assert_eq!(found, []);
}

#[test]
fn a_stream_with_commit_lines_takes_no_transaction_without_one() {
    let dir = log::folder();
    take_in([row(1), commit(1)].concat().as_bytes(), &mut open(dir.path())).unwrap();
    let taken = take_in(row(2).as_bytes(), &mut open(dir.path())).unwrap();
    assert_eq!((taken.transactions, taken.unfinished), (0, 1));
    let taken = take_in([row(2), row(3)].concat().as_bytes(), &mut open(dir.path()));
    assert_eq!(reason(&taken.unwrap_err()), "INPUTCOMMIT");
    assert_eq!(all(dir.path()), [(1, 1)]);
}

#[test]
fn a_commit_line_is_held_to_its_number_of_lines() {
    let counted = |xid: u32, lines: u64| {
        format!("_xid\t{xid}\t_lsn\t0/{xid}00\t_lines\t{lines}\t_action\tcommit\n")
    };
    let (taken, found) = take(&[row(1), counted(1, 1), row(2), row(2), counted(2, 2)].concat());
    assert_eq!((taken.unwrap().transactions, found), (2, vec![(1, 1), (2, 2)]));
    // A client that was connected again in the middle sends it from the beginning.
    let (taken, found) = take(&[row(1), counted(1, 1), row(2), row(2), counted(2, 1)].concat());
    let error = taken.unwrap_err();
    assert_eq!(reason(&error), "INPUTLINES");
    let details: Vec<String> = error.code().details.into_iter().map(|(_, text)| text).collect();
    assert_eq!((details, found), (vec!["5".into(), "1".into(), "2".into()], vec![(1, 1)]));
}

#[test]
fn what_the_stream_has_is_not_written_again() {
    let dir = log::folder();
    let input = [row(1), commit(1), row(2), commit(2)].concat();
    take_in(input.as_bytes(), &mut open(dir.path())).unwrap();
    let again = [input, row(3) + &commit(3)].concat();
    let taken = take_in(again.as_bytes(), &mut open(dir.path())).unwrap();
    assert_eq!((taken.repeated, taken.transactions), (2, 1));
    assert_eq!(all(dir.path()), [(1, 1), (2, 1), (3, 1)]);
}

#[test]
fn the_lines_of_another_stream_get_new_stamps() {
    let (from, to) = (log::folder(), log::folder());
    let mut writer = open(from.path());
    log::write(&mut writer, 1, 3).unwrap();
    log::write(&mut writer, 2, 1).unwrap();
    writer.sync().unwrap();
    let (lines, _) = log::lines(from.path());
    let text = lines.join(&b'\n');
    let mut text = text.as_slice().to_vec();
    text.push(b'\n');
    let other = log::Hand::at(1_600_000_000);
    let options = log::options(&other);
    let mut writer = pgsqlite::daystream::Writer::open(to.path(), options).unwrap();
    take_in(text.as_slice(), &mut writer).unwrap();
    assert_eq!(all(to.path()), [(1, 3), (2, 1)]);
    assert_eq!(writer.last_lsn().map(|lsn| lsn.0), Some(200));
}

#[test]
fn an_error_names_line_and_byte_and_keeps_what_came_before() {
    let good = [row(1), commit(1), row(2)].concat();
    for (bad, word, line, byte) in [
        ("_table\tz\t_action\tinsert\ta\t\\q\n", "BADESCAPE", 4, 26),
        ("_table\tz\t_action\tinsert\ta\n", "ODDFIELDS", 4, 25),
        ("_table\tz\t_xid\t2\t_action\tfrobnicate\n", "UNKNOWNVERB", 4, 24),
        ("\n", "NOVERB", 4, 0),
    ] {
        let (taken, found) = take(&[&good, bad].concat());
        let error = taken.unwrap_err();
        assert_eq!(reason(&error), "INPUT");
        let details = error.code().details;
        let expected = [("line", line.to_string()), ("byte", byte.to_string())];
        assert_eq!(details[..2], expected, "{bad}");
        assert_eq!(details[2].1, word);
        assert_eq!(found, [(1, 1)]);
    }
    let (taken, found) = take(&[good, row(3)].concat());
    assert_eq!(reason(&taken.unwrap_err()), "INPUTCOMMIT");
    assert_eq!(found, [(1, 1)]);
}

#[test]
fn a_line_cut_at_every_byte_is_the_same_line() {
    let value = "x\\t\u{e9}\\\\y ".repeat(500);
    let line = format!("_table\tz\t_xid\t7\t_action\tinsert\ta\\n\t{value}\tb\t\n");
    assert!(line.len() > 4096);
    let dir = log::folder();
    let mut writer = open(dir.path());
    let mut intake = Intake::with_commits();
    for cut in 0..=4096 {
        let (first, rest) = line.as_bytes().split_at(cut);
        intake.push(first, &mut writer).unwrap();
        intake.push(rest, &mut writer).unwrap();
        let commit = format!("_xid\t7\t_lsn\t0/{:X}\t_action\tcommit\n", cut + 1);
        intake.push(commit.as_bytes(), &mut writer).unwrap();
    }
    assert_eq!(intake.finish(&mut writer).unwrap().transactions, 4097);
    writer.sync().unwrap();
    let (lines, _) = log::lines(dir.path());
    let wanted = line.strip_suffix('\n').unwrap().as_bytes();
    let same = lines.iter().filter(|line| line.ends_with(wanted)).count();
    assert_eq!((same, lines.len()), (4097, 2 * 4097));
}

#[test]
fn an_input_that_fails_is_told_and_what_came_before_stays() {
    struct Broken<'a>(&'a [u8]);
    impl Read for Broken<'_> {
        fn read(&mut self, out: &mut [u8]) -> Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::Error::from_raw_os_error(libc::EIO));
            }
            self.0.read(out)
        }
    }
    let dir = log::folder();
    let mut writer = open(dir.path());
    let text = format!("{}{}{}", row(1), commit(1), row(2));
    let error = take_in(Broken(text.as_bytes()), &mut writer).unwrap_err();
    assert_eq!(reason(&error), "INPUTIO");
    assert_eq!(error.code().details, [("line", "3".to_owned())]);
    assert_eq!(all(dir.path()), [(1, 1)]);
}

#[test]
fn each_segment_tells_what_its_tables_are() {
    let dir = log::folder();
    let clock = Hand::at(1_507_507_200);
    let small = WriterOptions { segment_bytes: 1, ..log::options(&clock) };
    let mut writer = Writer::open(dir.path(), small).unwrap();
    let schema = |xid: u32, kind: &str| {
        format!("_table\tz\t_xid\t{xid}\t_key\tid\t_action\tschema\tid\t{kind}\n")
    };
    let other = "_table\tz\t_schema\ts\t_xid\t2\t_action\tinsert\tid\t1\n";
    let text = [
        schema(1, "integer") + &row(1) + &commit(1),
        format!("{}{}{other}{}", row(2), row(2), commit(2)),
        schema(3, "bigint") + &row(3) + &commit(3),
        row(4) + &commit(4),
        // It has come before: nothing of it is written.
        row(1) + &commit(1),
        row(5) + &commit(5),
    ];
    let taken = take_in(text.concat().as_bytes(), &mut writer).unwrap();
    assert_eq!((taken.transactions, taken.repeated, taken.lines), (5, 1, 16));
    let seen = log::lines(dir.path()).0.into_iter().filter_map(|line| {
        let line = String::from_utf8(line).unwrap();
        let rest = line.splitn(5, '\t').last().unwrap().to_owned();
        (!rest.ends_with("commit")).then_some(rest + "\n")
    });
    let wanted = [
        schema(1, "integer") + &row(1),
        format!("{}{}{}{other}", schema(2, "integer"), row(2), row(2)),
        schema(3, "bigint") + &row(3),
        schema(4, "bigint") + &row(4),
        schema(5, "bigint") + &row(5),
    ];
    assert_eq!(seen.collect::<String>(), wanted.concat());
}
