//! What the server says of definitions that have changed.
//!
//! The callbacks stay registered for the life of the backend, so they only take notes here; whoever
//! decodes reads them before each change. They may come at any time, also while a definition is
//! being read.

use pgrx::{pg_guard, pg_sys};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// More tables than this, and all are taken to have changed: a backend that decodes no more must
/// not collect notes.
const MOST_NOTES: usize = 256;

static REGISTERED: AtomicBool = AtomicBool::new(false);
static CHANGED: AtomicBool = AtomicBool::new(false);
static NOTES: Mutex<Notes> = Mutex::new(Notes { all: false, tables: Vec::new() });

/// Tables whose definition may have changed.
#[derive(Debug, Default)]
pub struct Notes {
    /// All of them.
    pub all: bool,
    /// Object ids.
    pub tables: Vec<u32>,
}

/// The notes since the last call; `None`, at the price of one load, when there are none.
#[inline]
pub fn take() -> Option<Notes> {
    if !CHANGED.load(Ordering::Relaxed) {
        return None;
    }
    CHANGED.store(false, Ordering::Relaxed);
    Some(std::mem::take(&mut *notes()))
}

fn notes() -> std::sync::MutexGuard<'static, Notes> {
    NOTES.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn note(table: Option<u32>) {
    let mut notes = notes();
    match table {
        Some(table) if notes.tables.len() < MOST_NOTES => notes.tables.push(table),
        _ => {
            notes.all = true;
            notes.tables.clear();
        }
    }
    CHANGED.store(true, Ordering::Relaxed);
}

/// Asks the server to be told; once per backend.
pub fn register() {
    if REGISTERED.swap(true, Ordering::Relaxed) {
        return;
    }
    let nothing = pg_sys::Datum::from(0usize);
    // SAFETY: called by a callback of the backend's one thread; the functions live as long as the
    // library, which is never unloaded.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), nothing);
        for cache in [pg_sys::SysCacheIdentifier::TYPEOID, pg_sys::SysCacheIdentifier::NAMESPACEOID]
        {
            pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(catalog_changed), nothing);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_nothing: pg_sys::Datum, relation: pg_sys::Oid) {
    note(Some(relation.to_u32()).filter(|&oid| oid != 0));
}

#[pg_guard]
unsafe extern "C-unwind" fn catalog_changed(
    _nothing: pg_sys::Datum,
    _cache: core::ffi::c_int,
    _hash: u32,
) {
    note(None);
}
