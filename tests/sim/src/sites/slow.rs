//! A site that takes its time for each answer, as models do.

use crate::site::{Answering, Request, Site};
use crate::sites::bill::Billed;
use std::{sync::Arc, thread, time::Duration};

/// A site whose answers take so long.
pub struct Slow {
    site: Arc<dyn Site>,
    time: Duration,
}

impl Slow {
    /// That site, after so long each time; of no time at all, the site as it is.
    pub fn new(site: Arc<dyn Site>, time: Duration) -> Self {
        Self { site, time }
    }
}

impl Site for Slow {
    fn answer(&self, request: Request) -> Answering<'_> {
        if self.time.is_zero() {
            return self.site.answer(request);
        }
        Box::pin(async move {
            // A thread's sleep: the runtime's timer goes by whole milliseconds, which would make askers who ask again
            // at once wait for its next tick.
            let time = self.time;
            drop(tokio::task::spawn_blocking(move || thread::sleep(time)).await);
            self.site.answer(request).await
        })
    }

    fn reset(&self) {
        self.site.reset();
    }

    fn bill(&self) -> Vec<Billed> {
        self.site.bill()
    }
}
