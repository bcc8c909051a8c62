//! The callbacks of an output plugin (replication/output_plugin.h).

use super::output::LINE_BYTES;
use super::state::{State, transaction};
use super::tuple::{self, Carrier};
use super::{error, failpoint, stale};
use crate::line::{Lines, Row, Transaction};
use crate::options::Options;
use change_line::Verb;
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;

/// Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's clock begins.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// So many changes in a row that are not printed, and the server may tell the client how far it is.
const QUIET_CHANGES: u32 = 100;

type Context = *mut pg_sys::LogicalDecodingContext;
type Txn = *mut pg_sys::ReorderBufferTXN;

/// What the server calls first: which callbacks there are.
///
/// # Safety
/// `callbacks` is the server's table of them.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn _PG_output_plugin_init(
    callbacks: *mut pg_sys::OutputPluginCallbacks,
) {
    // SAFETY: see the caller.
    let callbacks = unsafe { &mut *callbacks };
    callbacks.startup_cb = Some(startup);
    callbacks.begin_cb = Some(begin);
    callbacks.change_cb = Some(change);
    callbacks.truncate_cb = Some(truncate);
    callbacks.commit_cb = Some(commit);
    callbacks.message_cb = Some(super::message::message);
    callbacks.filter_by_origin_cb = Some(filter_by_origin);
}

