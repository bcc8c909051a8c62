//! Definitions of tables, with all that `schema` lines may tell of them.

use crate::libpq::{Error, Oid, PgResult};
use deltaflood::write::Line;
use deltaflood::{Details, TypeId, Verb};
use std::fmt::Write;

/// A table as the catalogs describe it: what is sent of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its object id.
    pub oid: Oid,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The columns that are sent, in order.
    pub columns: Vec<Column>,
    /// The rest.
    pub details: Details,
    /// Columns of it that were dropped.
    pub dropped: Vec<DroppedColumn>,
    /// The transaction that was the next to begin when the catalogs were asked.
    pub next: u32,
    /// All transactions before this one ended before anything that the slot still sends; `None`:
    /// that was not asked.
    pub settled: Option<u32>,
}

/// A column that was dropped: its name and type are not known any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedColumn {
    /// Its attribute number.
    pub attnum: u16,
    /// The transaction that dropped it.
    pub xid: u32,
    /// How it was stored.
    pub form: String,
}

/// A column that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type's object id.
    pub type_id: Oid,
    /// Its type's modifier; -1: none.
    pub modifier: i32,
    /// The type as PostgreSQL prints it.
    pub type_name: String,
    /// Whether it is part of the identity.
    pub identity: bool,
    /// How it is stored, as far as the catalogs tell that of a column that was dropped.
    pub form: String,
}

/// The first object id that is not the server's own.
const FIRST_OF_USERS: Oid = 16_384;

/// `boolean`, whose values in lines are 1 and 0.
const BOOL: Oid = 16;

