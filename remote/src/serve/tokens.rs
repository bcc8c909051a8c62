//! Who may read what: bearer tokens, of which only sums are kept.
//!
//! A line of the file is `NAME TAB sha256:HEX TAB STREAMS`: a name for the log, the SHA-256 of the
//! token, and the streams it may read, with spaces between them; `*` is every stream and the page
//! of metrics, `/metrics` that page alone. Empty lines and such that begin with `#` are passed
//! over. A token is 256 random bits, so that a plain sum of it cannot be guessed back.
//!
//! The file is read anew when it has changed. One that cannot be read or understood changes
//! nothing, and that is logged.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::limits::{FILE_CHECK, TOKENS_BYTES_MAX};
use crate::log::Log;

type Sum = [u8; 32];

/// What tells one state of a file from another: inode, size, time of change.
type Appearance = (u64, u64, i64, i64);

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
    tokens: Arc<Vec<Token>>,
    /// What the file looked like when it was read.
    seen: Option<Appearance>,
    looked: Instant,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn open(path: PathBuf, log: Log) -> Result<Tokens, String> {
        let (tokens, seen) = load(&path)?;
        let state = State { tokens: Arc::new(tokens), seen: Some(seen), looked: Instant::now() };
        Ok(Tokens { path, log, state: Mutex::new(state) })
    }

    /// The tokens as the file has them now, or had them a second ago.
    fn current(&self) -> Arc<Vec<Token>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= FILE_CHECK {
            state.looked = Instant::now();
            let seen = self.path.metadata().ok().map(|meta| appearance(&meta));
            if seen != state.seen {
                state.seen = seen;
                match load(&self.path) {
                    Ok((tokens, seen)) => {
                        (state.tokens, state.seen) = (Arc::new(tokens), Some(seen));
                        self.log.info("tokens", &[("count", &state.tokens.len().to_string())]);
                    }
                    Err(why) => self.log.event("warning", "tokens", &[("message", &why)]),
                }
            }
        }
        Arc::clone(&state.tokens)
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

    /// What a token may do; `None` when it is none. Takes as long for any token.
    pub fn of(tokens: &Arc<Tokens>, token: &str) -> Option<Access> {
        let sum: Sum = Sha256::digest(token.as_bytes()).into();
        let known = tokens.current();
        let mut found = None;
        for token in known.iter() {
            if bool::from(token.sum.ct_eq(&sum)) {
                found = Some(token.clone());
            }
        }
        let token = found?;
        Some(Access(Some(Held { tokens: Arc::clone(tokens), known, token })))
    }

    /// The token's name, for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_ref().map_or("", |held| &held.token.name)
    }

    /// Whether the stream may be read.
    #[must_use]
    pub fn may(&self, stream: &str) -> bool {
        self.0.as_ref().is_none_or(|held| {
            held.token.streams.iter().any(|allowed| allowed == "*" || allowed == stream)
        })
    }

    /// Whether it still may be, after a while.
    pub fn still(&mut self, stream: &str) -> bool {
        let Some(held) = &mut self.0 else { return true };
        let known = held.tokens.current();
        if Arc::ptr_eq(&known, &held.known) {
            return true;
        }
        let sum = held.token.sum;
        let Some(token) = known.iter().find(|token| bool::from(token.sum.ct_eq(&sum))) else {
            return false;
        };
        held.token = token.clone();
        held.known = known;
        self.may(stream)
    }
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
        load(path)?;
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
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in sum.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sum)
}

fn appearance(meta: &std::fs::Metadata) -> Appearance {
    (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())
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

fn load(path: &Path) -> Result<(Vec<Token>, Appearance), String> {
    let file = open_private(path)?;
    let name = path.display();
    let why = |error: std::io::Error| format!("cannot read {name}: {error}");
    let seen = appearance(&file.metadata().map_err(why)?);
    let mut text = String::new();
    file.take(TOKENS_BYTES_MAX).read_to_string(&mut text).map_err(why)?;
    let mut tokens = Vec::new();
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
        let mut access = Access::of(&tokens, &one).unwrap();
        assert!(access.may("a") && access.may("b") && !access.may("c") && !access.may("/metrics"));
        assert_eq!(access.name(), "one");
        assert!(Access::of(&tokens, &all).unwrap().may("/metrics"));
        for wrong in ["", "dst_", &one[..67], &format!("{one}0"), &one.to_uppercase()] {
            assert!(Access::of(&tokens, wrong).is_none(), "{wrong}");
        }
        assert!(access.still("a"));
        // As an editor may leave it.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.trim_end()).unwrap();
        append(&path, &make("three", "c").unwrap().1).unwrap();
        let again = Arc::new(Tokens::open(path.clone(), LOG).unwrap());
        assert!(Access::of(&again, &all).is_some());
        std::fs::write(&path, "# nobody\n\n").unwrap();
        tokens.state.lock().unwrap().looked -= FILE_CHECK;
        assert!(!access.still("a") && Access::of(&tokens, &one).is_none());
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
        for bad in ["one", "one\tsha256:0\ta", &format!("one\tsha256:{sum}\t"), "a\tb\tc\td"] {
            std::fs::write(&path, bad).unwrap();
            assert!(Tokens::open(path.clone(), LOG).is_err(), "{bad}");
        }
        assert!(make("", "a").is_err() && make("a\tb", "a").is_err() && make("a", "").is_err());
    }
}
