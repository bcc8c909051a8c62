//! Notices statements that send nothing: compares what the catalogs say with what they said.
//!
//! One question tells whether anything is new. Then the tables that are get described in a
//! transaction that holds off whoever would alter them, and what is new in their `schema` lines is
//! written as a message in that very transaction ([`super::message`]).

use super::known::{self, Known, Table};
use super::{Described, Scope, answer, message, question};
use crate::deltastream::shared::Shared;
use crate::deltastream::{Error, side};
use crate::libpq::{Guarded, Oid, PgResult};
use crate::limits;
use deltaflood::write::Line;
use deltaflood::{Change, Gone, Lsn, Verb};
use std::collections::BTreeSet;
use std::time::Duration;

/// What a capture has seen of the catalogs.
#[derive(Debug, Default)]
pub(in crate::deltastream) struct Watch {
    /// Of all tables, when they were looked at last and all of it was told.
    fingerprint: Option<String>,
    known: Option<Known>,
    /// What was told last ends before this, and is not known to be in the stream.
    owed: Option<Lsn>,
    /// What was known before that: it is in the file.
    kept: Option<Known>,
}

/// A table as the fingerprint's question gives it.
#[derive(Clone)]
struct Found {
    oid: Oid,
    /// Quoted, when this role may hold it, and how.
    held: Option<(Hold, String)>,
    fingerprint: String,
}

/// How a table is held, so that nobody alters it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// By a lock, which takes the right to read it.
    Lock,
    /// By a statement that is prepared and not run, which takes none.
    Statement,
}

impl Watch {
    /// The expression to ask the server for, before [`Watch::look`].
    ///
    /// # Errors
    /// `POSTGRES ...`.
    pub(in crate::deltastream) fn question(
        shared: &Shared,
        conn: &Guarded<'_>,
    ) -> Result<String, Error> {
        match shared.scope() {
            Some(scope) => Ok(scope.fingerprint(conn)?),
            None => Ok("null".to_owned()),
        }
    }

    /// Looks at the tables, when their fingerprint is not the one of the last time. False: some of
    /// it is not told yet, and has to be looked at again.
    ///
    /// # Errors
    /// `POSTGRES ...`: what is not told yet will be looked at again.
    pub(in crate::deltastream) fn look(
        &mut self,
        shared: &Shared,
        conn: &Guarded<'_>,
        fingerprint: Option<String>,
    ) -> Result<bool, Error> {
        self.keep(shared);
        let (Some(fingerprint), Some(scope)) = (fingerprint, shared.scope()) else {
            return Ok(true);
        };
        if self.fingerprint.as_ref() == Some(&fingerprint) {
            return Ok(true);
        }
        let Some(result) = ask(shared, conn, &scope.tables(conn)?)? else { return Ok(true) };
        let found = found(conn, &result)?;
        let dir = &shared.options.stream;
        let before = match self.known.take() {
            Some(known) => Some(known),
            None => known::load(dir, shared.id()),
        };
        let is_first = before.is_none();
        let mut known = before.clone().unwrap_or_default();
        let done = if is_first {
            describe_all(shared, conn, scope, &found, &mut known).map(|()| true)
        } else {
            tell(shared, conn, scope, &found, &mut known)
        };
        if done.is_ok() || !is_first {
            let is_new = before.as_ref() != Some(&known);
            if is_new && is_first {
                save(shared, &known);
            } else if is_new && self.kept.is_none() {
                self.kept = before;
            }
            self.known = Some(known);
            if is_new && !is_first {
                self.owed = Some(Lsn(u64::MAX));
                self.owed = Some(end_of_wal(shared, conn)?);
            }
        }
        self.fingerprint = done?.then_some(fingerprint);
        Ok(self.fingerprint.is_some())
    }

    /// Keeps what the stream has got of it, for the next capture.
    ///
    /// NOTE: no earlier. What the server has committed it may lose still: a standby that takes over
    /// has it or not, and the statements that it tells of by themselves.
    pub(in crate::deltastream) fn keep(&mut self, shared: &Shared) {
        if self.owed.is_some_and(|owed| owed <= shared.durable()) {
            (self.owed, self.kept) = (None, None);
            if let Some(known) = &self.known {
                save(shared, known);
            }
        }
    }

    /// The connection is lost, and perhaps the server with it: what has not come through the stream
    /// is told again.
    pub(in crate::deltastream) fn lose(&mut self) {
        if self.owed.take().is_some() {
            (self.known, self.fingerprint) = (self.kept.take(), None);
        }
    }
}

/// Keeps what is known. What cannot be kept is told again by the next capture, which does no harm.
fn save(shared: &Shared, known: &Known) {
    let _ = known::save(&shared.options.stream, (shared.id(), shared.key()), known);
}

