//! Lines from and to a Tcl channel, in real UTF-8.
//!
//! A channel whose encoding is UTF-8 or binary is read and written as bytes: Tcl 8.6 would take
//! characters beyond U+FFFF apart. With any other encoding Tcl converts.

use crate::tcl::channel::Channel;
use crate::tcl::{CmdResult, Exception, Failure, Interp, Obj, text};
use std::borrow::Cow;

/// Bytes read or written at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Are the channel's bytes UTF-8?
fn is_plain(interp: Interp, name: &Obj) -> CmdResult<bool> {
    let words = [Obj::text("::fconfigure"), name.clone(), Obj::text("-encoding")];
    let encoding = interp.call(&words)?;
    interp.reset_result();
    Ok(matches!(&*encoding.text_lossy(), "utf-8" | "binary"))
}

/// Lines of a channel that is open for reading.
pub(super) struct LineReader {
    interp: Interp,
    /// Looked up for each chunk: a script may have closed it since.
    name: Obj,
    plain: bool,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer.
    at: usize,
    ended: bool,
}

impl LineReader {
    /// # Errors
    /// No such channel, or it is not open for reading.
    pub(super) fn open(interp: Interp, name: &Obj) -> CmdResult<LineReader> {
        let (_, access) = Channel::find(interp, name)?;
        if !access.read {
            let word = name.text_lossy();
            let message = format!("channel \"{word}\" wasn't opened for reading");
            return Err(Failure::new(message, &["PGSQLITE", "CHANNEL", "NOTREADABLE"]).into());
        }
        Ok(LineReader {
            interp,
            name: name.clone(),
            plain: is_plain(interp, name)?,
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
pub(super) struct LineWriter {
    interp: Interp,
    /// Looked up for each chunk: a script may have closed it since.
    name: Obj,
    plain: bool,
    buffer: Vec<u8>,
}

impl LineWriter {
    /// # Errors
    /// No such channel, or it is not open for writing.
    pub(super) fn open(interp: Interp, name: &Obj) -> CmdResult<LineWriter> {
        let (_, access) = Channel::find(interp, name)?;
        if !access.write {
            let word = name.text_lossy();
            let message = format!("channel \"{word}\" wasn't opened for writing");
            return Err(Failure::new(message, &["PGSQLITE", "CHANNEL", "NOTWRITABLE"]).into());
        }
        let plain = is_plain(interp, name)?;
        Ok(LineWriter { interp, name: name.clone(), plain, buffer: Vec::new() })
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
        let written = if self.plain {
            let (channel, _) = Channel::find(self.interp, &self.name)?;
            channel.write(&self.buffer)
        } else {
            let words = [Obj::text("::puts"), Obj::text("-nonewline"), self.name.clone()];
            let words: Vec<Obj> = words.into_iter().chain([Obj::utf8(&self.buffer)]).collect();
            let put = self.interp.call(&words).map(|_| ());
            put.map_err(|exception| coded(self.interp, exception, "WRITE"))
        };
        self.buffer.clear();
        written
    }
}
