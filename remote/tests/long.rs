//! Lines that are too long to be held for each reader: they go out in pieces.

#[path = "../../tests/log/mod.rs"]
mod log;
mod server;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use log::{Hand, open, options, write};
use pgsqlite::daystream::{Commit, Position, Storage, Which, Writer, compress};
use server::{Server, all_lines, take_apart, until};

/// Bytes of the line, and readers of it. More than these the server lets go while they wait for one
/// another: they take nothing for too long.
fn size() -> (usize, usize) {
    if std::env::var("PGSQLITE_TEST_ALL").is_ok_and(|all| all == "1") {
        (150 << 20, 8)
    } else {
        (24 << 20, 8)
    }
}

/// One transaction with a line of `bytes` between two short ones.
fn write_long(writer: &mut Writer, xid: u32, bytes: usize) -> Position {
    for value in ["short".to_owned(), "long ".repeat(bytes / 5), "short again".to_owned()] {
        let line = format!("_table\tz\t_xid\t{xid}\t_action\tinsert\tname\t{value}");
        writer.line(line.as_bytes()).unwrap();
    }
    let commit = Commit { xid: Some(xid), ..Commit::default() };
    writer.commit(commit).unwrap().unwrap()
}

fn stream(dir: &Path, bytes: usize) -> Writer {
    let mut writer = open(dir);
    write(&mut writer, 1, 3).unwrap();
    write_long(&mut writer, 2, bytes);
    write(&mut writer, 3, 3).unwrap();
    writer.sync().unwrap();
    writer
}

fn ask(server: &Server, query: &str) -> TcpStream {
    let mut socket = server.connect();
    let request = format!("GET /flights{query} HTTP/1.1\r\nHost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

#[test]
fn many_slow_readers_of_a_long_line_take_its_memory_once() {
    let (bytes, readers) = size();
    let root = log::folder();
    drop(stream(&root.path().join("flights"), bytes));
    let all = all_lines(&root.path().join("flights"));
    let server = Server::start(root.path(), &[]);
    let idle = server.memory("VmRSS");
    let mut slow: Vec<TcpStream> = (0..readers).map(|_| ask(&server, "")).collect();
    // Each waits for its turn.
    let patience = std::time::Duration::from_secs(300);
    slow.iter().for_each(|socket| socket.set_read_timeout(Some(patience)).unwrap());
    // Each is in the middle of the line, and takes no more.
    for socket in &mut slow {
        socket.read_exact(&mut vec![0; bytes / 4]).unwrap();
    }
    assert!(server.get("/flights", "").2 == all);
    let held = server.memory("VmRSS").saturating_sub(idle);
    let most = server.memory("VmHWM") - idle;
    println!("{readers} readers of a line of {bytes} bytes: {held} held, {most} at most");
    // To check the line it is in memory once, in a buffer that doubles.
    assert!(most < 3 * bytes as u64 + (64 << 20), "{most}");
    for socket in &mut slow {
        let mut rest = all.len() - bytes / 4;
        let mut buffer = vec![0; 1 << 20];
        while rest > 0 {
            let read = socket.read(&mut buffer).unwrap();
            assert!(read > 0, "the answer ended");
            rest = rest.saturating_sub(read);
        }
    }
}

#[test]
fn readers_that_take_nothing_hold_no_line() {
    let (bytes, readers) = (10 << 20, 30);
    let root = log::folder();
    drop(stream(&root.path().join("flights"), bytes));
    let server = Server::start(root.path(), &[]);
    let idle = server.memory("RssAnon");
    let sockets: Vec<TcpStream> = (0..readers).map(|_| ask(&server, "")).collect();
    let still: Vec<TcpStream> = std::thread::scope(|scope| {
        let begun = sockets.into_iter().map(|mut socket| {
            scope.spawn(move || {
                let patience = std::time::Duration::from_secs(300);
                socket.set_read_timeout(Some(patience)).unwrap();
                socket.read_exact(&mut vec![0; 256 << 10]).unwrap();
                socket
            })
        });
        let begun: Vec<_> = begun.collect();
        begun.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    // Each is in the middle of the line, and takes no more.
    let held = server.memory("RssAnon").saturating_sub(idle);
    let most = server.memory("VmHWM").saturating_sub(server.memory("VmRSS")) + held;
    println!("{readers} readers of a line of {bytes} bytes: {held} held, {most} at most");
    let bound = readers as u64 * (400 << 10) + (16 << 20);
    assert!(most < bound, "{held} and at most {most}, not {bound}");
    drop(still);
}

#[test]
fn a_long_line_is_the_same_in_pieces() {
    let root = log::folder();
    let dir = root.path().join("flights");
    let bytes = 5 << 20;
    let mut writer = stream(&dir, bytes);
    let all = all_lines(&dir);
    let server = Server::start(root.path(), &[]);
    assert!(server.get("/flights", "").2 == all);
    let (_, _, packed) = server.get("/flights", "Accept-Encoding: zstd\r\n");
    assert!(zstd::decode_all(&packed[..]).unwrap() == all);
    let (_, _, other) = server.get("/flights?tables=none", "");
    assert_eq!(String::from_utf8_lossy(&other).lines().count(), 3);
    // To a follower, while it comes.
    let mut socket = ask(&server, "?follow=1&heartbeat=1");
    let mut answer = vec![0; all.len()];
    socket.read_exact(&mut answer).unwrap();
    until("a follower", || server.metric("daystream_stream_followers{stream=\"flights\"}") == 1);
    write_long(&mut writer, 4, bytes);
    write(&mut writer, 5, 1).unwrap();
    writer.sync().unwrap();
    let all = all_lines(&dir);
    let mut buffer = vec![0; 1 << 20];
    let sought = b"\tname\tfox5\n";
    while !answer[answer.len() - answer.len().min(1000)..].windows(11).any(|w| w == sought) {
        let read = socket.read(&mut buffer).unwrap();
        assert!(read > 0, "the answer ended");
        answer.extend_from_slice(&buffer[..read]);
    }
    let (_, _, body) = take_apart(&answer);
    let text = String::from_utf8(body).unwrap();
    let whole: String = text.split_inclusive('\n').filter(|line| *line != "\n").collect();
    assert!(whole.len() > all.len() - 1000 && all.starts_with(whole.as_bytes()));
    drop(writer);
    // From a compressed segment.
    let mut writer = Writer::open(&dir, options(&Hand::at(1_507_607_200))).unwrap();
    write(&mut writer, 6, 1).unwrap();
    writer.sync().unwrap();
    let done = compress(&dir, Which::Closed, &Storage::default(), &|| true).unwrap();
    assert_eq!(done.segments, 1);
    let got = server.get("/flights", "").2;
    assert!(got.starts_with(&all) && got.len() > all.len());
}

#[test]
fn a_line_that_changes_while_it_is_sent_ends_the_answer() {
    use std::os::unix::fs::FileExt;
    let root = log::folder();
    let dir = root.path().join("flights");
    let bytes = 24 << 20;
    drop(stream(&dir, bytes));
    let all = all_lines(&dir);
    let server = Server::start(root.path(), &[]);
    let mut socket = ask(&server, "");
    socket.read_exact(&mut vec![0; 1 << 20]).unwrap();
    let file = dir.join("2017-10-09/1507507200.0.tsv");
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(b"wrong", bytes as u64 - 100).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.ends_with(b"0\r\n\r\n") && answer.len() < all.len());
}