/// Behind all that was committed on this connection.
fn end_of_wal(shared: &Shared, conn: &Guarded<'_>) -> Result<Lsn, Error> {
    let answer = ask(shared, conn, "select pg_catalog.pg_current_wal_insert_lsn()")?;
    let lsn = answer.and_then(|answer| answer.text(0, 0)?.parse().ok());
    Ok(lsn.unwrap_or(Lsn(u64::MAX)))
}

/// The tables of an answer.
fn found(conn: &Guarded<'_>, result: &PgResult) -> Result<Vec<Found>, Error> {
    let mut tables = Vec::with_capacity(result.ntuples());
    for row in 0..result.ntuples() {
        let text = |column| result.text(row, column).unwrap_or_default();
        let quote = |column| conn.escape_identifier(&text(column));
        let hold = match text(3).as_str() {
            "lock" => Some(Hold::Lock),
            "statement" => Some(Hold::Statement),
            _ => None,
        };
        let name = format!("{}.{}", quote(1)?, quote(2)?);
        // NOTE: object id 0 is no table's.
        let oid = text(0).parse().unwrap_or_default();
        tables.push(Found { oid, held: hold.map(|hold| (hold, name)), fingerprint: text(4) });
    }
    Ok(tables)
}

/// Takes note of all tables, without a word: where a stream begins.
fn describe_all(
    shared: &Shared,
    conn: &Guarded<'_>,
    scope: &Scope,
    found: &[Found],
    known: &mut Known,
) -> Result<(), Error> {
    let publication = scope.publication(conn)?;
    for some in found.chunks(limits::DESCRIBED_AT_ONCE) {
        let ids: Vec<Oid> = some.iter().map(|table| table.oid).collect();
        let sql = question(&ids, publication.as_deref(), None, conn.server_version());
        let Some(result) = ask(shared, conn, &sql)? else { continue };
        take(some, &answer(&result)?, known);
    }
    Ok(())
}

/// Takes note of tables as they were described. Those whose `schema` line is another than before.
fn take(found: &[Found], described: &[Described], known: &mut Known) -> Vec<Vec<u8>> {
    let mut new = Vec::new();
    for described in described {
        let Some(table) = found.iter().find(|table| table.oid == described.oid) else { continue };
        let (fingerprint, line) = (table.fingerprint.clone(), described.line());
        let before = known.insert(described.oid, Table { fingerprint, line: line.clone() });
        if before.is_none_or(|before| before.line != line) {
            new.push(line);
        }
    }
    new
}

/// Tells the stream what is new. False: a table could not be held, and has to be looked at again.
fn tell(
    shared: &Shared,
    conn: &Guarded<'_>,
    scope: &Scope,
    found: &[Found],
    known: &mut Known,
) -> Result<bool, Error> {
    let is_new = |table: &&Found| {
        known.get(&table.oid).is_none_or(|known| known.fingerprint != table.fingerprint)
    };
    let new: Vec<&Found> = found.iter().filter(is_new).collect();
    let there: BTreeSet<Oid> = found.iter().map(|table| table.oid).collect();
    let gone: Vec<Oid> = known.keys().copied().filter(|oid| !there.contains(oid)).collect();
    let mut all = true;
    for some in new.chunks(limits::DESCRIBED_AT_ONCE) {
        if describe(shared, conn, scope, (some, Lock::Waits), known)? {
            continue;
        }
        // NOTE: somebody alters one of them, or it is gone already: the others are not to wait.
        let alone = some.chunks(1).filter(|_| some.len() > 1);
        let mut told = 0;
        for one in alone {
            told += usize::from(describe(shared, conn, scope, (one, Lock::Now), known)?);
        }
        all &= told == some.len();
    }
    if !gone.is_empty() {
        in_transaction(shared, conn, |conn| leave(shared, conn, &gone, known))?;
        known.retain(|oid, _| there.contains(oid));
    }
    Ok(all)
}

/// How long to wait for who alters a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// A little.
    Waits,
    /// Not at all.
    Now,
}

/// Describes some tables, and tells the stream what is new of them. False: one of them could not be
/// held, and nothing is told.
fn describe(
    shared: &Shared,
    conn: &Guarded<'_>,
    scope: &Scope,
    (tables, lock): (&[&Found], Lock),
    known: &mut Known,
) -> Result<bool, Error> {
    let before =
        tables.iter().filter_map(|table| Some((table.oid, known.get(&table.oid)?.clone())));
    let mut after: Known = before.collect();
    let sent = in_transaction(shared, conn, |conn| {
        let described = hold(shared, conn, scope, tables, lock)?;
        let tables: Vec<Found> = tables.iter().copied().cloned().collect();
        Ok(take(&tables, &described, &mut after))
    });
    match sent {
        Ok(()) => {
            known.extend(after);
            Ok(true)
        }
        // The connection is in the middle of something, and holds what it holds until it is closed.
        Err(error @ Error::Stalled { .. }) => Err(error),
        Err(error) if conn.is_lost() => Err(error),
        Err(_) => Ok(false),
    }
}

