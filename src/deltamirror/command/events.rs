//! A mirror's events and results as values.

use crate::daystream::Position;
use crate::daystream::command::position_value;
use crate::deltamirror::state::StreamState;
use crate::deltamirror::{Applied, Counts, Due, Ended, Event, FollowStatus, MirrorStatus, Tally};
use crate::deltastream::command::lsn_value;
use crate::tcl::callback::{Callback, Report};
use crate::tcl::mailbox::Fold;
use crate::tcl::{Interp, Obj};
use deltaflood::Lsn;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A follower's event that owns what it tells.
#[derive(Debug)]
pub(super) enum Told {
    Applied {
        position: Position,
        lsn: Lsn,
        transactions: u64,
        changes: u64,
        errors: u64,
        tables: BTreeMap<Arc<str>, Tally>,
    },
    Retrying {
        why: Report,
        after_ms: u64,
    },
    Resumed {
        position: Position,
        lsn: Lsn,
    },
    Warning {
        message: String,
    },
    Suspended {
        table: String,
        why: Report,
    },
    Reloading {
        table: String,
        reason: String,
    },
    Copying {
        table: String,
        rows: u64,
    },
    Reloaded {
        table: String,
        rows: u64,
        unfired: Vec<String>,
        changed: Option<u64>,
    },
    ReloadWaits {
        table: String,
        why: Report,
        after_ms: u64,
    },
    Ended,
    Failed {
        why: Report,
    },
}

impl Fold for Told {
    fn fold(&mut self, next: Told) -> Option<Told> {
        match (self, next) {
            (
                Told::Applied { position, lsn, transactions, changes, errors, tables },
                Told::Applied {
                    position: to,
                    lsn: at,
                    transactions: t,
                    changes: c,
                    errors: e,
                    tables: more,
                },
            ) => {
                (*position, *lsn) = (to, at);
                *transactions += t;
                *changes += c;
                *errors += e;
                for (table, tally) in more {
                    tables.entry(table).or_default().add(&tally);
                }
                None
            }
            (Told::Copying { table, rows }, Told::Copying { table: same, rows: more })
                if *table == same =>
            {
                *rows = more;
                None
            }
            (_, next) => Some(next),
        }
    }
}

impl From<Event> for Told {
    fn from(event: Event) -> Told {
        match event {
            Event::Applied { position, lsn, transactions, changes, errors, tables } => {
                let tables = tables.into_iter().map(|t| (t.table, t.tally)).collect();
                Told::Applied { position, lsn, transactions, changes, errors, tables }
            }
            Event::Retrying { error, pause_ms } => {
                Told::Retrying { why: Report::of(&error), after_ms: pause_ms }
            }
            Event::Resumed { position, lsn } => Told::Resumed { position, lsn },
            Event::Suspended { table, error } => {
                Told::Suspended { table, why: Report::of(&*error) }
            }
            Event::Warning { message } => Told::Warning { message },
            Event::Reloading { table, reason } => Told::Reloading { table, reason },
            Event::Copying { table, rows } => Told::Copying { table, rows },
            Event::Reloaded { table, rows, unfired, changed } => {
                Told::Reloaded { table, rows, unfired, changed }
            }
            Event::ReloadWaits { table, error, pause_ms } => {
                Told::ReloadWaits { table, why: Report::of(&error), after_ms: pause_ms }
            }
            Event::Ended { error: None } => Told::Ended,
            Event::Ended { error: Some(error) } => Told::Failed { why: Report::of(&error) },
        }
    }
}

