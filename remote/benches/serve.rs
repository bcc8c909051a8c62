//! How fast lines get to other hosts, and what followers cost.
//!
//!     cargo bench -p daystream-remote ?-- FOLLOWERS SECONDS?
//!
//! With words, of followers alone.
//!
//! The server's CPU time is its own process's; the delay is from the commit's time stamp, taken
//! right before it is written, to the line in the follower, on one machine.

#[path = "../../tests/log/mod.rs"]
mod log;
#[path = "../tests/server/mod.rs"]
mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use deltaflood::Lsn;
use log::{open, write};
use pgsqlite::daystream::{Commit, Writer, WriterOptions};
use server::Server;

fn now_us() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// CPU time of the server, in seconds.
fn cpu(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn certificate(dir: &std::path::Path) -> [String; 3] {
    let file = |name: &str| dir.join(name).display().to_string();
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x \
                 -addext subjectAltName=IP:127.0.0.1";
    let mut made = Command::new("openssl");
    made.args(words.split_whitespace()).args(["-keyout", &file("key"), "-out", &file("cert")]);
    assert!(made.output().unwrap().status.success());
    ["-tls".to_owned(), file("cert"), file("key")]
}

fn throughput() {
    let root = log::folder();
    let mut writer = open(&root.path().join("flights"));
    for xid in 1..=40_000 {
        write(&mut writer, xid, 100).unwrap();
    }
    writer.sync().unwrap();
    let bytes = server::all_lines(&root.path().join("flights")).len() as f64;
    let tls = certificate(root.path());
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    for (name, options, curl) in [
        ("plain", &[][..], &[][..]),
        ("plain, zstd", &[], &["-H", "Accept-Encoding: zstd"]),
        ("TLS", &tls, &["-k"]),
    ] {
        let server = Server::start(root.path(), options);
        let scheme = if options.is_empty() { "http" } else { "https" };
        let url = format!("{scheme}://{}/flights", server.address);
        let before = cpu(&server);
        let began = Instant::now();
        let got = Command::new("curl")
            .args(["-sS", "-o", "/dev/null", "-w", "%{size_download}"])
            .args(curl)
            .arg(url)
            .output()
            .unwrap();
        let (seconds, used) = (began.elapsed().as_secs_f64(), cpu(&server) - before);
        let sent: f64 = String::from_utf8(got.stdout).unwrap().parse().unwrap();
        println!(
            "{name}: {:.0} MB of lines as {:.0} MB in {seconds:.2} s: {:.0} MB/s; server \
             {used:.2} s of CPU: {:.0} MB per second of it",
            bytes / 1e6,
            sent / 1e6,
            bytes / 1e6 / seconds,
            bytes / 1e6 / used,
        );
    }
}

/// One follower: keeps the delay of each commit line, in microseconds.
fn follow(mut socket: TcpStream, delays: &Mutex<Vec<i64>>) {
    let mut buffer = vec![0; 1 << 14];
    let mut rest = Vec::new();
    let mut own = Vec::new();
    while let Ok(read) = socket.read(&mut buffer) {
        let now = now_us();
        if read == 0 {
            break;
        }
        rest.extend_from_slice(&buffer[..read]);
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&rest[..at]).into_owned();
            if let Some(time) = line.split("_time\t").nth(1) {
                own.push(now - time.split('\t').next().unwrap().parse::<i64>().unwrap());
            }
            rest.drain(..=at);
        }
    }
    delays.lock().unwrap().extend(own);
}

/// One follower of what is compressed, chunk by chunk: keeps the delay of each commit line.
fn count_frames(socket: TcpStream, delays: &Mutex<Vec<i64>>) {
    let mut socket = BufReader::with_capacity(1 << 12, socket);
    let mut own = Vec::new();
    let mut unpack = zstd::bulk::Decompressor::new().unwrap();
    let mut line = String::new();
    while socket.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        line.clear();
    }
    loop {
        line.clear();
        let size = socket.read_line(&mut line).map(|_| usize::from_str_radix(line.trim(), 16));
        let Ok(Ok(size @ 1..)) = size else { break };
        let mut chunk = vec![0; size + 2];
        if socket.read_exact(&mut chunk).is_err() {
            break;
        }
        let now = now_us();
        // A frame of its own for each part.
        let text = unpack.decompress(&chunk[..size], 1 << 16).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        for time in text.split("_time\t").skip(1) {
            own.push(now - time.split('\t').next().unwrap().parse::<i64>().unwrap());
        }
    }
    delays.lock().unwrap().extend(own);
}

/// Followers of all lines, or compressed, of one table of two that change alternately.
fn followers(count: usize, seconds: u64, zstd: bool) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let root = log::folder();
    let mut writer = Writer::open(root.path().join("flights"), WriterOptions::default()).unwrap();
    write(&mut writer, 1, 1).unwrap();
    writer.sync().unwrap();
    let server = Server::start(root.path(), &[]);
    let idle = server.memory("VmRSS");
    let delays: Arc<Mutex<Vec<i64>>> = Arc::default();
    let (tables, accept) = if zstd { ("&tables=z", "Accept-Encoding: zstd\r\n") } else { ("", "") };
    let request =
        format!("GET /flights?from=end&follow=1{tables} HTTP/1.1\r\nHost: x\r\n{accept}\r\n");
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let mut socket = TcpStream::connect(server.address).unwrap();
            socket.write_all(request.as_bytes()).unwrap();
            let delays = Arc::clone(&delays);
            let thread = std::thread::Builder::new().stack_size(64 << 10);
            let run =
                move || if zstd { count_frames(socket, &delays) } else { follow(socket, &delays) };
            thread.spawn(run).unwrap()
        })
        .collect();
    let name = "daystream_stream_followers{stream=\"flights\"}";
    server::until("the followers", || server.metric(name) == count as u64);
    let before = cpu(&server);
    let rate = 20;
    for n in 0..seconds * rate {
        let table = if zstd && n % 2 == 1 { "other" } else { "z" };
        let line = format!("_table\t{table}\t_xid\t{n}\t_action\tinsert\tid\t{n}\tname\tfox{n}");
        let commit =
            Commit { xid: Some(n as u32), lsn: Some(Lsn(1000 + n)), time_us: Some(now_us()) };
        writer.line(line.as_bytes()).unwrap();
        writer.commit(commit).unwrap();
        writer.flush().unwrap();
        std::thread::sleep(Duration::from_millis(1000 / rate));
    }
    let (used, memory) = (cpu(&server) - before, server.memory("VmHWM") - idle);
    let what = if zstd { "zstd, one table of two: " } else { "" };
    server.terminate();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut delays = std::mem::take(&mut *delays.lock().unwrap());
    delays.sort_unstable();
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100] as f64 / 1000.0;
    println!(
        "{what}{count} followers, {rate} transactions/s for {seconds} s: {} of {} lines; server {:.1} % \
         of one core, {} KiB more memory ({} KiB each); delay median {:.1} ms, 99 % {:.1} ms, \
         most {:.1} ms",
        delays.len(),
        count as u64 * seconds * rate,
        used * 100.0 / seconds as f64,
        memory >> 10,
        (memory >> 10) as usize / count,
        at(50),
        at(99),
        at(100),
    );
}

fn main() {
    let words: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    if words.is_empty() {
        throughput();
    }
    let count = words.first().copied().unwrap_or(1000);
    let seconds = words.get(1).map_or(10, |seconds| *seconds as u64);
    followers(count, seconds, false);
    followers(count, seconds, true);
}
