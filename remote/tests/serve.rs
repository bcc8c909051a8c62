//! The server, asked by hand.

#[path = "../../tests/log/mod.rs"]
mod log;
mod server;

use std::io::{Read, Write};
use std::path::PathBuf;

use log::{Hand, open, options, write};
use pgsqlite::daystream::{
    Keep, Position, Storage, Which, Writer, WriterOptions, compress, retain,
};
use server::{Server, all_lines, take_apart, until};

/// A root with one stream in it, `flights`.
fn root() -> (tempfile::TempDir, PathBuf) {
    let root = log::folder();
    let stream = root.path().join("flights");
    (root, stream)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_lines_behind_a_position() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    let ends: Vec<Position> = (1..=200).map(|xid| write(&mut writer, xid, 50).unwrap()).collect();
    writer.sync().unwrap();
    let all = all_lines(&stream);
    let server = Server::start(root.path(), &[]);
    let (status, head, body) = server.get("/flights", "");
    assert_eq!(status, 200, "{head}");
    assert!(body == all, "{} bytes of {}", body.len(), all.len());
    let from = |end: Position| format!("/flights?from={}.{}", end.clock, end.seq);
    let (_, head, body) = server.get(&from(ends[197]), "");
    let lines = text(&body);
    assert_eq!(lines.lines().count(), 2 * 51);
    assert!(all.ends_with(&body) && head.contains("content-length"), "{head}");
    assert!(head.contains(&format!("daystream-before: {}.{}", ends[197].clock, ends[197].seq)));
    let (status, _, body) = server.get(&from(ends[199]), "");
    assert_eq!((status, body.len()), (200, 0));
    let (_, _, body) = server.get("/flights?from=1507507200", "Accept-Encoding: zstd\r\n");
    assert!(body.len() < all.len() / 4);
    assert!(zstd::decode_all(&body[..]).unwrap() == all);
    let (_, _, body) = server.get("/flights?tables=other", "");
    assert_eq!(text(&body).lines().count(), 200);
    let head_only = "HEAD /flights HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let (status, head, body) = server.send(head_only);
    assert_eq!((status, body.len()), (200, 0));
    let end = format!("daystream-end: {}.{}", ends[199].clock, ends[199].seq);
    assert!(head.contains(&end), "{head}");
}

#[test]
fn what_cannot_be_given_is_said_before_any_line() {
    let (root, stream) = root();
    let hand = Hand::at(1_507_507_200);
    let small = WriterOptions { segment_bytes: 1000, ..options(&hand) };
    let mut writer = Writer::open(&stream, small).unwrap();
    let first = write(&mut writer, 1, 30).unwrap();
    for xid in 2..10 {
        write(&mut writer, xid, 30).unwrap();
    }
    writer.sync().unwrap();
    std::fs::create_dir(root.path().join("empty")).unwrap();
    let server = Server::start(root.path(), &[]);
    let from = format!("/flights?from={}.{}", first.clock, first.seq);
    assert_eq!(server.get(&from, "").0, 200);
    let keep = Keep { bytes: Some(5000), ..Keep::default() };
    retain(&stream, keep, hand.seconds(), &Storage::default()).unwrap();
    for (path, status, code) in [
        (from.as_str(), 410, "PGSQLITE DAYSTREAM GAP wanted 1507507200.30 removed 1507507200."),
        ("/flights?from=1999999999.0", 409, "PGSQLITE DAYSTREAM AHEAD wanted 1999999999.0 end 150"),
        ("/none", 404, "PGSQLITE DAYSTREAM NOTFOUND\t"),
        ("/empty", 404, "PGSQLITE DAYSTREAM NOTFOUND\t"),
        ("/flights?form=1.0", 400, "PGSQLITE DAYSTREAM REQUEST\t"),
    ] {
        let (got, _, body) = server.get(path, "");
        assert_eq!(got, status, "{path}");
        assert!(text(&body).starts_with(code), "{path}: {}", text(&body));
        assert_eq!(text(&body).matches('\n').count(), 1);
    }
    assert_eq!(server.get("/flights?from=1999999999.0&beyond=1", "").0, 200);
    for clock in ["253402300799", "253402300800", "9223372036854775807"] {
        let (status, _, body) = server.get(&format!("/flights?from={clock}"), "");
        assert_eq!((status, body.len()), (200, 0), "{clock}");
    }
    let (status, head, _) =
        server.send("POST /flights HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(status == 405 && head.contains("allow: GET, HEAD"), "{head}");
}

#[test]
fn without_tokens_a_web_page_cannot_read_by_another_name() {
    let (root, stream) = root();
    write(&mut open(&stream), 1, 3).unwrap();
    let server = Server::guarded(root.path(), &[]);
    let port = server.address.port();
    let asked = |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{host}\r\n");
        let (status, _, body) = server.send(request);
        (status, text(&body))
    };
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(asked("/flights", &format!("Host: {host}:{port}\r\n")).0, 200, "{host}");
    }
    for path in ["/flights", "/flights/", "/status", "/metrics", "/none"] {
        for host in ["Host: evil.example\r\n", &format!("Host: evil.example:{port}\r\n"), ""] {
            let (status, body) = asked(path, host);
            assert_eq!(status, 400, "{path} {host}");
            assert!(!body.contains("fox") && !body.contains("flights"), "{body}");
        }
    }
    let own = format!("Host: localhost:{port}\r\n");
    assert_eq!(asked(&format!("http://evil.example:{port}/flights"), &own).0, 400);
    assert_eq!(asked("/flights", &own).0, 200);
}

