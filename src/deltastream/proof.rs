//! Proof that the server has what the stream has.
//!
//! A server restored from a copy of its files, or a copy that runs beside the first, has the same
//! system identifier and timeline, and a slot of the same name. What tells it is its WAL: the
//! transactions that the slot still sends again must be those of the stream. Until the server has
//! gone past the stream's end nothing is confirmed to it.
//!
//! Compared are end, transaction id and commit time of the stream's last transaction, where the
//! slot sends it again; and there must be none behind it that the stream lacks. Heartbeats are
//! transactions of the stream: with them the last one is at most one interval old. What this
//! cannot tell is a copy made after the capture had confirmed everything.

use super::Error;
use crate::daystream::LastCommit;
use deltaflood::Lsn;

/// A transaction that was sent again, of interest and received before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// End of its commit record.
    pub lsn: Lsn,
    /// The transaction, 0 for a message outside any.
    pub xid: u32,
    /// Commit time, microseconds since the Unix epoch.
    pub time_us: i64,
}

/// What a connection has to show before anything new is taken from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    /// The stream's last transaction, until it was seen.
    expected: Option<LastCommit>,
    /// Whether every transaction sent again is one of the stream. Not so where tables may have been
    /// added since.
    strict: bool,
    /// What the slot has confirmed; nothing beyond it is, before the proof.
    confirmed: Lsn,
    /// Where the stream ends.
    have: Lsn,
    pending: bool,
}

impl Proof {
    /// Of a stream that ends at `have`, with `last` as its last transaction, from a slot that has
    /// confirmed `confirmed`.
    pub(super) fn new(last: Option<LastCommit>, confirmed: Lsn, have: Lsn, strict: bool) -> Proof {
        let expected = last.filter(|last| last.lsn > confirmed && last.lsn <= have);
        Proof { expected, strict, confirmed, have, pending: confirmed < have }
    }

    /// Where the server is to begin: so that it sends the last transaction again, or all that it
    /// has not heard confirmed (0: the server begins there).
    pub(super) fn from(&self) -> Lsn {
        match (self.pending, self.expected) {
            (false, _) => self.have,
            (true, Some(last)) => last.before.unwrap_or_default(),
            (true, None) => Lsn(0),
        }
    }

    /// How far `durable` may be confirmed now.
    pub(super) fn may_confirm(&self, durable: Lsn) -> Lsn {
        if self.pending { durable.min(self.confirmed) } else { durable }
    }

    /// Takes a transaction that was sent again.
    ///
    /// # Errors
    /// `STREAM REWOUND` when it is not the stream's.
    pub(super) fn again(&mut self, again: Again) -> Result<(), Error> {
        let Some(last) = self.expected else {
            // The last one was seen, or lies before what is sent: here the stream has nothing.
            return if self.pending && self.strict {
                Err(self.other(format!("the server sends one that ends at {}", again.lsn)))
            } else {
                Ok(())
            };
        };
        if again.lsn < last.lsn {
            return Ok(());
        }
        let same_time = again.xid == 0 || last.time_us.is_none_or(|time| time == again.time_us);
        let same_xid = last.xid.is_none_or(|xid| xid == again.xid);
        if again.lsn == last.lsn && same_xid && same_time {
            self.expected = None;
            return Ok(());
        }
        let Again { lsn, xid, .. } = again;
        Err(self.other(format!("the server sends transaction {xid} that ends at {lsn}")))
    }

    /// The server has gone past `lsn`.
    ///
    /// # Errors
    /// `STREAM REWOUND` when the stream's last transaction should have come before.
    pub(super) fn passed(&mut self, lsn: Lsn) -> Result<(), Error> {
        if !self.pending {
            return Ok(());
        }
        if self.expected.is_some_and(|last| lsn >= last.lsn) {
            return Err(self.other(format!("the server is at {lsn} and has not sent it")));
        }
        self.pending = lsn < self.have;
        Ok(())
    }

    fn other(&self, why: String) -> Error {
        let lsn = self.expected.map_or(self.have, |last| last.lsn);
        Error::OtherServer { lsn, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: LastCommit =
        LastCommit { lsn: Lsn(50), xid: Some(7), time_us: Some(70), before: Some(Lsn(40)) };
    const SAME: Again = Again { lsn: Lsn(50), xid: 7, time_us: 70 };

    #[test]
    fn what_is_confirmed_is_not_asked_for() {
        let proof = Proof::new(Some(LAST), Lsn(60), Lsn(60), true);
        assert_eq!((proof.from(), proof.may_confirm(Lsn(70))), (Lsn(60), Lsn(70)));
    }

    #[test]
    fn nothing_is_confirmed_before_the_last_transaction_has_come_again() {
        let mut proof = Proof::new(Some(LAST), Lsn(45), Lsn(60), true);
        assert_eq!((proof.from(), proof.may_confirm(Lsn(60))), (Lsn(40), Lsn(45)));
        proof.passed(Lsn(49)).expect("before it");
        proof.again(SAME).expect("the same");
        proof.passed(Lsn(50)).expect("not at the end yet");
        assert_eq!(proof.may_confirm(Lsn(60)), Lsn(45));
        proof.passed(Lsn(60)).expect("at the end");
        assert_eq!(proof.may_confirm(Lsn(60)), Lsn(60));
    }

    #[test]
    fn what_the_stream_does_not_have_is_another_server() {
        let proof = || Proof::new(Some(LAST), Lsn(45), Lsn(60), true);
        for other in [
            Again { lsn: Lsn(51), ..SAME },
            Again { xid: 8, ..SAME },
            Again { time_us: 71, ..SAME },
        ] {
            assert!(matches!(proof().again(other), Err(Error::OtherServer { .. })), "{other:?}");
        }
        assert!(matches!(proof().passed(Lsn(50)), Err(Error::OtherServer { .. })));
        let mut seen = proof();
        seen.again(SAME).expect("the same");
        assert!(seen.again(Again { lsn: Lsn(55), ..SAME }).is_err());
        let mut quiet = Proof::new(Some(LAST), Lsn(50), Lsn(60), true);
        assert_eq!(quiet.from(), Lsn(0));
        assert!(quiet.again(Again { lsn: Lsn(55), ..SAME }).is_err());
        let mut loose = Proof::new(Some(LAST), Lsn(50), Lsn(60), false);
        assert!(loose.again(Again { lsn: Lsn(55), ..SAME }).is_ok());
    }
}