impl Told {
    /// Tells the callback; `status` is how the follower was then.
    pub(super) fn tell(&self, interp: Interp, callback: &Callback, status: &FollowStatus) {
        match self {
            Told::Applied { position, lsn, transactions, changes, errors, tables } => {
                let details = [
                    ("transactions", Obj::unsigned(*transactions)),
                    ("changes", Obj::unsigned(*changes)),
                    ("errors", Obj::unsigned(*errors)),
                    ("position", position_value(Some(*position))),
                    ("lsn", lsn_value(*lsn)),
                    ("tables", touched_value(tables)),
                ];
                callback.tell(interp, "applied", &details);
            }
            Told::Retrying { why, after_ms } => {
                let mut details = why.details();
                details.push(("after_ms", Obj::unsigned(*after_ms)));
                callback.tell(interp, "retrying", &details);
            }
            Told::Resumed { position, lsn } => {
                let details =
                    [("position", position_value(Some(*position))), ("lsn", lsn_value(*lsn))];
                callback.tell(interp, "resumed", &details);
            }
            Told::Suspended { table, why } => {
                let mut details = vec![("table", Obj::text(table))];
                details.extend(why.details());
                callback.tell(interp, "suspended", &details);
            }
            Told::Warning { message } => {
                callback.tell(interp, "warning", &[("message", Obj::text(message))]);
            }
            Told::Reloading { table, reason } => {
                let details = [("table", Obj::text(table)), ("reason", Obj::text(reason))];
                callback.tell(interp, "reloading", &details);
            }
            Told::Copying { table, rows } => {
                let details = [("table", Obj::text(table)), ("rows", Obj::unsigned(*rows))];
                callback.tell(interp, "copying", &details);
            }
            Told::Reloaded { table, rows, unfired, changed } => {
                let mut details = vec![("table", Obj::text(table)), ("rows", Obj::unsigned(*rows))];
                details.extend(changed.map(|changed| ("changed", Obj::unsigned(changed))));
                callback.tell(interp, "reloaded", &details);
                if !unfired.is_empty() {
                    let message = super::fill::unfired(table, unfired);
                    callback.tell(interp, "warning", &[("message", Obj::text(&message))]);
                }
            }
            Told::ReloadWaits { table, why, after_ms } => {
                let mut details = vec![("table", Obj::text(table))];
                details.extend(why.details());
                details.push(("after_ms", Obj::unsigned(*after_ms)));
                callback.tell(interp, "reload_waits", &details);
            }
            Told::Ended => {
                let details = [
                    ("position", position_value(Some(status.position))),
                    ("lsn", lsn_value(status.lsn)),
                    ("transactions", Obj::unsigned(status.counts.transactions)),
                    ("changes", Obj::unsigned(status.counts.changes)),
                ];
                callback.tell(interp, "end", &details);
            }
            Told::Failed { why } => callback.tell(interp, "error", &why.details()),
        }
    }
}

/// A dict of tables: what changed in each.
fn touched_value(tables: &BTreeMap<Arc<str>, Tally>) -> Obj {
    Obj::dict(tables.iter().map(|(table, tally)| (&**table, tally_value(tally))))
}

/// Counts of changes.
pub(super) fn tally_value(tally: &Tally) -> Obj {
    Obj::dict([
        ("inserts", Obj::unsigned(tally.inserts)),
        ("updates", Obj::unsigned(tally.updates)),
        ("deletes", Obj::unsigned(tally.deletes)),
        ("truncates", Obj::unsigned(tally.truncates)),
    ])
}

