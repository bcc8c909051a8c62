//! What the stream says of a table, and the parts of its lines that do not change.

use super::super::invalid_text::TextRule;
use super::wire::Wire;
use super::{DecodeError, TypeKey, TypeName, TypeNames};
use crate::deltastream::catalog::{self, Described};
use crate::libpq::Oid;
use deltaflood::write::{Line, escape};
use deltaflood::{Change, Details, Text, Verb, pairs};
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
    gone: bool,
}

impl Schema {
    /// A table of this object id, schema and name, with these columns (name and type) of which some
    /// are its identity.
    #[must_use]
    pub fn new<'n>(
        relation: Oid,
        (namespace, table): (&[u8], &[u8]),
        identity: impl IntoIterator<Item = &'n [u8]>,
        details: Option<&Details>,
        columns: impl IntoIterator<Item = (&'n [u8], &'n [u8])>,
    ) -> Schema {
        let (mut head, mut tail) = (Vec::new(), vec![b'\t']);
        // Dropping the unfinished line leaves what it wrote.
        let _ = Line::begin(&mut head).table(table).schema(namespace);
        let line = Line::begin(&mut tail).oid(relation).identity(identity);
        let mut line = match details {
            Some(details) => line.details(details),
            None => line,
        }
        .verb(Verb::Schema);
        for (name, kind) in columns {
            line.column(name, kind);
        }
        Schema { relation, head, tail, gone: false }
    }

    /// The table's name for people, its schema before a point where that is not `public`.
    #[must_use]
    pub fn name(&self) -> String {
        let (mut schema, mut table) = (None, Vec::new());
        for (key, value) in pairs(&self.head).map_while(Result::ok) {
            match key.raw() {
                b"_schema" => schema = Some(value.decode().into_owned()),
                b"_table" => table = value.decode().into_owned(),
                _ => {}
            }
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        match schema {
            Some(schema) => format!("{}.{}", text(schema), text(table)),
            None => text(table),
        }
    }

    /// The `schema` line within transaction `xid`, without line feed and stamp.
    #[must_use]
    pub fn line(&self, xid: u32) -> Vec<u8> {
        let mut line = Vec::with_capacity(self.head.len() + self.tail.len() + 16);
        push_head(&mut line, &self.head, xid);
        line.extend_from_slice(&self.tail);
        line
    }

    /// The definition in a `schema` line that has an object id; `None` of another line.
    #[must_use]
    pub fn of(change: &Change<'_>) -> Option<Schema> {
        let (Verb::Schema, Some(oid), Some(table)) = (change.verb, change.oid, change.table) else {
            return None;
        };
        let mut head = Vec::new();
        let line = Line::begin(&mut head).table(&table.decode());
        // Dropping the unfinished line leaves what it wrote.
        let _ = match change.schema {
            Some(schema) => line.schema(&schema.decode()),
            None => line,
        };
        Some(Schema::of_line(oid, head, change))
    }

    /// Whether it says that the table is in the stream no more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether lines of rows that fit the one fit the other: all is alike but details and names of
    /// types.
    pub(in crate::deltastream) fn fits(&self, other: &Schema) -> bool {
        let (one, two) = (self.line(0), other.line(0));
        let (Ok(one), Ok(two)) = (Change::parse(&one), Change::parse(&two)) else { return false };
        let raw = |text: Option<Text<'_>>| text.map(|text| text.raw().to_vec());
        let names = |change: &Change<'_>| -> Vec<Vec<u8>> {
            change.columns().map_while(Result::ok).map(|(name, _)| name.raw().to_vec()).collect()
        };
        self.relation == other.relation
            && self.head == other.head
            && self.gone == other.gone
            && raw(one.key) == raw(two.key)
            && names(&one) == names(&two)
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
        Schema { relation, head, tail, gone: change.gone().is_some() }
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

impl Column {
    /// What its type's name is found by.
    fn key(&self) -> TypeKey {
        (self.type_id, self.type_modifier)
    }
}

impl Relation {
    /// The table of a message, with the names of its types, and its details where there are some.
    ///
    /// # Errors
    /// `DecodeError::Types` when names of types are not known yet.
    pub(super) fn new(
        mut told: Told,
        types: &TypeNames,
        details: Option<&Details>,
    ) -> Result<Relation, DecodeError> {
        let wanted: Vec<_> =
            told.columns.iter().map(Column::key).filter(|key| types.get(*key).is_none()).collect();
        if !wanted.is_empty() {
            return Err(DecodeError::Types(wanted));
        }
        for column in &mut told.columns {
            let base = types.get(column.key()).map(|t| t.base);
            column.form = match base {
                Some(BOOL) => Form::Boolean,
                Some(id) if PLAIN.contains(&id) => Form::Plain,
                _ => Form::Escaped,
            };
        }
        let schema = Arc::new(render(&told, types, details));
        Ok(Relation { schema, columns: told.columns, head: Vec::new(), head_xid: None })
    }

    /// Sees that its names are text.
    ///
    /// # Errors
    /// [`DecodeError::Text`].
    pub(super) fn check_names(&self, rule: TextRule) -> Result<(), DecodeError> {
        let names = [&self.schema.head, &self.schema.tail];
        match !rule.is_needed() || names.iter().all(|names| std::str::from_utf8(names).is_ok()) {
            true => Ok(()),
            false => Err(self.invalid(String::new())),
        }
    }

    /// The error of a text of this table that is no UTF-8.
    #[cold]
    pub(super) fn invalid(&self, column: String) -> DecodeError {
        DecodeError::Text { table: self.schema.name(), column }
    }

    /// Takes over another definition, where its lines of rows are the same.
    pub(super) fn adopt(&mut self, schema: &Arc<Schema>) {
        if self.schema.fits(schema) {
            self.schema = Arc::clone(schema);
        }
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

/// A Relation message.
#[derive(Debug)]
pub(super) struct Told {
    /// The table's object id.
    pub(super) oid: Oid,
    namespace: Vec<u8>,
    table: Vec<u8>,
    /// `d`, `n`, `f` or `i`.
    replica_identity: u8,
    columns: Vec<Column>,
}

impl Told {
    /// Reads a message, after its kind.
    ///
    /// # Errors
    /// The message ends too early.
    pub(super) fn read(mut wire: Wire<'_>) -> Result<Told, DecodeError> {
        let oid = wire.u32()?;
        let namespace = match wire.text()? {
            // The protocol's short form of the system schema.
            b"" => b"pg_catalog",
            name => name,
        };
        let table = wire.text()?.to_vec();
        let replica_identity = wire.u8()?;
        let count = wire.u16()?;
        let mut columns = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            columns.push(read_column(&mut wire)?);
        }
        Ok(Told { oid, namespace: namespace.to_vec(), table, replica_identity, columns })
    }

    /// Whether the catalogs say the same: else they are ahead of the message.
    pub(super) fn is(&self, described: &Described) -> bool {
        let same = |(ours, theirs): (&Column, &catalog::Column)| {
            (ours.name.as_slice(), ours.type_id, ours.type_modifier, ours.identity)
                == (theirs.name.as_bytes(), theirs.type_id, theirs.modifier, theirs.identity)
        };
        self.oid == described.oid
            && self.namespace == described.schema.as_bytes()
            && self.table == described.name.as_bytes()
            && self.replica_identity == described.details.identity
            && self.columns.len() == described.columns.len()
            && self.columns.iter().zip(&described.columns).all(same)
    }

    /// Takes over the names of the types of a description that [`Told::is`] this.
    pub(super) fn learn(&self, described: &Described, types: &mut TypeNames) {
        let bases = described.details.types.iter().map(|of| of.base);
        for ((ours, theirs), base) in self.columns.iter().zip(&described.columns).zip(bases) {
            types.insert(ours.key(), TypeName { name: theirs.type_name.clone(), base });
        }
    }
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

fn render(told: &Told, types: &TypeNames, details: Option<&Details>) -> Schema {
    let names: Vec<&[u8]> = told.columns.iter().map(|column| column.name.as_slice()).collect();
    let shown = |column: &Column| {
        types.get(column.key()).map_or(b"???".as_slice(), |found| found.name.as_bytes())
    };
    let identity = told.columns.iter().filter(|c| c.identity).map(|c| c.name.as_slice());
    Schema::new(
        told.oid,
        (&told.namespace, &told.table),
        identity,
        details,
        names.into_iter().zip(told.columns.iter().map(shown)),
    )
}