/// The statement that tells the definitions of tables, to be read by [`answer`]. `publication` is a
/// literal; without one, all columns are sent but generated ones. `slot` is a literal, too.
///
/// One row for each column, and one for a table without any. The columns of the answer are named in
/// [`At`].
pub(crate) fn question(
    tables: &[Oid],
    publication: Option<&str>,
    slot: Option<&str>,
    version: i32,
) -> String {
    let mut ids = String::new();
    for table in tables {
        let comma = if ids.is_empty() { "" } else { "," };
        // Writing into a String cannot fail.
        let _ = write!(ids, "{comma}{table}");
    }
    let (list, filter, join) = sent(publication, version);
    let generated = match (publication, version >= 180_000) {
        (Some(_), true) => "a.attgenerated = '' or a.attgenerated = 's' and p.pubgencols = 's'",
        _ => "a.attgenerated = ''",
    };
    // Before version 18 a list may name generated columns, and they are not sent.
    let named = if version >= 180_000 { "true" } else { "a.attgenerated = ''" };
    let settled = slot.map_or_else(
        || "null".to_owned(),
        |slot| {
            format!(
                "(select s.catalog_xmin from pg_catalog.pg_replication_slots s \
                   where s.slot_name = {slot})"
            )
        },
    );
    let multirange = if version >= 140_000 { "or g.rngmultitypid = s.id" } else { "" };
    format!(
        "with recursive tree(root, id) as (\
           select c.oid, c.oid from pg_catalog.pg_class c \
             where c.oid = any ('{{{ids}}}'::pg_catalog.oid[]) and c.relkind = 'p' \
           union all select tree.root, h.inhrelid from tree \
             join pg_catalog.pg_inherits h on h.inhparent = tree.id), \
         leaf(root, files) as (\
           select tree.root, pg_catalog.string_agg(pg_catalog.concat_ws(' ', \
             c.oid, c.relfilenode), ' ' order by c.oid) \
           from tree join pg_catalog.pg_class c on c.oid = tree.id where c.relkind <> 'p' \
           group by 1) \
         select c.oid, n.nspname, c.relname, c.relnatts, c.relkind, c.relreplident, \
           c.relfilenode, leaf.files, {filter}, k.indnkeyatts, \
           a.attnum, a.attname, a.atttypid, a.atttypmod, \
           pg_catalog.format_type(a.atttypid, a.atttypmod), d.id, d.modifier, a.xmin, \
           case c.relreplident when 'f' then true when 'n' then false \
             else pg_catalog.array_position(o.indkey::pg_catalog.int2[], a.attnum) \
               < o.indnkeyatts end, \
           pg_catalog.array_position(k.indkey::pg_catalog.int2[], a.attnum), \
           case when a.atthasmissing then \
             (a.attmissingval::pg_catalog.text::pg_catalog.text[])[1] end, \
           case when a.atttypid >= {FIRST_OF_USERS} then (\
             with recursive s(id) as (select a.atttypid union select x.id from s, lateral (\
               select y.typbasetype from pg_catalog.pg_type y where y.oid = s.id \
               union all select y.typelem from pg_catalog.pg_type y where y.oid = s.id \
               union all select g.rngsubtype from pg_catalog.pg_range g \
                 where g.rngtypid = s.id {multirange} \
               union all select f.atttypid from pg_catalog.pg_type y \
                 join pg_catalog.pg_attribute f on f.attrelid = y.typrelid \
                 where y.oid = s.id and y.typrelid <> 0 and f.attnum > 0 and not f.attisdropped\
               ) x(id) where x.id >= {FIRST_OF_USERS}) \
             select pg_catalog.string_agg(pg_catalog.concat_ws(' ', e.oid, pg_catalog.encode(\
               pg_catalog.convert_to(e.enumlabel::pg_catalog.text, case \
                 pg_catalog.getdatabaseencoding() when 'SQL_ASCII' then 'SQL_ASCII' \
                 else 'UTF8' end), 'hex')), ' ') \
             from s join pg_catalog.pg_enum e on e.enumtypid = s.id) end, \
           (select pg_catalog.string_agg(pg_catalog.concat_ws(':', g.attnum, g.xmin, g.attlen, \
             g.attalign, g.atttypmod), ' ') \
             from pg_catalog.pg_attribute g \
             where g.attrelid = c.oid and g.attnum > 0 and g.attisdropped), \
           pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) & 4294967295, \
           {settled}, pg_catalog.concat_ws(':', a.attlen, a.attalign, a.atttypmod) \
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         left join leaf on leaf.root = c.oid {join} \
         left join pg_catalog.pg_index k on k.indrelid = c.oid and k.indisprimary \
         left join pg_catalog.pg_index o on o.indrelid = c.oid and (case c.relreplident \
           when 'd' then o.indisprimary and o.indimmediate and o.indisvalid \
           when 'i' then o.indisreplident else false end) \
         left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 \
           and not a.attisdropped and (case when {list} is null then {generated} \
             else a.attnum = any ({list}) and {named} end) \
         left join lateral (with recursive d(id, modifier, kind, base, next) as (\
             select y.oid, a.atttypmod, y.typtype, y.typbasetype, y.typtypmod \
               from pg_catalog.pg_type y where y.oid = a.atttypid \
             union all select y.oid, d.next, y.typtype, y.typbasetype, y.typtypmod \
               from d join pg_catalog.pg_type y on y.oid = d.base where d.kind = 'd') \
           select d.id, d.modifier from d where d.kind <> 'd') d on true \
         where c.oid = any ('{{{ids}}}'::pg_catalog.oid[]) and c.relkind in ('r', 'p') \
         order by c.oid, a.attnum"
    )
}

/// The column list, the row filter, and what they are joined from.
fn sent(publication: Option<&str>, version: i32) -> (&'static str, &'static str, String) {
    let none = "null::pg_catalog.int2vector";
    let Some(publication) = publication else {
        return (none, "null", String::new());
    };
    let of = format!("left join pg_catalog.pg_publication p on p.pubname = {publication}");
    if version < 150_000 {
        return (none, "null", of);
    }
    // With all of its schema a table is sent whole, whatever else the publication says of it.
    let filter = "case when not p.puballtables and not exists (select \
        from pg_catalog.pg_publication_namespace w \
        where w.pnpubid = p.oid and w.pnnspid = c.relnamespace) \
      then pg_catalog.pg_get_expr(r.prqual, r.prrelid) end";
    let of = format!(
        "{of} left join pg_catalog.pg_publication_rel r on r.prrelid = c.oid and r.prpubid = p.oid"
    );
    ("r.prattrs", filter, of)
}

