//! A server as users start it, and requests by hand.

#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `daystream-serve`, ended when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Serves the folders of `root`, on a port of its own, whatever `Host` it is asked for.
    pub fn start(root: &Path, options: &[&str]) -> Server {
        Server::guarded(root, &[&["-insecure", "1"], options].concat())
    }

    /// The same, only to who asks for this machine, unless there are tokens.
    pub fn guarded(root: &Path, options: &[&str]) -> Server {
        let began = Instant::now();
        loop {
            match Server::try_start(root, options) {
                Ok(server) => return server,
                // A client may have got the port to connect from; it will not keep it.
                Err(why) => assert!(began.elapsed() < Duration::from_secs(10), "{why}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_start(root: &Path, options: &[&str]) -> Result<Server, String> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_daystream-serve"))
            .args(["-listen", "127.0.0.1:0", "-root"])
            .arg(root)
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .expect("daystream-serve");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let address = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next());
        let Some(address) = address.and_then(|text| text.parse().ok()) else {
            child.wait().unwrap();
            return Err(line);
        };
        // The log is read on, or the server would wait for room in the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Server { child, address })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).expect("connect");
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    }

    /// Sends `GET path` and closes; the status, the head and the body.
    pub fn get(&self, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"))
    }

    /// Sends bytes as they are, and reads all of the answer.
    pub fn send(&self, request: impl AsRef<[u8]>) -> (u16, String, Vec<u8>) {
        let mut socket = self.connect();
        // NOTE: a server that refuses need not read all of it.
        let _ = socket.write_all(request.as_ref());
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        take_apart(&answer)
    }

    /// Resident memory, in bytes: now, or at its highest.
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// Bytes that the server has read, of files and sockets.
    pub fn bytes_read(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid())).unwrap();
        let line = io.lines().find(|line| line.starts_with("rchar:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// A line of the metrics page.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, _, body) = self.get("/metrics", "");
        let text = String::from_utf8(body).unwrap();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
    }

    /// SIGTERM; how it ended, and in what time.
    pub fn terminate(mut self) -> (bool, Duration) {
        let began = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        (status.success(), began.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status, head and body of an answer; the body's chunks are joined.
pub fn take_apart(answer: &[u8]) -> (u16, String, Vec<u8>) {
    let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return (0, String::from_utf8_lossy(answer).into_owned(), Vec::new());
    };
    let head = String::from_utf8_lossy(&answer[..at]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut body = answer[at + 4..].to_vec();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = chunks(&body);
    }
    (status, head, body)
}

fn chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..at]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let from = at + 2;
        if size == 0 || rest.len() < from + size {
            break;
        }
        body.extend_from_slice(&rest[from..from + size]);
        rest = &rest[(from + size + 2).min(rest.len())..];
    }
    body
}

/// Every line of a stream, as its files have them.
pub fn all_lines(dir: &Path) -> Vec<u8> {
    let mut files: Vec<PathBuf> = Vec::new();
    for day in std::fs::read_dir(dir).unwrap() {
        let day = day.unwrap().path();
        // Beside the days are readers' files.
        if day.is_dir() && !day.ends_with("readers") {
            files.extend(std::fs::read_dir(day).unwrap().map(|file| file.unwrap().path()));
        }
    }
    // By day, and by the numbers of clock and sequence in the name.
    files.sort_by_key(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let numbers: Vec<u64> = name.split('.').map_while(|word| word.parse().ok()).collect();
        (file.parent().unwrap().to_owned(), numbers)
    });
    files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect()
}

/// Waits for a condition.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
