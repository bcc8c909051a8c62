//! A stop that everybody hears of.

use tokio::sync::watch;

/// Hears of the server's end.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Tells of it.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// One who has not told yet.
    #[must_use]
    pub fn new() -> Stopper {
        Stopper(watch::Sender::new(false))
    }

    /// One who will hear.
    #[must_use]
    pub fn subscribe(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    /// Tells all.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }
}

impl Default for Stopper {
    fn default() -> Stopper {
        Stopper::new()
    }
}

impl Stop {
    /// Whether the server is to end.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is.
    pub async fn raised(&mut self) {
        // Without a stopper the server is gone as well.
        let _ = self.0.wait_for(|raised| *raised).await;
    }
}
