//! Guest time: what the polls of a call took. Waits for the host cost nothing; ticks of the epoch only compare.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::ticker::Ticker;

/// The time of one call. Written by its polls, read by the epoch's callback within them: one thread at a time.
#[derive(Debug)]
pub(crate) struct Meter {
    origin: Instant,
    spent_ns: AtomicU64,
    /// When the poll under way began, in nanoseconds since `origin`, plus one; 0: none is.
    polling_since: AtomicU64,
}

impl Meter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { origin: Instant::now(), spent_ns: AtomicU64::new(0), polling_since: AtomicU64::new(0) })
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX - 1)
    }

    pub(crate) fn spent(&self) -> Duration {
        let since = self.polling_since.load(Relaxed);
        let under_way = if since == 0 { 0 } else { self.now_ns().saturating_sub(since - 1) };
        Duration::from_nanos(self.spent_ns.load(Relaxed) + under_way)
    }
}

/// A future whose polls are timed, and during whose polls the epoch ticks.
pub(crate) struct Metered<'a, F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
    ticker: &'a Ticker,
}

impl<'a, F: Future> Metered<'a, F> {
    pub(crate) fn new(future: F, meter: Arc<Meter>, ticker: &'a Ticker) -> Self {
        Self { future: Box::pin(future), meter, ticker }
    }
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _ticking = self.ticker.tick();
        let began = self.meter.now_ns();
        self.meter.polling_since.store(began + 1, Relaxed);
        let result = self.future.as_mut().poll(context);
        self.meter.polling_since.store(0, Relaxed);
        self.meter.spent_ns.fetch_add(self.meter.now_ns().saturating_sub(began), Relaxed);
        result
    }
}
