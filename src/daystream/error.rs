//! What can go wrong with a log.

use std::io;
use std::path::{Path, PathBuf};

use deltaflood::Kind;

use super::Position;
use super::packed::Broken;
use crate::error::{Class, Code, Coded};

/// What is wrong with a byte of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Not a change line.
    Line(Kind),
    /// The line does not begin with `_c CLOCK _s SEQ`.
    Stamp,
    /// The position is not beyond that of the line before.
    Order,
    /// The first line's position is not the one in the segment's name.
    Name,
    /// The transaction has another number of lines than its commit line says.
    Lines,
    /// The checksum of the transaction's lines is not the one in its commit line.
    Crc,
    /// The checksum of the commit line is not the one in it.
    CommitCrc,
    /// A line has another `_xid` than its transaction.
    Xid,
    /// The transaction has no commit line, and the segment is not the last.
    Incomplete,
    /// What begins here is no whole transaction, and was one when the stream was durable so far.
    Lost,
    /// The segment is shorter than what was read of it.
    Shorter,
    /// The line is longer than [`crate::limits::LINE_BYTES_MAX`].
    TooLong,
    /// The commit line's chain is not that of the transactions before it.
    Chain,
    /// The compressed frame that holds this byte cannot be decompressed.
    Frame,
    /// The compressed segment has no sound seek table.
    SeekTable,
}

impl Damage {
    /// The stable upper-case word of this damage.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Damage::Line(kind) => kind.word(),
            Damage::Stamp => "STAMP",
            Damage::Order => "ORDER",
            Damage::Name => "NAME",
            Damage::Lines => "LINES",
            Damage::Crc => "CRC",
            Damage::CommitCrc => "COMMITCRC",
            Damage::Xid => "XID",
            Damage::Incomplete => "INCOMPLETE",
            Damage::Lost => "LOST",
            Damage::Shorter => "SHORTER",
            Damage::TooLong => "TOOLONG",
            Damage::Chain => "CHAIN",
            Damage::Frame => "FRAME",
            Damage::SeekTable => "SEEKTABLE",
        }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Damage::Line(kind) => kind.text(),
            Damage::Stamp => "the line does not begin with a clock and a sequence number",
            Damage::Order => "the position is not beyond that of the line before",
            Damage::Name => "the first line's position is not the one in the segment's name",
            Damage::Lines => "the transaction has another number of lines than its commit says",
            Damage::Crc => "the checksum of the transaction that begins here is wrong",
            Damage::CommitCrc => "the checksum of the commit line that begins here is wrong",
            Damage::Xid => "the line belongs to another transaction",
            Damage::Incomplete => "the transaction that begins here has no end",
            Damage::Lost => "what begins here was a whole transaction once",
            Damage::Shorter => "the segment is shorter than what was read of it",
            Damage::TooLong => "the line is longer than a line can be",
            Damage::Chain => {
                "transactions before the one that begins here are missing, or are others"
            }
            Damage::Frame => "the compressed frame that begins here cannot be read",
            Damage::SeekTable => "it is compressed and has no sound seek table",
        })
    }
}

