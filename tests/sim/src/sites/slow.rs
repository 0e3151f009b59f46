//! A site that takes its time for each answer, as models do: now more, now less.

use crate::site::{Answering, Request, Site};
use crate::sites::bill::Billed;
use std::{sync::Arc, thread, time::Duration};

/// A site whose answers take about so long.
pub struct Slow {
    site: Arc<dyn Site>,
    time: Duration,
}

impl Slow {
    /// That site, after between the half of that time and half as much again, by what is asked: the same request takes
    /// as long each time. Of no time at all, the site as it is.
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
            let part = 0.5 + f64::from(crc32fast::hash(request.http.body())) / f64::from(u32::MAX);
            let time = self.time.mul_f64(part);
            // A thread's sleep: the runtime's timer goes by whole milliseconds, and who asks again at once would wait
            // for its next one.
            tokio::task::spawn_blocking(move || thread::sleep(time)).await.expect("a thread can sleep");
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
