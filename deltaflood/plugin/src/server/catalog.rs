//! What the catalogs say of a table, as they were when the change was made.

use super::value::Output;
use super::{details, error, settings};
use crate::options::Options;
use crate::table::{ColumnDefinition, Definition, Table};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{PgSqlErrorCode, pg_sys};
use std::ffi::CStr;

/// A table whose changes are printed.
#[derive(Debug)]
pub struct Published {
    /// Its lines.
    pub table: Table,
    /// How the values of its columns are read.
    pub outputs: Vec<Output>,
    /// Some values depend on settings that few types do.
    pub rare: bool,
    /// Where the outputs live.
    _context: Context,
}

/// A memory context that goes with its owner.
#[derive(Debug)]
struct Context(pg_sys::MemoryContext);

impl Context {
    fn new() -> Context {
        // SAFETY: the parent lives as long as the backend; it is none of those that the server
        // deletes by itself, so that the context can be deleted by its owner alone.
        Context(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::CacheMemoryContext,
                c"deltaflood: a table's output functions".as_ptr(),
                0,
                1024,
                8 * 1024,
            )
        })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: see `new`.
        unsafe { pg_sys::MemoryContextDelete(self.0) };
    }
}

// SAFETY: declared as in catalog/partition.h.
unsafe extern "C-unwind" {
    fn get_partition_ancestors(relation: pg_sys::Oid) -> *mut pg_sys::List;
}

/// A table that changes come of.
#[derive(Debug)]
pub struct Found {
    /// What is printed of it; `None` when its changes are not wanted.
    pub published: Option<Published>,
    /// The tables above it whose name it may go by: object ids, from the nearest to the root.
    pub ancestors: Vec<pg_sys::Oid>,
}

/// Reads a table's definition.
///
/// A partition goes by the name of the topmost wanted table above it when that is asked for, or by
/// its own: as in a publication.
///
/// # Safety
/// Within the transaction of a change of `relation`.
pub unsafe fn publish(relation: pg_sys::Relation, options: &Options) -> Found {
    // SAFETY: the relation is open, see the caller.
    let (id, class) = unsafe { ((*relation).rd_id, &*(*relation).rd_rel) };
    // SAFETY: the relation is open, within a transaction, see the caller.
    if !unsafe { pg_sys::is_publishable_relation(relation) } {
        return Found { published: None, ancestors: Vec::new() };
    }
    let partitioned = class.relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE;
    let mut ancestors = Vec::new();
    if options.publish_via_root && class.relispartition {
        // SAFETY: within a transaction.
        ancestors = unsafe { ancestors_of(id) };
    }
    for &above in ancestors.iter().rev() {
        // SAFETY: within a transaction, and closed below.
        let above = unsafe { pg_sys::RelationIdGetRelation(above) };
        if above.is_null() {
            continue;
        }
        // SAFETY: both are open; the first is closed once.
        let published = unsafe {
            let published = describe(above, relation, options);
            pg_sys::RelationClose(above);
            published
        };
        if published.is_some() {
            return Found { published, ancestors };
        }
    }
    // Its partitions say it all, unless they are hidden behind it.
    if partitioned && !options.publish_via_root {
        return Found { published: None, ancestors };
    }
    // SAFETY: open, see the caller.
    Found { published: unsafe { describe(relation, relation, options) }, ancestors }
}

/// The tables that a partition belongs to, from the nearest to the root; none while it is being
/// detached (`DETACH PARTITION ... CONCURRENTLY`).
///
/// # Safety
/// Within a transaction.
unsafe fn ancestors_of(id: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    // SAFETY: see the caller.
    unsafe { oids(pg_guard_ffi_boundary(|| get_partition_ancestors(id))) }
}

/// The members of a list of object ids.
///
/// # Safety
/// Such a list, or null, which is the empty one.
pub(super) unsafe fn oids(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    // SAFETY: see the caller.
    unsafe {
        let count = if list.is_null() { 0 } else { (*list).length };
        (0..usize::try_from(count).unwrap_or_default())
            .map(|i| (*(*list).elements.add(i)).oid_value)
            .collect()
    }
}

