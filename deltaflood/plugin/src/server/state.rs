//! What the plugin keeps between callbacks.

use super::catalog::{self, Found, Published};
use super::output::Sink;
use super::tuple::Room;
use super::{settings, stale};
use crate::line::{Lines, Transaction};
use change_line::Lsn;
use pgrx::{pg_guard, pg_sys};
use std::collections::{HashMap, HashSet};

/// Definitions that are remembered to have been printed, and warnings. More, and all are printed
/// again.
const MOST_ANNOUNCED: usize = 20_000;

/// A table that changes came of.
#[derive(Debug)]
pub struct Entry {
    /// What the catalogs say of it.
    pub found: Found,
    /// Its `schema` line has been printed.
    pub announced: bool,
}

/// Of one decoding.
#[derive(Debug)]
pub struct State {
    /// Writes lines.
    pub lines: Lines,
    /// Where they go.
    pub sink: Sink,
    /// Room for the new row of a change, and for the old.
    pub rooms: (Room, Room),
    /// Where the texts of a change live.
    pub scratch: pg_sys::MemoryContext,
    /// Changes in a row that were not printed.
    pub passed_over: u32,
    /// The `schema` lines that were printed, without their transaction, by the table's object id.
    pub announced: HashMap<u32, Vec<u8>>,
    pub tables: Tables,
    /// Tables of which it was said that deletes of them cannot be shown, by object id.
    pub warned: HashSet<u32>,
    fixed: Fixed,
    /// The caches know nothing of definitions that are newer than the WAL.
    clean: bool,
}

/// Which settings are made in the present transaction.
#[derive(Debug, Clone, Copy, Default)]
struct Fixed {
    common: bool,
    rare: bool,
}

/// Tables by object id, the last one at hand.
#[derive(Debug, Default)]
pub struct Tables {
    places: HashMap<u32, usize>,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    last: Option<(u32, usize)>,
}

impl Entry {
    /// What is printed of it; `None` when its changes are not wanted.
    pub fn published(&self) -> Option<&Published> {
        self.found.published.as_ref()
    }
}

impl Tables {
    fn place(&mut self, id: u32) -> Option<usize> {
        match self.last {
            Some((last, place)) if last == id => Some(place),
            _ => {
                let place = self.places.get(&id).copied()?;
                self.last = Some((id, place));
                Some(place)
            }
        }
    }

    fn insert(&mut self, id: u32, entry: Entry) -> usize {
        let place = self.free.pop().unwrap_or(self.entries.len());
        match self.entries.get_mut(place) {
            Some(slot) => *slot = Some(entry),
            None => self.entries.push(Some(entry)),
        }
        self.places.insert(id, place);
        self.last = Some((id, place));
        place
    }

    /// Forgets tables that have changed, and what may go by their names.
    fn forget(&mut self, notes: &stale::Notes) {
        self.last = None;
        if notes.all {
            *self = Tables::default();
        }
        for &id in &notes.tables {
            self.forget_one(id);
        }
        let below = |place: &usize| {
            let entry = self.entries.get(*place).and_then(Option::as_ref);
            let ancestors = entry.map(|entry| entry.found.ancestors.as_slice()).unwrap_or_default();
            ancestors.iter().any(|above| notes.tables.contains(&above.to_u32()))
        };
        let found: Vec<u32> =
            self.places.iter().filter(|(_, place)| below(place)).map(|(id, _)| *id).collect();
        for id in found {
            self.forget_one(id);
        }
    }

    fn forget_one(&mut self, id: u32) {
        if let Some(place) = self.places.remove(&id) {
            if let Some(slot) = self.entries.get_mut(place) {
                *slot = None;
            }
            self.free.push(place);
        }
    }

    /// The table at a place.
    pub fn at(&mut self, place: usize) -> Option<&mut Entry> {
        self.entries.get_mut(place)?.as_mut()
    }
}

impl State {
    /// Puts the state of a new decoding into its context, where it stays until the server deletes
    /// that.
    ///
    /// # Safety
    /// `context` is that of a startup callback.
    pub unsafe fn install(context: *mut pg_sys::LogicalDecodingContext, lines: Lines) {
        // SAFETY: see the caller; the callback lives in the context it is for, and takes the box
        // back once.
        unsafe {
            let owner = (*context).context;
            let scratch = pg_sys::AllocSetContextCreateInternal(
                owner,
                c"deltaflood: texts of a change".as_ptr(),
                0,
                8 * 1024,
                8 * 1024 * 1024,
            );
            let size = std::mem::size_of::<pg_sys::MemoryContextCallback>();
            let at_end: *mut pg_sys::MemoryContextCallback =
                pg_sys::MemoryContextAllocZero(owner, size).cast();
            let state = Box::into_raw(Box::new(State::new(lines, scratch)));
            (*context).output_plugin_private = state.cast();
            (*at_end).func = Some(drop_state);
            (*at_end).arg = state.cast();
            pg_sys::MemoryContextRegisterResetCallback(owner, at_end);
        }
    }

