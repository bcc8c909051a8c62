//! How long a change takes from its commit in PostgreSQL to being visible in SQLite.

/// The last measurements, of which percentiles are asked.
#[derive(Debug, Clone, Default)]
pub struct Latency {
    /// Microseconds; a ring once it is full.
    samples: Vec<u64>,
    next: usize,
}

/// Number of transactions whose latency is kept.
const SAMPLES_MAX: usize = 4096;

impl Latency {
    /// Takes one measurement, in microseconds; the oldest of 4,096 is forgotten.
    pub fn add(&mut self, us: u64) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(us);
        } else if let Some(slot) = self.samples.get_mut(self.next) {
            *slot = us;
        }
        self.next = (self.next + 1) % SAMPLES_MAX;
    }

    /// The values below which `percents` of the samples lie, in microseconds; `None` without any.
    #[must_use]
    pub fn percentiles<const N: usize>(&self, percents: [u8; N]) -> Option<[u64; N]> {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        Some(percents.map(|p| {
            let at = (last * usize::from(p.min(100))).div_ceil(100);
            sorted.get(at).copied().unwrap_or_default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_samples() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentiles([50]), None);
        for us in 0..101 {
            latency.add(us);
        }
        assert_eq!(latency.percentiles([0, 50, 99, 100]), Some([0, 50, 99, 100]));
        for _ in 0..SAMPLES_MAX {
            latency.add(7);
        }
        assert_eq!(latency.percentiles([0, 100]), Some([7, 7]));
    }
}