/// Describes `shown`, whose rows come as tuples of `stored`, itself or a partition of it.
///
/// # Safety
/// Both are open, within a transaction.
unsafe fn describe(
    shown: pg_sys::Relation,
    stored: pg_sys::Relation,
    options: &Options,
) -> Option<Published> {
    // SAFETY: open, see the caller; a NameData ends with a NUL byte.
    let (class, name) = unsafe {
        let class = &*(*shown).rd_rel;
        (class, CStr::from_ptr(class.relname.data.as_ptr()))
    };
    // SAFETY: within a transaction; the text is in the context of the change, or null.
    let schema = unsafe { pg_sys::get_namespace_name(class.relnamespace) };
    // SAFETY: ends with a NUL byte where it is not null.
    let schema = (!schema.is_null()).then(|| unsafe { CStr::from_ptr(schema) })?;
    if !options.wants_table(schema.to_bytes(), name.to_bytes()) {
        return None;
    }
    // SAFETY: within a transaction, see the caller.
    unsafe { settings::fix_names() };
    // SAFETY: within a transaction; the texts end with a NUL byte.
    let qualified = unsafe {
        let text = pg_sys::quote_qualified_identifier(schema.as_ptr(), name.as_ptr());
        CStr::from_ptr(text).to_bytes().to_vec()
    };
    let (schema, name) = (schema.to_bytes().to_vec(), name.to_bytes().to_vec());
    let full = class.relreplident as u8 == pg_sys::REPLICA_IDENTITY_FULL;
    // SAFETY: open, within a transaction.
    let identity = unsafe { identity(shown) };
    let primary = if options.only_changed {
        // SAFETY: open, within a transaction, see the caller.
        unsafe { primary_key(shown) }
    } else {
        Vec::new()
    };
    let context = Context::new();
    let mut columns = Vec::new();
    let mut outputs = Vec::new();
    let mut detailed = Vec::new();
    let mut rare = false;
    // SAFETY: open, see the caller.
    for attribute in unsafe { attributes(shown) } {
        let column = name_of(attribute);
        // SAFETY: the set that was made above, in a context that lives as long as this function.
        let is_identity = full || unsafe { is_member(identity, attribute.attnum) };
        if options.skips_column(&schema, &name, column) {
            if is_identity && !full {
                skipped_identity(&qualified, column);
            }
            continue;
        }
        // SAFETY: open, and stays so until this function returns, see the caller.
        let mut of_stored = unsafe { attributes(stored) };
        let Some(attribute_of_stored) = of_stored.find(|a| name_of(a) == column) else { continue };
        // SAFETY: within a transaction; the context outlives the output.
        let (output, depends) = unsafe { Output::new(attribute_of_stored, context.0) };
        outputs.push(output);
        rare |= depends;
        if options.include_details {
            // SAFETY: within a transaction; the context outlives the output, which is used here
            // alone. Of a partition's column the other may have another number.
            detailed.push((attribute, unsafe { Output::new(attribute, context.0) }.0));
        }
        columns.push(ColumnDefinition {
            name: column.to_vec(),
            // SAFETY: within a transaction, see the caller.
            type_name: unsafe { type_name(attribute) },
            identity: is_identity,
            primary: primary.contains(&attribute.attnum),
        });
    }
    // SAFETY: open, see the caller.
    let oid = unsafe { (*shown).rd_id }.to_u32();
    // SAFETY: open, see the caller. It is the partition's own identity that the old row has.
    let full = unsafe { (*(*stored).rd_rel).relreplident } as u8 == pg_sys::REPLICA_IDENTITY_FULL;
    let details = options.include_details.then(|| {
        // SAFETY: open, within a transaction, whose settings are made before.
        unsafe {
            settings::fix_common();
            settings::fix_rare();
            details::of(shown, &detailed, options.convert_bool)
        }
    });
    let definition = Definition { oid, schema, name, qualified, full, columns, details };
    Some(Published { table: Table::new(&definition, options), outputs, rare, _context: context })
}

fn skipped_identity(table: &[u8], column: &[u8]) -> ! {
    let (table, column) = (error::shown(table), error::shown(column));
    error::raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!(
            "option \"skip-columns\" names column \"{column}\" of the replica identity of {table}"
        ),
        "Without it nobody could say which row a change is of.".to_owned(),
    )
}

