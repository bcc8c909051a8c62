//! The client against servers that misbehave, and through connections that are lost.

#[path = "../../tests/log/mod.rs"]
mod log;
mod server;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgsqlite::daystream::chain_after;

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

/// What was asked for.
type Requests = Arc<Mutex<Vec<String>>>;

/// Answers each connection with the next of `answers`, and closes, or stays silent.
fn misbehave(answers: Vec<Vec<u8>>, silent: bool) -> String {
    listening(answers, silent).0
}

/// The same, and what was asked for.
fn listening(answers: Vec<Vec<u8>>, silent: bool) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/flights", listener.local_addr().unwrap());
    let requests = Requests::default();
    let heard = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let read = socket.read(&mut request).unwrap_or(0);
            heard.lock().unwrap().push(text(&request[..read]));
            let _ = socket.write_all(&answer);
            if silent {
                kept.push(socket);
            }
        }
        std::thread::sleep(Duration::from_secs(if silent { 60 } else { 0 }));
    });
    (url, requests)
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
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_owned(), "SERVERBUSY"),
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

/// A transaction, as one chunk of an answer.
fn small_transaction(seq: u32) -> String {
    let row = format!("_c\t7\t_s\t{seq}\t_table\tt\t_xid\t1\t_action\tinsert\tv\t1\n");
    let crc = crc32c::crc32c(row.as_bytes());
    let head = format!("_c\t7\t_s\t{}\t_xid\t1\t_lsn\t0/1\t_lines\t1\t_crc\t{crc:08x}", seq + 1);
    let whole = crc32c::crc32c_append(crc, head.as_bytes());
    let commit = format!("{head}\t_commit_crc\t{whole:08x}\t_action\tcommit\n");
    format!("{:x}\r\n{row}{commit}\r\n", row.len() + commit.len())
}

#[test]
fn a_stream_of_another_database_is_not_the_same() {
    let answer = |id: u32, seq| {
        let head = format!("{HEAD}Daystream-System-Id: {id}\r\nDaystream-Database: d\r\n");
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", small_transaction(seq))
    };
    let url = misbehave(vec![answer(1, 0).into_bytes(), answer(2, 2).into_bytes()], false);
    let got = fetch(&url, &["-follow", "1"]);
    let told = text(&got.stderr);
    assert!(told.lines().last().unwrap().starts_with("PGSQLITE DAYSTREAM CHANGED"), "{told}");
    assert_eq!(text(&got.stdout).lines().count(), 2);
}

