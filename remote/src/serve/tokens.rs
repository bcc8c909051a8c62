//! Who may read what: bearer tokens, of which only sums are kept.
//!
//! A line of the file is `NAME TAB sha256:HEX TAB STREAMS`: a name for the log, the SHA-256 of the
//! token, and the streams it may read, with spaces between them; `*` is every stream and the page
//! of metrics, `/metrics` that page alone. Empty lines and such that begin with `#` are passed
//! over. A token is 256 random bits, so that a plain sum of it cannot be guessed back.
//!
//! The file is read again when it has changed. While it is gone, or cannot be read or understood,
//! no token is good: a token that was just taken out of it must not live on behind another line's
//! mistake. That is logged, and clients are told to try again, not that their token is wrong.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pgsqlite::daystream::remote::{Fault, Reason};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::limits::{FILE_CHECK, TOKENS_BYTES_MAX};
use crate::log::Log;

type Sum = [u8; 32];

/// What tells one state of a file from another: inode, size, times of change of its text and of
/// its owner and mode.
type Appearance = (u64, u64, [i64; 4]);

/// A token that is good for something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: String,
    sum: Sum,
    streams: Vec<String>,
}

/// The tokens of a file.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    log: Log,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` while the file is not what it has to be.
    tokens: Option<Arc<Vec<Token>>>,
    /// What the file looked like when it was read.
    seen: Appearance,
    /// What was last said to be wrong with it.
    said: String,
    looked: Instant,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn open(path: PathBuf, log: Log) -> Result<Tokens, String> {
        let (tokens, seen) = load(&path)?;
        let (tokens, said) = (Some(Arc::new(tokens)), String::new());
        let state = State { tokens, seen, said, looked: Instant::now() };
        Ok(Tokens { path, log, state: Mutex::new(state) })
    }

    /// The tokens as the file has them now, or had them a second ago; `None` while it is not sound.
    fn current(&self) -> Option<Arc<Vec<Token>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= FILE_CHECK {
            state.looked = Instant::now();
            self.look(&mut state);
        }
        state.tokens.clone()
    }

    fn look(&self, state: &mut State) {
        let seen = self.path.metadata().ok().map(|meta| appearance(&meta));
        // NOTE: one that is not sound is read each time: what was wrong may be a folder's mode.
        if state.tokens.is_some() && seen == Some(state.seen) {
            return;
        }
        match load(&self.path) {
            Ok((tokens, seen)) => {
                self.log.info("tokens", &[("count", &tokens.len().to_string())]);
                (state.tokens, state.seen) = (Some(Arc::new(tokens)), seen);
                state.said.clear();
            }
            Err(why) => {
                state.tokens = None;
                if state.said != why {
                    let message = format!("{why}; until that is mended, no token is good");
                    self.log.event("error", "tokens", &[("message", &message)]);
                    state.said = why;
                }
            }
        }
    }
}

/// What a request may do.
#[derive(Debug, Clone)]
pub struct Access(Option<Held>);

#[derive(Debug, Clone)]
struct Held {
    tokens: Arc<Tokens>,
    known: Arc<Vec<Token>>,
    token: Token,
}

impl Access {
    /// Everything: there are no tokens.
    pub const ALL: Access = Access(None);

    /// What a token may do. Takes as long for any token.
    ///
    /// # Errors
    /// `TOKEN` when it is none; `SERVERBUSY` while the file of tokens is not sound.
    pub fn of(tokens: &Arc<Tokens>, token: Option<&str>) -> Result<Access, Fault> {
        let sum: Sum = Sha256::digest(token.unwrap_or_default().as_bytes()).into();
        let known = tokens.current().ok_or_else(closed)?;
        let mut found = None;
        for token in known.iter() {
            if bool::from(token.sum.ct_eq(&sum)) {
                found = Some(token.clone());
            }
        }
        let wrong = || Fault::new(Reason::Token, "the token is missing or wrong");
        let token = found.ok_or_else(wrong)?;
        Ok(Access(Some(Held { tokens: Arc::clone(tokens), known, token })))
    }

    /// The token's name, for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_ref().map_or("", |held| &held.token.name)
    }

    /// Whether there is anything that it does not allow.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the stream may be read.
    #[must_use]
    pub fn may(&self, stream: &str) -> bool {
        self.0.as_ref().is_none_or(|held| {
            held.token.streams.iter().any(|allowed| allowed == "*" || allowed == stream)
        })
    }

    /// Sees that it still may be, after a while.
    ///
    /// # Errors
    /// As [`Access::of`]; `TOKEN` also when the token is no longer good for the stream.
    pub fn still(&mut self, stream: &str) -> Result<(), Fault> {
        let gone = || Fault::new(Reason::Token, "the token is good no longer");
        let Some(held) = &mut self.0 else { return Ok(()) };
        let known = held.tokens.current().ok_or_else(closed)?;
        if !Arc::ptr_eq(&known, &held.known) {
            let sum = held.token.sum;
            let token = known.iter().find(|token| bool::from(token.sum.ct_eq(&sum)));
            held.token = token.ok_or_else(gone)?.clone();
            held.known = known;
        }
        if self.may(stream) { Ok(()) } else { Err(gone()) }
    }
}

