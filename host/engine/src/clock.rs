//! The system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tollgate_core::{Clock, Timestamp};

/// Wall-clock time of the system; sleeps by the runtime's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let clock = *self;
        Box::pin(async move {
            // The wall clock may be set while we sleep, and timers count in milliseconds: look again.
            while clock.now() < until {
                tokio::time::sleep(until.since(clock.now())).await;
            }
        })
    }
}