#[test]
fn who_does_not_follow_takes_an_empty_line_for_a_sign_of_life() {
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n");
    let answer = format!("{chunked}{}0\r\n\r\n", small_transaction(0));
    for (follow, ends) in [("0", 0), ("1", 1)] {
        let url = misbehave(vec![answer.clone().into_bytes()], false);
        let mut command = command(&url, &["-frames", "1", "-retry_ms", "0", "-follow", follow]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let _parent = child.stdin.take();
        let got = text(&child.wait_with_output().unwrap().stdout);
        assert_eq!(got.matches("_frame\tend\n").count(), ends, "{got}");
        assert_eq!(got.matches("commit\n").count(), 1, "{got}");
    }
}

/// A transaction at `seq` of the second `clock`, with a chain before it, and its chain.
fn chained(clock: u64, seq: u64, lsn: u64, before: u32) -> (String, u32) {
    let row = format!("_c\t{clock}\t_s\t{seq}\t_table\tt\t_xid\t1\t_action\tinsert\tv\t1\n");
    let crc = crc32c::crc32c(row.as_bytes());
    let end = seq.saturating_add(1);
    let head = format!(
        "_c\t{clock}\t_s\t{end}\t_xid\t1\t_lsn\t0/{lsn:X}\t_lines\t1\t_crc\t{crc:08x}\t_chain\t{before:08x}"
    );
    let whole = crc32c::crc32c_append(crc, head.as_bytes());
    let text = format!("{row}{head}\t_commit_crc\t{whole:08x}\t_action\tcommit\n");
    (text, chain_after(before, whole))
}

/// An answer of these lines that ends properly.
fn whole(head: &str, lines: &str) -> Vec<u8> {
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    format!("{HEAD}{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").into_bytes()
}

/// What a client says of an answer, and how many commit lines it gave out.
fn told(answer: Vec<u8>) -> (String, usize) {
    let got = fetch(&misbehave(vec![answer], false), &["-retry_ms", "0"]);
    let code = text(&got.stderr).split([' ', '\t']).nth(2).unwrap_or_default().to_owned();
    (code, text(&got.stdout).matches("\tcommit\n").count())
}

#[test]
fn a_hostile_server_is_not_believed() {
    let (first, chain) = chained(7, 0, 1, 0);
    let (second, _) = chained(7, 2, 2, chain);
    let (stranger, _) = chained(7, 2, 2, chain ^ 1);
    let (back, _) = chained(6, 0, 3, chain);
    let (same, _) = chained(7, 0, 3, chain);
    let (far, _) = chained(99_999_999_999_999_999, 0, 1, 0);
    let (deep, _) = chained(7, 1 << 63, 1, 0);
    let sumless = first.replace("\t_lines\t1", "");
    let no_sum = {
        let at = first.find("\t_commit_crc").unwrap();
        format!("{}\t_action\tcommit\n", &first[..at])
    };
    let protocol = |given| ("PROTOCOL".to_owned(), given);
    assert_eq!(told(whole("", &format!("{first}{second}"))), (String::new(), 2));
    for (lines, given) in [
        (format!("{first}{stranger}"), 1),
        (format!("{first}{back}"), 1),
        (format!("{first}{same}"), 1),
        (far, 0),
        (deep, 0),
        (sumless, 0),
        (no_sum, 0),
    ] {
        assert_eq!(told(whole("", &lines)), protocol(given), "{lines}");
    }
    let fifty = "1".repeat(50);
    for head in [
        format!("Daystream-System-Id: {fifty}\r\n"),
        "Daystream-System-Id: 1\r\nDaystream-Made: x\r\n".to_owned(),
        "Daystream-System-Id: 1\r\nDaystream-Timeline: 99999999999\r\n".to_owned(),
        "Daystream-System-Id: 1\r\nDaystream-Id: FEED\r\n".to_owned(),
        "Daystream-Before: 7\r\n".to_owned(),
        "Daystream-Before: 6.0\r\nDaystream-Before-Lsn: x\r\n".to_owned(),
        "Daystream-Chain: 0\r\n".to_owned(),
    ] {
        assert_eq!(told(whole(&head, &first)), protocol(0), "{head}");
    }
    // What stands before the answer is behind what comes, or is another stream's.
    for head in ["Daystream-Before: 7.5\r\n", "Daystream-Chain: 00000001\r\n"] {
        assert_eq!(told(whole(head, &first)), protocol(0), "{head}");
    }
}

#[test]
fn what_is_compressed_comes_whole_and_in_bounds() {
    let (first, chain) = chained(7, 0, 1, 0);
    let (second, _) = chained(7, 2, 2, chain);
    let answer = |packed: &[u8]| {
        let mut answer =
            format!("{HEAD}Content-Encoding: zstd\r\nContent-Length: {}\r\n\r\n", packed.len())
                .into_bytes();
        answer.extend_from_slice(packed);
        answer
    };
    let frame = |text: &str| zstd::bulk::compress(text.as_bytes(), 1).unwrap();
    let both = [frame(&first), frame(&second)].concat();
    assert_eq!(told(answer(&both)), (String::new(), 2));
    // It ends within a frame, the one before given out.
    for cut in 1..frame(&second).len() {
        let (code, given) = told(answer(&both[..both.len() - cut]));
        assert_eq!((code.as_str(), given), ("LOST", 1), "{cut}");
        if cut > 3 {
            break;
        }
    }
    // A frame that asks for a window of 2 GiB, before any of it is there.
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    bomb.set_parameter(zstd::zstd_safe::CParameter::WindowLog(27)).unwrap();
    bomb.write_all(&vec![b'x'; 64 << 20]).unwrap();
    let (code, given) = told(answer(&bomb.finish().unwrap()));
    assert_eq!((code.as_str(), given), ("PROTOCOL", 0));
}

#[test]
fn who_asks_for_the_end_goes_on_behind_the_end_that_it_was_told() {
    let (line, _) = chained(9, 0, 500, 0xfeed);
    let lost = format!(
        "{HEAD}Daystream-Before: 7.3\r\nDaystream-Before-Lsn: 0/64\r\nDaystream-Chain: 0000feed\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n"
    );
    let there =
        "Daystream-Before: 7.3\r\nDaystream-Before-Lsn: 0/64\r\nDaystream-Chain: 0000feed\r\n";
    let answers = vec![lost.into_bytes(), whole(there, &line)];
    let (url, requests) = listening(answers, false);
    let got = fetch(&url, &["-from", "end"]);
    assert_eq!(text(&got.stdout), line, "{}", text(&got.stderr));
    let requests = requests.lock().unwrap();
    assert!(requests[0].starts_with("GET /flights?from=end&"), "{}", requests[0]);
    assert!(requests[1].starts_with("GET /flights?from=7.3&"), "{}", requests[1]);
    let second = requests[1].to_ascii_lowercase();
    assert!(second.contains("\r\ndaystream-from-lsn: 0/64\r\n"), "{second}");
    assert!(second.contains("\r\ndaystream-from-chain: 0000feed\r\n"), "{second}");
    // The end of an empty stream is its beginning.
    let lost =
        format!("{HEAD}Daystream-Chain: 00000000\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n");
    let (first, _) = chained(9, 0, 500, 0);
    let (url, requests) = listening(vec![lost.into_bytes(), whole("", &first)], false);
    assert_eq!(text(&fetch(&url, &["-from", "end"]).stdout), first);
    assert!(requests.lock().unwrap()[1].starts_with("GET /flights?heartbeat="));
}

#[test]
fn what_was_had_before_a_power_loss_does_not_come_again() {
    // The server's stream lost the end that the client has, and gives what it has behind it.
    let mut lines = String::new();
    let mut chain = 0xab;
    for (at, lsn) in [5u64, 6, 7, 8].into_iter().enumerate() {
        let (line, next) = chained(3, at as u64 * 2, lsn, chain);
        lines.push_str(&line);
        chain = next;
    }
    let head =
        "Daystream-Before: 2.0\r\nDaystream-Before-Lsn: 0/4\r\nDaystream-Chain: 000000ab\r\n";
    let url = misbehave(vec![whole(head, &lines)], false);
    let got = fetch(&url, &["-from", "7.3", "-lsn", "0/6", "-chain", "00000001", "-beyond", "1"]);
    let lsns: Vec<String> = text(&got.stdout)
        .lines()
        .filter_map(|line| Some(line.split("_lsn\t").nth(1)?.split('\t').next()?.to_owned()))
        .collect();
    assert_eq!(lsns, ["0/7", "0/8"], "{}", text(&got.stderr));
    for bad in [["-lsn", "0/6"], ["-chain", "00000001"]] {
        let got = fetch(&url, &[&["-from", "end"], &bad[..]].concat());
        assert_eq!(got.status.code(), Some(2));
    }
}