    fn new(lines: Lines, scratch: pg_sys::MemoryContext) -> State {
        State {
            lines,
            sink: Sink::of_session(),
            rooms: Default::default(),
            scratch,
            passed_over: 0,
            announced: HashMap::new(),
            tables: Tables::default(),
            warned: HashSet::new(),
            fixed: Fixed::default(),
            clean: false,
        }
    }

    /// The state of a decoding.
    ///
    /// # Safety
    /// `context` is that of the callback that is running, after its startup; no other reference
    /// to the state is in use.
    pub unsafe fn of<'s>(context: *mut pg_sys::LogicalDecodingContext) -> &'s mut State {
        // SAFETY: put there by `install`.
        unsafe { &mut *(*context).output_plugin_private.cast::<State>() }
    }

    /// Makes the server forget what it knows of definitions, before the first transaction.
    ///
    /// Queries on the same connection may have filled the caches with definitions of today, of
    /// which no invalidation will be decoded: rows from before a change of their table would be
    /// taken apart as rows from after it. The server's functions see to this themselves, a
    /// walsender does not.
    ///
    /// # Safety
    /// Within a callback, before a definition is looked at.
    pub unsafe fn forget_present(&mut self) {
        if !std::mem::replace(&mut self.clean, true) {
            // SAFETY: see the caller: nothing of the caches is in use.
            unsafe { pg_sys::InvalidateSystemCaches() };
        }
    }

    /// A transaction begins or has ended.
    pub fn new_transaction(&mut self) {
        self.sink.clear();
        self.fixed = Fixed::default();
    }

    /// The place of a table, described anew if it has changed.
    ///
    /// # Safety
    /// Within the transaction of a change of `relation`.
    #[inline]
    pub unsafe fn place(&mut self, relation: pg_sys::Relation) -> usize {
        if let Some(notes) = stale::take() {
            self.tables.forget(&notes);
        }
        // SAFETY: open, see the caller.
        let id = unsafe { (*relation).rd_id }.to_u32();
        if let Some(place) = self.tables.place(id) {
            return place;
        }
        // SAFETY: within the transaction of its change, see the caller.
        let found = unsafe { catalog::publish(relation, self.lines.options()) };
        self.tables.insert(id, Entry { found, announced: false })
    }

    /// Makes the settings that the texts of a table's values depend on.
    ///
    /// # Safety
    /// Within the transaction in which the server decodes one.
    #[inline]
    pub unsafe fn fix_settings(&mut self, rare: bool) {
        if !self.fixed.common {
            self.fixed.common = true;
            // SAFETY: see the caller.
            unsafe { settings::fix_common() };
        }
        if rare && !self.fixed.rare {
            self.fixed.rare = true;
            // SAFETY: see the caller.
            unsafe { settings::fix_rare() };
        }
    }

    /// Notes that deletes of a table were said not to be shown; false when it was said before.
    pub fn warns(warned: &mut HashSet<u32>, table: u32) -> bool {
        if warned.len() >= MOST_ANNOUNCED {
            warned.clear();
        }
        warned.insert(table)
    }

    /// Notes a definition as printed; false when it was already, and the same.
    pub fn announce(&mut self, table: u32, definition: &[u8]) -> bool {
        if self.announced.get(&table).is_some_and(|known| known == definition) {
            return false;
        }
        if self.announced.len() >= MOST_ANNOUNCED {
            self.announced.clear();
        }
        self.announced.insert(table, definition.to_vec());
        true
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn drop_state(state: *mut core::ffi::c_void) {
    // SAFETY: the box that `install` made; called once.
    drop(unsafe { Box::from_raw(state.cast::<State>()) });
}

/// The transaction of a change.
///
/// # Safety
/// A transaction that is being shown.
pub unsafe fn transaction(of: *mut pg_sys::ReorderBufferTXN) -> Transaction {
    // SAFETY: see the caller.
    unsafe { Transaction { xid: (*of).xid.into_inner(), end: Lsn((*of).end_lsn) } }
}
