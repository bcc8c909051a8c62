//! A network that hangs, drips, or has only one end: a code within the configured time, and on.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgsqlite::deltastream::{Capture, Event, Options};
use pgsqlite::error::Coded;
use support::stream::{Source, wait_streaming};
use support::{Cluster, wait_until};

const PASS: u8 = 0;
/// Nothing goes either way, and nobody is told.
const HOLD: u8 = 1;
/// The server's bytes come one in a second.
const DRIP: u8 = 2;

/// A way to the server's socket that a test can spoil.
struct Proxy {
    port: u16,
    mode: Arc<AtomicU8>,
    over: Arc<AtomicBool>,
}

impl Proxy {
    fn start(server: std::path::PathBuf) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let port = listener.local_addr().expect("address").port();
        let (mode, over) = (Arc::new(AtomicU8::new(PASS)), Arc::new(AtomicBool::new(false)));
        let (modes, ends) = (Arc::clone(&mode), Arc::clone(&over));
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let server = UnixStream::connect(&server).expect("server");
                let (modes, ends) = (Arc::clone(&modes), Arc::clone(&ends));
                std::thread::spawn(move || carry(client, server, &modes, &ends));
            }
        });
        Proxy { port, mode, over }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Ends the wait for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Carries bytes until an end closes. A connection that was spoiled once stays so.
fn carry(mut client: TcpStream, mut server: UnixStream, mode: &AtomicU8, over: &AtomicBool) {
    let tick = Some(Duration::from_millis(5));
    client.set_read_timeout(tick).expect("timeout");
    server.set_read_timeout(tick).expect("timeout");
    let mut dripped = Instant::now();
    let (mut spoiled, mut bytes) = (PASS, [0; 8192]);
    while !over.load(Ordering::SeqCst) {
        spoiled = spoiled.max(mode.load(Ordering::SeqCst));
        if spoiled == HOLD {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let room = if spoiled == DRIP { 1 } else { bytes.len() };
        if spoiled == PASS || dripped.elapsed() >= Duration::from_secs(1) {
            dripped = Instant::now();
            if !pass(&mut server, &mut client, &mut bytes[..room]) {
                return;
            }
        }
        if !pass(&mut client, &mut server, &mut bytes) {
            return;
        }
    }
}

/// Carries what there is now; false at the end.
fn pass(from: &mut impl Read, to: &mut impl Write, bytes: &mut [u8]) -> bool {
    match from.read(bytes) {
        Ok(0) => false,
        Ok(read) => to.write_all(&bytes[..read]).is_ok(),
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// A source whose capture goes through a proxy. A server that cannot be reached has to find out
/// itself, by its own timeout, that its client is gone.
fn through(source: &Source) -> (Proxy, Options) {
    let socket = source.cluster.data().parent().expect("folder").join(".s.PGSQL.5432");
    let proxy = Proxy::start(socket);
    let mut options = source.options();
    options.conninfo = format!(
        "host=127.0.0.1 port={} user=postgres dbname={} sslmode=disable gssencmode=disable \
         options='-c wal_sender_timeout=2s'",
        proxy.port, source.name
    );
    (proxy, options)
}

type Heard = Arc<Mutex<Vec<(String, Instant)>>>;

/// Starts a capture; what it tells of lost connections is noted.
fn start(options: Options) -> (Capture, Heard) {
    let heard: Heard = Arc::default();
    let notes = Arc::clone(&heard);
    let listener = move |event: &Event<'_>| {
        if let Event::Retrying { error, .. } = event {
            let reason = error.code().reason.to_owned();
            notes.lock().expect("notes").push((reason, Instant::now()));
        }
    };
    (Capture::start(options, Box::new(listener)).expect("start"), heard)
}

/// A stream that is spoiled in the middle: STALLED in time, and all of it once it is well again.
fn spoiled_in_the_middle(name: &str, mode: u8) {
    let mut source = Source::set_up_t(Cluster::shared(), name);
    let (proxy, mut options) = through(&source);
    options.stall_timeout_ms = 1_500;
    options.slot_wait_ms = 60_000;
    options.connect_timeout_ms = 1_000;
    options.idle_confirm_ms = 100;
    let (capture, heard) = start(options);
    wait_streaming(&capture);
    source.insert(1, 1000);
    let end = source.wal_lsn();
    wait_until("the first half", || capture.status().durable >= end);
    proxy.set(mode);
    let since = Instant::now();
    source.insert(1001, 2000);
    let end = source.wal_lsn();
    wait_until("the stall to be told", || !heard.lock().expect("notes").is_empty());
    let (reason, at) = heard.lock().expect("notes")[0].clone();
    let after = at.duration_since(since);
    assert_eq!(reason, "STALLED");
    assert!(after > Duration::from_millis(500) && after < Duration::from_secs(8), "{after:?}");
    proxy.set(PASS);
    wait_until("the second half", || capture.status().durable >= end);
    capture.stop();
    capture.join().expect("capture");
    source.assert_complete(2000);
}

#[test]
fn a_half_open_connection_is_given_up_in_time() {
    spoiled_in_the_middle("half_open", HOLD);
}

#[test]
fn a_server_that_drips_is_given_up_in_time() {
    spoiled_in_the_middle("drips", DRIP);
}

/// A connection that cannot be made: a code within the time for it.
fn spoiled_from_the_start(name: &str, mode: u8) {
    let source = Source::set_up_t(Cluster::shared(), name);
    let (proxy, mut options) = through(&source);
    proxy.set(mode);
    options.connect_timeout_ms = 700;
    let since = Instant::now();
    let (capture, _) = start(options);
    let error = capture.join().expect_err("no connection");
    let after = since.elapsed();
    assert_eq!(error.code().reason, "CONNECTTIMEOUT", "{error}");
    assert!(after > Duration::from_millis(600) && after < Duration::from_secs(5), "{after:?}");
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    spoiled_from_the_start("silent", HOLD);
}

#[test]
fn a_server_that_drips_from_the_start_is_given_up_in_time() {
    spoiled_from_the_start("dripping", DRIP);
}
