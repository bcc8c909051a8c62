//! A stream from its URL, over as many connections as it takes.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::Method;
use pgsqlite::daystream::remote::{Fault, Hello, Reason, check_same};
use pgsqlite::daystream::{Identity, Position, Start};
use pgsqlite::error::Class;
use tokio::time::timeout;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::connection::{Answer, Client, Question};
use super::output::Output;
use super::transaction::{Assembler, Failure, Filtered};
use super::url::Url;
use crate::limits::{CLIENT_HEARTBEAT_SECONDS, RECONNECT_PAUSE, SILENCE_TIME, ZSTD_WINDOW_LOG_MAX};
use crate::log::Log;
use crate::wire::{encode, position_text};

/// What a client is told.
pub struct Config {
    /// Where the stream is.
    pub url: Url,
    /// The bearer token.
    pub token: Option<String>,
    /// Certificates of authorities to trust, instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Where to begin.
    pub start: Start,
    /// No transaction that ends beyond this.
    pub to: Option<Position>,
    /// Only these tables, with commas between them.
    pub tables: Option<String>,
    /// These tables as a mirror takes them: with the definitions of all tables, and without
    /// transactions that have nothing else. A server that does not know of it gives all lines.
    pub mirror: bool,
    /// On as the stream grows.
    pub follow: bool,
    /// A position beyond the stream's end is none to refuse.
    pub beyond: bool,
    /// Frames between the lines.
    pub frames: bool,
    /// Only what the stream is.
    pub info: bool,
    /// How long to try again in a row; `None`: for ever.
    pub retry: Option<Duration>,
    /// Try again also before there was any answer.
    pub wait_for_server: bool,
    /// Where it is told.
    pub log: Option<Log>,
}

/// How a session ends.
pub enum End {
    /// With everything there was.
    Done,
    /// Nobody takes the lines any more.
    Closed,
}

/// Writes the stream to `out`.
///
/// # Errors
/// The failure that ends it; it was written as a frame, where there are frames.
pub fn run(config: Config, out: impl Write) -> Result<End, Fault> {
    let mut output = Output::new(out, &config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::new(Reason::Local, error.to_string()));
    let done = runtime.and_then(|runtime| runtime.block_on(session(&config, &mut output)));
    if let Err(fault) = &done {
        output.fault(fault);
    }
    done
}

/// What lasts from one connection to the next.
struct Session {
    assembler: Assembler,
    identity: Option<Option<Identity>>,
    /// Where to begin when nothing has come yet.
    start: Start,
    /// The first failure since something came.
    failing: Option<Instant>,
}

async fn session<W: Write>(config: &Config, output: &mut Output<W>) -> Result<End, Fault> {
    let client = Client::new(config.url.clone(), config.token.clone(), config.authorities.clone())?;
    if config.info {
        let start = Start::Begin;
        let query = &query(config, start);
        let question = Question { method: &Method::HEAD, query, start, mirror: None };
        let answer = client.ask(question).await?;
        return Ok(output.hello(&answer.hello).map_or(End::Closed, |()| End::Done));
    }
    let mut session = Session {
        assembler: Assembler::default(),
        identity: None,
        start: config.start,
        failing: None,
    };
    let mut pause = RECONNECT_PAUSE.0;
    loop {
        let began = session.assembler.last;
        let fault = match connection(config, &client, &mut session, output).await {
            Ok(end) => return Ok(end),
            Err(Failure::Fault(fault)) => fault,
            Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(End::Closed);
            }
            Err(Failure::Io(error)) => {
                return Err(Fault::new(Reason::Local, format!("cannot write: {error}")));
            }
        };
        session.assembler.reset();
        let failing = session.failing.get_or_insert_with(Instant::now);
        let over = config.retry.is_some_and(|time| failing.elapsed() + pause > time);
        let at_first = session.identity.is_none() && !config.wait_for_server;
        if fault.class() != Class::Retry || over || at_first {
            return Err(fault);
        }
        if session.assembler.last != began {
            pause = RECONNECT_PAUSE.0;
        }
        if let Some(log) = config.log {
            let ms = pause.as_millis().to_string();
            let fields =
                [("code", fault.reason.word()), ("message", &fault.message), ("after_ms", &ms)];
            log.event("warning", "reconnecting", &fields);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_PAUSE.1);
    }
}

