//! Errors of the mirror stage: `PGSQLITE MIRROR <REASON> ...`, or the code of the stage below.

pub use super::place::Place;
use super::reload::Due;
use super::snapshot::Unproven;
use super::swap::Refused;
use super::verbs::Declined;
use crate::advice;
use crate::error::{Class, Code, Coded};
use crate::schema::TableName;

/// Why a row was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// An update or delete found no row.
    NoRow,
    /// The row is there already, or a constraint of the table refused it.
    Conflict,
    /// A value does not fit its column.
    Value,
    /// A value or row is longer than SQLite stores.
    TooBig,
    /// The line does not make sense where it stands.
    Order,
    /// The stream does not have a value that the row needs.
    Missing,
    /// An update or delete of one row changed several; never kept, always an error.
    Many,
}

impl Reason {
    /// The word in the error code and in `_deltamirror_error`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Reason::NoRow => "NOROW",
            Reason::Conflict => "CONFLICT",
            Reason::Value => "VALUE",
            Reason::TooBig => "TOOBIG",
            Reason::Order => "ORDER",
            Reason::Missing => "MISSING",
            Reason::Many => "MANY",
        }
    }
}

/// A row that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Where.
    pub place: Place,
    /// The table's name in SQLite.
    pub table: String,
    /// The key, as `column=value` pairs; empty when there is none.
    pub key: String,
    /// Why.
    pub reason: Reason,
    /// The reason in words.
    pub message: String,
}

