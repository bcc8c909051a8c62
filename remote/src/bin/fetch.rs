//! `daystream-fetch`: a stream of another host. See daystream-fetch(1).
#![forbid(unsafe_code)]

use std::io::Read;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use daystream_remote::fetch::{Config, Url, run};
use daystream_remote::limits::RETRY_TIME;
use daystream_remote::log::{Form, Log, complain, print};
use daystream_remote::options::{Options, command_line};
use daystream_remote::wire::{fault_line, parse_position};
use pgsqlite::daystream::remote::{Fault, Frame, Reason};
use pgsqlite::daystream::{Position, Start, parse_chain};

const PROGRAM: &str = "daystream-fetch";

const HELP: &str = "\
usage: daystream-fetch URL ?-from begin|end|CLOCK|CLOCK.SEQ? ?-lsn LSN? ?-chain HEX8?
           ?-at CLOCK.SEQ? ?-to CLOCK.SEQ?
           ?-follow 0|1? ?-tables t1,schema.t2? ?-mirror 0|1? ?-beyond 0|1? ?-cacert FILE?
           ?-token_file FILE? ?-plain 0|1? ?-retry_ms N? ?-wait_for_server 0|1? ?-info 0|1?
           ?-log text|json?

prints the lines of the stream https://HOST:PORT/NAME behind a position, whole transactions only,
and reconnects when the connection is lost. The token is in DAYSTREAM_TOKEN or in a file.

Options may be written -option value, --option value or --option=value.
Exit code: 0 done, 1 failed, 2 usage.
";

fn main() -> ExitCode {
    let words = match command_line().map_err(usage_fault) {
        Ok(words) => words,
        Err(fault) => return failed(&fault, false, true),
    };
    match words.first().map(String::as_str) {
        Some("help" | "-help" | "--help" | "-h") => {
            return print(PROGRAM, HELP);
        }
        Some("version" | "-version" | "--version") => {
            return print(PROGRAM, &format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION")));
        }
        _ => {}
    }
    let known = [
        "from",
        "at",
        "lsn",
        "chain",
        "to",
        "follow",
        "tables",
        "mirror",
        "beyond",
        "cacert",
        "token_file",
        "plain",
        "retry_ms",
        "wait_for_server",
        "info",
        "frames",
        "log",
    ];
    let frames = words.windows(2).any(|pair| pair == ["-frames", "1"]);
    let config = Options::parse(words, &known).map_err(usage_fault).and_then(|o| config(&o));
    let config = match config {
        Ok(config) => config,
        Err(fault) => return failed(&fault, frames, true),
    };
    if frames {
        close_inherited();
        std::thread::spawn(end_with_parent);
    }
    match run(config, std::io::stdout().lock()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(fault) => failed(&fault, false, false),
    }
}

/// Closes what came along from the package's process. Another thread of it may have been about to
/// start a program, too (Tcl's `exec` and `open |`): that one's pipes came along, and who reads
/// from them to their end waits for as long as they are open here.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let number = |name: std::ffi::OsString| name.to_str()?.parse::<RawFd>().ok();
    let open: Vec<RawFd> =
        entries.filter_map(|entry| number(entry.ok()?.file_name())).filter(|fd| *fd > 2).collect();
    for fd in open {
        // NOTE: the one that the list was read from is closed already.
        let _ = nix::unistd::close(fd);
    }
}

/// The package holds the other end of our standard input, and it closes with its process, however
/// that ends.
fn end_with_parent() {
    let mut byte = [0];
    while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
    std::process::exit(0);
}

fn usage_fault(why: String) -> Fault {
    Fault::new(Reason::Request, why)
}

/// Tells why it failed: one line with a code, or a frame.
fn failed(fault: &Fault, frame: bool, usage: bool) -> ExitCode {
    if frame {
        use std::io::Write;
        // NOTE: who does not listen needs no last word.
        let _ = std::io::stdout().write_all(&Frame::Error(fault.clone()).encode());
    }
    complain(&fault_line(fault));
    if usage && fault.reason == Reason::Request {
        complain(HELP);
    }
    ExitCode::from(if usage { 2 } else { 1 })
}

