//! Which transactions a copied table already holds.
//!
//! A table is copied under one PostgreSQL snapshot while the stream runs on. A transaction of the
//! stream is in the copy exactly when the snapshot sees it: its id is below `xmin`, or below `xmax`
//! and not among those in progress, `xip` (`pg_current_snapshot()`, PostgreSQL manual, "Transaction
//! ID and Snapshot Information Functions"). The insert position of the WAL, read after the snapshot
//! was taken, bounds the question: what a snapshot sees has its commit record below it, so a
//! transaction beyond needs no test, and the test is over for good once the stream has passed it.
//!
//! All of that holds only while the server keeps what the snapshot saw. A crash loses commits that
//! did not wait for the disk, a failover those that the standby had not got, and then ids and
//! positions are used again for other transactions. So a [`Barrier`] is written after the snapshot:
//! its commit waits for the server's disk, and the copy counts as ready once the stream has it.

use crate::advice;
use deltaflood::Lsn;

use super::Error;
use crate::error::Code;
use crate::libpq::Guarded;

/// Prefix of the messages that barriers are.
pub(super) const BARRIER_PREFIX: &str = "deltamirror.copied";

/// A PostgreSQL snapshot, with 64-bit transaction ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Every id below is visible (or aborted).
    pub xmin: u64,
    /// No id from here on is visible.
    pub xmax: u64,
    /// Ids between the two that were in progress, ascending.
    pub xip: Vec<u64>,
    /// Every visible transaction's commit record ends at or below this.
    pub lsn: Lsn,
    /// Seconds since the Unix epoch, by the server's clock, when it was taken.
    pub taken_at: i64,
    /// What the stream has to bring before the copy counts; `None`: it has, or cannot.
    pub barrier: Option<Barrier>,
}

/// A message that was written into the WAL after a snapshot was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// Its content, used once: letters and digits.
    pub token: String,
    /// Its commit record ends at or below this.
    pub lsn: Lsn,
}

impl Barrier {
    /// As the mirror keeps it: LSN and token.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}", self.lsn, self.token)
    }

    /// From that text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Barrier> {
        let (lsn, token) = text.split_once(' ')?;
        Some(Barrier { token: token.to_owned(), lsn: lsn.parse().ok()? })
    }
}

impl Snapshot {
    /// Takes a snapshot: the first query of a REPEATABLE READ transaction, which keeps it.
    ///
    /// # Errors
    /// [`Error::Standby`] (a standby's snapshots do not list what is in progress),
    /// [`Error::Postgres`].
    pub fn take(conn: &Guarded<'_>) -> Result<Snapshot, Error> {
        let result = conn.query(
            "SELECT pg_catalog.pg_current_snapshot(), pg_catalog.pg_is_in_recovery(), \
             pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::pg_catalog.int8",
        )?;
        let text = |column| result.text(0, column).unwrap_or_default();
        if text(1) == "t" {
            return Err(Error::Standby);
        }
        // In a statement of its own: the snapshot above is complete before this is read.
        let lsn = conn.query("SELECT pg_catalog.pg_current_wal_insert_lsn()")?;
        let lsn = lsn.text(0, 0).unwrap_or_default();
        let parsed = Snapshot::parse(&text(0), &lsn, &text(2));
        parsed.ok_or_else(|| Error::Defect { what: format!("snapshot {} at {lsn}", text(0)) })
    }

