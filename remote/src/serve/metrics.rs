//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections that are open.
    pub connections: AtomicU64,
    /// Connections that were accepted.
    pub accepted: AtomicU64,
    /// Connections that were let go since they took nothing.
    pub stalled: AtomicU64,
    /// Connections that were one too many from their address.
    pub turned_away: AtomicU64,
    /// TLS handshakes that failed.
    pub handshakes_failed: AtomicU64,
    /// Requests answered with 2xx or 3xx.
    pub requests: AtomicU64,
    /// Requests refused.
    pub refused: AtomicU64,
    /// Bytes of bodies.
    pub bytes: AtomicU64,
}

impl Metrics {
    /// One more.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// In Prometheus's text form.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, counter) in [
            ("connections", "gauge", "Open connections", &self.connections),
            ("connections_total", "counter", "Accepted connections", &self.accepted),
            ("stalled_total", "counter", "Connections that took nothing", &self.stalled),
            ("turned_away_total", "counter", "Too many of an address", &self.turned_away),
            ("handshakes_failed_total", "counter", "Failed TLS", &self.handshakes_failed),
            ("requests_total", "counter", "Requests answered", &self.requests),
            ("refused_total", "counter", "Requests refused", &self.refused),
            ("sent_bytes_total", "counter", "Bytes of bodies sent", &self.bytes),
        ] {
            let value = counter.load(Ordering::Relaxed);
            text.push_str(&format!(
                "# HELP daystream_{name} {help}.\n# TYPE daystream_{name} {kind}\n\
                 daystream_{name} {value}\n"
            ));
        }
        text
    }
}