fn config(options: &Options) -> Result<Config, Fault> {
    let [url] = options.words() else {
        return Err(usage_fault("expected one URL".to_owned()));
    };
    let flag = |name| options.flag(name).map_err(usage_fault);
    let env = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let plain = flag("plain")? || env("DAYSTREAM_PLAIN").as_deref() == Some("1");
    let follow = flag("follow")?;
    let frames = flag("frames")?;
    let retry = match options.number("retry_ms").map_err(usage_fault)? {
        Some(ms) => Some(Duration::from_millis(ms)),
        None if follow => None,
        None => Some(RETRY_TIME),
    };
    let form = match options.get("log") {
        None | Some("text") => Form::Text,
        Some("json") => Form::Json,
        Some(_) => return Err(usage_fault("-log must be text or json".to_owned())),
    };
    let wait = match options.get("wait_for_server") {
        None => follow,
        Some(_) => flag("wait_for_server")?,
    };
    let cacert = options.get("cacert").map(str::to_owned).or_else(|| env("DAYSTREAM_CACERT"));
    Ok(Config {
        url: Url::parse(url, plain)?,
        token: token(options.get("token_file"))?,
        authorities: cacert.map(PathBuf::from),
        start: start(options)?,
        to: options.get("to").map(|text| position("to", text)).transpose()?,
        tables: options.get("tables").map(tables).transpose()?,
        mirror: flag("mirror")?,
        follow,
        beyond: flag("beyond")?,
        frames: frames || flag("info")?,
        info: flag("info")?,
        retry,
        wait_for_server: wait,
        log: (!frames).then_some(Log { form, program: PROGRAM }),
    })
}

/// A list of tables that a server takes.
fn tables(list: &str) -> Result<String, Fault> {
    let parsed = daystream_remote::tables::parse(list);
    parsed.map_err(|why| usage_fault(format!("-tables: expected {why}")))?;
    Ok(list.to_owned())
}

/// The token: never a word of the command line, which other users can read.
fn token(file: Option<&str>) -> Result<Option<String>, Fault> {
    let env = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let file = match (file, env("DAYSTREAM_TOKEN"), env("DAYSTREAM_TOKEN_FILE")) {
        (None, Some(token), _) => return Ok(Some(token)),
        (None, None, None) => return Ok(None),
        (Some(file), _, _) => file.to_owned(),
        (None, None, Some(file)) => file,
    };
    let local = |why: String| Fault::new(Reason::Local, why).with("path", &file);
    let mut text = String::new();
    let open = daystream_remote::serve::tokens::open_private(Path::new(&file));
    let read = open.map_err(local)?.take(4096).read_to_string(&mut text);
    read.map_err(|error| local(format!("cannot read {file}: {error}")))?;
    Ok(Some(text.trim().to_owned()))
}

fn position(name: &str, text: &str) -> Result<Position, Fault> {
    let bad = || usage_fault(format!("-{name} must be CLOCK.SEQ, not \"{text}\""));
    parse_position(text).ok_or_else(bad)
}

/// Where to begin, with what is known of the transaction there.
fn start(options: &Options) -> Result<Start, Fault> {
    let mut start = place(options)?;
    let bad = |name: &str| {
        usage_fault(format!("-{name} is that of the transaction that ends at -from CLOCK.SEQ"))
    };
    for (name, text) in ["lsn", "chain"].iter().filter_map(|name| Some((name, options.get(name)?)))
    {
        let Start::After(mark) = &mut start else { return Err(bad(name)) };
        if *name == "lsn" {
            mark.lsn = Some(text.parse().map_err(|_| bad(name))?);
        } else {
            mark.chain = Some(parse_chain(text).ok_or_else(|| bad(name))?);
        }
    }
    Ok(start)
}

fn place(options: &Options) -> Result<Start, Fault> {
    match (options.get("from"), options.get("at")) {
        (Some(_), Some(_)) => Err(usage_fault("use one of -from and -at".to_owned())),
        (None, None) | (Some("begin"), None) => Ok(Start::Begin),
        (Some("end"), None) => Ok(Start::End),
        (None, Some(text)) => Ok(Start::At(position("at", text)?)),
        (Some(text), None) if text.contains('.') => {
            Ok(Start::After(position("from", text)?.into()))
        }
        (Some(text), None) => match text.parse() {
            Ok(clock @ 0..) => Ok(Start::Clock(clock)),
            _ => Err(usage_fault(format!("-from must be a place, not \"{text}\""))),
        },
    }
}