#[test]
fn a_token_that_is_taken_away_ends_a_segment_that_is_under_way() {
    let (root, stream) = root();
    let hand = Hand::at(1_507_507_200);
    let mut writer = open(&stream);
    write(&mut writer, 1, 300_000).unwrap();
    writer.sync().unwrap();
    drop(writer);
    let next = WriterOptions { segment_bytes: 1000, ..options(&hand) };
    let mut writer = Writer::open(&stream, next).unwrap();
    write(&mut writer, 2, 30).unwrap();
    write(&mut writer, 3, 30).unwrap();
    writer.sync().unwrap();
    let tokens = root.path().join("tokens");
    let make = |name: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_daystream-serve"));
        command.args(["token", "-name", name, "-streams", "flights", "-tokens"]).arg(&tokens);
        text(&command.output().unwrap().stdout).trim().to_owned()
    };
    let (taken, stays) = (make("taken"), make("stays"));
    let server = Server::start(root.path(), &["-tokens", tokens.to_str().unwrap()]);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let list = text(&server.get("/flights/", &bearer(&taken)).2);
    let name = list.lines().nth(1).unwrap().split('\t').next().unwrap().to_owned();
    let bytes = stream.join(&name).metadata().unwrap().len();
    let mut sockets = [&taken, &stays].map(|token| {
        let mut socket = server.connect();
        let head = format!("GET /flights/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        socket.write_all(format!("{head}{}\r\n", bearer(token)).as_bytes()).unwrap();
        // The answer has begun, and waits to be taken.
        socket.read_exact(&mut [0; 100]).unwrap();
        socket
    });
    let lines = std::fs::read_to_string(&tokens).unwrap();
    std::fs::write(&tokens, lines.split_inclusive('\n').nth(1).unwrap()).unwrap();
    until("the token's end", || server.get("/flights/", &bearer(&taken)).0 == 401);
    let mut got = sockets.iter_mut().map(|socket| {
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        answer.len() as u64
    });
    let (taken, stays) = (got.next().unwrap(), got.next().unwrap());
    assert!(taken < bytes && stays >= bytes, "{taken} and {stays} of {bytes}");
}

#[test]
fn a_damaged_transaction_is_never_sent() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    for xid in 1..=3000 {
        write(&mut writer, xid, 20).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    let segment = std::fs::read_dir(stream.join("2017-10-09")).unwrap().next().unwrap();
    let segment = segment.unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let marker = b"fox2000";
    let at = bytes.windows(marker.len()).position(|window| window == marker).unwrap();
    bytes[at + 3] = b'9';
    std::fs::write(&segment, &bytes).unwrap();
    let server = Server::start(root.path(), &[]);
    let mut socket = server.connect();
    socket.write_all(b"GET /flights HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The answer is cut off, without the end that a whole one has.
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.ends_with(b"0\r\n\r\n"));
    let (_, _, body) = take_apart(&answer);
    assert!(text(&body).contains("fox1999") && !text(&body).contains("\tname\tfox9000"));
    let last = text(&body).lines().rfind(|line| line.ends_with("commit")).unwrap().to_owned();
    let fields: Vec<_> = last.split('\t').collect();
    let (status, _, body) = server.get(&format!("/flights?from={}.{}", fields[1], fields[3]), "");
    assert_eq!(status, 500);
    assert!(text(&body).starts_with("PGSQLITE DAYSTREAM CORRUPT segment "), "{}", text(&body));
}

