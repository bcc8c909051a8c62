//! From a datum to the value of a line.
//!
//! The types that most columns have are read in place; the text of all others is what their output
//! function makes of them.

use crate::line::Value;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::submodules::errcodes::PgSqlErrorCode;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a text has at least that the server cannot make, in bytes (`MaxAllocSize`).
const TEXT_BYTES_MAX: usize = 0x3fff_ffff;

/// How a type's values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Int2,
    Int4,
    Int8,
    Oid,
    /// Whose bytes are their text.
    Characters,
    Bytes,
    /// By the output function; nothing in the text needs an escape.
    Plain,
    /// By the output function.
    Text,
}

/// How the values of one column are read.
#[derive(Debug)]
pub struct Output {
    /// Index of the attribute in the tuple.
    pub attribute: usize,
    kind: Kind,
    varlena: bool,
    /// The output function, in the context of the table's entry; null where none is needed.
    function: *mut pg_sys::FmgrInfo,
}

impl Output {
    /// For an attribute; what is allocated lives in `context`. Whether the text depends on settings
    /// that few types do is the second result.
    ///
    /// # Safety
    /// Within a transaction; `context` outlives the result.
    pub unsafe fn new(
        attribute: &pg_sys::FormData_pg_attribute,
        context: pg_sys::MemoryContext,
    ) -> (Output, bool) {
        // SAFETY: within a transaction, a type that a column has exists.
        let base = unsafe { pg_sys::getBaseType(attribute.atttypid) };
        let (kind, rare) = kind_of(base);
        let mut function = std::ptr::null_mut();
        if matches!(kind, Kind::Plain | Kind::Text) {
            let (mut id, mut varlena) = (pg_sys::Oid::INVALID, false);
            let size = std::mem::size_of::<pg_sys::FmgrInfo>();
            // SAFETY: within a transaction, in a context that outlives the result, see the caller;
            // the allocation is as large as what is made in it.
            unsafe {
                pg_sys::getTypeOutputInfo(attribute.atttypid, &mut id, &mut varlena);
                function = pg_sys::MemoryContextAllocZero(context, size).cast();
                pg_sys::fmgr_info_cxt(id, function, context);
            }
        }
        let varlena = attribute.attlen == -1;
        let index = usize::try_from(attribute.attnum - 1).unwrap_or_default();
        (Output { attribute: index, kind, varlena, function }, rare)
    }

    /// The value of a datum. What is allocated for it lives in the current context.
    ///
    /// # Safety
    /// `datum` is of this column's type, and its row is not freed before the result.
    #[inline]
    pub unsafe fn value<'a>(&self, datum: pg_sys::Datum) -> Value<'a> {
        let pointer = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a datum of a type of variable length is a pointer to such a value.
        if self.varlena && unsafe { is_on_disk(pointer) } {
            return Value::Unchanged;
        }
        let word = datum.value();
        // The casts take the bytes that a value of the type has in a datum.
        match self.kind {
            Kind::Boolean => Value::Boolean(word & 0xff != 0),
            Kind::Int2 => Value::Integer(i64::from(word as i16)),
            Kind::Int4 => Value::Integer(i64::from(word as i32)),
            Kind::Int8 => Value::Integer(word as i64),
            Kind::Oid => Value::Integer(i64::from(word as u32)),
            // SAFETY: a value of this type is such a pointer; the bytes live as long as the row, or
            // in the current context.
            Kind::Characters => Value::Text(unsafe { bytes(pointer) }),
            // SAFETY: a value of this type is such a pointer, and is not on disk, see above.
            Kind::Bytes => Value::Bytes(unsafe { bytes(pointer) }),
            // SAFETY: the column's own function and a value of its type, see the caller.
            Kind::Plain => unsafe { self.call(datum) }.map_or_else(Value::TooLong, Value::Plain),
            // SAFETY: the value is of the type whose function this is, see the caller.
            Kind::Text => unsafe { self.call(datum) }.map_or_else(Value::TooLong, Value::Text),
        }
    }

