//! Sockets: who may connect, for how long, and how it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::guests::{Guest, Guests};
use super::metrics::Metrics;
use super::service::Service;
use super::socket::{Listen, Listener, Socket};
use super::stop::{Stop, Stopper};
use super::streams::Streams;
use super::timed::Timed;
use super::tls::Tls;
use super::tokens::Tokens;
use crate::limits;
use crate::log::Log;

/// What a server is told.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// The folder of the streams.
    pub root: PathBuf,
    /// Certificate and key, in PEM form.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The file of tokens.
    pub tokens: Option<PathBuf>,
    /// Without TLS or without tokens, others than this machine are served all the same, and without
    /// tokens by whatever name this machine is asked.
    pub insecure: bool,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_each: usize,
    /// Where it is told.
    pub log: Log,
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// What is wrong, in words: an address that cannot be had, files that are not to be used.
pub fn run(config: Config) -> Result<(), String> {
    if let Some(missing) = missing(&config) {
        return Err(format!(
            "{} can be reached from other machines: give {missing}, or -insecure 1",
            config.listen
        ));
    }
    if !config.root.is_dir() {
        return Err(format!("{} is no folder", config.root.display()));
    }
    let log = config.log;
    let tokens = config.tokens.clone().map(|file| Tokens::open(file, log)).transpose()?;
    let tls = config.tls.clone().map(|(cert, key)| Tls::open(cert, key, log)).transpose()?;
    raise_files_limit();
    let why = |error: std::io::Error| format!("cannot listen on {}: {error}", config.listen);
    let (bound, _file) = Listener::bind(&config.listen).map_err(why)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(limits::SERVING_THREADS)
        .max_blocking_threads(limits::READING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let (tls, tokens) = (tls.map(Arc::new), tokens.map(Arc::new));
    let ended = runtime.block_on(async {
        let listener = bound.listener().map_err(why)?;
        let address = listener.address().map_err(why)?;
        let service = Service {
            streams: Streams::new(config.root.clone()),
            own_port: address.filter(|_| !config.insecure).map(|address| address.port()),
            tokens,
            metrics: Arc::default(),
            log,
        };
        let name = address.map_or_else(|| config.listen.to_string(), |one| one.to_string());
        serve(&config, Arc::new(service), tls, listener, &name).await.map_err(why)
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// What a server that other machines can reach must be told, and this one is not.
fn missing(config: &Config) -> Option<&'static str> {
    let outside = matches!(&config.listen, Listen::Tcp(address) if !address.ip().is_loopback());
    match (&config.tls, &config.tokens) {
        _ if config.insecure || !outside => None,
        (None, _) => Some("-tls CERT KEY"),
        (_, None) => Some("-tokens FILE"),
        _ => None,
    }
}

/// What a server without tokens tells the one who starts it.
fn warn(config: &Config, log: Log) {
    if config.tokens.is_none()
        && let Listen::Tcp(address) = &config.listen
    {
        let who = if address.ip().is_loopback() { "user of this machine" } else { "host" };
        let message = format!(
            "without -tokens FILE, every {who} can read every stream; -listen unix:FILE \
             is a socket with a mode"
        );
        log.event("warning", "open", &[("message", &message)]);
    }
}

/// A thousand followers need a thousand descriptors.
fn raise_files_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // NOTE: without it there is room for fewer connections; accepting then waits.
    let _ = setrlimit(Resource::Nofile, limit);
}

async fn serve(
    config: &Config,
    service: Arc<Service>,
    tls: Option<Arc<Tls>>,
    listener: Listener,
    name: &str,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Files are looked at all the time: there is nothing to do at SIGHUP but to live on.
    let mut hangup = signal(SignalKind::hangup())?;
    let stopper = Stopper::new();
    let room = Arc::new(Semaphore::new(config.connections));
    let guests = Guests::new(config.connections_each);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let tokens = u8::from(service.tokens.is_some()).to_string();
    let fields = [("address", name), ("scheme", scheme), ("tokens", &*tokens)];
    service.log.info("listening", &fields);
    warn(config, service.log);
    loop {
        let accepting = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (room, listener.accept().await)
        };
        tokio::select! {
            (room, accepted) = accepting => match (room, accepted) {
                (Ok(room), Ok((socket, peer, origin))) => {
                    let Some(guest) = guests.admit(origin) else {
                        // NOTE: closed without a word, which would cost more than it tells.
                        Metrics::add(&service.metrics.turned_away);
                        continue;
                    };
                    let (service, tls) = (Arc::clone(&service), tls.clone());
                    let connection = connection(service, tls, socket, peer, stopper.subscribe());
                    tokio::spawn(hold((room, guest), connection));
                }
                // Out of descriptors, or a client that is gone again: others come.
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {}
        }
    }
    drop(listener);
    stopper.raise();
    let all = u32::try_from(config.connections).unwrap_or(u32::MAX);
    let ended = timeout(limits::STOP_TIME, room.acquire_many(all)).await.is_ok();
    service.log.info("stopped", &[("all_answers_ended", if ended { "1" } else { "0" })]);
    Ok(())
}

async fn hold(place: (OwnedSemaphorePermit, Guest), work: impl Future<Output = ()>) {
    work.await;
    drop(place);
}

async fn connection(
    service: Arc<Service>,
    tls: Option<Arc<Tls>>,
    socket: Socket,
    peer: String,
    stop: Stop,
) {
    let metrics = Arc::clone(&service.metrics);
    Metrics::add(&metrics.accepted);
    Metrics::add(&metrics.connections);
    let socket = Timed::new(socket, Arc::clone(&metrics));
    match tls {
        None => exchange(service, socket, peer, stop).await,
        Some(tls) => {
            let limit = |connection: &mut tokio_rustls::rustls::ServerConnection| {
                connection.set_buffer_limit(Some(limits::TLS_BUFFER_BYTES));
            };
            let handshake = tls.acceptor().accept_with(socket, limit);
            match timeout(limits::HANDSHAKE_TIME, handshake).await {
                Ok(Ok(socket)) => exchange(service, socket, peer, stop).await,
                _ => Metrics::add(&metrics.handshakes_failed),
            }
        }
    }
    metrics.connections.fetch_sub(1, Ordering::Relaxed);
}

async fn exchange<S>(service: Arc<Service>, socket: S, peer: String, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let told = stop.clone();
    let answer = service_fn(move |request| {
        let (service, peer, stop) = (Arc::clone(&service), peer.clone(), told.clone());
        async move { Ok::<_, std::convert::Infallible>(service.answer(request, &peer, stop).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME)
        .max_buf_size(limits::CONNECTION_BUFFER_BYTES)
        .max_headers(limits::HEADERS_MAX)
        .serve_connection(TokioIo::new(socket), answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // NOTE: what failed was the client's, or the answer itself, and the client has noticed.
        _ = connection.as_mut() => {}
        () = stop.raised() => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(limits::STOP_TIME, connection).await;
        }
    }
}
