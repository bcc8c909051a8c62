//! From the messages of the built-in plugin pgoutput to change lines.
//!
//! A function of bytes, of the names of types and of what the catalogs say: no connection, no file.
//! The clock is read for heartbeats, and for messages outside of transactions, which tell no time.
//! Protocol version 1: whole transactions in commit order, rows in text format. Origin and Type
//! messages are passed over.
//!
//! Values are taken as the server prints them; the session's settings (ISO dates, UTC, hex bytea,
//! ...) are the caller's business. Booleans, and domains over them, become `1` and `0`.
//!
//! Format source: PostgreSQL manual, "Logical Replication Message Formats".

mod relation;
mod types;
mod wire;

pub use relation::Schema;
pub use types::{TypeKey, TypeName, TypeNames};

use super::batch::{Batch, What};
use super::catalog::Described;
use super::heartbeat::{Seen, Stamp};
use super::invalid_text::TextRule;
use super::proof::Again;
use crate::libpq::Oid;
use deltaflood::write::{Line, escape, escaped_len};
use deltaflood::{Lsn, Verb, list};
use relation::{Form, Relation, Told};
use std::collections::HashMap;
use std::sync::Arc;
use wire::{Value, Wire};

/// Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's clock begins.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// A message is emitted as part of its transaction (a flag of the protocol).
const FLAG_TRANSACTIONAL: u8 = 1;

/// Why a message was not turned into lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends too early.
    #[error("the message ends too early")]
    Short,
    /// A byte that says a kind says none that is known.
    #[error("unknown kind of {what}: {kind:#04x}")]
    Kind {
        /// Kind of what.
        what: &'static str,
        /// The byte.
        kind: u8,
    },
    /// A change of a table that was not described before.
    #[error("a change of relation {0}, which was not described")]
    Relation(Oid),
    /// A row with more or fewer columns than its table.
    #[error("a row of {got} columns where the table has {wanted}")]
    Columns {
        /// Columns of the table.
        wanted: usize,
        /// Columns of the row.
        got: usize,
    },
    /// A change or a commit outside of a transaction.
    #[error("a message of kind {0:#04x} outside of a transaction")]
    Outside(u8),
    /// Not a fault: say what the catalogs know of this table ([`Decoder::learn`]) and give the
    /// message again.
    #[error("the details of relation {0} were not asked for")]
    Details(Oid),
    /// The system has no memory for a text.
    #[error("no memory for a text of {0} bytes")]
    Memory(usize),
    /// A text is no UTF-8.
    #[error("column {column} of table {table} has a text that is no UTF-8")]
    Text {
        /// The table.
        table: String,
        /// The column; empty: a name is meant.
        column: String,
    },
    /// Not a fault: learn the names of these types and give the message again.
    #[error("names of types are not known")]
    Types(Vec<TypeKey>),
}

/// What a message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Part of a transaction, or nothing of interest.
    Within,
    /// A transaction is complete.
    Committed {
        /// End of its commit record.
        lsn: Lsn,
        /// Whether it has lines (and so a commit mark); false also when it was sent before.
        written: bool,
        /// It has lines, and was sent before.
        again: Option<Again>,
    },
}

/// A transaction being read.
#[derive(Debug, Clone, Copy)]
struct Transaction {
    xid: u32,
    /// It was received before: its changes are dropped.
    skip: bool,
    /// Some line of it was rendered.
    written: bool,
    /// Some line of it was dropped.
    dropped: bool,
}

/// Turns messages into lines. One per connection: the server describes tables anew on each.
#[derive(Debug)]
pub struct Decoder {
    /// Names of types, to be filled by the caller.
    pub types: TypeNames,
    /// What knows heartbeats.
    pub stamp: Stamp,
    /// Whether to ask for the details of each table that is described.
    pub describes: bool,
    /// What was said of the table of the message that comes next.
    described: Option<(Oid, Option<Described>)>,
    rule: TextRule,
    relations: HashMap<Oid, Relation>,
    /// The last message described this table.
    last_described: Option<Oid>,
    transaction: Option<Transaction>,
    /// Transactions whose commit record begins before this were received before.
    resume: Lsn,
    /// The table of the last line in the present batch.
    marked: Option<Arc<Schema>>,
}

impl Decoder {
    /// A decoder that drops transactions whose commit ends at `resume` or before.
    #[must_use]
    pub fn new(types: TypeNames, resume: Lsn, rule: TextRule) -> Decoder {
        Decoder {
            types,
            stamp: Stamp::default(),
            describes: false,
            rule,
            described: None,
            relations: HashMap::new(),
            last_described: None,
            transaction: None,
            resume,
            marked: None,
        }
    }