/// What can go wrong between a daystream and a mirror.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream comes from another server or database than the mirror's rows.
    #[error(
        "the stream {stream} is of {what} {got}, the mirror was made from {what} {wanted}: \
         give the right stream, or make a new mirror"
    )]
    OtherServer {
        /// The stream.
        stream: String,
        /// `system` or `database`.
        what: &'static str,
        /// The mirror's.
        wanted: String,
        /// The stream's.
        got: String,
    },
    /// The stream is not the one that the mirror was made from, nor a copy of it.
    #[error(
        "the stream {stream} is not the one that the mirror was made from: it was made again, or is \
         of another slot, and what was changed in between is not in it; end what applies another \
         one, and fill all tables of the mirror again from it by `deltamirror init -resync 1 \
         -tables ... -conninfo ... -db ... -stream {}`, or make a new mirror",
        advice::word(stream)
    )]
    OtherStream {
        /// The stream.
        stream: String,
    },
    /// The stream has passed what was written after a table was copied, without bringing it.
    #[error("{0}")]
    Unproven(Box<Unproven>),
    /// The table's definition in PostgreSQL is not what the mirror's table was made from.
    #[error(
        "the definition of table {table} changed at {place}: {detail}; nothing of that \
         transaction was applied: fill the table again by {}",
        advice::filling(table)
    )]
    Drift {
        /// The table's name in SQLite.
        table: String,
        /// Where.
        place: Place,
        /// What changed.
        detail: String,
    },
    /// A row that cannot be applied; nothing of its transaction was.
    #[error(
        "{} at {}: {}; nothing of that transaction was applied: repair the row, fill the table \
         again by {}, or go on with -on_error keep",
        .0.table, .0.place, .0.message, advice::filling(&.0.table)
    )]
    Row(Box<BadRow>),
    /// A line that cannot be read.
    #[error("the line at {place} cannot be read: {source}")]
    Line {
        /// Where.
        place: Place,
        /// What is wrong, and at which byte.
        source: deltaflood::ParseError,
    },
    /// The database was locked for the whole time allowed.
    #[error("the SQLite database was locked for {waited_ms} ms; nothing is lost, try again")]
    Busy {
        /// How long it was tried, in milliseconds.
        waited_ms: u64,
        /// SQLite's last word.
        source: crate::sqlite::Error,
    },
    /// The caller's handle has a transaction open.
    #[error("a transaction is open on this database handle: end it first")]
    InTransaction,
    /// The database has no file, so that no other connection can open it.
    #[error("a database in memory cannot be followed from a thread of its own: use apply")]
    NoFile,
    /// The file holds no mirror.
    #[error(
        "{file} holds no mirror yet: make it by `deltamirror init -conninfo ... -db {} -stream \
         ...`",
        advice::word(file)
    )]
    NotInitialised {
        /// The file, or `the database`.
        file: String,
    },
    /// A later version of this library has made the mirror, or has written to it.
    #[error(
        "the mirror is of format {found}, and this pgsqlite knows formats up to {known}: use the \
         pgsqlite that wrote it, or a newer one"
    )]
    Format {
        /// The mirror's version.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// The file is gone, or another one has its name: what is open has no name any more.
    #[error(
        "{file} was removed or replaced while changes were applied to it; nothing more is: start \
         again for the file that is there now"
    )]
    Replaced {
        /// The file.
        file: String,
    },
    /// A table of that name is in the file and is not the mirror's.
    #[error(
        "there is a table \"{table}\" in the SQLite database that is not the mirror's: rename or \
         drop it, or mirror into another file"
    )]
    TableExists {
        /// The name.
        table: String,
    },
    /// The table is not in the stream's publication: no changes of it would ever come.
    #[error(
        "table {table} is not in the publication {publication} of the stream; add it by \
         `ALTER PUBLICATION {} ADD TABLE {}`",
        advice::name(publication),
        advice::table(table)
    )]
    NotPublished {
        /// The table.
        table: String,
        /// The publication.
        publication: String,
    },
    /// The partitioned table's changes come under the names of its parts.
    #[error(
        "the publication {publication} of the stream sends the changes of the partitioned table \
         {table} under the names of its partitions, as {part}: mirror these, or \
         `ALTER PUBLICATION {} SET (publish_via_partition_root = true)`",
        advice::name(publication)
    )]
    PartsPublished {
        /// The table.
        table: String,
        /// One of its parts.
        part: String,
        /// The publication.
        publication: String,
    },
    /// The key of a table has columns that the stream does not send.
    #[error(
        "the replica identity of table {table} has columns that the stream does not send \
         ({columns}; generated, or left out by the publication): its rows could not be found \
         again; publish them, or give the table another identity (`ALTER TABLE ... REPLICA \
         IDENTITY USING INDEX ...`)"
    )]
    KeyNotSent {
        /// The table.
        table: String,
        /// The columns, separated by commas.
        columns: String,
    },
    /// The table is not among those of the stream: no changes of it would ever come.
    #[error(
        "table {table} is not among the tables of the stream; add it, while nothing is captured, \
         by {}",
        advice::setup("plugin", "deltaflood", &advice::tables(table))
    )]
    NotSelected {
        /// The table.
        table: String,
    },
    /// The first fill is not over: tables that were asked for are not there.
    #[error(
        "the copy into {file} is not finished, and {}: finish it: {}",
        missing(.tables), init_command(.file, .stream, .tables, .resync)
    )]
    NotFilled {
        /// The file.
        file: String,
        /// The mirror's stream.
        stream: String,
        /// The tables that are missing; empty when the file does not tell.
        tables: Vec<TableName>,
        /// What the command has to say where tables of another stream are there: `-resync 1 `.
        resync: &'static str,
    },
    /// The stream no longer has what the mirror needs next.
    #[error(
        "what changed in between is lost to the mirror: fill all of its tables again: {}",
        init_command(.file, .stream, .tables, "-resync 1 ")
    )]
    Gap {
        /// The file.
        file: String,
        /// The mirror's stream.
        stream: String,
        /// All tables of the mirror.
        tables: Vec<TableName>,
        /// What the stream says.
        source: Box<crate::daystream::Error>,
    },
    /// A temporary trigger of the connection is on a table that is filled again.
    #[error(
        "the temporary trigger \"{trigger}\" of this connection is on a table \"{table}\": it \
         would be lost when the table is filled again; drop it, or use another connection"
    )]
    InTheWay {
        /// The table's name in SQLite.
        table: String,
        /// The trigger's name.
        trigger: String,
    },
    /// The stream's publication is gone.
    #[error("the publication {publication} of the stream does not exist in this database")]
    NoPublication {
        /// The publication.
        publication: String,
    },
    /// Nothing to mirror.
    #[error("the publication {publication} has no tables")]
    NoTables {
        /// The publication.
        publication: String,
    },
    /// A table that is not in the mirror.
    #[error("table {table} is not in the mirror; {}", advice::adding(table))]
    NotMirrored {
        /// The table.
        table: String,
    },
    /// The connection is to a standby.
    #[error(
        "the server is a standby: its snapshots do not tell what is in progress; connect to the primary"
    )]
    Standby,
    /// Writers that were there before the copy did not end.
    #[error(
        "transactions that wrote to these tables before the copy began did not end within \
         {waited_ms} ms: {holders}; end them (a prepared transaction by COMMIT PREPARED or \
         ROLLBACK PREPARED) and run init again"
    )]
    Writers {
        /// How long it was waited, in milliseconds.
        waited_ms: u64,
        /// The processes they run in, and the names of prepared ones.
        holders: String,
    },
    /// The mirror's own tables hold something that was never written there.
    #[error("the mirror's own tables are damaged: {what}")]
    State {
        /// What is odd.
        what: String,
    },
    /// A table is not followed rightly until it is reloaded, which cannot be done here.
    #[error("{0}")]
    Due(Box<Due>),
    /// What the user made on a table, and one that takes its place cannot have.
    #[error("{0}")]
    Own(Box<Refused>),
    /// A verb was declined, or the mirror stands still.
    #[error(transparent)]
    Declined(#[from] Declined),
    /// Stopped by the caller.
    #[error("stopped")]
    Stopped,
    /// Something that cannot be.
    #[error("defect: {what}")]
    Defect {
        /// What.
        what: String,
    },
    /// The worker thread could not be started, or a file not be watched.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's word.
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("the SQLite database failed")]
    Sqlite(#[from] crate::sqlite::Error),
    /// The stream failed.
    #[error("the stream failed")]
    Daystream(#[source] crate::daystream::Error),
    /// PostgreSQL failed.
    #[error("PostgreSQL failed")]
    Postgres(#[from] crate::libpq::Error),
    /// The schema cannot be read or translated.
    #[error("the schema of the source cannot be mirrored")]
    Schema(#[from] crate::schema::Error),
    /// Rows could not be copied.
    #[error("table {table} could not be copied")]
    Copy {
        /// The table's name in SQLite.
        table: String,
        /// Why.
        source: crate::pg_sqlite::Error,
    },
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::Own(Box::new(refused))
    }
}

impl From<crate::daystream::Error> for Error {
    fn from(error: crate::daystream::Error) -> Error {
        use crate::daystream::Error as Stream;
        match error {
            Stream::Changed { dir } => {
                Error::OtherStream { stream: dir.to_string_lossy().into_owned() }
            }
            error => Error::Daystream(error),
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        let code = |reason| Code::new("MIRROR", reason);
        match self {
            Error::OtherServer { stream, wanted, got, .. } => {
                code("OTHERSERVER").with("stream", stream).with("wanted", wanted).with("got", got)
            }
            Error::OtherStream { stream } => code("OTHERSTREAM").with("stream", stream),
            Error::Unproven(copy) => copy.code(code("UNPROVEN")),
            Error::Drift { table, place, .. } => placed(code("DRIFT").with("table", table), place),
            Error::Row(row) => {
                placed(code(row.reason.word()).with("table", &row.table), &row.place)
                    .with("key", &row.key)
            }
            Error::Line { place, source } => {
                placed(code("BADLINE"), place).with("byte", source.byte)
            }
            Error::Busy { source, waited_ms } => source.code().with("waited_ms", waited_ms),
            Error::InTransaction => code("INTRANSACTION"),
            Error::NoFile => code("NOFILE"),
            Error::NotInitialised { file } => code("NOTINITIALISED").with("file", file),
            Error::Format { found, .. } => code("FORMAT").with("version", found),
            Error::Replaced { file } => code("REPLACED").with("file", file),
            Error::TableExists { table } => code("TABLEEXISTS").with("table", table),
            Error::NotPublished { table, publication } => {
                code("NOTPUBLISHED").with("table", table).with("publication", publication)
            }
            Error::PartsPublished { table, publication, .. } => {
                code("NOTPUBLISHED").with("table", table).with("publication", publication)
            }
            Error::KeyNotSent { table, .. } => code("KEYNOTSENT").with("table", table),
            Error::NotSelected { table } => code("NOTPUBLISHED").with("table", table),
            Error::NoPublication { publication } => {
                code("NOPUBLICATION").with("publication", publication)
            }
            Error::NoTables { publication } => code("NOTABLES").with("publication", publication),
            Error::NotFilled { file, tables, .. } => {
                code("NOTFILLED").with("file", file).with("tables", names(tables))
            }
            Error::Gap { source, .. } => source.code(),
            Error::InTheWay { table, trigger } => {
                code("INTHEWAY").with("table", table).with("trigger", trigger)
            }
            Error::NotMirrored { table } => code("NOTMIRRORED").with("table", table),
            Error::Standby => code("STANDBY"),
            Error::Writers { waited_ms, .. } => code("WRITERS").with("waited_ms", waited_ms),
            Error::State { .. } => code("STATE"),
            Error::Due(due) => due.error_code(code("RELOAD")),
            Error::Own(refused) => refused.code(code("OWN")),
            Error::Declined(inner) => inner.code(),
            Error::Stopped => code("STOPPED"),
            Error::Defect { .. } => code("DEFECT"),
            Error::Io { .. } => code("IO"),
            Error::Sqlite(inner) => inner.code(),
            Error::Daystream(inner) => inner.code(),
            Error::Postgres(inner) => inner.code(),
            Error::Schema(inner) => inner.code(),
            Error::Copy { source, .. } => source.code(),
        }
    }

    fn class(&self) -> Class {
        match self {
            Error::OtherServer { .. }
            | Error::OtherStream { .. }
            | Error::Unproven(_)
            | Error::Drift { .. }
            | Error::Replaced { .. }
            | Error::Gap { .. }
            | Error::NoPublication { .. } => Class::Drift,
            Error::Due(_) => Due::CLASS,
            Error::Row(_) => Class::Poison,
            Error::Line { .. } | Error::State { .. } | Error::Defect { .. } => Class::Fatal,
            Error::Busy { .. } | Error::Writers { .. } | Error::Stopped | Error::Io { .. } => {
                Class::Retry
            }
            Error::Declined(inner) => inner.class(),
            Error::Sqlite(inner) => inner.class(),
            Error::Daystream(inner) => inner.class(),
            Error::Postgres(inner) => inner.class(),
            Error::Schema(inner) => inner.class(),
            Error::Copy { source, .. } => source.class(),
            _ => Class::Usage,
        }
    }
}

/// Names as a Tcl list, which is a list for the programs' `-tables` too.
fn names(tables: &[TableName]) -> String {
    let names: Vec<String> = tables.iter().map(TableName::to_string).collect();
    let list = deltaflood::list::encode(names.iter().map(String::as_bytes));
    String::from_utf8_lossy(&list).into_owned()
}

fn missing(tables: &[TableName]) -> String {
    let names: Vec<String> = tables.iter().map(TableName::to_string).collect();
    match &*names {
        [] => "tables may be missing".to_owned(),
        [one] => format!("table {one} is missing"),
        _ => format!("tables {} are missing", names.join(", ")),
    }
}

/// The command that fills tables; how to reach PostgreSQL is the user's to add.
fn init_command(file: &str, stream: &str, tables: &[TableName], more: &str) -> String {
    let tables = match tables {
        [] => String::new(),
        _ => format!(" -tables {}", advice::word(&names(tables))),
    };
    let (file, stream) = (advice::word(file), advice::word(stream));
    format!("`deltamirror init {more}-conninfo ... -db {file} -stream {stream}{tables}`")
}

fn placed(code: Code, place: &Place) -> Code {
    let position = format!("{} {}", place.position.clock, place.position.seq);
    let code = code.with("position", position);
    match place.lsn {
        Some(lsn) => code.with("lsn", lsn),
        None => code,
    }
}