/// Which column of the answer is what.
mod at {
    pub(super) const OID: usize = 0;
    pub(super) const SCHEMA: usize = 1;
    pub(super) const NAME: usize = 2;
    pub(super) const NATTS: usize = 3;
    pub(super) const KIND: usize = 4;
    pub(super) const IDENTITY: usize = 5;
    pub(super) const FILE: usize = 6;
    pub(super) const LEAVES: usize = 7;
    pub(super) const FILTER: usize = 8;
    pub(super) const PRIMARY_COLUMNS: usize = 9;
    pub(super) const NUMBER: usize = 10;
    pub(super) const COLUMN: usize = 11;
    pub(super) const TYPE: usize = 12;
    pub(super) const MODIFIER: usize = 13;
    pub(super) const TYPE_NAME: usize = 14;
    pub(super) const BASE: usize = 15;
    pub(super) const BASE_MODIFIER: usize = 16;
    pub(super) const STAMP: usize = 17;
    pub(super) const IN_IDENTITY: usize = 18;
    pub(super) const IN_PRIMARY: usize = 19;
    pub(super) const MISSING: usize = 20;
    pub(super) const LABELS: usize = 21;
    pub(super) const DROPPED: usize = 22;
    pub(super) const NEXT: usize = 23;
    pub(super) const SETTLED: usize = 24;
    pub(super) const FORM: usize = 25;
}

/// The definitions in an answer to [`question`], by object id.
///
/// # Errors
/// [`Error::Unexpected`]: it is no such answer.
pub(crate) fn answer(result: &PgResult) -> Result<Vec<Described>, Error> {
    let mut tables: Vec<Described> = Vec::new();
    let mut row = 0;
    while row < result.ntuples() {
        let oid = result.value(row, at::OID);
        let end = (row..result.ntuples()).find(|next| result.value(*next, at::OID) != oid);
        let rows = row..end.unwrap_or(result.ntuples());
        row = rows.end;
        // Of a database that takes any bytes for text: such a name has no place in a line.
        let is_text = |row| result.row(row).flatten().all(|v| std::str::from_utf8(v).is_ok());
        if !rows.clone().all(is_text) {
            continue;
        }
        let got = || result.text(rows.start, at::OID).unwrap_or_default();
        let odd = || Error::Unexpected { wanted: "the definition of a table", got: got() };
        tables.push(table(result, rows.clone()).ok_or_else(odd)?);
    }
    Ok(tables)
}

/// The table of these rows; `None` when they are not of the form of an answer.
fn table(result: &PgResult, rows: std::ops::Range<usize>) -> Option<Described> {
    let first = rows.start;
    let text = |column| result.text(first, column);
    let letter = |column| result.value(first, column)?.first().copied();
    let mut details = Details {
        natts: text(at::NATTS)?.parse().ok()?,
        kind: letter(at::KIND)?,
        identity: letter(at::IDENTITY)?,
        filter: result.value(first, at::FILTER).map(<[u8]>::to_vec),
        ..Details::default()
    };
    details.storage = match details.kind {
        b'p' => deltaflood::storage_of_leaves(&numbers(&text(at::LEAVES).unwrap_or_default())?),
        _ => text(at::FILE)?.into_bytes(),
    };
    let (mut columns, mut primary) = (Vec::new(), Vec::new());
    for row in rows {
        if result.value(row, at::NUMBER).is_none() {
            continue;
        }
        let column = column(result, row, &mut details)?;
        let place = result.text(row, at::IN_PRIMARY).map(|place| place.parse::<u16>());
        if let Some(place) = place {
            primary.push((place.ok()?, column.name.clone().into_bytes()));
        }
        columns.push(column);
    }
    let parts = text(at::PRIMARY_COLUMNS).map_or(Some(0), |count| count.parse().ok())?;
    // Places are counted from 0; behind the key's there may be columns that only go with it.
    primary.retain(|(place, _)| *place < parts);
    primary.sort();
    if primary.len() == usize::from(parts) {
        details.primary = primary.into_iter().map(|(_, name)| name).collect();
    }
    details.labels.sort();
    details.labels.dedup();
    let oid = text(at::OID)?.parse().ok()?;
    let dropped = text(at::DROPPED).unwrap_or_default();
    let one = |dropped: &str| {
        let (attnum, rest) = dropped.split_once(':')?;
        let (xid, form) = rest.split_once(':')?;
        let (attnum, xid) = (attnum.parse().ok()?, xid.parse().ok()?);
        Some(DroppedColumn { attnum, xid, form: form.to_owned() })
    };
    let dropped = dropped.split_whitespace().map(one).collect::<Option<_>>()?;
    let next = text(at::NEXT)?.parse().ok()?;
    let (schema, name) = (text(at::SCHEMA)?, text(at::NAME)?);
    let settled = text(at::SETTLED).map(|xid| xid.parse().ok()).map_or(Some(None), |x| x.map(Some));
    Some(Described { oid, schema, name, columns, details, dropped, next, settled: settled? })
}

