//! Requests for a look at the catalogs, each kept until a look has seen what its transaction did.
//!
//! A transaction is in the WAL, and so comes here, before others see it: by a moment, or for as
//! long as a synchronous standby is waited for. A look that comes meanwhile sees the catalogs of
//! before.

use crate::limits;
use std::collections::BTreeSet;

/// Requests that no look has answered.
#[derive(Debug, Default)]
pub(in crate::deltastream) struct Asked {
    /// Of these transactions.
    xids: BTreeSet<u32>,
    /// They are too many: all that began no later than this one.
    until: Option<u32>,
    /// Of somebody outside of any transaction: any look answers it.
    at_once: bool,
}

impl Asked {
    /// Somebody asks, in a transaction; 0: outside of any.
    pub(in crate::deltastream) fn ask(&mut self, xid: u32) {
        match xid {
            0 => self.at_once = true,
            _ if self.xids.len() < limits::LOOKS_ASKED_MAX => {
                self.xids.insert(xid);
            }
            // NOTE: any role may ask, as often as it likes: it gets no more memory for that.
            _ => {
                let is_later = |until: u32| xid.wrapping_sub(until).cast_signed() > 0;
                if self.until.is_none_or(is_later) {
                    self.until = Some(xid);
                }
            }
        }
    }

    /// Whether some request is open.
    pub(in crate::deltastream) fn is_open(&self) -> bool {
        self.at_once || self.until.is_some() || !self.xids.is_empty()
    }

    /// A look has seen the catalogs as of this snapshot, as the server prints it.
    pub(in crate::deltastream) fn looked(&mut self, snapshot: &str) {
        let Some(snapshot) = Snapshot::parse(snapshot) else { return };
        self.at_once = false;
        self.xids.retain(|xid| !snapshot.sees(*xid));
        self.until = self.until.filter(|until| snapshot.full(*until) >= snapshot.xmin);
    }
}

/// Which transactions are seen.
struct Snapshot {
    xmin: u64,
    xmax: u64,
    /// Of those between the two, the ones that are not.
    running: Vec<u64>,
}

impl Snapshot {
    fn parse(text: &str) -> Option<Snapshot> {
        let mut parts = text.split(':');
        let mut number = || parts.next()?.parse().ok();
        let (xmin, xmax) = (number()?, number()?);
        let running = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        let running: Result<_, _> = running.map(str::parse).collect();
        Some(Snapshot { xmin, xmax, running: running.ok()? })
    }

    /// A transaction's number with its epoch: none is further from those of the snapshot than half
    /// of an epoch.
    fn full(&self, xid: u32) -> u64 {
        // The lower half is what counts.
        let low = self.xmax as u32;
        self.xmax.wrapping_add_signed(i64::from(xid.wrapping_sub(low).cast_signed()))
    }

    fn sees(&self, xid: u32) -> bool {
        let xid = self.full(xid);
        xid < self.xmax && !self.running.contains(&xid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_open_until_its_transaction_is_seen() {
        let mut asked = Asked::default();
        assert!(!asked.is_open());
        asked.ask(0);
        assert!(asked.is_open());
        asked.looked("garbage");
        assert!(asked.is_open());
        asked.looked("5:5:");
        assert!(!asked.is_open());
        for xid in [7, 9, 12] {
            asked.ask(xid);
        }
        asked.looked("7:11:7,9");
        assert_eq!(asked.xids.iter().copied().collect::<Vec<_>>(), [7, 9, 12]);
        asked.looked("9:13:9");
        assert_eq!(asked.xids.iter().copied().collect::<Vec<_>>(), [9]);
        asked.looked("13:13:");
        assert!(!asked.is_open());
    }

    #[test]
    fn numbers_go_round() {
        let mut asked = Asked::default();
        let epoch = 1_u64 << 32;
        asked.ask(u32::MAX);
        asked.ask(5);
        asked.looked(&format!("{}:{}:{}", epoch - 1, epoch + 3, epoch - 1));
        assert_eq!(asked.xids.len(), 2);
        asked.looked(&format!("{0}:{0}:", epoch + 3));
        assert_eq!(asked.xids.iter().copied().collect::<Vec<_>>(), [5]);
        asked.looked(&format!("{0}:{0}:", epoch + 6));
        assert!(!asked.is_open());
    }

    #[test]
    fn of_too_many_the_last_is_waited_for() {
        let mut asked = Asked::default();
        let many = u32::try_from(limits::LOOKS_ASKED_MAX).expect("a number");
        for xid in (10..20 + many).rev() {
            asked.ask(xid);
        }
        assert_eq!((asked.xids.len(), asked.until), (limits::LOOKS_ASKED_MAX, Some(19)));
        asked.looked(&format!("19:{0}:19", 20 + many));
        assert!(asked.xids.is_empty() && asked.is_open());
        asked.looked(&format!("{0}:{0}:", 20 + many));
        assert!(!asked.is_open());
    }
}
