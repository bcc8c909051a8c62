//! The client, against the real server and against servers that misbehave.

#[path = "../../tests/log/mod.rs"]
mod log;
mod server;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use log::{Dice, Hand, open, options, write};
use pgsqlite::daystream::remote::{Frame, PREFIX};
use pgsqlite::daystream::{Commit, Keep, Storage, Writer, WriterOptions, retain};
use server::{Server, all_lines};

fn root() -> (tempfile::TempDir, PathBuf) {
    let root = log::folder();
    let stream = root.path().join("flights");
    (root, stream)
}

fn command(url: &str, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daystream-fetch"));
    command.arg(url).args(options).stdin(Stdio::null());
    command
}

fn fetch(url: &str, options: &[&str]) -> Output {
    command(url, options).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads lines until `enough`; then the client is ended.
fn read_until(mut child: Child, enough: impl Fn(&str) -> bool) -> String {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut all = String::new();
    loop {
        let begin = all.len();
        assert!(out.read_line(&mut all).unwrap() > 0, "the client ended: {all}");
        if enough(&all[begin..]) {
            child.kill().unwrap();
            child.wait().unwrap();
            return all;
        }
    }
}

#[test]
fn everything_and_from_a_position_and_to_one() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    let ends: Vec<_> = (1..=100).map(|xid| write(&mut writer, xid, 100).unwrap()).collect();
    // Larger than what is held in memory.
    write(&mut writer, 101, 120_000).unwrap();
    writer.sync().unwrap();
    let all = all_lines(&stream);
    let server = Server::start(root.path(), &[]);
    let url = server.url("flights");
    let got = fetch(&url, &[]);
    assert!(got.status.success(), "{}", text(&got.stderr));
    assert!(got.stdout == all, "{} of {} bytes", got.stdout.len(), all.len());
    let at = |n: usize| format!("{}.{}", ends[n].clock, ends[n].seq);
    let got = fetch(&url, &["-from", &at(49), "--to", &at(59)]);
    assert_eq!(text(&got.stdout).lines().count(), 10 * 101);
    let got = fetch(&url, &["-info", "1"]);
    assert!(
        text(&got.stdout).starts_with("_frame\tstream\tchain\t00000000\tend\t1507507200 "),
        "{}",
        text(&got.stdout)
    );
}