/// An error of the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder does not exist.
    #[error("daystream folder {dir} does not exist")]
    NotFound {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder holds no daystream.
    #[error("folder {dir} holds no daystream: nothing has been written to it yet")]
    Empty {
        /// The folder.
        dir: PathBuf,
    },
    /// The system denies access.
    #[error("no permission to {operation} {path}")]
    Permission {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted.
        operation: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or folder that it would not be safe to use.
    #[error("refused to use {path}: {why}")]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another writer has the stream open.
    #[error("daystream {dir} is being written by another process; a stream has one writer")]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// The stream was written by a program that writes no commit lines.
    #[error("daystream {dir} was written by another program; write to a folder of your own")]
    Foreign {
        /// The folder.
        dir: PathBuf,
    },
    /// A segment is damaged.
    #[error(
        "segment {segment} is damaged at byte {byte}: {damage}; nothing was skipped or cut: \
         restore the segment from a copy"
    )]
    Corrupt {
        /// The segment, relative to the stream's folder.
        segment: String,
        /// Offset in the segment, in bytes.
        byte: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// Lines that the reader wants were removed by retention.
    #[error("the stream no longer has what follows {wanted}: it was removed up to {removed}")]
    Gap {
        /// The position after which the reader wants to read.
        wanted: Position,
        /// The last position that was removed.
        removed: Position,
    },
    /// The stream was removed and another one made in its place since it was opened.
    #[error(
        "the daystream in {dir} was made again: it is another one than the one that was opened, and \
         what changed between the two is in neither"
    )]
    Changed {
        /// The folder.
        dir: PathBuf,
    },
    /// Somebody else removes or compresses segments.
    #[error("daystream {dir}: another process is removing or compressing its segments")]
    Upkeep {
        /// The folder.
        dir: PathBuf,
    },
    /// A name that no registered reader can have.
    #[error("\"{name}\" is no name of a reader: up to 64 letters, digits and _ - . are")]
    ReaderName {
        /// The name.
        name: String,
    },
    /// Somebody reads under this name.
    #[error("another process reads as \"{name}\"; a registered reader is one at a time")]
    ReaderHeld {
        /// The name.
        name: String,
    },
    /// There is no registered reader of this name.
    #[error("no reader is registered as \"{name}\"")]
    NoReader {
        /// The name.
        name: String,
    },
    /// A file operation failed.
    #[error("cannot {operation} {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted.
        operation: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// An earlier write or fsync failed; what is on the disk is unknown until the stream is
    /// opened again.
    #[error("the daystream writer failed earlier; close the stream and open it again")]
    Poisoned,
    /// A line handed to the writer is not an unstamped change line of the open transaction.
    #[error("not a line for a daystream: {damage} at byte {byte}")]
    BadLine {
        /// Offset in the line, in bytes.
        byte: usize,
        /// What is wrong there.
        damage: Damage,
    },
    /// A line of a stream that is being read in is not a change line.
    #[error("line {line} of the input, byte {byte}: {kind}", kind = kind.text())]
    Input {
        /// Number of the line, from 1.
        line: u64,
        /// Offset in the line, in bytes.
        byte: usize,
        /// What is wrong there.
        kind: Kind,
    },
    /// A transaction of a stream that is being read in has no commit line, though others have.
    #[error("line {line} of the input begins a transaction before the last one's commit line")]
    InputCommit {
        /// Number of the line, from 1.
        line: u64,
    },
    /// A commit line that says how many lines its transaction has, and it has another number: a
    /// part of it came twice, or not at all.
    #[error(
        "the transaction that ends at line {line} of the input should have {wanted} lines and has \
         {got}: a part of it was sent twice, as after a reconnection, or is missing"
    )]
    InputLines {
        /// Number of the commit line, from 1.
        line: u64,
        /// Lines that it speaks of.
        wanted: u64,
        /// Lines that came.
        got: u64,
    },
    /// A line of a stream that is being read in is longer than a line can be.
    #[error("line {line} of the input is longer than a line can be")]
    InputTooLong {
        /// Number of the line, from 1.
        line: u64,
    },
    /// Reading the input failed.
    #[error("cannot read the input after line {line}")]
    InputIo {
        /// Number of the last whole line, from 1.
        line: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// The clock is beyond the year 9999.
    #[error("the system clock is out of range: {clock} seconds since 1970")]
    Clock {
        /// The clock, in seconds since the Unix epoch.
        clock: i64,
    },
    /// A stream on another host cannot be read.
    #[error("{url}: {fault}")]
    Remote {
        /// The stream.
        url: String,
        /// Why.
        fault: Box<super::remote::Fault>,
    },
    /// A stream of a format that this version does not know.
    #[error(
        "this version does not know the stream's format: {path} says format {format}, and its key \
         \"{key}\" means nothing here; use the version of pgsqlite that wrote it, or a newer one"
    )]
    Format {
        /// The state file.
        path: PathBuf,
        /// The format that it tells.
        format: u32,
        /// The key that is not known.
        key: String,
    },
    /// A stream has more tables than its state file takes.
    #[error(
        "the names of the stream's {tables} tables make a state file of {bytes} bytes, which nobody \
         would read again (1 MiB is the most): leave -tables out, which means all tables, or use \
         pgoutput with a publication"
    )]
    StateSize {
        /// Number of tables.
        tables: usize,
        /// Bytes of the file.
        bytes: usize,
    },
    /// A state file is not readable.
    #[error("state file {path} is damaged at byte {byte}: {why}")]
    State {
        /// The file.
        path: PathBuf,
        /// Offset in the file, in bytes.
        byte: usize,
        /// What is wrong there.
        why: &'static str,
    },
}