    /// From PostgreSQL's text `xmin:xmax:xip,xip`, an LSN and a clock.
    #[must_use]
    pub fn parse(snapshot: &str, lsn: &str, taken_at: &str) -> Option<Snapshot> {
        let mut parts = snapshot.splitn(3, ':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let list = parts.next()?;
        let mut xip = Vec::new();
        for xid in list.split(',').filter(|xid| !xid.is_empty()) {
            xip.push(xid.parse().ok()?);
        }
        xip.sort_unstable();
        let (lsn, taken_at) = (lsn.parse().ok()?, taken_at.parse().ok()?);
        Some(Snapshot { xmin, xmax, xip, lsn, taken_at, barrier: None })
    }

    /// Whether it was taken at the same moment as `other`, whatever the stream has brought since.
    #[must_use]
    pub fn is_of_moment(&self, other: &Snapshot) -> bool {
        let moment = |s: &Snapshot| Snapshot { barrier: None, ..s.clone() };
        moment(self) == moment(other)
    }

    /// PostgreSQL's text of the snapshot.
    #[must_use]
    pub fn text(&self) -> String {
        let xip = self.xip.iter().map(u64::to_string).collect::<Vec<_>>();
        format!("{}:{}:{}", self.xmin, self.xmax, xip.join(","))
    }

    /// Whether the snapshot holds the transaction with this 32-bit id and commit LSN (`None` in a
    /// stream without commit lines). The id must be within 2^31 of the snapshot, as any id is that
    /// PostgreSQL can still compare.
    #[must_use]
    pub fn holds(&self, xid: u32, lsn: Option<Lsn>) -> bool {
        if lsn.is_some_and(|lsn| lsn > self.lsn) {
            return false;
        }
        self.sees(xid)
    }

    /// Whether the id is visible.
    pub(super) fn sees(&self, xid: u32) -> bool {
        // The low 32 bits of xmax; the difference is that of the nearest such 64-bit id.
        let distance = xid.wrapping_sub(self.xmax as u32) as i32;
        let Some(xid) = self.xmax.checked_add_signed(i64::from(distance)) else {
            // Before the first id of all: of an earlier epoch, hence seen.
            return true;
        };
        xid < self.xmin || (xid < self.xmax && self.xip.binary_search(&xid).is_err())
    }
}

/// A copy whose barrier the stream has passed without bringing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// The table's name in SQLite.
    pub table: String,
    /// Where the barrier should have come, at the latest.
    pub barrier: Lsn,
    /// Where the stream is.
    pub lsn: Lsn,
}

impl Unproven {
    /// An error code with these details.
    pub(super) fn code(&self, code: Code) -> Code {
        code.with("table", &self.table).with("barrier", self.barrier).with("lsn", self.lsn)
    }
}

impl std::fmt::Display for Unproven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unproven { table, barrier, lsn } = self;
        write!(
            f,
            "the copy of table {table} is not of this stream's server: what was written into its \
             WAL after the copy, before {barrier}, is not in the stream, which is at {lsn}. Either \
             another server was copied, or this one has lost what was copied (a failover to a \
             standby that had not got it). Nothing beyond was applied; copy it again by {}",
            advice::filling(table)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text, "0/1000", "0").unwrap()
    }

    #[test]
    fn visible_is_below_xmin_or_finished_below_xmax() {
        let s = snapshot("100:110:100,103");
        let seen: Vec<u32> = (95..115).filter(|xid| s.sees(*xid)).collect();
        assert_eq!(seen, [95, 96, 97, 98, 99, 101, 102, 104, 105, 106, 107, 108, 109]);
        assert_eq!(s.text(), "100:110:100,103");
    }

    #[test]
    fn ids_are_compared_across_the_wrap_of_32_bits() {
        let epoch = 1u64 << 32;
        let s = snapshot(&format!("{}:{}:{}", epoch - 2, epoch + 5, epoch - 2));
        assert!(s.sees(u32::MAX - 2) && !s.sees(u32::MAX - 1) && s.sees(u32::MAX));
        assert!(s.sees(3) && s.sees(4) && !s.sees(5) && !s.sees(100));
    }

    #[test]
    fn beyond_the_lsn_nothing_is_held() {
        let s = snapshot("100:110:");
        assert!(s.holds(50, Some(Lsn(0x1000))) && s.holds(50, None));
        assert!(!s.holds(50, Some(Lsn(0x1001))));
    }

    #[test]
    fn odd_texts_are_refused() {
        for bad in ["", "1", "1:2", "a:2:", "1:2:x"] {
            assert_eq!(Snapshot::parse(bad, "0/0", "0"), None, "{bad}");
        }
        assert_eq!(Snapshot::parse("1:2:", "zero", "0"), None);
    }
}
