//! Settings that fix the text of values, whatever the session has.
//!
//! The server decodes each transaction within one of its own that it aborts at the end, so settings
//! made locally in it are gone with it, after an error too: nothing of them is left in a session
//! that called `pg_logical_slot_get_changes`.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Time zones whose offset is always zero and is printed so.
const UTC: [&CStr; 4] = [c"UTC", c"Etc/UTC", c"GMT", c"Etc/GMT"];

/// What the types of most columns depend on. To be called in each transaction before its first row;
/// costs nothing when the session has it all.
///
/// # Safety
/// Within the transaction in which the server decodes one.
pub unsafe fn fix_common() {
    // SAFETY: variables of the backend's one thread; session_timezone is set from the start on.
    let (dates, intervals, digits, zone) = unsafe {
        let zone = CStr::from_ptr(pg_sys::pg_get_timezone_name(pg_sys::session_timezone));
        (pg_sys::DateStyle, pg_sys::IntervalStyle, pg_sys::extra_float_digits, zone)
    };
    // SAFETY: see the caller.
    unsafe {
        if dates != pg_sys::USE_ISO_DATES as i32 {
            set(c"DateStyle", c"ISO");
        }
        if intervals != pg_sys::INTSTYLE_POSTGRES as i32 {
            set(c"IntervalStyle", c"postgres");
        }
        // Any positive number has the same effect.
        if digits < 1 {
            set(c"extra_float_digits", c"1");
        }
        if !UTC.contains(&zone) {
            set(c"TimeZone", c"UTC");
        }
    }
}

/// What the types of few columns depend on: `money`, object identifiers such as `regclass`, arrays
/// and composites of anything.
///
/// # Safety
/// Within the transaction in which the server decodes one.
pub unsafe fn fix_rare() {
    // SAFETY: see the caller.
    unsafe {
        set(c"lc_monetary", c"C");
        set(c"bytea_output", c"hex");
        fix_names();
    }
}

/// How names of tables and types are printed: with their schema, whatever anybody's path is, but
/// for the system's own.
///
/// # Safety
/// Within the transaction in which the server decodes one.
pub unsafe fn fix_names() {
    // SAFETY: see the caller.
    unsafe {
        set(c"search_path", c"");
        set(c"quote_all_identifiers", c"off");
    }
}

/// # Safety
/// Within a transaction, at whose end a local setting is taken back.
unsafe fn set(name: &CStr, value: &CStr) {
    // SAFETY: see the caller; both texts end with a NUL byte and are copied.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}