    /// Whether a transaction has begun and not ended.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// The tables of which one comes next, as far as that is known: the one described last, when
    /// nothing has come since; else all of them.
    #[must_use]
    pub fn suspects(&self) -> Vec<String> {
        if let Some(relation) = self.last_described.and_then(|id| self.relations.get(&id)) {
            return vec![relation.schema.name()];
        }
        let mut names: Vec<String> = self.relations.values().map(|r| r.schema.name()).collect();
        names.sort_unstable();
        names
    }

    /// How many tables were described.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.relations.len()
    }

    /// Whether lines of a transaction that has not ended were rendered.
    #[must_use]
    pub fn has_half_transaction(&self) -> bool {
        self.transaction.is_some_and(|t| t.written)
    }

    /// Gives up a transaction that has begun.
    pub fn leave_transaction(&mut self) {
        self.transaction = None;
    }

    /// What the catalogs say of a table, asked for by [`DecodeError::Details`]; `None`: they cannot
    /// tell.
    pub fn learn(&mut self, table: Oid, described: Option<Described>) {
        self.described = Some((table, described));
    }

    /// Says that the next lines go into another batch, which needs its own table marks.
    pub fn new_batch(&mut self) {
        self.marked = None;
    }

    /// Renders one message at the end of `batch`. After an error nothing of the message is in the
    /// batch.
    ///
    /// # Errors
    /// [`DecodeError::Types`] and [`DecodeError::Details`] ask for something; everything else is a
    /// broken stream.
    pub fn decode(&mut self, message: &[u8], batch: &mut Batch) -> Result<Step, DecodeError> {
        let (lines, marks) = (batch.lines.len(), batch.marks.len());
        let step = self.dispatch(message, batch);
        if step.is_err() {
            batch.lines.truncate(lines);
            batch.marks.truncate(marks);
            self.marked = None;
        }
        step
    }

    fn dispatch(&mut self, message: &[u8], batch: &mut Batch) -> Result<Step, DecodeError> {
        let mut wire = Wire::new(message);
        self.last_described = None;
        match wire.u8()? {
            b'I' => self.change(Verb::Insert, wire, batch)?,
            b'U' => self.change(Verb::Update, wire, batch)?,
            b'D' => self.change(Verb::Delete, wire, batch)?,
            b'B' => self.begin(wire)?,
            b'C' => return self.commit(wire, batch),
            b'R' => self.describe(wire)?,
            b'T' => self.truncate(wire, batch)?,
            b'M' => return self.message(wire, batch),
            // Origin: where a change was first made. Type: named by format_type instead.
            b'O' | b'Y' => {}
            kind => return Err(DecodeError::Kind { what: "message", kind }),
        }
        Ok(Step::Within)
    }

    /// Takes a Relation message, with what the catalogs say besides where that is of this very
    /// definition.
    fn describe(&mut self, wire: Wire<'_>) -> Result<(), DecodeError> {
        let told = Told::read(wire)?;
        let asked = self.described.as_ref().is_some_and(|(table, _)| *table == told.oid);
        if self.describes && !asked {
            return Err(DecodeError::Details(told.oid));
        }
        let described = self.described.as_ref().and_then(|(_, described)| described.as_ref());
        let xid = self.transaction.map(|transaction| transaction.xid);
        let is_first = !self.relations.contains_key(&told.oid);
        let described = described.filter(|described| {
            told.is(described) && !xid.is_some_and(|xid| described.may_be_ahead_of(xid, is_first))
        });
        if let Some(described) = described {
            told.learn(described, &mut self.types);
        }
        let relation = Relation::new(told, &self.types, described.map(|of| &of.details))?;
        relation.check_names(self.rule)?;
        self.described = None;
        self.last_described = Some(relation.schema.relation);
        self.relations.insert(relation.schema.relation, relation);
        Ok(())
    }

    /// Takes the definitions of a message of our own.
    fn define(&mut self, content: &[u8], batch: &mut Batch) -> Result<(), DecodeError> {
        let schemas = self.stamp.definitions(content);
        if schemas.is_empty() {
            return Ok(());
        }
        let Some(xid) = self.open(b'M')? else { return Ok(()) };
        // Types may have other names now.
        self.types.clear();
        for schema in schemas {
            if let Some(relation) = self.relations.get_mut(&schema.relation) {
                relation.adopt(&schema);
            }
            batch.mark(What::Schema { xid, schema });
        }
        self.marked = None;
        Ok(())
    }

    fn begin(&mut self, mut wire: Wire<'_>) -> Result<(), DecodeError> {
        let commit_begins = Lsn(wire.u64()?);
        let _time = wire.i64()?;
        let xid = wire.u32()?;
        let skip = commit_begins < self.resume;
        self.transaction = Some(Transaction { xid, skip, written: false, dropped: false });
        self.marked = None;
        Ok(())
    }

    fn commit(&mut self, mut wire: Wire<'_>, batch: &mut Batch) -> Result<Step, DecodeError> {
        let transaction = self.transaction.take().ok_or(DecodeError::Outside(b'C'))?;
        let _flags = wire.u8()?;
        let _commit_begins = wire.u64()?;
        let lsn = Lsn(wire.u64()?);
        let time_us = wire.i64()?.saturating_add(POSTGRES_EPOCH_US);
        if transaction.written {
            batch.mark(What::Commit { xid: transaction.xid, lsn, time_us });
            self.marked = None;
        }
        let xid = transaction.xid;
        let again = transaction.dropped.then_some(Again { lsn, xid, time_us });
        Ok(Step::Committed { lsn, written: transaction.written, again })
    }

    /// The transaction to write into, `None` when it is dropped.
    fn open(&mut self, kind: u8) -> Result<Option<u32>, DecodeError> {
        let transaction = self.transaction.as_mut().ok_or(DecodeError::Outside(kind))?;
        if transaction.skip {
            transaction.dropped = true;
            return Ok(None);
        }
        transaction.written = true;
        Ok(Some(transaction.xid))
    }

    fn change(
        &mut self,
        verb: Verb,
        mut wire: Wire<'_>,
        batch: &mut Batch,
    ) -> Result<(), DecodeError> {
        let Some(xid) = self.open(b'I')? else { return Ok(()) };
        let id = wire.u32()?;
        let relation = self.relations.get_mut(&id).ok_or(DecodeError::Relation(id))?;
        mark_table(&mut self.marked, &relation.schema, xid, batch);
        let mut part = wire.u8()?;
        if matches!(part, b'K' | b'O') {
            let verb = if verb == Verb::Update { Verb::Replace } else { verb };
            row(relation, xid, verb, &mut wire, self.rule, &mut batch.lines)?;
            if verb == Verb::Delete {
                return Ok(());
            }
            part = wire.u8()?;
        }
        if part != b'N' || verb == Verb::Delete {
            return Err(DecodeError::Kind { what: "row", kind: part });
        }
        row(relation, xid, verb, &mut wire, self.rule, &mut batch.lines)
    }

    fn truncate(&mut self, mut wire: Wire<'_>, batch: &mut Batch) -> Result<(), DecodeError> {
        let Some(xid) = self.open(b'T')? else { return Ok(()) };
        let count = wire.u32()?;
        let _options = wire.u8()?;
        for _ in 0..count {
            let id = wire.u32()?;
            let relation = self.relations.get_mut(&id).ok_or(DecodeError::Relation(id))?;
            mark_table(&mut self.marked, &relation.schema, xid, batch);
            batch.lines.extend_from_slice(relation.head(xid));
            batch.lines.extend_from_slice(b"\t_action\ttruncate\n");
        }
        Ok(())
    }

    fn message(&mut self, mut wire: Wire<'_>, batch: &mut Batch) -> Result<Step, DecodeError> {
        let transactional = wire.u8()? & FLAG_TRANSACTIONAL != 0;
        // The end of its record, which is where the next one may begin.
        let lsn = Lsn(wire.u64()?);
        // NOTE: a prefix is not worth the capture's end.
        let prefix = &*String::from_utf8_lossy(wire.text()?);
        let prefix = prefix.as_bytes();
        let length = wire.u32()? as usize;
        let content = wire.bytes(length)?;
        let seen = self.stamp.look(prefix, content);
        let skipped = self.transaction.is_some_and(|transaction| transaction.skip);
        if seen == Seen::Other || seen == Seen::Former && !skipped {
            return Ok(Step::Within);
        }
        if matches!(seen, Seen::Look | Seen::Definitions) {
            let xid = self.transaction.filter(|_| transactional).map_or(0, |t| t.xid);
            match seen {
                Seen::Look => self.stamp.asked.push(xid),
                _ if transactional => self.define(content, batch)?,
                _ => {}
            }
            return Ok(Step::Within);
        }
        let xid = if transactional {
            let Some(xid) = self.open(b'M')? else { return Ok(Step::Within) };
            xid
        } else if lsn <= self.resume {
            let again = Some(Again { lsn, xid: 0, time_us: 0 });
            return Ok(Step::Committed { lsn, written: false, again });
        } else {
            0
        };
        if let Seen::Own(beat) = seen {
            batch.mark(What::Beat(beat));
        }
        let mut columns = Line::begin(&mut batch.lines).xid(xid).verb(Verb::Message);
        columns.column(b"prefix", prefix).column(b"content", &text_of(content));
        if let Seen::Own(beat) = seen {
            columns.column(b"received_us", beat.received_us.to_string().as_bytes());
            columns.column(b"offset_us", beat.offset_us.to_string().as_bytes());
        }
        columns.end();
        if transactional {
            return Ok(Step::Within);
        }
        // A message outside of any transaction is a transaction of its own, ended by its own
        // position.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let time_us = now.map_or(0, |t| i64::try_from(t.as_micros()).unwrap_or(i64::MAX));
        batch.mark(What::Commit { xid, lsn, time_us });
        Ok(Step::Committed { lsn, written: true, again: None })
    }
}