/// The column of a row; its part of the details goes to the others.
fn column(result: &PgResult, row: usize, details: &mut Details) -> Option<Column> {
    let text = |column| result.text(row, column);
    let name = text(at::COLUMN)?;
    let base: Oid = text(at::BASE)?.parse().ok()?;
    let modifier: i32 = text(at::BASE_MODIFIER)?.parse().ok()?;
    details.attnums.push(text(at::NUMBER)?.parse().ok()?);
    details.types.push(TypeId { base, modifier: (modifier >= 0).then_some(modifier) });
    details.stamps.push(text(at::STAMP)?.parse().ok()?);
    if let Some(value) = result.value(row, at::MISSING) {
        let value = match (base, value) {
            (BOOL, b"t") => b"1",
            (BOOL, b"f") => b"0",
            _ => value,
        };
        details.missing.push((name.clone().into_bytes(), value.to_vec()));
    }
    if let Some(labels) = text(at::LABELS) {
        let words: Vec<&str> = labels.split(' ').collect();
        for pair in words.chunks(2) {
            let [id, label] = pair else { return None };
            details.labels.push((id.parse().ok()?, bytes(label)?));
        }
    }
    Some(Column {
        type_id: text(at::TYPE)?.parse().ok()?,
        modifier: text(at::MODIFIER)?.parse().ok()?,
        type_name: text(at::TYPE_NAME)?,
        identity: text(at::IN_IDENTITY).as_deref() == Some("t"),
        form: text(at::FORM)?,
        name,
    })
}

/// Numbers two by two.
fn numbers(text: &str) -> Option<Vec<(u32, u32)>> {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let pair = |pair: &[&str]| match pair {
        [first, second] => Some((first.parse().ok()?, second.parse().ok()?)),
        _ => None,
    };
    words.chunks(2).map(pair).collect()
}

/// The bytes of hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    hex.as_bytes().chunks(2).map(byte).collect()
}

impl Described {
    /// The `schema` line, without a transaction.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let head = Line::begin(&mut out).table(self.name.as_bytes()).schema(self.schema.as_bytes());
        let head = head.oid(self.oid).identity(self.identity()).details(&self.details);
        let mut line = head.verb(Verb::Schema);
        for column in &self.columns {
            line.column(column.name.as_bytes(), column.type_name.as_bytes());
        }
        out
    }

    /// Whether a column may have taken the place of one of its name and type since a change of
    /// transaction `xid`: of that nothing else here tells. A transaction that may have altered the
    /// table later has dropped a column, and one has made or altered one that is stored like that.
    /// A column between the two, by number, that nobody has altered since keeps them apart: it has
    /// its place among the names that the server tells, and they are on its two sides.
    ///
    /// `is_first`: it is the table's first change on this connection. Then that may also be one
    /// with a lower number, which ended later, or `xid` itself, behind its change. Of one that
    /// comes after others, the server has said that the table was altered before it.
    #[must_use]
    pub fn may_be_ahead_of(&self, xid: u32, is_first: bool) -> bool {
        let settled = self.settled.filter(|settled| is_first && *settled != 0);
        let from = match settled.map(|settled| settled.wrapping_sub(1)) {
            Some(settled) if xid.wrapping_sub(settled).cast_signed() > 0 => settled,
            _ => xid,
        };
        // Of stamps that are older than numbers go round, few fall between the two.
        let until = self.next.wrapping_sub(from);
        let later = |stamp: u32| (1..until).contains(&stamp.wrapping_sub(from));
        let numbers = || self.details.attnums.iter().copied().zip(&self.details.stamps);
        let kept_apart = |one: u16, other: u16| {
            let between = one.min(other) + 1..one.max(other);
            numbers().any(|(number, stamp)| between.contains(&number) && !later(*stamp))
        };
        let mut made = self.columns.iter().zip(numbers()).filter(|(_, (_, stamp))| later(**stamp));
        made.any(|(column, (number, _))| {
            self.dropped.iter().any(|dropped| {
                let same = later(dropped.xid) && dropped.form == column.form;
                same && !kept_apart(number, dropped.attnum)
            })
        })
    }

    /// The columns that are the identity, by name.
    pub fn identity(&self) -> impl Iterator<Item = &[u8]> {
        self.columns.iter().filter(|column| column.identity).map(|column| column.name.as_bytes())
    }
}
