//! What holds an answer back until a test lets it go.

use std::sync::Arc;
use tokio::sync::watch;

/// Holds answers, or the rest of their bodies, back until a test lets them go. Clones are one and the same.
#[derive(Clone, Debug)]
pub struct Release(Arc<watch::Sender<bool>>);

impl Release {
    /// One that holds.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets go of everything that waits, and of everything that comes later.
    pub fn release(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn released(&self) {
        let mut state = self.0.subscribe();
        // It can't fail: `self` holds the sender.
        let _released = state.wait_for(|released| *released).await;
    }
}

impl Default for Release {
    fn default() -> Self {
        Self::new()
    }
}
