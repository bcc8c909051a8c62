//! One model over both: the folder and the URL give the same lines for the same question.

#[path = "../../tests/log/mod.rs"]
mod log;
mod server;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use log::{Dice, Hand, options};
use pgsqlite::daystream::{
    Keep, Mark, Position, Reader, ReaderOptions, Start, Storage, Which, Writer, WriterOptions,
    compress, retain,
};
use server::Server;

const CLOCK: i64 = 1_507_507_200;

/// A follower by URL.
struct Follower {
    child: Child,
    out: BufReader<ChildStdout>,
    given: Vec<u32>,
}

impl Follower {
    fn start(url: &str, start: Start) -> Follower {
        let place = |position: Position| format!("{}.{}", position.clock, position.seq);
        let words = match start {
            Start::Begin => vec!["-from".to_owned(), "begin".to_owned()],
            Start::End => vec!["-from".to_owned(), "end".to_owned()],
            Start::Clock(clock) => vec!["-from".to_owned(), clock.to_string()],
            Start::At(position) => vec!["-at".to_owned(), place(position)],
            Start::After(Mark { position, .. }) => vec!["-from".to_owned(), place(position)],
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_daystream-fetch"))
            .arg(url)
            .args(words)
            .args(["-follow", "1", "-beyond", "1", "-frames", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Follower { child, out, given: Vec::new() }
    }

    /// Reads until the last of the transactions `until` has come, or, without any, the end.
    fn read(&mut self, until: &[u32]) {
        let began = Instant::now();
        let mut line = String::new();
        loop {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}, {until:?}", self.given);
            if !until.is_empty() && self.given.last() >= until.last() {
                return;
            }
            line.clear();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "it ended: {:?}", self.given);
            if line == "_frame\tend\n" && until.is_empty() {
                return;
            }
            assert!(!line.starts_with("_frame\terror"), "{line}");
            if line.ends_with("\t_action\tcommit\n") {
                let xid = line.split("_xid\t").nth(1).unwrap().split('\t').next().unwrap();
                self.given.push(xid.parse().unwrap());
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn xids(reader: &mut Reader) -> Vec<u32> {
    log::rest(reader).unwrap().into_iter().map(|(xid, _)| xid).collect()
}

fn write(writer: &mut Writer, clock: &Hand, xids: std::ops::RangeInclusive<u32>) -> Vec<Position> {
    let mut ends = Vec::new();
    for xid in xids {
        ends.push(log::write(writer, xid, 1 + xid % 3).unwrap());
        clock.set(clock.seconds() + 3);
    }
    writer.flush().unwrap();
    ends
}

/// Questions about a stream that ends at `end`: places there are, places between, places to come.
fn questions(dice: &mut Dice, ends: &[Position], end: Position) -> Vec<Start> {
    let mut known = || ends[dice.below(ends.len() as u64) as usize];
    let (one, two, three) = (known(), known(), known());
    let soon = Position { clock: end.clock + 13, seq: 0 };
    vec![
        Start::Begin,
        Start::End,
        Start::Clock(one.clock),
        Start::Clock(one.clock + 1),
        Start::Clock(soon.clock),
        Start::Clock(i64::MAX),
        Start::At(two),
        Start::At(soon),
        Start::After(two.into()),
        Start::After(Mark::at(Position { clock: three.clock, seq: three.seq + 7 })),
        Start::After(soon.into()),
    ]
}

#[test]
fn a_folder_and_its_url_give_the_same_lines() {
    let root = log::folder();
    let dir: &Path = &root.path().join("flights");
    let clock = Hand::at(CLOCK);
    let small = WriterOptions { segment_bytes: 900, ..options(&clock) };
    let mut writer = Writer::open(dir, small).unwrap();
    let ends = write(&mut writer, &clock, 1..=40);
    let storage = Storage::default();
    retain(dir, Keep { days: None, bytes: Some(6_000) }, 0, &storage).unwrap();
    compress(dir, Which::Before(CLOCK + 90), &storage, &|| true).unwrap();
    let server = Server::start(root.path(), &[]);
    let url = server.url("flights");
    let mut dice = Dice::new(5);
    let mut last = 40;
    for round in 0..3 {
        let end = writer.last_position().unwrap();
        let open = |start| Reader::open(dir, start, ReaderOptions::default());
        // What retention has removed is told by both, and is no question of this test.
        let asked: Vec<Start> = questions(&mut dice, &ends[30..], end);
        let mut readers: Vec<Reader> = asked.iter().map(|start| open(*start).unwrap()).collect();
        let mut followers: Vec<Follower> =
            asked.iter().map(|start| Follower::start(&url, *start)).collect();
        let before: Vec<Vec<u32>> = readers.iter_mut().map(xids).collect();
        for ((follower, before), start) in followers.iter_mut().zip(&before).zip(&asked) {
            follower.read(&[]);
            assert_eq!(&follower.given, before, "{start:?}, round {round}, what was there");
        }
        write(&mut writer, &clock, last + 1..=last + 10);
        last += 10;
        for ((reader, follower), start) in readers.iter_mut().zip(&mut followers).zip(&asked) {
            follower.given.clear();
            let then = xids(reader);
            if *start != Start::Clock(i64::MAX) {
                follower.read(&then);
            }
            assert_eq!(follower.given, then, "{start:?}, round {round}, what came");
        }
    }
}