impl Error {
    /// The error of a failed file operation.
    pub(super) fn io(
        path: impl Into<PathBuf>,
        operation: &'static str,
        source: io::Error,
    ) -> Error {
        let path = path.into();
        if let Some(broken) = source.get_ref().and_then(|why| why.downcast_ref::<Broken>()) {
            let Broken { segment, byte, damage } = broken;
            return Error::Corrupt { segment: segment.clone(), byte: *byte, damage: *damage };
        }
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Error::Permission { path, operation, source };
        }
        if source.raw_os_error() == Some(libc::ELOOP) {
            return Error::Refused { path, why: "it is a symbolic link" };
        }
        Error::Io { path, operation, source }
    }

    /// The error of a folder that cannot be watched.
    pub(super) fn watch(dir: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { dir: dir.to_owned() },
            _ => Error::io(dir, "watch", source),
        }
    }

    /// Whether a file or the folder itself was not there, here or on the stream's host. To one who
    /// had the stream open: it is being removed or made anew, or its file system is away.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Error::NotFound { .. } => true,
            Error::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Error::Remote { fault, .. } => fault.reason == super::remote::Reason::NotFound,
            _ => false,
        }
    }

    /// The word of the code's reason.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Error::NotFound { .. } => "NOTFOUND",
            Error::Empty { .. } => "EMPTY",
            Error::Permission { .. } => "PERMISSION",
            Error::Refused { .. } => "REFUSED",
            Error::Locked { .. } => "LOCKED",
            Error::Foreign { .. } => "FOREIGN",
            Error::Corrupt { .. } => "CORRUPT",
            Error::Gap { .. } => "GAP",
            Error::Changed { .. } => "CHANGED",
            Error::Upkeep { .. } => "UPKEEP",
            Error::ReaderName { .. } => "READERNAME",
            Error::ReaderHeld { .. } => "READERHELD",
            Error::NoReader { .. } => "NOREADER",
            Error::Io { .. } => "IO",
            Error::Poisoned => "POISONED",
            Error::BadLine { .. } => "LINE",
            Error::Input { .. } => "INPUT",
            Error::InputCommit { .. } => "INPUTCOMMIT",
            Error::InputLines { .. } => "INPUTLINES",
            Error::InputTooLong { .. } => "INPUTTOOLONG",
            Error::InputIo { .. } => "INPUTIO",
            Error::Clock { .. } => "CLOCK",
            Error::Format { .. } => "FORMAT",
            Error::State { .. } => "STATE",
            Error::StateSize { .. } => "STATESIZE",
            Error::Remote { fault, .. } => fault.reason.word(),
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        let code = Code::new("DAYSTREAM", self.reason());
        match self {
            Error::NotFound { dir }
            | Error::Empty { dir }
            | Error::Locked { dir }
            | Error::Upkeep { dir }
            | Error::Changed { dir }
            | Error::Foreign { dir } => code.with("dir", dir.display()),
            Error::Permission { path, .. }
            | Error::Refused { path, .. }
            | Error::Io { path, .. } => code.with("path", path.display()),
            Error::Corrupt { segment, byte, damage } => {
                code.with("segment", segment).with("byte", byte).with("damage", damage.word())
            }
            Error::Gap { wanted, removed } => code.with("wanted", wanted).with("removed", removed),
            Error::ReaderName { name } | Error::ReaderHeld { name } | Error::NoReader { name } => {
                code.with("reader", name)
            }
            Error::Poisoned => code,
            Error::BadLine { byte, damage } => {
                code.with("byte", byte).with("damage", damage.word())
            }
            Error::Input { line, byte, kind } => {
                code.with("line", line).with("byte", byte).with("damage", kind.word())
            }
            Error::InputCommit { line }
            | Error::InputTooLong { line }
            | Error::InputIo { line, .. } => code.with("line", line),
            Error::InputLines { line, wanted, got } => {
                code.with("line", line).with("wanted", wanted).with("got", got)
            }
            Error::Clock { clock } => code.with("clock", clock),
            Error::Remote { url, fault } => fault.code().with("url", url),
            Error::Format { path, format, key } => {
                code.with("path", path.display()).with("format", format).with("key", key)
            }
            Error::StateSize { tables, bytes } => code.with("tables", tables).with("bytes", bytes),
            Error::State { path, byte, .. } => code.with("path", path.display()).with("byte", byte),
        }
    }

    fn class(&self) -> Class {
        match self {
            Error::NotFound { .. }
            | Error::Permission { .. }
            | Error::Refused { .. }
            | Error::Foreign { .. }
            | Error::ReaderName { .. }
            | Error::NoReader { .. }
            | Error::StateSize { .. }
            | Error::BadLine { .. } => Class::Usage,
            Error::Empty { .. } | Error::Locked { .. } | Error::Upkeep { .. } | Error::Poisoned => {
                Class::Retry
            }
            Error::Input { .. } | Error::InputCommit { .. } | Error::InputTooLong { .. } => {
                Class::Poison
            }
            // Read again from the beginning of the transaction, it may be whole.
            Error::InputLines { .. } | Error::ReaderHeld { .. } => Class::Retry,
            Error::Gap { .. } | Error::Changed { .. } => Class::Drift,
            Error::Remote { fault, .. } => fault.class(),
            Error::Io { source, .. } | Error::InputIo { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::Interrupted => Class::Retry,
                _ => Class::Fatal,
            },
            Error::Corrupt { .. }
            | Error::Clock { .. }
            | Error::Format { .. }
            | Error::State { .. } => Class::Fatal,
        }
    }
}