fn closed() -> Fault {
    let message = "the server's file of tokens is not sound; its log says why";
    Fault::new(Reason::Busy, message)
}

/// A new token for the streams, and the line that goes into the file.
///
/// # Errors
/// What is wrong, in words.
pub fn make(name: &str, streams: &str) -> Result<(String, String), String> {
    let bad = |text: &str| text.is_empty() || text.contains(|c: char| c.is_control());
    if bad(name) || name.starts_with('#') || bad(streams) {
        return Err("a token needs a name and streams, without control characters".to_owned());
    }
    let mut random = [0u8; 32];
    getrandom::fill(&mut random).map_err(|error| format!("no random bytes: {error}"))?;
    let token = format!("dst_{}", hex(&random));
    let sum: Sum = Sha256::digest(token.as_bytes()).into();
    Ok((token, format!("{name}\tsha256:{}\t{streams}\n", hex(&sum))))
}

/// Appends a line to the file, which is made with mode 0600 when it is not there.
///
/// # Errors
/// What is wrong, in words.
pub fn append(path: &Path, line: &str) -> Result<(), String> {
    let why = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    if path.exists() {
        let (_, (_, size, _)) = load(path)?;
        if size + line.len() as u64 >= TOKENS_BYTES_MAX {
            return Err(too_large(path));
        }
    }
    let file = File::options().read(true).append(true).create(true).mode(0o600).open(path);
    let mut file = file.map_err(why)?;
    // NOTE: an editor may have left the last line without its end.
    let mut last = [b'\n'];
    if let Some(at) = file.metadata().map_err(why)?.len().checked_sub(1) {
        file.read_exact_at(&mut last, at).map_err(why)?;
    }
    let line = if last == [b'\n'] { line.to_owned() } else { format!("\n{line}") };
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(why)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Sum> {
    let mut sum = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in sum.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sum)
}

fn appearance(meta: &std::fs::Metadata) -> Appearance {
    let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
    (meta.ino(), meta.len(), times)
}

/// A file that is nobody else's to read or to write: its mode, checked on what is open.
///
/// # Errors
/// What is wrong, in words.
pub fn open_private(path: &Path) -> Result<File, String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let meta = file.metadata().map_err(|error| format!("cannot read {name}: {error}"))?;
    let us = rustix::process::geteuid().as_raw();
    if !meta.is_file() {
        return Err(format!("{name} is not a file"));
    }
    if meta.mode() & 0o027 != 0 {
        let mode = meta.mode() & 0o777;
        return Err(format!("{name} has mode {mode:04o}: others can read it, chmod 600 it"));
    }
    if meta.uid() != us && meta.uid() != 0 {
        return Err(format!("{name} belongs to another user"));
    }
    Ok(file)
}

fn too_large(path: &Path) -> String {
    format!("{} has more than {} MiB", path.display(), TOKENS_BYTES_MAX >> 20)
}

