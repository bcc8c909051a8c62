//! The client, against the real server and against servers that misbehave.

#[path = "../../tests/log/mod.rs"]
mod log;
mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use log::{open, write};
use pgsqlite::daystream::remote::{Frame, PREFIX};
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
        text(&got.stdout).starts_with("_frame\tstream\tend\t1507507200 "),
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

/// Answers each connection with the next of `answers`, and closes, or stays silent.
fn misbehave(answers: Vec<Vec<u8>>, silent: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/flights", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request);
            let _ = socket.write_all(&answer);
            if silent {
                kept.push(socket);
            }
        }
        std::thread::sleep(Duration::from_secs(if silent { 60 } else { 0 }));
    });
    url
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/tab-separated-values\r\n";

#[test]
fn what_is_no_daystream_is_not_handed_on() {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
    let row = "_c\t7\t_s\t0\t_table\tt\t_xid\t1\t_action\tinsert\tv\t1\n";
    let commit = "_c\t7\t_s\t1\t_xid\t1\t_lsn\t0/1\t_lines\t1\t_crc\t00000000\t_action\tcommit\n";
    let cases = [
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
            "PROTOCOL",
        ),
        (format!("{chunked}{}0\r\n\r\n", chunk("<html>\n")), "PROTOCOL"),
        (format!("{chunked}{}0\r\n\r\n", chunk(&format!("{row}{commit}"))), "PROTOCOL"),
        (format!("{chunked}{}0\r\n\r\n", chunk(&format!("{row}\n"))), "PROTOCOL"),
        (format!("{chunked}{}0\r\n\r\n", chunk(row)), "LOST"),
        (format!("{chunked}{}", chunk(row)), "LOST"),
        (format!("{HEAD}Content-Encoding: zstd\r\nContent-Length: 4\r\n\r\nabcd"), "PROTOCOL"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "PROTOCOL",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".to_owned(), "SERVER"),
        ("SSH-2.0-OpenSSH\r\n".to_owned(), "PROTOCOL"),
    ];
    for (answer, word) in cases {
        let url = misbehave(vec![answer.clone().into_bytes()], false);
        let got = fetch(&url, &["-retry_ms", "0"]);
        let told = text(&got.stderr);
        let code = told.split([' ', '\t']).nth(2).unwrap_or_default();
        assert_eq!(code, word, "{answer:?}: {told}");
        assert!(got.stdout.is_empty() && got.status.code() == Some(1));
    }
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let began = Instant::now();
    let url = misbehave(vec![Vec::new()], true);
    let got = fetch(&url, &["-retry_ms", "0"]);
    assert!(text(&got.stderr).starts_with("PGSQLITE DAYSTREAM TIMEOUT"), "{}", text(&got.stderr));
    assert!(began.elapsed() < Duration::from_secs(15));
}