#[test]
fn followers_get_each_transaction_as_it_comes() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    write(&mut writer, 1, 3).unwrap();
    writer.sync().unwrap();
    let server = Server::start(root.path(), &[]);
    let follow = |query: &str| {
        let mut socket = server.connect();
        let request = format!("GET /flights?follow=1{query} HTTP/1.1\r\nHost: x\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        socket
    };
    let mut sockets = [follow(""), follow("&heartbeat=1"), follow("&tables=other"), follow("")];
    until("followers", || server.metric("daystream_stream_followers{stream=\"flights\"}") == 4);
    for xid in 2..300 {
        write(&mut writer, xid, 3).unwrap();
        writer.sync().unwrap();
    }
    // A transaction that is not shared, since it is too large for that.
    write(&mut writer, 300, 30_000).unwrap();
    write(&mut writer, 301, 1).unwrap();
    writer.sync().unwrap();
    let all = all_lines(&stream);
    let mut got: Vec<Vec<u8>> = Vec::new();
    for socket in &mut sockets {
        let mut answer = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while !text(&answer[answer.len().saturating_sub(400)..]).contains("_xid\t301\t_lsn") {
            let read = socket.read(&mut buffer).unwrap();
            assert!(read > 0, "the answer ended");
            answer.extend_from_slice(&buffer[..read]);
        }
        got.push(take_apart(&answer).2);
    }
    assert!(got[0] == all && got[3] == all, "{} {} {}", got[0].len(), got[3].len(), all.len());
    let beats = text(&got[1]).lines().filter(|line| line.is_empty()).count();
    assert!(beats > 0);
    let without: String =
        text(&got[1]).lines().filter(|l| !l.is_empty()).map(|l| format!("{l}\n")).collect();
    assert!(without.as_bytes() == all);
    assert_eq!(text(&got[2]).lines().count(), 301);
    drop(sockets);
    let (clean, time) = server.terminate();
    assert!(clean && time.as_secs() < 4, "{time:?}");
}

#[test]
fn a_long_poll_ends_with_what_came() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    let end = write(&mut writer, 1, 3).unwrap();
    writer.sync().unwrap();
    let server = Server::start(root.path(), &[]);
    let path = format!("/flights?from={}.{}&follow=1&wait=", end.clock, end.seq);
    let (status, _, body) = server.get(&format!("{path}1"), "");
    assert_eq!((status, body.len()), (200, 0));
    std::thread::scope(|scope| {
        let polling = scope.spawn(|| server.get(&format!("{path}60"), ""));
        until("the poll", || server.metric("daystream_stream_followers{stream=\"flights\"}") == 1);
        write(&mut writer, 2, 3).unwrap();
        writer.sync().unwrap();
        let (_, _, body) = polling.join().unwrap();
        assert_eq!(text(&body).lines().count(), 4);
    });
}