#[pg_guard]
unsafe extern "C-unwind" fn startup(
    context: Context,
    output: *mut pg_sys::OutputPluginOptions,
    _is_init: bool,
) {
    let mut options = Options::default();
    // SAFETY: the list is the server's, of names and values that end with a NUL byte.
    unsafe {
        (*output).output_type = pg_sys::OutputPluginOutputType::OUTPUT_PLUGIN_TEXTUAL_OUTPUT;
        (*output).receive_rewrites = false;
        let list = (*context).output_plugin_options;
        let count = if list.is_null() { 0 } else { (*list).length };
        for i in 0..usize::try_from(count).unwrap_or_default() {
            let element = (*(*list).elements.add(i)).ptr_value.cast::<pg_sys::DefElem>();
            let name = CStr::from_ptr((*element).defname).to_string_lossy();
            let value = if (*element).arg.is_null() {
                None
            } else {
                Some(CStr::from_ptr(pg_sys::defGetString(element)).to_bytes())
            };
            if let Err(wrong) = options.set(&name, value) {
                error::bad_option(wrong);
            }
        }
    }
    failpoint::hit(&options, "startup");
    stale::register();
    // SAFETY: this is the startup callback.
    unsafe { State::install(context, Lines::new(options, LINE_BYTES)) };
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(context: Context, _txn: Txn) {
    // SAFETY: the context of this callback.
    let state = unsafe { State::of(context) };
    failpoint::hit(state.lines.options(), "begin");
    // SAFETY: within the transaction of this callback.
    unsafe { state.forget_present() };
    state.new_transaction();
}

#[pg_guard]
unsafe extern "C-unwind" fn commit(context: Context, txn: Txn, _lsn: pg_sys::XLogRecPtr) {
    // SAFETY: the arguments of this callback.
    let (state, of, time_us) = unsafe { (State::of(context), transaction(txn), commit_time(txn)) };
    failpoint::hit(state.lines.options(), "commit");
    let printed = state.sink.printed();
    if printed > 0 && state.lines.options().include_transaction {
        state.lines.commit(of, time_us.saturating_add(POSTGRES_EPOCH_US), printed);
        // SAFETY: the context of this callback.
        unsafe { state.sink.line(context, state.lines.line(), true) };
    }
    // SAFETY: the context of this callback, at the transaction's end.
    unsafe {
        state.sink.flush(context);
        state.new_transaction();
        progress(context, printed == 0);
    }
}

/// When a transaction was committed, in microseconds of PostgreSQL's clock.
///
/// # Safety
/// A transaction that is being shown.
unsafe fn commit_time(txn: Txn) -> i64 {
    // SAFETY: see the caller; of the union's fields it is the one of a transaction that committed.
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    return unsafe { (*txn).commit_time };
    // SAFETY: see the caller; the union's field of a transaction that committed, since 15.
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    return unsafe { (*txn).xact_time.commit_time };
}

/// Tells the server that everything up to here has been handed on.
///
/// # Safety
/// The context of the callback that is running.
unsafe fn progress(context: Context, skipped: bool) {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: see the caller.
    unsafe {
        let _ = skipped;
        pg_sys::OutputPluginUpdateProgress(context);
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    // SAFETY: see the caller.
    unsafe {
        pg_sys::OutputPluginUpdateProgress(context, skipped);
    }
}

/// A change that is not printed. A client that hears nothing for long gives up, so the server gets
/// an opportunity to say something now and then.
///
/// # Safety
/// The context of the callback that is running.
unsafe fn pass_over(context: Context, state: &mut State) {
    state.passed_over += 1;
    if state.passed_over >= QUIET_CHANGES {
        state.passed_over = 0;
        // SAFETY: see the caller.
        unsafe { progress(context, false) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn filter_by_origin(
    context: Context,
    origin: pg_sys::RepOriginId,
) -> bool {
    // SAFETY: the context of this callback.
    let state = unsafe { State::of(context) };
    // Zero is this server itself (InvalidRepOriginId).
    state.lines.options().only_local && origin != 0
}

#[pg_guard]
unsafe extern "C-unwind" fn truncate(
    context: Context,
    txn: Txn,
    count: core::ffi::c_int,
    relations: *mut pg_sys::Relation,
    _change: *mut pg_sys::ReorderBufferChange,
) {
    // SAFETY: the arguments of this callback.
    let (state, of) = unsafe { (State::of(context), transaction(txn)) };
    if !state.lines.options().include_truncate {
        return;
    }
    failpoint::hit(state.lines.options(), "truncate");
    // SAFETY: as many as the server says.
    let relations = unsafe {
        std::slice::from_raw_parts(relations, usize::try_from(count).unwrap_or_default())
    };
    // SAFETY: within a callback, whose relations are open until it returns.
    unsafe {
        in_scratch(state, |state| {
            for &relation in relations {
                let place = state.place(relation);
                let id = (*relation).rd_id.to_u32();
                let published = state.tables.at(place).and_then(|entry| entry.published());
                // A partition that was truncated by itself is not all of what it goes by.
                if published.is_none_or(|published| published.table.oid != id) {
                    continue;
                }
                if announce(context, state, place, of) {
                    let State { lines, tables, sink, .. } = state;
                    if let Some(published) = tables.at(place).and_then(|entry| entry.published()) {
                        lines.truncate(&published.table, of);
                        sink.line(context, lines.line(), true);
                    }
                }
            }
        });
    }
}

/// Runs with the context for a change's texts, and frees them.
///
/// # Safety
/// Within a callback.
pub(super) unsafe fn in_scratch(state: &mut State, run: impl FnOnce(&mut State)) {
    let scratch = state.scratch;
    // SAFETY: the context lives as long as the state. When `run` fails, the server's error handling
    // sets its own.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(scratch);
        run(state);
        pg_sys::MemoryContextSwitchTo(before);
        // Most changes need no memory of the server's.
        if !(*scratch).isReset || !(*scratch).firstchild.is_null() {
            pg_sys::MemoryContextReset(scratch);
        }
    }
}

/// Prints the table's definition when that is asked for and due. False when the table's changes
/// are not wanted at all.
///
/// # Safety
/// Within the transaction of a change, in the context for its texts.
unsafe fn announce(context: Context, state: &mut State, place: usize, of: Transaction) -> bool {
    let include = state.lines.options().include_schema;
    let Some(entry) = state.tables.at(place) else { return false };
    let Some(published) = &entry.found.published else { return false };
    if entry.announced || !include {
        return true;
    }
    entry.announced = true;
    let table = &published.table;
    state.lines.schema(table, of);
    let (id, definition) = (table.oid, [table.head.as_slice(), &table.schema_tail].concat());
    if state.announce(id, &definition) {
        // SAFETY: see the caller.
        unsafe { state.sink.line(context, state.lines.line(), false) };
    }
    true
}

#[pg_guard]
unsafe extern "C-unwind" fn change(
    context: Context,
    txn: Txn,
    relation: pg_sys::Relation,
    change: *mut pg_sys::ReorderBufferChange,
) {
    // SAFETY: the arguments of this callback.
    unsafe {
        let of = transaction(txn);
        in_scratch(State::of(context), |state| {
            failpoint::hit(state.lines.options(), "change");
            let place = state.place(relation);
            let shown = announce(context, state, place, of)
                && show(context, state, place, of, relation, change);
            if shown {
                state.passed_over = 0;
            } else {
                pass_over(context, state);
            }
        });
    }
}

/// Prints the lines of a change; false when there are none.
///
/// # Safety
/// The arguments of the callback, in the context for its texts.
unsafe fn show(
    context: Context,
    state: &mut State,
    place: usize,
    of: Transaction,
    relation: pg_sys::Relation,
    change: *mut pg_sys::ReorderBufferChange,
) -> bool {
    use pg_sys::ReorderBufferChangeType as Kind;
    // SAFETY: see the caller; of the union's fields it is that of a row's change.
    let (kind, old, new) = unsafe {
        let rows = &(*change).data.tp;
        ((*change).action, rows.oldtuple, rows.newtuple)
    };
    let none: Carrier = std::ptr::null_mut();
    let (old, old_verb, new, new_verb) = match kind {
        Kind::REORDER_BUFFER_CHANGE_INSERT => (none, Verb::Replace, new, Verb::Insert),
        Kind::REORDER_BUFFER_CHANGE_UPDATE => (old, Verb::Replace, new, Verb::Update),
        Kind::REORDER_BUFFER_CHANGE_DELETE => (old, Verb::Delete, none, Verb::Delete),
        _ => return false,
    };
    let rare = state.tables.at(place).and_then(|e| e.published()).is_some_and(|p| p.rare);
    // SAFETY: within the transaction of a change, see the caller.
    unsafe { state.fix_settings(rare) };
    let only_changed = state.lines.options().only_changed;
    let State { lines, tables, sink, rooms, warned, .. } = state;
    let published = tables.at(place).and_then(|entry| entry.published());
    let Some(published) = published else { return false };
    let (table, outputs) = (&published.table, published.outputs.as_slice());
    // SAFETY: rows of this change, which live until the callback returns.
    let (old, new) = unsafe {
        let description = (*relation).rd_att;
        let old = tuple::of_change(old).map(|row| rooms.0.deform(row, description, outputs));
        (old, tuple::of_change(new).map(|row| rooms.1.deform(row, description, outputs)))
    };
    if old.is_none() && new.is_none() {
        if State::warns(warned, table.oid) {
            error::no_identity(&table.qualified);
        }
        return false;
    }
    let fits = |result: Result<(), _>| {
        if let Err(wrong) = result {
            error::unwritten(&table.qualified, &wrong);
        }
    };
    let mut old = old;
    if let Some(old) = &mut old {
        fits(lines.row(table, of, old_verb, old, None));
        // SAFETY: the arguments of the callback.
        unsafe { sink.line(context, lines.line(), new.is_none()) };
    }
    if let Some(mut new) = new {
        let before = old.as_mut().filter(|_| only_changed && table.full);
        fits(lines.row(table, of, new_verb, &mut new, before.map(|row| row as &mut dyn Row)));
        // SAFETY: the context is the callback's, see the caller.
        unsafe { sink.line(context, lines.line(), true) };
    }
    lines.relax();
    true
}