#[test]
fn frames_say_what_is_whole_and_where_the_end_is() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    for xid in 1..=3 {
        write(&mut writer, xid, 2).unwrap();
    }
    writer.sync().unwrap();
    let server = Server::start(root.path(), &[]);
    let mut command = command(&server.url("flights"), &["-frames", "1", "-follow", "1"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let all = read_until(child, |line| line == "_frame\tend\n");
    let mut lines = all.lines().map(|line| line.as_bytes());
    let frame = |line: Option<&[u8]>| Frame::decode(line.unwrap()).unwrap();
    assert!(matches!(frame(lines.next()), Frame::Stream(_)));
    for xid in 1..=3u64 {
        let Frame::Transaction(transaction) = frame(lines.next()) else { panic!("{all}") };
        assert_eq!((transaction.lines, transaction.lsn.unwrap().0), (3, xid * 100));
        for _ in 0..3 {
            assert!(!lines.next().unwrap().starts_with(PREFIX));
        }
    }
    assert_eq!(frame(lines.next()), Frame::End);
}

#[test]
fn the_client_ends_with_its_parent() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    write(&mut writer, 1, 2).unwrap();
    let server = Server::start(root.path(), &[]);
    let mut command = command(&server.url("flights"), &["-frames", "1", "-follow", "1"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdin.take());
    server::until("the client's end", || child.try_wait().unwrap().is_some());
}

#[test]
fn a_server_that_was_killed_and_is_there_again() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    for xid in 1..=500 {
        write(&mut writer, xid, 20).unwrap();
    }
    writer.sync().unwrap();
    let server = Server::start(root.path(), &[]);
    let (url, address) = (server.url("flights"), server.address.to_string());
    let mut command = command(&url, &["-follow", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let restarting = std::thread::spawn({
        let root = root.path().to_owned();
        move || {
            std::thread::sleep(Duration::from_millis(100));
            server.kill();
            for xid in 501..=900 {
                write(&mut writer, xid, 20).unwrap();
            }
            writer.sync().unwrap();
            let server = Server::start(&root, &["-listen", &address]);
            (server, writer)
        }
    });
    let all = read_until(child, |line| line.contains("_xid\t900\t_lsn"));
    let _server = restarting.join().unwrap();
    assert!(all.as_bytes() == all_lines(&stream));
}

#[test]
fn failures_have_codes() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    write(&mut writer, 1, 2).unwrap();
    let server = Server::start(root.path(), &[]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (server.url("none"), vec![], 1, "NOTFOUND status 404\t"),
        (server.url("flights"), vec!["-from", "1999999999.0"], 1, "AHEAD wanted 1999999999.0"),
        (format!("http://{nobody}/flights"), vec!["-retry_ms", "300"], 1, "CONNECT\t"),
        ("http://192.0.2.1/flights".to_owned(), vec![], 2, "URL\t"),
        (server.url("flights"), vec!["-token", "x"], 2, "REQUEST\t"),
        (
            server.url("flights"),
            vec!["-token_file", "/nonexistent"],
            2,
            "LOCAL path /nonexistent\t",
        ),
        (format!("https://{}/flights", server.address), vec!["-cacert", "/dev/null"], 1, "LOCAL\t"),
    ];
    for (url, options, exit, code) in cases {
        let got = fetch(&url, &options);
        let told = text(&got.stderr);
        assert_eq!(got.status.code(), Some(exit), "{told}");
        assert!(told.starts_with(&format!("PGSQLITE DAYSTREAM {code}")), "{told}");
        assert!(got.stdout.is_empty());
        let options: Vec<&str> = options.into_iter().chain(["-frames", "1"]).collect();
        let mut child = command(&url, &options);
        let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        let _parent = child.stdin.take();
        let frame = text(&child.wait_with_output().unwrap().stdout);
        let word = code.split([' ', '\t']).next().unwrap();
        assert!(frame.starts_with(&format!("_frame\terror\treason\t{word}\t")), "{frame}");
    }
}

#[test]
fn retention_under_followers_is_no_gap_or_a_told_one() {
    let (root, stream) = root();
    let hand = Hand::at(1_507_507_200);
    let options = WriterOptions { segment_bytes: 200_000, ..options(&hand) };
    let mut writer = Writer::open(&stream, options).unwrap();
    let mut dice = Dice::new(11);
    // Values that do not compress well, or all of it would be on its way to the slow one.
    let mut transactions = |writer: &mut Writer, xids: std::ops::RangeInclusive<u32>| {
        for xid in xids {
            for _ in 0..50 {
                let value: String = (0..20).map(|_| format!("{:016x}", dice.next())).collect();
                let line = format!("_table\tz\t_xid\t{xid}\t_action\tinsert\tv\t{value}");
                writer.line(line.as_bytes()).unwrap();
            }
            let commit = Commit { xid: Some(xid), ..Commit::default() };
            writer.commit(commit).unwrap();
        }
        writer.sync().unwrap();
    };
    transactions(&mut writer, 1..=10);
    let server = Server::start(root.path(), &[]);
    let start = || {
        let mut command = command(&server.url("flights"), &["-follow", "1"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (mut fast, mut slow) = (start(), start());
    let mut begun = [0; 1];
    slow.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    let (tell, hear) = std::sync::mpsc::channel();
    let out = fast.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let (mut all, mut out) = (Vec::new(), BufReader::new(out));
        while out.read_until(b'\n', &mut all).unwrap() > 0 {
            let line = all[..all.len() - 1].rsplit(|byte| *byte == b'\n').next().unwrap();
            if line.ends_with(b"\tcommit") {
                let xid = text(line).split('\t').nth(5).unwrap().parse::<u32>().unwrap();
                if xid % 10 == 0 && tell.send(xid).is_err() {
                    break;
                }
            }
        }
        all
    });
    let until = |xid| while hear.recv_timeout(Duration::from_secs(30)).unwrap() != xid {};
    until(10);
    transactions(&mut writer, 11..=1200);
    until(1200);
    let before = all_lines(&stream);
    let keep = Keep { bytes: Some(1_000_000), ..Keep::default() };
    let removed = retain(&stream, keep, 0, &Storage::default()).unwrap();
    assert!(removed.segments > 50, "{removed:?}");
    transactions(&mut writer, 1201..=1300);
    until(1300);
    let after = all_lines(&stream);
    fast.kill().unwrap();
    fast.wait().unwrap();
    let got = reading.join().unwrap();
    assert!(got.starts_with(&before) && after.ends_with(&got[before.len()..]));
    // The slow one comes to where there is nothing any more, and says so.
    let got = slow.wait_with_output().unwrap();
    let told = text(&got.stderr);
    let code = "PGSQLITE DAYSTREAM GAP wanted 1507507200.";
    assert!(told.lines().last().unwrap().starts_with(code), "{told}");
    assert_eq!(got.status.code(), Some(1));
    let seen = [&begun[..], &got.stdout].concat();
    assert!(before.starts_with(&seen) && seen.ends_with(b"\tcommit\n"));
    assert!(seen.len() < before.len());
}

#[test]
fn no_room_for_a_large_transaction_is_told_with_the_folder() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    write(&mut writer, 1, 2).unwrap();
    write(&mut writer, 2, 80_000).unwrap();
    writer.sync().unwrap();
    let server = Server::start(root.path(), &[]);
    let got = command(&server.url("flights"), &[]).env("TMPDIR", "/nonexistent").output().unwrap();
    let told = text(&got.stderr);
    assert!(told.starts_with("PGSQLITE DAYSTREAM LOCAL path /nonexistent\t"), "{told}");
    assert!(told.contains("TMPDIR") && got.status.code() == Some(1), "{told}");
    assert_eq!(text(&got.stdout).lines().count(), 3);
}

#[test]
fn a_table_of_any_name_can_be_asked_for_and_too_many_are_told() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    for table in ["x,y", "x", "y", "a.b"] {
        let line = format!("_table\t{table}\t_xid\t7\t_action\tinsert\ta\t1");
        writer.line(line.as_bytes()).unwrap();
    }
    writer.commit(Commit { xid: Some(7), ..Commit::default() }).unwrap();
    writer.sync().unwrap();
    let server = Server::start(root.path(), &[]);
    let url = server.url("flights");
    let tables = |list: &str| {
        let got = fetch(&url, &["-tables", list]);
        assert!(got.status.success(), "{}", text(&got.stderr));
        let name = |line: &str| line.split('\t').nth(5).map(str::to_owned);
        let lines = text(&got.stdout);
        lines.lines().filter(|line| line.contains("_table")).filter_map(name).collect::<Vec<_>>()
    };
    assert_eq!(tables("x,y"), ["x", "y"]);
    assert_eq!(tables("\"x,y\",\"a.b\""), ["x,y", "a.b"]);
    // What a server would not take is said before it is asked.
    let most = ["t,"; 999].concat() + &"x".repeat((8 << 10) - 1998);
    assert_eq!(tables(&most), Vec::<String>::new());
    for (list, says) in [
        (most.clone() + "x", "at most 8192 bytes of names, not 8193; without names all lines come"),
        (["t,"; 1001].concat(), "1 to 1000 names"),
        ("\"x".to_owned(), "in double quotes, not \"x"),
    ] {
        let got = fetch(&url, &["-tables", &list]);
        let said = text(&got.stderr);
        assert!(got.status.code() == Some(2) && said.contains(says), "{said}");
    }
}
