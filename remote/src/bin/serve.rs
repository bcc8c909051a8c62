//! `daystream-serve`: streams to other hosts. See daystream-serve(1).
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use daystream_remote::limits::CONNECTIONS_MAX;
use daystream_remote::log::{Form, Log, complain, print};
use daystream_remote::options::{Options, command_line};
use daystream_remote::serve::{Config, Listen, run, tokens};

const PROGRAM: &str = "daystream-serve";

const HELP: &str = "\
usage: daystream-serve -listen ADDRESS:PORT|unix:FILE -root DIR ?-tls CERT KEY? ?-tokens FILE?
           ?-socket_mode 0600? ?-insecure 0|1? ?-connections N? ?-connections_each N?
           ?-log text|json?
       daystream-serve token -name NAME -streams \"s1 s2\" ?-tokens FILE?

serves the daystreams in the folders of DIR by HTTP/1.1, with TLS and tokens;
token makes a token, prints it, and appends its sum to FILE.

Options may be written -option value, --option value or --option=value.
Exit code: 0 done, 1 failed, 2 usage.
";

fn main() -> ExitCode {
    let mut words = match command_line() {
        Ok(words) => words,
        Err(why) => return usage(&why),
    };
    match words.first().map(String::as_str) {
        None => return usage("-listen is missing"),
        Some("help" | "-help" | "--help" | "-h") => {
            return print(PROGRAM, HELP);
        }
        Some("version" | "-version" | "--version") => {
            return print(PROGRAM, &format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION")));
        }
        Some("token") => {
            words.remove(0);
            return token(words);
        }
        Some(_) => {}
    }
    let config = match config(words) {
        Ok(config) => config,
        Err(why) => return usage(&why),
    };
    let log = config.log;
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            log.event("error", "failed", &[("message", &why)]);
            ExitCode::FAILURE
        }
    }
}

fn usage(why: &str) -> ExitCode {
    complain(&format!("{PROGRAM}: {why}\n{HELP}"));
    ExitCode::from(2)
}

fn config(words: Vec<String>) -> Result<Config, String> {
    let known = [
        "listen",
        "root",
        "tls",
        "tls_key",
        "tokens",
        "socket_mode",
        "insecure",
        "connections",
        "connections_each",
        "log",
    ];
    let options = Options::parse(with_key(words), &known)?;
    if let Some(word) = options.words().first() {
        return Err(format!("\"{word}\" is one word too many"));
    }
    let form = match options.get("log") {
        None | Some("text") => Form::Text,
        Some("json") => Form::Json,
        Some(_) => return Err("-log must be text or json".to_owned()),
    };
    let count = |name, default: usize| match options.number(name)? {
        None => Ok(default),
        Some(count @ 1..=1_000_000) => Ok(usize::try_from(count).unwrap_or(default)),
        Some(_) => Err(format!("-{name} must be 1 to 1000000")),
    };
    let connections = count("connections", CONNECTIONS_MAX)?;
    // Many followers may share an address: a limit is for those who know theirs.
    let connections_each = count("connections_each", connections)?;
    let tls = match (options.get("tls"), options.get("tls_key")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((PathBuf::from(certificate), PathBuf::from(key))),
        // One of them alone must not become a server without TLS.
        _ => return Err("-tls takes two files, CERT and KEY".to_owned()),
    };
    Ok(Config {
        listen: listen_on(options.required("listen")?, options.get("socket_mode"))?,
        root: PathBuf::from(options.required("root")?),
        tls,
        tokens: options.get("tokens").map(PathBuf::from),
        insecure: options.flag("insecure")?,
        connections,
        connections_each,
        log: Log { form, program: PROGRAM },
    })
}

/// Where to listen. A socket's file is the user's own, unless its mode says more.
fn listen_on(text: &str, mode: Option<&str>) -> Result<Listen, String> {
    if let Some(file) = text.strip_prefix("unix:").filter(|file| !file.is_empty()) {
        let digits = mode.unwrap_or("0600");
        let octal = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
        let wrong = || format!("-socket_mode must be octal, as 0660, not \"{digits}\"");
        return Ok(Listen::Unix(PathBuf::from(file), octal.ok_or_else(wrong)?));
    }
    if mode.is_some() {
        return Err("-socket_mode is that of -listen unix:FILE".to_owned());
    }
    let address = text.parse().map_err(|_| {
        format!("-listen must be ADDRESS:PORT, as 127.0.0.1:8443, or unix:FILE, not \"{text}\"")
    });
    address.map(Listen::Tcp)
}

/// `-tls CERT KEY` is the one option with two values: the second becomes an option of its own.
fn with_key(words: Vec<String>) -> Vec<String> {
    let mut out = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let tls = matches!(word.trim_start_matches('-'), "tls") && word.starts_with('-');
        out.push(word);
        if tls {
            out.extend(words.next());
            if let Some(key) = words.next() {
                out.extend(["-tls_key".to_owned(), key]);
            }
        }
    }
    out
}

fn token(words: Vec<String>) -> ExitCode {
    let options = match Options::parse(words, &["name", "streams", "tokens"]) {
        Ok(options) => options,
        Err(why) => return usage(&why),
    };
    if let Some(word) = options.words().first() {
        return usage(&format!("\"{word}\" is one word too many"));
    }
    let (name, streams) = match (options.required("name"), options.required("streams")) {
        (Ok(name), Ok(streams)) => (name, streams),
        (Err(why), _) | (_, Err(why)) => return usage(&why),
    };
    let made = tokens::make(name, streams).and_then(|(token, line)| {
        match options.get("tokens") {
            Some(file) => tokens::append(Path::new(file), &line)?,
            None => complain(&line),
        }
        Ok(token)
    });
    match made {
        Ok(token) => print(PROGRAM, &format!("{token}\n")),
        Err(why) => {
            complain(&format!("{PROGRAM}: {why}\n"));
            ExitCode::FAILURE
        }
    }
}
