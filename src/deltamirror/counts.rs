//! What was done to the tables of a mirror, in numbers.

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Transactions of the stream; by URL, not all of those without a line for the mirror.
    pub transactions: u64,
    /// Rows inserted, updated, deleted; a truncate is one.
    pub changes: u64,
    /// Lines of tables that are not in the mirror: a reader of its tables gives definitions only.
    pub other_tables: u64,
    /// Lines that a table's copy held already.
    pub held: u64,
    /// Transactions at or below the mirror's LSN, skipped.
    pub repeated: u64,
    /// Rows kept as not applied.
    pub errors: u64,
    /// Lines that a table could not take, and did not have to: it will be reloaded.
    pub passed_over: u64,
}

impl Counts {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Counts) {
        self.transactions += other.transactions;
        self.changes += other.changes;
        self.other_tables += other.other_tables;
        self.held += other.held;
        self.repeated += other.repeated;
        self.errors += other.errors;
        self.passed_over += other.passed_over;
    }

    /// What came since these counts were `before`.
    #[must_use]
    pub fn since(&self, before: &Counts) -> Counts {
        Counts {
            transactions: self.transactions.saturating_sub(before.transactions),
            changes: self.changes.saturating_sub(before.changes),
            other_tables: self.other_tables.saturating_sub(before.other_tables),
            held: self.held.saturating_sub(before.held),
            repeated: self.repeated.saturating_sub(before.repeated),
            errors: self.errors.saturating_sub(before.errors),
            passed_over: self.passed_over.saturating_sub(before.passed_over),
        }
    }
}
