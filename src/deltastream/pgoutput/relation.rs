//! What the stream says of a table, and the parts of its lines that do not change.

use super::wire::Wire;
use super::{DecodeError, TypeNames};
use crate::libpq::Oid;
use deltaflood::write::{Line, escape};
use deltaflood::{Change, Verb, list, pairs};
use std::io::Write;
use std::sync::Arc;

/// Column is part of the identity (a flag of the protocol).
const FLAG_IDENTITY: u8 = 1;

/// `boolean`, whose text `t`, `f` becomes `1`, `0`.
const BOOL: Oid = 16;

/// Types whose text never needs an escape: int8 int2 int4 oid float4 float8 date time timestamp
/// timestamptz timetz numeric uuid.
const PLAIN: [Oid; 13] = [20, 21, 23, 26, 700, 701, 1082, 1083, 1114, 1184, 1266, 1700, 2950];

/// A table's definition, as its `schema` line says it.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// The table's object id.
    pub relation: Oid,
    /// `_table`, `_schema`: the line up to `_xid`.
    head: Vec<u8>,
    /// The line after `_xid`: `_oid`, `_key`, the details, the verb, the columns.
    tail: Vec<u8>,
}

impl Schema {
    /// The `schema` line within transaction `xid`, without line feed and stamp.
    #[must_use]
    pub fn line(&self, xid: u32) -> Vec<u8> {
        let mut line = Vec::with_capacity(self.head.len() + self.tail.len() + 16);
        push_head(&mut line, &self.head, xid);
        line.extend_from_slice(&self.tail);
        line
    }

    /// The definition in a `schema` line that a plugin wrote; `head` are its table's fields.
    #[must_use]
    pub fn of_line(relation: Oid, head: Vec<u8>, change: &Change<'_>) -> Schema {
        let mut tail = Vec::new();
        // A line that was parsed has no malformed field.
        for (key, value) in pairs(change.line()).map_while(Result::ok) {
            // What the head has: up to `_xid`.
            if matches!(key.raw(), b"_table" | b"_schema" | b"_xid") {
                continue;
            }
            for part in [key, value] {
                tail.push(b'\t');
                tail.extend_from_slice(part.raw());
            }
            if key.raw() == b"_action" {
                break;
            }
        }
        let columns = change.line().get(change.columns_offset()..).unwrap_or_default();
        if !columns.is_empty() {
            tail.push(b'\t');
            tail.extend_from_slice(columns);
        }
        Schema { relation, head, tail }
    }
}

/// A column of a table.
#[derive(Debug)]
pub(super) struct Column {
    /// TAB, escaped name, TAB.
    pub(super) key: Vec<u8>,
    /// The name itself.
    pub(super) name: Vec<u8>,
    pub(super) form: Form,
    identity: bool,
    type_id: Oid,
    type_modifier: i32,
}

/// How a column's text becomes a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Plain,
    /// With escapes.
    Escaped,
    /// `t` is 1, `f` is 0.
    Boolean,
}

/// A table of the stream.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) schema: Arc<Schema>,
    pub(super) columns: Vec<Column>,
    /// The head with `_xid` of the transaction `head_xid`.
    head: Vec<u8>,
    head_xid: Option<u32>,
}

impl Relation {
    /// Reads a Relation message, after its kind.
    ///
    /// # Errors
    /// `DecodeError::Types` when names of types are not known yet.
    pub(super) fn read(mut wire: Wire<'_>, types: &TypeNames) -> Result<Relation, DecodeError> {
        let relation = wire.u32()?;
        let namespace = match wire.text()? {
            // The protocol's short form of the system schema.
            b"" => b"pg_catalog",
            name => name,
        };
        let table = wire.text()?;
        let _replica_identity = wire.u8()?;
        let count = wire.u16()?;
        let mut columns = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            columns.push(read_column(&mut wire)?);
        }
        let wanted: Vec<_> = columns
            .iter()
            .map(|c| (c.type_id, c.type_modifier))
            .filter(|key| types.get(*key).is_none())
            .collect();
        if !wanted.is_empty() {
            return Err(DecodeError::Types(wanted));
        }
        for column in &mut columns {
            let base = types.get((column.type_id, column.type_modifier)).map(|t| t.base);
            column.form = match base {
                Some(BOOL) => Form::Boolean,
                Some(id) if PLAIN.contains(&id) => Form::Plain,
                _ => Form::Escaped,
            };
        }
        let schema = Arc::new(render(relation, namespace, table, &columns, types));
        Ok(Relation { schema, columns, head: Vec::new(), head_xid: None })
    }

    /// The head of this table's lines in transaction `xid`, up to the verb.
    pub(super) fn head(&mut self, xid: u32) -> &[u8] {
        if self.head_xid != Some(xid) {
            self.head.clear();
            push_head(&mut self.head, &self.schema.head, xid);
            self.head_xid = Some(xid);
        }
        &self.head
    }
}

fn push_head(out: &mut Vec<u8>, head: &[u8], xid: u32) {
    out.extend_from_slice(head);
    // Writing into a Vec cannot fail.
    let _ = write!(out, "\t_xid\t{xid}");
}

fn read_column(wire: &mut Wire<'_>) -> Result<Column, DecodeError> {
    let flags = wire.u8()?;
    let name = wire.text()?.to_vec();
    let mut key = vec![b'\t'];
    escape(&mut key, &name);
    key.push(b'\t');
    Ok(Column {
        key,
        name,
        form: Form::Escaped,
        identity: flags & FLAG_IDENTITY != 0,
        type_id: wire.u32()?,
        type_modifier: wire.i32()?,
    })
}

fn render(
    relation: Oid,
    namespace: &[u8],
    table: &[u8],
    columns: &[Column],
    types: &TypeNames,
) -> Schema {
    let mut head = Vec::new();
    // Dropping the unfinished line leaves what it wrote.
    let _ = Line::begin(&mut head).table(table).schema(namespace);
    let mut tail = format!("\t_oid\t{relation}").into_bytes();
    let identity = columns.iter().filter(|c| c.identity).map(|c| c.name.as_slice());
    let identity = list::encode(identity);
    if !identity.is_empty() {
        tail.extend_from_slice(b"\t_key\t");
        escape(&mut tail, &identity);
    }
    tail.extend_from_slice(b"\t_action\t");
    tail.extend_from_slice(Verb::Schema.as_str().as_bytes());
    for column in columns {
        tail.extend_from_slice(&column.key);
        let name = types.get((column.type_id, column.type_modifier));
        escape(&mut tail, name.map_or(b"???".as_slice(), |t| t.name.as_bytes()));
    }
    Schema { relation, head, tail }
}
