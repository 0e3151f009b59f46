//! Guest time: what the polls of a call took. Waits for the host cost nothing; ticks of the epoch only compare. A guest
//! that has computed for a while goes on in turns.

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

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
};

use crate::ticker::Ticker;

/// Guest time from which a call goes on in turns: what a large page's text takes at the most, so that a call which does
/// no more than that never waits for one.
const IN_TURNS_FROM: Duration = Duration::from_millis(10);

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

/// The turns of the guests that compute for long: of all workers, they keep no more than there are turns, so that the
/// rest is there for what the network, the store and short tasks bring.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    /// As many at once as there are cores, since more would not compute faster; and fewer than the runtime around us
    /// has workers, or none would be left for the others.
    pub(crate) fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = Handle::try_current().map_or(usize::MAX, |runtime| runtime.metrics().num_workers());
        Self::new(cores.min(workers.saturating_sub(1)).max(1))
    }

    fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }
}

/// A turn that is waited for.
type Turn = BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>;

/// A future whose polls are timed, and during whose polls the epoch ticks.
pub(crate) struct Metered<'a, F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
    ticker: &'a Ticker,
    turns: &'a Turns,
    waits_for: Option<Turn>,
}

impl<'a, F: Future> Metered<'a, F> {
    pub(crate) fn new(future: F, meter: Arc<Meter>, ticker: &'a Ticker, turns: &'a Turns) -> Self {
        Self { future: Box::pin(future), meter, ticker, turns, waits_for: None }
    }

    /// A turn, for a poll of a call that needs one.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Option<OwnedSemaphorePermit>> {
        if self.waits_for.is_none() && self.meter.spent() < IN_TURNS_FROM {
            return Poll::Ready(None);
        }
        let turn = self.waits_for.get_or_insert_with(|| self.turns.0.clone().acquire_owned().boxed());
        // They end with the sandbox, and no guest outlives that: the semaphore is never closed.
        turn.poll_unpin(context).map(|turn| {
            self.waits_for = None;
            turn.ok()
        })
    }
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Held for this poll, which a tick of the epoch ends: whoever waits is next.
        let Poll::Ready(_turn) = self.poll_turn(context) else {
            return Poll::Pending;
        };
        let _ticking = self.ticker.tick();
        let began = self.meter.now_ns();
        self.meter.polling_since.store(began + 1, Relaxed);
        let result = self.future.as_mut().poll(context);
        self.meter.polling_since.store(0, Relaxed);
        self.meter.spent_ns.fetch_add(self.meter.now_ns().saturating_sub(began), Relaxed);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn after(spent: Duration) -> Arc<Meter> {
        let meter = Meter::new();
        meter.spent_ns.store(u64::try_from(spent.as_nanos()).unwrap(), Relaxed);
        meter
    }

    #[tokio::test]
    async fn who_has_computed_for_long_takes_turns_and_who_has_not_waits_for_nobody() {
        let ticker = Ticker::start(&wasmtime::Engine::default()).unwrap();
        let turns = Turns::new(1);
        let metered = |spent| Metered::new(std::future::ready(()), after(spent), &ticker, &turns);
        let (mut another, mut short) = (metered(IN_TURNS_FROM), metered(IN_TURNS_FROM / 2));
        // Within its poll, which is its turn, the two others are polled.
        let computes = poll_fn(|context| {
            assert!(another.poll_unpin(context).is_pending(), "there is one turn, and it is taken");
            assert!(short.poll_unpin(context).is_ready());
            Poll::Ready(())
        });
        Metered::new(computes, after(IN_TURNS_FROM), &ticker, &turns).await;
        // Woken when the turn was given back.
        another.await;
    }
}