fn query(config: &Config, start: Start) -> String {
    let mut parts = Vec::new();
    match start {
        Start::Begin => {}
        Start::End => parts.push("from=end".to_owned()),
        Start::Clock(clock) => parts.push(format!("from={clock}")),
        Start::At(position) => parts.push(format!("at={}", position_text(position))),
        Start::After(mark) => parts.push(format!("from={}", position_text(mark.position))),
    }
    if config.follow {
        parts.push("follow=1".to_owned());
    }
    parts.push(format!("heartbeat={CLIENT_HEARTBEAT_SECONDS}"));
    if config.beyond {
        parts.push("beyond=1".to_owned());
    }
    if let Some(tables) = config.tables.as_ref().filter(|_| !config.mirror) {
        parts.push(format!("tables={}", encode(tables)));
    }
    parts.join("&")
}

/// One connection, to its end.
async fn connection<W: Write>(
    config: &Config,
    client: &Client,
    session: &mut Session,
    output: &mut Output<W>,
) -> Result<End, Failure> {
    let start = session.assembler.last.map_or(session.start, Start::After);
    let query = &query(config, start);
    let mirror = config.tables.as_deref().filter(|_| config.mirror);
    let answer = client.ask(Question { method: &Method::GET, query, start, mirror }).await;
    let Answer { hello, mut body, zstd, sparse } = answer.map_err(Failure::Fault)?;
    greet(&hello, session, output)?;
    session.assembler.begin(
        start,
        &hello,
        match (config.tables.is_some(), config.mirror) {
            (true, false) => Filtered::Lines,
            _ if sparse => Filtered::Transactions,
            _ => Filtered::No,
        },
    );
    let mut decoder = if zstd { Some(Unpacker::new()?) } else { None };
    loop {
        let next = timeout(SILENCE_TIME, body.frame()).await;
        let silent = |_| fault(Reason::Timeout, "nothing came for too long");
        let frame = match next.map_err(silent)? {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                return Err(fault(Reason::Lost, &format!("the connection was lost: {error}")));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        session.failing = None;
        match &mut decoder {
            None => session.assembler.feed(&data, output)?,
            Some(decoder) => decoder.feed(&data, &mut session.assembler, output)?,
        }
        output.flush()?;
        if output.ended {
            return Ok(End::Done);
        }
    }
    if decoder.is_some_and(|decoder| decoder.inside) {
        return Err(fault(Reason::Lost, "the answer ended within what is compressed together"));
    }
    if !session.assembler.is_between() {
        return Err(fault(Reason::Lost, "the answer ended within a transaction"));
    }
    if config.follow {
        return Err(fault(Reason::Lost, "the server ended the answer"));
    }
    Ok(End::Done)
}

fn fault(reason: Reason, message: &str) -> Failure {
    Failure::Fault(Fault::new(reason, message))
}

/// The first answer says what the stream is; later ones must say the same.
fn greet<W: Write>(
    hello: &Hello,
    session: &mut Session,
    output: &mut Output<W>,
) -> Result<(), Failure> {
    match &session.identity {
        None => {
            session.identity = Some(hello.identity.clone());
            if session.start == Start::End {
                // NOTE: that end, also when the connection is lost before anything has come.
                session.start = hello.before.map_or(Start::Begin, Start::After);
            }
            output.hello(hello)?;
            Ok(())
        }
        Some(first) => check_same(first.as_ref(), hello.identity.as_ref()).map_err(Failure::Fault),
    }
}

/// What was compressed, as lines.
struct Unpacker {
    decoder: Decoder<'static>,
    buffer: Vec<u8>,
    /// What came last ended within a frame.
    inside: bool,
}

impl Unpacker {
    fn new() -> io::Result<Unpacker> {
        let mut decoder = Decoder::new()?;
        // NOTE: a frame may ask for a window of gigabytes.
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Unpacker { decoder, buffer: vec![0; 128 << 10], inside: false })
    }

    fn feed<W: Write>(
        &mut self,
        data: &[u8],
        assembler: &mut Assembler,
        output: &mut Output<W>,
    ) -> Result<(), Failure> {
        let mut input = InBuffer::around(data);
        loop {
            let mut out = OutBuffer::around(&mut self.buffer[..]);
            let ran = self.decoder.run(&mut input, &mut out);
            let wanted = ran.map_err(|_| fault(Reason::Protocol, "what came is no zstd"))?;
            self.inside = wanted > 0;
            let full = out.pos() == out.capacity();
            assembler.feed(out.as_slice(), output)?;
            if input.pos() == data.len() && !full {
                return Ok(());
            }
        }
    }
}
