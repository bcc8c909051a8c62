//! Lines from and to a Tcl channel, in real UTF-8.
//!
//! A channel whose encoding is UTF-8 or binary is read and written as bytes: Tcl 8.6 would take
//! characters beyond U+FFFF apart. With any other encoding Tcl converts.

use crate::tcl::channel::Channel;
use crate::tcl::{CmdResult, Exception, Failure, Interp, Obj, text};
use std::borrow::Cow;

/// Bytes read or written at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The encoding of the channel's bytes.
fn encoding(interp: Interp, name: &Obj) -> CmdResult {
    let words = [Obj::text("::fconfigure"), name.clone(), Obj::text("-encoding")];
    let encoding = interp.call(&words)?;
    interp.reset_result();
    Ok(encoding)
}

/// Are bytes of this encoding UTF-8?
fn is_utf8(encoding: &Obj) -> bool {
    matches!(&*encoding.text_lossy(), "utf-8" | "binary")
}

/// Lines of a channel that is open for reading.
pub(super) struct LineReader<'i> {
    interp: Interp<'i>,
    /// Looked up for each chunk: a script may have closed it since.
    name: Obj,
    plain: bool,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer.
    at: usize,
    ended: bool,
}

impl<'i> LineReader<'i> {
    /// # Errors
    /// No such channel, or it is not open for reading.
    pub(super) fn open(interp: Interp<'i>, name: &Obj) -> CmdResult<LineReader<'i>> {
        let (_, access) = Channel::find(interp, name)?;
        if !access.read {
            let word = name.text_lossy();
            let message = format!("channel \"{word}\" wasn't opened for reading");
            return Err(Failure::new(message, &["PGSQLITE", "CHANNEL", "NOTREADABLE"]).into());
        }
        Ok(LineReader {
            interp,
            name: name.clone(),
            plain: is_utf8(&encoding(interp, name)?),
            buffer: Vec::new(),
            at: 0,
            ended: false,
        })
    }

    /// Appends the next line, without its end; `false` at the end of the file.
    ///
    /// # Errors
    /// The channel's; a line that is not UTF-8.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> CmdResult<bool> {
        let read = if self.plain { self.next_plain(line) } else { self.next_converted(line) };
        read.map_err(|exception| kept(self.interp, exception))
    }

    fn next_plain(&mut self, line: &mut Vec<u8>) -> CmdResult<bool> {
        let mut searched = 0;
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest.get(searched..).unwrap_or_default());
            let (line_text, used) = match end {
                Some(end) => (rest.get(..searched + end), searched + end + 1),
                None if self.ended && rest.is_empty() => return Ok(false),
                None if self.ended => (Some(rest), rest.len()),
                None => {
                    searched = rest.len();
                    self.read()?;
                    continue;
                }
            };
            let text = line_text.unwrap_or_default();
            match std::str::from_utf8(text) {
                Ok(_) => line.extend_from_slice(text),
                Err(_) => line.extend_from_slice(repaired(text)?.as_bytes()),
            }
            self.at += used;
            return Ok(true);
        }
    }

    fn read(&mut self) -> CmdResult<()> {
        let (channel, _) = Channel::find(self.interp, &self.name)?;
        self.buffer.drain(..self.at);
        self.at = 0;
        let start = self.buffer.len();
        self.buffer.resize(start + CHUNK_BYTES, 0);
        let n = channel.read(self.buffer.get_mut(start..).unwrap_or_default());
        let n = n.inspect_err(|_| self.buffer.truncate(start))?;
        self.buffer.truncate(start + n);
        if n == 0 {
            self.ended = true;
            if !self.is("::eof")? {
                return Err(blocked());
            }
        }
        Ok(())
    }

    fn next_converted(&mut self, line: &mut Vec<u8>) -> CmdResult<bool> {
        let text = self.interp.call(&[Obj::text("::gets"), self.name.clone()]);
        let text = text.map_err(|exception| coded(self.interp, exception, "READ"))?;
        let text = text.as_text()?;
        if text.is_empty() {
            if self.is("::eof")? {
                return Ok(false);
            }
            if self.is("::fblocked")? {
                return Err(blocked());
            }
        }
        line.extend_from_slice(text.as_bytes());
        Ok(true)
    }

    /// What `eof` or `fblocked` says of the channel.
    fn is(&self, question: &str) -> CmdResult<bool> {
        let answer = self.interp.call(&[Obj::text(question), self.name.clone()])?;
        let answer = answer.as_bool(self.interp)?;
        self.interp.reset_result();
        Ok(answer)
    }
}

fn blocked() -> Exception {
    let message = "the channel has no more now, but is not at its end: make it blocking";
    Failure::new(message, &["PGSQLITE", "CHANNEL", "BLOCKED"]).into()
}

/// A line that Tcl 8.6 wrote, with characters beyond U+FFFF in two halves of three bytes.
fn repaired(line: &[u8]) -> CmdResult<Cow<'_, str>> {
    text::to_utf8(line).map_err(|_| {
        let message = "a line of the channel is not UTF-8";
        Failure::new(message, &["PGSQLITE", "CHANNEL", "NOTUTF8"]).into()
    })
}

