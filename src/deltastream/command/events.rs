//! A capture's events, from its threads to a callback.

use crate::daystream::command::position_value;
use crate::daystream::{Compressed, Position, heartbeat};
use crate::deltastream::{Event, Listener, Sending, Status, Waiting};
use crate::tcl::callback::{Callback, Report};
use crate::tcl::mailbox::{Fold, Sender};
use crate::tcl::{Interp, Obj};
use deltaflood::Lsn;

/// An event that owns what it tells.
#[derive(Debug)]
pub(crate) enum Told {
    Connected { from: Lsn },
    Reconnecting { why: Report, after_ms: u64 },
    Timeline { from: u32, to: u32 },
    Warning { message: String },
    Transactions { count: u64, lines: u64, position: Position, lsn: Lsn, time_us: i64 },
    Compressed { done: Compressed },
    NotCompressed { why: Report },
    Ended,
    Failed { why: Report },
}

impl Fold for Waiting {
    fn fold(&mut self, next: Waiting) -> Option<Waiting> {
        *self = next;
        None
    }
}

impl Fold for Told {
    fn fold(&mut self, next: Told) -> Option<Told> {
        match (self, next) {
            (
                Told::Transactions { count, lines, position, lsn, time_us },
                Told::Transactions { count: c, lines: l, position: to, lsn: at, time_us: time },
            ) => {
                *count += c;
                *lines += l;
                (*position, *lsn, *time_us) = (to, at, time);
                None
            }
            (_, next) => Some(next),
        }
    }
}

impl Told {
    fn of(event: &Event<'_>) -> Told {
        match event {
            Event::Streaming { from } => Told::Connected { from: *from },
            Event::Retrying { error, after } => Told::Reconnecting {
                why: Report::of(*error),
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            },
            Event::Timeline { from, to } => Told::Timeline { from: *from, to: *to },
            Event::Warning { message } => Told::Warning { message: (*message).to_owned() },
            Event::Transactions { count, lines, position, lsn, time_us } => Told::Transactions {
                count: *count,
                lines: *lines,
                position: *position,
                lsn: *lsn,
                time_us: *time_us,
            },
            Event::Compressed { done } => Told::Compressed { done: *done },
            Event::NotCompressed { error } => Told::NotCompressed { why: Report::of(*error) },
            Event::Stopped => Told::Ended,
            Event::Failed { error } => Told::Failed { why: Report::of(*error) },
        }
    }

    /// Tells the callback.
    pub(crate) fn tell(&self, interp: Interp, callback: &Callback, status: &Status) {
        match self {
            Told::Connected { from } => {
                callback.tell(interp, "connected", &[("lsn", lsn_value(*from))]);
            }
            Told::Reconnecting { why, after_ms } => {
                let mut details = why.details();
                details.push(("after_ms", Obj::unsigned(*after_ms)));
                callback.tell(interp, "reconnecting", &details);
            }
            Told::Timeline { from, to } => {
                let details = [("from", Obj::int((*from).into())), ("to", Obj::int((*to).into()))];
                callback.tell(interp, "timeline", &details);
            }
            Told::Warning { message } => {
                callback.tell(interp, "warning", &[("message", Obj::text(message))]);
            }
            Told::Transactions { count, lines, position, lsn, time_us } => {
                let details = [
                    ("count", Obj::unsigned(*count)),
                    ("lines", Obj::unsigned(*lines)),
                    ("position", position_value(Some(*position))),
                    ("lsn", lsn_value(*lsn)),
                    ("time_us", Obj::int(*time_us)),
                ];
                callback.tell(interp, "transactions", &details);
            }
            Told::Compressed { done } => {
                let details = [
                    ("segments", Obj::unsigned(done.segments)),
                    ("text_bytes", Obj::unsigned(done.text_bytes)),
                    ("bytes", Obj::unsigned(done.bytes)),
                ];
                callback.tell(interp, "compressed", &details);
            }
            Told::NotCompressed { why } => {
                callback.tell(interp, "notcompressed", &why.details());
            }
            Told::Ended => {
                let details = [
                    ("transactions", Obj::unsigned(status.transactions)),
                    ("lines", Obj::unsigned(status.lines)),
                    ("lsn", lsn_value(status.durable)),
                ];
                callback.tell(interp, "end", &details);
            }
            Told::Failed { why } => callback.tell(interp, "error", &why.details()),
        }
    }
}

/// A listener that sends everything to a mailbox.
pub(crate) fn listener(sender: Sender<Told>) -> Listener {
    Box::new(move |event| sender.send(Told::of(event)))
}

/// An LSN as PostgreSQL writes it.
pub(crate) fn lsn_value(lsn: Lsn) -> Obj {
    Obj::text(&lsn.to_string())
}

/// The status of a capture as a dict.
pub(crate) fn status_dict(status: &Status, state: &str) -> Obj {
    let pulse = &status.pulse;
    let optional = |number: Option<i64>| number.map_or_else(Obj::empty, Obj::int);
    let unsigned = |number: Option<u64>| number.map_or_else(Obj::empty, Obj::unsigned);
    let refused = match &pulse.sending {
        Sending::Refused(why) => why.as_str(),
        _ => "",
    };
    let age_ms = pulse.last.map(|(beat, _)| beat.seen_ms(heartbeat::now_us()));
    Obj::dict([
        ("state", Obj::text(state)),
        ("since_us", optional((status.since_us > 0).then_some(status.since_us))),
        ("transactions", status.transactions.into()),
        ("lines", status.lines.into()),
        ("connections", status.connections.into()),
        ("position", position_value(status.position)),
        ("durable_lsn", lsn_value(status.durable)),
        ("received_lsn", lsn_value(status.received)),
        ("wal_lsn", lsn_value(status.wal_end)),
        ("lag_bytes", status.wal_end.0.saturating_sub(status.durable.0).into()),
        ("commit_time_us", optional(status.commit_time_us)),
        ("error", Obj::text(&status.error)),
        ("error_code", Obj::text(&status.code)),
        ("health", Obj::text(status.health().word())),
        ("heartbeat", Obj::text(pulse.sending.word())),
        ("heartbeat_error", Obj::text(refused)),
        ("beat_age_ms", optional(age_ms)),
        ("lag_ms", unsigned(pulse.lag_ms())),
        ("clock_offset_ms", optional(pulse.offset_us.map(|us| us / 1000))),
    ])
}
