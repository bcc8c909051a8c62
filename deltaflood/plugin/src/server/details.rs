//! What the catalogs say of a table beyond names, as they were when the change was made: the
//! details of its `schema` line.

use super::catalog;
use super::value::Output;
use crate::line::Value;
use change_line::{Details, TypeId, storage_of_leaves};
use pgrx::pg_sys;
use std::collections::BTreeSet;
use std::ffi::CStr;

/// Object id of the first object that is not the server's own (`FirstNormalObjectId`).
const FIRST_OF_USERS: u32 = 16_384;

/// The index of `pg_inherits` by its parents (`InheritsParentIndexId`), its column for them, and
/// the catalog itself (`InheritsRelationId`).
const INHERITS_BY_PARENT: u32 = 2187;
const INHERITS_PARENT: pg_sys::AttrNumber = 2;
const INHERITS: u32 = 2611;

/// Details of a table. These columns are shown, each with how its values are read.
///
/// # Safety
/// The relation is open, within a transaction, with the settings that texts depend on.
pub unsafe fn of(
    relation: pg_sys::Relation,
    columns: &[(&pg_sys::FormData_pg_attribute, Output)],
    convert_bool: bool,
) -> Details {
    // SAFETY: open, see the caller.
    let (id, class, description) =
        unsafe { ((*relation).rd_id, &*(*relation).rd_rel, (*relation).rd_att) };
    let mut details = Details {
        natts: u16::try_from(class.relnatts).unwrap_or_default(),
        kind: class.relkind as u8,
        identity: class.relreplident as u8,
        ..Details::default()
    };
    let mut labelled = BTreeSet::new();
    for (attribute, output) in columns {
        details.attnums.push(u16::try_from(attribute.attnum).unwrap_or_default());
        // SAFETY: within a transaction, as the caller sees to.
        unsafe {
            details.types.push(type_id(attribute));
            details.stamps.push(stamp(id, attribute.attnum));
            types_of_users(attribute.atttypid, &mut labelled);
        }
        if attribute.atthasmissing {
            // SAFETY: the description of the open relation knows the values of its columns.
            let value = unsafe { missing(description, attribute.attnum, output, convert_bool) };
            if let Some(value) = value {
                details.missing.push((catalog::name_of(attribute).to_vec(), value));
            }
        }
    }
    // SAFETY: the relation is open, within a transaction, see the caller.
    details.primary = unsafe { primary(relation, columns) };
    for kind in labelled {
        // SAFETY: within a transaction, see the caller.
        unsafe { labels(pg_sys::Oid::from_u32(kind), &mut details.labels) };
    }
    details.labels.sort();
    details.storage = if details.kind == pg_sys::RELKIND_PARTITIONED_TABLE {
        let mut leaves = Vec::new();
        // SAFETY: within a transaction, see the caller.
        unsafe { leaves_of(id, &mut leaves) };
        leaves.sort_unstable();
        storage_of_leaves(&leaves)
    } else {
        file_of(class).to_string().into_bytes()
    };
    details
}

/// # Safety
/// Within a transaction, of an attribute of a table.
unsafe fn type_id(attribute: &pg_sys::FormData_pg_attribute) -> TypeId {
    let mut modifier = attribute.atttypmod;
    // SAFETY: see the caller; a type that a column has exists.
    let base = unsafe { pg_sys::getBaseTypeAndTypmod(attribute.atttypid, &mut modifier) };
    TypeId { base: base.to_u32(), modifier: (modifier >= 0).then_some(modifier) }
}

fn file_of(class: &pg_sys::FormData_pg_class) -> u32 {
    class.relfilenode.to_u32()
}

/// A row of a catalog, held until it is dropped.
struct Held(pg_sys::HeapTuple);

impl Held {
    /// # Safety
    /// Within a transaction; the keys are those of the cache.
    unsafe fn find(cache: u32, first: pg_sys::Datum, second: pg_sys::Datum) -> Option<Held> {
        let none = pg_sys::Datum::from(0usize);
        // SAFETY: see the caller; keys that a cache does not have are not looked at.
        let tuple = unsafe { pg_sys::SearchSysCache(cache as i32, first, second, none, none) };
        (!tuple.is_null()).then_some(Held(tuple))
    }

    /// The row of the object of this id.
    ///
    /// # Safety
    /// As for [`Held::find`].
    unsafe fn of(cache: u32, id: pg_sys::Oid) -> Option<Held> {
        // SAFETY: see the caller.
        unsafe { Held::find(cache, pg_sys::Datum::from(id), pg_sys::Datum::from(0usize)) }
    }