/// An error of the system under Tcl's name for it gets the code that it has for plain channels.
fn coded(interp: Interp, exception: Exception, reason: &str) -> Exception {
    let code = interp.error_code().as_list(interp).unwrap_or_default();
    match (&exception, code.first()) {
        (Exception::Raised(_), Some(class)) if class.text_lossy() == "POSIX" => {
            Failure::new(interp.result().text_lossy(), &["PGSQLITE", "CHANNEL", reason]).into()
        }
        _ => exception,
    }
}

/// The error as it is now: a callback that runs later would change the interpreter's result.
fn kept(interp: Interp, exception: Exception) -> Exception {
    match exception {
        Exception::Raised(_) => {
            let code = interp.error_code().as_list(interp).unwrap_or_default();
            let code: Vec<_> = code.iter().map(|word| word.text_lossy().into_owned()).collect();
            let code: Vec<&str> = code.iter().map(String::as_str).collect();
            Failure::new(interp.result().text_lossy(), &code).into()
        }
        failure => failure,
    }
}

/// Lines to a channel that is open for writing.
pub(super) struct LineWriter<'i> {
    interp: Interp<'i>,
    /// Looked up for each chunk: a script may have closed it since.
    name: Obj,
    /// The channel's encoding, where Tcl converts.
    encoding: Option<Obj>,
    buffer: Vec<u8>,
    /// Lines that were handed to Tcl.
    lines: u64,
}

impl<'i> LineWriter<'i> {
    /// # Errors
    /// No such channel, or it is not open for writing.
    pub(super) fn open(interp: Interp<'i>, name: &Obj) -> CmdResult<LineWriter<'i>> {
        let (_, access) = Channel::find(interp, name)?;
        if !access.write {
            let word = name.text_lossy();
            let message = format!("channel \"{word}\" wasn't opened for writing");
            return Err(Failure::new(message, &["PGSQLITE", "CHANNEL", "NOTWRITABLE"]).into());
        }
        let encoding = Some(encoding(interp, name)?).filter(|encoding| !is_utf8(encoding));
        Ok(LineWriter { interp, name: name.clone(), encoding, buffer: Vec::new(), lines: 0 })
    }

    /// Writes a line with its end; it may wait in memory until [`LineWriter::finish`].
    ///
    /// # Errors
    /// The channel's.
    pub(super) fn write(&mut self, line: &[u8]) -> CmdResult<()> {
        self.buffer.extend_from_slice(line);
        if self.buffer.len() < CHUNK_BYTES { Ok(()) } else { self.finish() }
    }

    /// Hands what waits to Tcl.
    ///
    /// # Errors
    /// The channel's.
    pub(super) fn finish(&mut self) -> CmdResult<()> {
        let written = match self.encoding.clone() {
            None => {
                let (channel, _) = Channel::find(self.interp, &self.name)?;
                channel.write(&self.buffer)
            }
            Some(encoding) => self.put(&encoding),
        };
        self.lines += memchr::memchr_iter(b'\n', &self.buffer).count() as u64;
        self.buffer.clear();
        written
    }

    /// Has Tcl convert and write.
    fn put(&self, encoding: &Obj) -> CmdResult<()> {
        let text = Obj::utf8(&self.buffer);
        self.check(encoding, &text)?;
        let words = ["::puts", "-nonewline"].map(Obj::text);
        let words: Vec<Obj> = words.into_iter().chain([self.name.clone(), text]).collect();
        let put = self.interp.call(&words).map(|_| ());
        put.map_err(|exception| coded(self.interp, exception, "WRITE"))
    }

    /// # Errors
    /// `CHANNEL ENCODING` for text that the encoding has no bytes for: Tcl would write something
    /// else in its place, and say nothing.
    fn check(&self, encoding: &Obj, text: &Obj) -> CmdResult<()> {
        let convert = |way, what: &Obj| {
            let words = [Obj::text("::encoding"), Obj::text(way), encoding.clone(), what.clone()];
            self.interp.call(&words)
        };
        let written = text.text_lossy();
        let bytes = convert("convertto", text);
        let back = bytes.and_then(|bytes| convert("convertfrom", &bytes)).ok();
        self.interp.reset_result();
        let before = match &back {
            Some(back) if *back.text_lossy() == *written => return Ok(()),
            Some(back) => {
                let back = back.text_lossy();
                let same =
                    written.chars().zip(back.chars()).take_while(|(one, other)| one == other);
                same.filter(|(one, _)| *one == '\n').count()
            }
            // Tcl 9 does not convert such text at all, and does not say which character it is.
            None => {
                let refused = |line: &str| convert("convertto", &Obj::text(line)).is_err();
                written.split('\n').position(refused).unwrap_or(0)
            }
        };
        self.interp.reset_result();
        let line = self.lines + 1 + before as u64;
        let (line, name) = (line.to_string(), encoding.text_lossy());
        let message = format!(
            "line {line} has a character that the channel's encoding {name} has not: write with \
             `fconfigure {} -encoding utf-8`",
            self.name.text_lossy()
        );
        let code = ["PGSQLITE", "CHANNEL", "ENCODING", "line", &line, "encoding", &name];
        Err(Failure::new(message, &code).into())
    }
}