type Entries = Vec<(&'static str, Obj)>;

fn counts(counts: &Counts) -> Entries {
    vec![
        ("transactions", counts.transactions.into()),
        ("changes", counts.changes.into()),
        ("held", counts.held.into()),
        ("repeated", counts.repeated.into()),
        ("other_tables", counts.other_tables.into()),
        ("errors", counts.errors.into()),
        ("passed_over", counts.passed_over.into()),
    ]
}

fn run_entries(run: &Counts, ended: &str, position: Position, lsn: Lsn) -> Entries {
    let mut entries = counts(run);
    entries.push(("ended", Obj::text(ended)));
    entries.push(("position", position_value(Some(position))));
    entries.push(("lsn", lsn_value(lsn)));
    entries
}

/// What an apply did.
pub(super) fn applied_dict(applied: &Applied) -> Obj {
    let ended = match applied.ended {
        Ended::End => "end",
        Ended::Until => "until",
        Ended::Stopped | Ended::GivesWay => "stopped",
        Ended::Paused => "paused",
    };
    let StreamState { position, lsn, .. } = applied.stream;
    Obj::dict(run_entries(&applied.counts, ended, position, lsn))
}

/// What a follower has done that was stopped.
pub(super) fn followed_dict(status: &FollowStatus) -> Obj {
    let word = status.state.word();
    let mut entries = run_entries(&status.counts, word, status.position, status.lsn);
    entries.push(("latency_us", latency_value(status)));
    Obj::dict(entries)
}

/// Median and 99th percentile; empty when nothing was measured.
fn latency_value(status: &FollowStatus) -> Obj {
    match status.latency_us {
        Some(latency) => Obj::list(&latency.map(Obj::unsigned)),
        None => Obj::empty(),
    }
}

/// The tables whose reload is due, by name.
fn due_dict(due: &[Due]) -> Obj {
    Obj::dict(due.iter().map(|due| {
        let state = if due.is_begun { "copying" } else { "waiting" };
        let details = Obj::dict([
            ("state", Obj::text(state)),
            ("reason", Obj::text(&due.reason)),
            ("since_us", Obj::int(due.asked_us)),
            ("rows", Obj::int(due.rows)),
            ("passed_over", Obj::int(due.passed_over)),
            ("code", Obj::text(&due.code)),
            ("message", Obj::text(&due.message)),
        ]);
        (due.name(), details)
    }))
}

/// How a mirror is, by its file and by the follower that may be there.
pub(super) fn status_dict(mirror: &MirrorStatus, follow: Option<&FollowStatus>) -> Obj {
    let stream = &mirror.stream;
    let names = mirror.tables.iter().map(|table| &table.name);
    let since_us = follow.map(|follow| follow.since_us).or(mirror.work.since_us);
    let standing = mirror.suspended.iter().map(|suspended| &suspended.table);
    let mut entries = vec![
        ("state", Obj::text(mirror.state(follow))),
        ("since_us", since_us.map_or_else(Obj::empty, Obj::int)),
        ("stream", Obj::text(&stream.stream)),
        ("position", position_value(Some(stream.position))),
        ("lsn", lsn_value(stream.lsn)),
        ("commit_time_us", Obj::int(stream.commit_time)),
        ("lag_ms", mirror.lag_ms.map_or_else(Obj::empty, Obj::unsigned)),
        ("transactions", Obj::int(stream.transactions)),
        ("changes", Obj::int(stream.changes)),
        ("tables", Obj::text_list(names)),
        ("missing", Obj::text_list(&mirror.missing)),
        ("reloads", due_dict(&mirror.due)),
        ("suspended", Obj::text_list(standing)),
        ("gone", Obj::dict(mirror.gone.iter().map(|of| (of.table.as_str(), Obj::text(&of.why))))),
        ("errors", Obj::int(mirror.errors)),
        ("end", position_value(mirror.end)),
        ("sqlite", Obj::text(&mirror.sqlite)),
    ];
    let flow = mirror.flow(follow);
    let optional = |ms: Option<u64>| ms.map_or_else(Obj::empty, Obj::unsigned);
    entries.push(("health", Obj::text(flow.health.word())));
    entries.push(("held_at", Obj::text(flow.at)));
    entries.push(("capture_lag_ms", optional(flow.capture_lag_ms)));
    entries.push(("apply_lag_ms", optional(flow.apply_lag_ms)));
    let (code, error) = mirror.last_error(follow);
    entries.push(("last_error", Obj::text(error)));
    entries.push(("last_code", Obj::text(code)));
    if let Some(follow) = follow {
        entries.push(("latency_us", latency_value(follow)));
    }
    Obj::dict(entries)
}