#[test]
fn closed_segments_are_files_that_never_change() {
    let (root, stream) = root();
    let hand = Hand::at(1_507_507_200);
    let small = WriterOptions { segment_bytes: 10_000, ..options(&hand) };
    let mut writer = Writer::open(&stream, small).unwrap();
    for xid in 1..100 {
        write(&mut writer, xid, 30).unwrap();
    }
    writer.sync().unwrap();
    let server = Server::start(root.path(), &[]);
    let (_, _, list) = server.get("/flights/", "");
    let list = text(&list);
    let rows: Vec<Vec<&str>> = list.lines().skip(1).map(|l| l.split('\t').collect()).collect();
    assert!(rows.len() > 5 && rows.iter().rev().skip(1).all(|row| row[3] == "1"));
    let path = format!("/flights/{}", rows[0][0]);
    let file = std::fs::read(stream.join(rows[0][0])).unwrap();
    let (status, head, body) = server.get(&path, "");
    assert!(status == 200 && body == file);
    assert!(head.contains("cache-control: public, max-age=31536000, immutable"), "{head}");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let (status, _, body) = server.get(&path, &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((status, body.len()), (304, 0));
    let (status, head, body) = server.get(&path, "Range: bytes=10-19\r\n");
    assert!(status == 206 && body == file[10..20], "{head}");
    assert!(head.contains(&format!("content-range: bytes 10-19/{}", file.len())));
    assert_eq!(server.get(&path, "Range: bytes=99999999-\r\n").0, 416);
    let stale = server.get(&path, "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n");
    assert!(stale.0 == 200 && stale.2 == file);
    let open = format!("/flights/{}", rows.last().unwrap()[0]);
    assert_eq!(server.get(&open, "").0, 404);
    for other in ["/flights/2017-10-09/lock", "/flights/2017-10-09/1.0.tsv", "/flights/x/../lock"] {
        assert_eq!(server.get(other, "").0, 404, "{other}");
    }
}

#[test]
fn compressed_segments_give_the_same_lines() {
    let (root, stream) = root();
    let hand = Hand::at(1_507_507_200);
    let small = WriterOptions { segment_bytes: 100_000, ..options(&hand) };
    let mut writer = Writer::open(&stream, small).unwrap();
    let ends: Vec<_> = (1..=300).map(|xid| write(&mut writer, xid, 30).unwrap()).collect();
    writer.sync().unwrap();
    let all = all_lines(&stream);
    let done = compress(&stream, Which::Closed, &Storage::default(), &|| true).unwrap();
    assert!(done.segments > 3, "{done:?}");
    let server = Server::start(root.path(), &[]);
    assert!(server.get("/flights", "").2 == all);
    let from = format!("/flights?from={}.{}", ends[99].clock, ends[99].seq);
    let (_, _, body) = server.get(&from, "");
    assert!(all.ends_with(&body) && text(&body).lines().count() == 200 * 31);
    let list = text(&server.get("/flights/", "").2);
    let name = list.lines().nth(1).unwrap().split('\t').next().unwrap();
    assert!(name.ends_with(".tsv.zst"), "{name}");
    let (status, head, body) = server.get(&format!("/flights/{name}"), "");
    assert!(status == 200 && head.contains("content-type: application/zstd"), "{head}");
    assert!(all.starts_with(&zstd::decode_all(&body[..]).unwrap()));
}

#[test]
fn a_token_that_is_taken_away_ends_a_follower_at_the_streams_end() {
    let (root, stream) = root();
    let mut writer = open(&stream);
    write(&mut writer, 1, 10).unwrap();
    writer.sync().unwrap();
    let tokens = root.path().join("tokens");
    let make = |name: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_daystream-serve"));
        command.args(["token", "-name", name, "-streams", "flights", "-tokens"]).arg(&tokens);
        text(&command.output().unwrap().stdout).trim().to_owned()
    };
    let (taken, stays) = (make("taken"), make("stays"));
    let server = Server::start(root.path(), &["-tokens", tokens.to_str().unwrap()]);
    // Both are at the end, where one thread reads for all.
    let mut sockets = [&taken, &stays].map(|token| {
        let mut socket = server.connect();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        let head = "GET /flights?follow=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let request = format!("{head}Authorization: Bearer {token}\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut some) = (Vec::new(), [0; 4096]);
        while !text(&answer).contains("_action\tcommit") {
            let count = socket.read(&mut some).unwrap();
            assert!(count > 0, "{}", text(&answer));
            answer.extend_from_slice(&some[..count]);
        }
        socket
    });
    let lines = std::fs::read_to_string(&tokens).unwrap();
    std::fs::write(&tokens, lines.split_inclusive('\n').nth(1).unwrap()).unwrap();
    let bearer = format!("Authorization: Bearer {taken}\r\n");
    until("the token's end", || server.get("/flights/", &bearer).0 == 401);
    write(&mut writer, 2, 10).unwrap();
    writer.sync().unwrap();
    let mut rest = Vec::new();
    let _ = sockets[0].read_to_end(&mut rest);
    assert!(!text(&rest).contains("_xid\t2\t"), "{}", text(&rest));
    let (mut answer, mut some) = (Vec::new(), [0; 4096]);
    while !text(&answer).contains("_xid\t2\t") {
        let count = sockets[1].read(&mut some).unwrap();
        assert!(count > 0, "the other one goes on");
        answer.extend_from_slice(&some[..count]);
    }
}