    /// The fixed part of the row.
    ///
    /// # Safety
    /// `T` is what the catalog's rows begin with.
    unsafe fn form<T>(&self) -> &T {
        // SAFETY: see the caller; the row is held.
        unsafe { form(self.0) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: held since it was found.
        unsafe { pg_sys::ReleaseSysCache(self.0) };
    }
}

/// The fixed part of a catalog's row.
///
/// # Safety
/// `T` is what the catalog's rows begin with, and the row lives as long as the result.
unsafe fn form<'t, T>(tuple: pg_sys::HeapTuple) -> &'t T {
    // SAFETY: the data begin where the header says (GETSTRUCT).
    unsafe {
        let header = (*tuple).t_data;
        &*header.cast::<u8>().add(usize::from((*header).t_hoff)).cast::<T>()
    }
}

/// The transaction that wrote a column's row; 0 when there is none.
///
/// # Safety
/// Within a transaction.
unsafe fn stamp(table: pg_sys::Oid, number: pg_sys::AttrNumber) -> u32 {
    let keys = (pg_sys::Datum::from(table), pg_sys::Datum::from(number));
    // SAFETY: the cache's keys are the table and the number; the header is the row's own.
    unsafe {
        let row = Held::find(pg_sys::SysCacheIdentifier::ATTNUM, keys.0, keys.1);
        row.map_or(0, |row| (*(*row.0).t_data).t_choice.t_heap.t_xmin.into_inner())
    }
}

/// The value that rows of before a column was added have in it, as a line would have it.
///
/// # Safety
/// The description is of an open relation, the output of this column.
unsafe fn missing(
    description: pg_sys::TupleDesc,
    number: pg_sys::AttrNumber,
    output: &Output,
    convert_bool: bool,
) -> Option<Vec<u8>> {
    let mut null = false;
    // SAFETY: see the caller.
    let datum = unsafe { pg_sys::getmissingattr(description, i32::from(number), &mut null) };
    if null {
        return None;
    }
    // SAFETY: the column's own output, see the caller; the description holds the value.
    match unsafe { output.value(datum) } {
        Value::Boolean(is) if convert_bool => Some(if is { b"1".to_vec() } else { b"0".to_vec() }),
        Value::Boolean(is) => Some(if is { b"t".to_vec() } else { b"f".to_vec() }),
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Bytes(bytes) => {
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            let digit = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            Some(b"\\x".iter().copied().chain(digits.map(digit)).collect())
        }
        Value::Plain(text) | Value::Text(text) => Some(text.to_vec()),
        Value::Null | Value::Unchanged | Value::TooLong(_) => None,
    }
}

/// The columns of the primary key, in its order; none where one of them is not shown.
///
/// # Safety
/// The relation is open, within a transaction.
unsafe fn primary(
    relation: pg_sys::Relation,
    columns: &[(&pg_sys::FormData_pg_attribute, Output)],
) -> Vec<Vec<u8>> {
    // SAFETY: see the caller; a list of object ids, or null, which is the empty one.
    let indexes = unsafe { catalog::oids(pg_sys::RelationGetIndexList(relation)) };
    for index in indexes {
        // SAFETY: within a transaction, a row of `pg_index`.
        unsafe {
            let Some(row) = Held::of(pg_sys::SysCacheIdentifier::INDEXRELID, index) else {
                continue;
            };
            let form: &pg_sys::FormData_pg_index = row.form();
            if !form.indisprimary {
                continue;
            }
            let count = usize::try_from(form.indnkeyatts).unwrap_or_default();
            let numbers = std::slice::from_raw_parts(form.indkey.values.as_ptr(), count);
            let name = |number: &i16| {
                let found = columns.iter().find(|(attribute, _)| attribute.attnum == *number);
                found.map(|(attribute, _)| catalog::name_of(attribute).to_vec())
            };
            return numbers.iter().map(name).collect::<Option<_>>().unwrap_or_default();
        }
    }
    Vec::new()
}

/// Adds the types that users made and of which values of `id` are made, itself included.
///
/// # Safety
/// Within a transaction.
unsafe fn types_of_users(id: pg_sys::Oid, found: &mut BTreeSet<u32>) {
    if id.to_u32() < FIRST_OF_USERS || !found.insert(id.to_u32()) {
        return;
    }
    let mut parts = Vec::new();
    // SAFETY: see the caller; rows of `pg_type` and `pg_range`.
    unsafe {
        let Some(row) = Held::of(pg_sys::SysCacheIdentifier::TYPEOID, id) else { return };
        let form: &pg_sys::FormData_pg_type = row.form();
        parts.extend([form.typbasetype, form.typelem, of_range(id), of_multirange(id)]);
        if form.typrelid != pg_sys::Oid::INVALID {
            let composite = pg_sys::RelationIdGetRelation(form.typrelid);
            if !composite.is_null() {
                parts.extend(catalog::attributes(composite).map(|part| part.atttypid));
                pg_sys::RelationClose(composite);
            }
        }
    }
    for part in parts {
        // SAFETY: within a transaction, see the caller.
        unsafe { types_of_users(part, found) };
    }
}

/// The type that a range type is over, or none.
///
/// # Safety
/// Within a transaction.
unsafe fn of_range(id: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: see the caller.
    unsafe { pg_sys::get_range_subtype(id) }
}

/// The range type of a multirange type, or none.
///
/// # Safety
/// Within a transaction.
#[cfg(not(feature = "pg13"))]
unsafe fn of_multirange(id: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: see the caller.
    unsafe { pg_sys::get_multirange_range(id) }
}

/// There are none before PostgreSQL 14.
///
/// # Safety
/// None is needed.
#[cfg(feature = "pg13")]
unsafe fn of_multirange(_id: pg_sys::Oid) -> pg_sys::Oid {
    pg_sys::Oid::INVALID
}

/// Adds the labels of an enum type; none of another type.
///
/// # Safety
/// Within a transaction.
unsafe fn labels(kind: pg_sys::Oid, labels: &mut Vec<(u32, Vec<u8>)>) {
    let none = pg_sys::Datum::from(0usize);
    let cache = pg_sys::SysCacheIdentifier::ENUMTYPOIDNAME as i32;
    // SAFETY: the cache's first key is the type; the list is released once, and its rows are those
    // of `pg_enum`, whose names end with a NUL byte.
    unsafe {
        let list = pg_sys::SearchSysCacheList(cache, 1, kind.into(), none, none);
        let count = usize::try_from((*list).n_members).unwrap_or_default();
        for member in std::slice::from_raw_parts((*list).members.as_ptr(), count) {
            let row: &pg_sys::FormData_pg_enum = form(&mut (**member).tuple);
            let label = CStr::from_ptr(row.enumlabel.data.as_ptr()).to_bytes().to_vec();
            labels.push((row.oid.to_u32(), label));
        }
        pg_sys::ReleaseCatCacheList(list);
    }
}

/// Adds the leaf partitions below a table, each with the number of its file.
///
/// # Safety
/// Within a transaction.
unsafe fn leaves_of(table: pg_sys::Oid, leaves: &mut Vec<(u32, u32)>) {
    // SAFETY: see the caller.
    for child in unsafe { children_of(table) } {
        // SAFETY: within a transaction, see the caller; a row of `pg_class`.
        unsafe {
            let Some(row) = Held::of(pg_sys::SysCacheIdentifier::RELOID, child) else { continue };
            let class: &pg_sys::FormData_pg_class = row.form();
            if class.relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE {
                leaves_of(child, leaves);
            } else {
                leaves.push((child.to_u32(), file_of(class)));
            }
        }
    }
}

/// The partitions of a table.
///
/// # Safety
/// Within a transaction.
unsafe fn children_of(table: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let mut children = Vec::new();
    // SAFETY: the scan is of the catalog by its index, and both are closed; each row begins with
    // the partition's object id (`inhrelid`).
    unsafe {
        let inherits = pg_sys::table_open(pg_sys::Oid::from_u32(INHERITS), lock);
        let mut key = pg_sys::ScanKeyData::default();
        let equals = pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber;
        pg_sys::ScanKeyInit(
            &mut key,
            INHERITS_PARENT,
            equals,
            pg_sys::Oid::from(pg_sys::F_OIDEQ),
            pg_sys::Datum::from(table),
        );
        let none = std::ptr::null_mut();
        let index = pg_sys::Oid::from_u32(INHERITS_BY_PARENT);
        let scan = pg_sys::systable_beginscan(inherits, index, true, none, 1, &mut key);
        loop {
            let row = pg_sys::systable_getnext(scan);
            if row.is_null() {
                break;
            }
            children.push(*form::<pg_sys::Oid>(row));
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(inherits, lock);
    }
    children
}