/// Describes tables that nobody can alter until the transaction ends, as far as this role may hold
/// them.
fn hold(
    shared: &Shared,
    conn: &Guarded<'_>,
    scope: &Scope,
    tables: &[&Found],
    lock: Lock,
) -> Result<Vec<Described>, Error> {
    let of = |wanted: Hold| -> Vec<&str> {
        let held = tables.iter().filter_map(|table| table.held.as_ref());
        held.filter(|(hold, _)| *hold == wanted).map(|(_, name)| name.as_str()).collect()
    };
    let (locked, named) = (of(Hold::Lock), of(Hold::Statement));
    if !locked.is_empty() {
        let names = locked.join(", ");
        let wait = if lock == Lock::Now { " nowait" } else { "" };
        ask(shared, conn, &format!("lock table only {names} in access share mode{wait}"))?;
    }
    if !named.is_empty() {
        // NOTE: it holds its tables from when it is read to the end of the transaction, whatever
        // becomes of it; what it may do with them is asked when it is run. That rows would be
        // left out is asked when it is read, with row_security off; none are read.
        let names = named.iter().enumerate().map(|(at, name)| format!("only {name} t{at}"));
        let names = names.collect::<Vec<_>>().join(", ");
        let wait = if lock == Lock::Now { "set local lock_timeout = '1ms'; " } else { "" };
        ask(
            shared,
            conn,
            &format!(
                "set local row_security = on; {wait}prepare pgsqlite_held as select from {names}; deallocate pgsqlite_held"
            ),
        )?;
    }
    let ids: Vec<Oid> = tables.iter().map(|table| table.oid).collect();
    let publication = scope.publication(conn)?;
    let sql = question(&ids, publication.as_deref(), None, conn.server_version());
    let Some(result) = ask(shared, conn, &sql)? else { return Ok(Vec::new()) };
    Ok(answer(&result)?)
}

/// The lines that say that tables are in the stream no more.
fn leave(
    shared: &Shared,
    conn: &Guarded<'_>,
    gone: &[Oid],
    known: &Known,
) -> Result<Vec<Vec<u8>>, Error> {
    let ids: Vec<String> = gone.iter().map(Oid::to_string).collect();
    let sql = format!(
        "select c.oid from pg_catalog.pg_class c where c.oid = any ('{{{}}}'::pg_catalog.oid[])",
        ids.join(",")
    );
    let result = ask(shared, conn, &sql)?;
    let rows = result.as_ref().map_or(0, PgResult::ntuples);
    let text = |row| result.as_ref().and_then(|result| result.text(row, 0));
    let there: Vec<String> = (0..rows).filter_map(text).collect();
    let line = |(oid, id): (&Oid, &String)| {
        let line = &known.get(oid)?.line;
        let change = Change::parse(line).ok()?;
        let why = if there.contains(id) { Gone::Unpublished } else { Gone::Dropped };
        let mut out = Vec::new();
        let head = Line::begin(&mut out).table(&change.table?.decode());
        let head = match change.schema {
            Some(schema) => head.schema(&schema.decode()),
            None => head,
        };
        head.oid(*oid).gone(why).verb(Verb::Schema);
        Some(out)
    };
    Ok(gone.iter().zip(&ids).filter_map(line).collect())
}

/// Sends the lines that `read` gives in the transaction in which it reads.
fn in_transaction(
    shared: &Shared,
    conn: &Guarded<'_>,
    read: impl FnOnce(&Guarded<'_>) -> Result<Vec<Vec<u8>>, Error>,
) -> Result<(), Error> {
    let wait_ms = limits::DDL_LOCK_MS;
    ask(
        shared,
        conn,
        &format!(
            "begin; set local lock_timeout = '{wait_ms}ms'; set local synchronous_commit = local"
        ),
    )?;
    let sent = read(conn).and_then(|lines| {
        if lines.is_empty() {
            return Ok(());
        }
        let lines = lines.iter().map(Vec::as_slice);
        let whose = (shared.id(), shared.key());
        let content = message::content(whose, &shared.options.slot, lines);
        let content = conn.escape_literal(&content)?;
        let prefix = message::PREFIX;
        let sql = format!("select pg_catalog.pg_logical_emit_message(true, '{prefix}', {content})");
        ask(shared, conn, &sql).map(drop)
    });
    let end = if sent.is_ok() { "commit" } else { "rollback" };
    let ended = ask(shared, conn, end);
    sent.and(ended.map(drop))
}

/// Asks within the time that a connection may take.
fn ask(shared: &Shared, conn: &Guarded<'_>, sql: &str) -> Result<Option<PgResult>, Error> {
    side::ask(shared, conn, sql, Duration::from_millis(shared.options.connect_timeout_ms))
}