    /// The text that the output function makes.
    ///
    /// # Errors
    /// The size of a value whose text would be larger than the server can make, at least. A small
    /// value may have such a text: each level of a composite type doubles the quotes in it.
    ///
    /// # Safety
    /// As for [`Output::value`].
    unsafe fn call<'a>(&self, datum: pg_sys::Datum) -> Result<&'a [u8], usize> {
        let (mut datum, mut size) = (datum, 0);
        if self.varlena {
            // SAFETY: a value of variable length, see the caller.
            let value = unsafe {
                let value = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
                size = pgrx::varsize_any(value);
                value
            };
            datum = pg_sys::Datum::from(value);
        }
        // SAFETY: the function is that of the datum's type. What it leaves when it fails belongs to
        // the transaction that decodes, and goes with it.
        let text = catch_unwind(AssertUnwindSafe(|| unsafe {
            pg_sys::OutputFunctionCall(self.function, datum)
        }));
        match text {
            // SAFETY: a text that ends with a NUL byte, in the current context.
            Ok(text) => Ok(unsafe { CStr::from_ptr(text) }.to_bytes()),
            Err(cause) if is_too_long(cause.as_ref()) => Err(size.max(TEXT_BYTES_MAX)),
            Err(cause) => resume_unwind(cause),
        }
    }
}

/// How values of a type are read, and whether their text depends on rare settings.
fn kind_of(base: pg_sys::Oid) -> (Kind, bool) {
    match base {
        pg_sys::BOOLOID => (Kind::Boolean, false),
        pg_sys::INT2OID => (Kind::Int2, false),
        pg_sys::INT4OID => (Kind::Int4, false),
        pg_sys::INT8OID => (Kind::Int8, false),
        pg_sys::OIDOID => (Kind::Oid, false),
        pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::JSONOID => {
            (Kind::Characters, false)
        }
        pg_sys::BYTEAOID => (Kind::Bytes, false),
        pg_sys::FLOAT4OID
        | pg_sys::FLOAT8OID
        | pg_sys::NUMERICOID
        | pg_sys::DATEOID
        | pg_sys::TIMEOID
        | pg_sys::TIMETZOID
        | pg_sys::TIMESTAMPOID
        | pg_sys::TIMESTAMPTZOID
        | pg_sys::UUIDOID => (Kind::Plain, false),
        pg_sys::INTERVALOID | pg_sys::JSONBOID | pg_sys::XMLOID | pg_sys::INETOID => {
            (Kind::Text, false)
        }
        _ => (Kind::Text, true),
    }
}

/// A value that is stored in the table's TOAST table.
///
/// # Safety
/// A pointer to a value of variable length.
#[inline]
unsafe fn is_on_disk(value: *const pg_sys::varlena) -> bool {
    // SAFETY: the header's first byte is always there, the tag's where the first says so.
    unsafe {
        pgrx::varatt_is_1b_e(value)
            && u32::from(pgrx::vartag_1b_e(value)) == pg_sys::vartag_external::VARTAG_ONDISK
    }
}

/// The bytes of a value of variable length, unpacked where need be.
///
/// # Safety
/// A pointer to a value of variable length that is not on disk.
#[inline]
unsafe fn bytes<'a>(value: *mut pg_sys::varlena) -> &'a [u8] {
    // SAFETY: see the caller; a value that is neither out of line nor compressed is left where it
    // is, and any other is unpacked into the current context.
    unsafe {
        let plain = pgrx::varatt_is_4b_u(value)
            || (pgrx::varatt_is_1b(value) && !pgrx::varatt_is_1b_e(value));
        let value = if plain { value } else { pg_sys::pg_detoast_datum_packed(value) };
        let length = pgrx::varsize_any_exhdr(value);
        std::slice::from_raw_parts(pgrx::vardata_any(value).cast(), length)
    }
}

/// Whether an output function failed since its text would be too long.
fn is_too_long(cause: &(dyn std::any::Any + Send)) -> bool {
    let Some(CaughtError::PostgresError(report)) = cause.downcast_ref() else { return false };
    // Not ERRCODE_OUT_OF_MEMORY: that is the machine's lack, and may be over the next time.
    report.sql_error_code() == PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED
        || report.message().starts_with("invalid memory alloc request size")
}