/// A message's content: as it is when it is UTF-8 without a NUL, which no text of PostgreSQL has;
/// else in the hex form of a bytea.
fn text_of(content: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if std::str::from_utf8(content).is_ok() && !content.contains(&0) {
        return content.into();
    }
    let mut hex = b"\\x".to_vec();
    for byte in content {
        for digit in [byte >> 4, byte & 15] {
            hex.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
    }
    hex.into()
}

/// Marks that the next line is of another table than the one before.
#[inline]
fn mark_table(marked: &mut Option<Arc<Schema>>, schema: &Arc<Schema>, xid: u32, batch: &mut Batch) {
    if marked.as_ref().is_some_and(|last| Arc::ptr_eq(last, schema)) {
        return;
    }
    batch.mark(What::Table { xid, schema: Arc::clone(schema) });
    *marked = Some(Arc::clone(schema));
}

/// Bytes from which on a text gets room of its own length in a batch.
const LONG_TEXT: usize = 16 << 20;

/// Room for a long text, escaped, and not twice as much for the few bytes behind it.
#[cold]
fn make_room(out: &mut Vec<u8>, text: &[u8]) -> Result<(), DecodeError> {
    let bytes = escaped_len(text).saturating_add(1 << 20);
    out.try_reserve_exact(bytes).map_err(|_| DecodeError::Memory(bytes))
}

/// Renders one row as a line.
fn row(
    relation: &mut Relation,
    xid: u32,
    verb: Verb,
    wire: &mut Wire<'_>,
    rule: TextRule,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let got = usize::from(wire.u16()?);
    let wanted = relation.columns.len();
    if got != wanted {
        return Err(DecodeError::Columns { wanted, got });
    }
    out.extend_from_slice(relation.head(xid));
    let head_ends = out.len();
    out.extend_from_slice(b"\t_action\t");
    out.extend_from_slice(verb.as_str().as_bytes());
    let mut unchanged: Vec<&[u8]> = Vec::new();
    for column in &relation.columns {
        match wire.value()? {
            Value::Null => {}
            Value::Unchanged => unchanged.push(&column.name),
            Value::Text(text) => {
                out.extend_from_slice(&column.key);
                if text.len() >= LONG_TEXT {
                    make_room(out, text)?;
                }
                match (column.form, text) {
                    (Form::Plain, _) => out.extend_from_slice(text),
                    (Form::Boolean, b"t") => out.push(b'1'),
                    (Form::Boolean, b"f") => out.push(b'0'),
                    _ if !rule.is_needed() => escape(out, text),
                    _ => {
                        let text = rule.apply(text);
                        let name = || String::from_utf8_lossy(&column.name).into_owned();
                        escape(out, &text.map_err(|_| relation.invalid(name()))?);
                    }
                }
            }
        }
    }
    if !unchanged.is_empty() {
        // NOTE: whatever the verb. An update that brings a row into a publication's filter comes as
        // an insert, and its columns that were not touched are not NULL.
        // Seldom: the head gets its field afterwards.
        let mut field = b"\t_unchanged\t".to_vec();
        escape(&mut field, &list::encode(unchanged));
        out.splice(head_ends..head_ends, field);
    }
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests;