/// The attributes of a table that have values of their own in a change.
///
/// # Safety
/// The relation is open, and stays so.
pub(super) unsafe fn attributes<'r>(
    relation: pg_sys::Relation,
) -> impl Iterator<Item = &'r pg_sys::FormData_pg_attribute> {
    // SAFETY: see the caller.
    let description = unsafe { (*relation).rd_att };
    // SAFETY: an open relation has its description, with as many attributes as that says.
    let all = unsafe {
        let count = usize::try_from((*description).natts).unwrap_or_default();
        std::slice::from_raw_parts(first_attribute(description), count)
    };
    all.iter().filter(|a| !a.attisdropped && a.attgenerated == 0 && a.attnum > 0)
}

/// # Safety
/// A description of a table.
#[cfg(not(feature = "pg18"))]
unsafe fn first_attribute(description: pg_sys::TupleDesc) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: see the caller.
    unsafe { (*description).attrs.as_ptr() }
}

/// Since PostgreSQL 18 they stand behind as many compact ones (access/tupdesc.h).
///
/// # Safety
/// A description of a table.
#[cfg(feature = "pg18")]
unsafe fn first_attribute(description: pg_sys::TupleDesc) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: see the caller.
    unsafe { (*description).compact_attrs.as_ptr().add((*description).natts as usize).cast() }
}

pub(super) fn name_of(attribute: &pg_sys::FormData_pg_attribute) -> &[u8] {
    let name = &attribute.attname.data;
    // SAFETY: so many characters of a byte each, whatever their sign, borrowed as long.
    let name = unsafe { std::slice::from_raw_parts(name.as_ptr().cast::<u8>(), name.len()) };
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// # Safety
/// Within a transaction, of an attribute of a table.
unsafe fn type_name(attribute: &pg_sys::FormData_pg_attribute) -> Vec<u8> {
    let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_ALLOW_INVALID;
    // SAFETY: see the caller; the text ends with a NUL byte and is in the current context.
    unsafe {
        let (id, modifier) = (attribute.atttypid, attribute.atttypmod);
        let name = pg_sys::format_type_extended(id, modifier, flags as pg_sys::bits16);
        CStr::from_ptr(name).to_bytes().to_vec()
    }
}

/// The columns of the index that is a table's replica identity.
///
/// # Safety
/// The relation is open, within a transaction.
unsafe fn identity(relation: pg_sys::Relation) -> *const pg_sys::Bitmapset {
    // SAFETY: see the caller; the set is in the current context.
    #[cfg(feature = "pg13")]
    return unsafe {
        use pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_IDENTITY_KEY;
        pg_sys::RelationGetIndexAttrBitmap(relation, INDEX_ATTR_BITMAP_IDENTITY_KEY)
    };
    // SAFETY: see the caller; since 14 the function sees to invalidations meanwhile.
    #[cfg(not(feature = "pg13"))]
    return unsafe { pg_sys::RelationGetIdentityKeyBitmap(relation) };
}

/// The attribute numbers of a table's primary key; none when it has none.
///
/// # Safety
/// The relation is open, within a transaction.
unsafe fn primary_key(relation: pg_sys::Relation) -> Vec<i16> {
    // SAFETY: see the caller. The list is made so that the relation knows its primary key.
    let index = unsafe {
        pg_sys::RelationGetIndexList(relation);
        (*relation).rd_pkindex
    };
    if index == pg_sys::Oid::INVALID {
        return Vec::new();
    }
    // SAFETY: within a transaction; closed below.
    let index = unsafe { pg_sys::RelationIdGetRelation(index) };
    if index.is_null() {
        return Vec::new();
    }
    // SAFETY: open; an index has as many key attributes as it says.
    unsafe {
        let form = (*index).rd_index;
        let count = usize::try_from((*form).indnkeyatts).unwrap_or_default();
        let numbers = std::slice::from_raw_parts((*form).indkey.values.as_ptr(), count).to_vec();
        pg_sys::RelationClose(index);
        numbers
    }
}

/// # Safety
/// A set of the server that is not freed, or null, which is the empty one.
unsafe fn is_member(set: *const pg_sys::Bitmapset, number: i16) -> bool {
    // The members are counted from the system columns on.
    let member = i32::from(number) - pg_sys::FirstLowInvalidHeapAttributeNumber;
    // SAFETY: see the caller.
    unsafe { pg_sys::bms_is_member(member, set) }
}