fn load(path: &Path) -> Result<(Vec<Token>, Appearance), String> {
    let file = open_private(path)?;
    let name = path.display();
    let why = |error: std::io::Error| format!("cannot read {name}: {error}");
    let seen = appearance(&file.metadata().map_err(why)?);
    let mut text = String::new();
    // NOTE: one byte more than is allowed tells that there are more.
    file.take(TOKENS_BYTES_MAX + 1).read_to_string(&mut text).map_err(why)?;
    if text.len() as u64 > TOKENS_BYTES_MAX {
        return Err(too_large(path));
    }
    let mut tokens: Vec<Token> = Vec::new();
    let mut lines: HashMap<Sum, usize> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = || format!("{name}, line {}: expected NAME, sha256:HEX, STREAMS", number + 1);
        let mut fields = line.split('\t');
        let (owner, sum, streams) = (fields.next(), fields.next(), fields.next());
        let sum = sum.and_then(|sum| sum.strip_prefix("sha256:")).and_then(unhex);
        let (Some(owner), Some(sum), Some(streams), None) = (owner, sum, streams, fields.next())
        else {
            return Err(bad());
        };
        let streams: Vec<_> =
            streams.split(' ').filter(|s| !s.is_empty()).map(String::from).collect();
        if streams.is_empty() {
            return Err(bad());
        }
        if let Some(first) = lines.insert(sum, number + 1) {
            return Err(format!(
                "{name}, line {}: the token of line {first} again; give its streams in one line",
                number + 1
            ));
        }
        tokens.push(Token { name: owner.to_owned(), sum, streams });
    }
    Ok((tokens, seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Form;
    use std::os::unix::fs::PermissionsExt;

    const LOG: Log = Log { form: Form::Text, program: "test" };

    #[test]
    fn a_token_is_good_for_its_streams_until_it_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let (one, line) = make("one", "a b").unwrap();
        assert!(!line.contains(&one) && one.len() == 68);
        append(&path, &line).unwrap();
        let (all, line) = make("all", "*").unwrap();
        append(&path, &line).unwrap();
        let tokens = Arc::new(Tokens::open(path.clone(), LOG).unwrap());
        let mut access = Access::of(&tokens, Some(&one)).unwrap();
        assert!(access.may("a") && access.may("b") && !access.may("c") && !access.may("/metrics"));
        assert_eq!(access.name(), "one");
        assert!(Access::of(&tokens, Some(&all)).unwrap().may("/metrics"));
        for wrong in ["", "dst_", &one[..67], &format!("{one}0"), &one.to_uppercase()] {
            let refused = Access::of(&tokens, Some(wrong)).unwrap_err();
            assert_eq!(refused.reason, Reason::Token, "{wrong}");
        }
        assert!(Access::of(&tokens, None).is_err() && access.still("a").is_ok());
        // As an editor may leave it.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.trim_end()).unwrap();
        append(&path, &make("three", "c").unwrap().1).unwrap();
        let again = Arc::new(Tokens::open(path.clone(), LOG).unwrap());
        assert!(Access::of(&again, Some(&all)).is_ok());
        std::fs::write(&path, "# nobody\n\n").unwrap();
        time_passes(&tokens);
        assert_eq!(access.still("a").unwrap_err().reason, Reason::Token);
        assert!(Access::of(&tokens, Some(&one)).is_err());
    }

    fn time_passes(tokens: &Tokens) {
        tokens.state.lock().unwrap().looked -= FILE_CHECK;
    }

    #[test]
    fn while_the_file_is_not_sound_no_token_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let ((one, first), (two, second)) = (make("one", "a").unwrap(), make("two", "a").unwrap());
        append(&path, &first).unwrap();
        append(&path, &second).unwrap();
        let tokens = Arc::new(Tokens::open(path.clone(), LOG).unwrap());
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let sound = format!("{first}{second}");
        let breaks: [&dyn Fn(); 5] = [
            // The first token is taken away, and the second one's line is spoilt.
            &|| write(&second.replace('\t', " ")),
            &|| write(&format!("{second}{second}")),
            &|| write(&format!("{second}{}", "#".repeat(TOKENS_BYTES_MAX as usize))),
            &|| std::fs::remove_file(&path).unwrap(),
            &|| mode(0o644),
        ];
        for (number, spoil) in breaks.iter().enumerate() {
            let mut access = Access::of(&tokens, Some(&one)).unwrap();
            spoil();
            time_passes(&tokens);
            assert_eq!(access.still("a").unwrap_err().reason, Reason::Busy, "{number}");
            for token in [&one, &two] {
                let refused = Access::of(&tokens, Some(token)).unwrap_err();
                assert_eq!(refused.reason, Reason::Busy, "{number}");
            }
            write(&sound);
            mode(0o600);
            time_passes(&tokens);
            assert!(access.still("a").is_ok() && Access::of(&tokens, Some(&two)).is_ok());
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_malformed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let (_, line) = make("one", "a").unwrap();
        append(&path, &line).unwrap();
        let set = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        for mode in [0o604, 0o602, 0o620, 0o666] {
            set(mode);
            assert!(Tokens::open(path.clone(), LOG).is_err(), "{mode:o}");
        }
        set(0o640);
        assert!(Tokens::open(path.clone(), LOG).is_ok());
        let sum = "0".repeat(64);
        let line = |sum: &str| format!("one\tsha256:{sum}\ta\n");
        for bad in [
            "one",
            &line("0"),
            &format!("one\tsha256:{sum}\t"),
            "a\tb\tc\td",
            &line(&"+f".repeat(32)),
            // One token, two meanings.
            &format!("{}two\tsha256:{sum}\tb\n", line(&sum)),
            // The last name would be cut.
            &format!("{}{}", "#\n".repeat(TOKENS_BYTES_MAX as usize / 2), line(&sum)),
        ] {
            std::fs::write(&path, bad).unwrap();
            let refused = Tokens::open(path.clone(), LOG).unwrap_err();
            assert!(refused.contains("tokens"), "{refused}");
        }
        let full = "#".repeat(TOKENS_BYTES_MAX as usize - 50);
        std::fs::write(&path, full).unwrap();
        let why = append(&path, &line(&sum)).unwrap_err();
        assert!(why.contains("more than 4 MiB"), "{why}");
        assert!(make("", "a").is_err() && make("a\tb", "a").is_err() && make("a", "").is_err());
    }
}
