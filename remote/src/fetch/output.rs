//! What the client writes: lines, and for the package the frames between them.

use std::io::{self, Write};

use pgsqlite::daystream::remote::{Fault, Frame, Hello};
use pgsqlite::daystream::{Position, Transaction};

use super::session::Config;
use super::transaction::{Sink, Spool};

/// Bytes gathered before they are written.
const CHUNK_BYTES: usize = 64 << 10;

/// Where whole transactions go.
pub struct Output<W: Write> {
    out: W,
    frames: bool,
    /// An empty line is the stream's end; else only that the server lives.
    follow: bool,
    to: Option<Position>,
    gathered: Vec<u8>,
    /// The place where it ends was passed.
    pub ended: bool,
}

impl<W: Write> Output<W> {
    /// Writes to `out` what `config` wants.
    pub fn new(out: W, config: &Config) -> Output<W> {
        let Config { frames, follow, to, .. } = *config;
        Output { out, frames, follow, to, gathered: Vec::new(), ended: false }
    }

    fn frame(&mut self, frame: &Frame) {
        if self.frames {
            self.gathered.extend_from_slice(&frame.encode());
        }
    }

    /// What the stream is.
    ///
    /// # Errors
    /// Those of the output.
    pub fn hello(&mut self, hello: &Hello) -> io::Result<()> {
        self.frame(&Frame::Stream(Box::new(hello.clone())));
        self.flush()
    }

    /// The last word.
    pub fn fault(&mut self, fault: &Fault) {
        self.frame(&Frame::Error(fault.clone()));
        // NOTE: who does not listen any more needs no last word.
        let _ = self.flush();
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.gathered)?;
        self.gathered.clear();
        self.out.flush()
    }
}

impl<W: Write> Sink for Output<W> {
    fn transaction(&mut self, transaction: Transaction, lines: &mut Spool) -> io::Result<()> {
        self.ended |= self.to.is_some_and(|to| transaction.last > to);
        if self.ended {
            return Ok(());
        }
        self.frame(&Frame::Transaction(transaction));
        lines.copy(&mut Gather(self))
    }

    fn end(&mut self) -> io::Result<()> {
        if self.follow {
            self.frame(&Frame::End);
        }
        self.flush()
    }
}

/// Gathers bytes, and writes when there are many.
struct Gather<'o, W: Write>(&'o mut Output<W>);

impl<W: Write> Write for Gather<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let output = &mut *self.0;
        if output.gathered.len() + bytes.len() > CHUNK_BYTES {
            output.out.write_all(&output.gathered)?;
            output.gathered.clear();
            if bytes.len() > CHUNK_BYTES {
                output.out.write_all(bytes)?;
                return Ok(bytes.len());
            }
        }
        output.gathered.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
