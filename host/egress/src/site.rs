//! A site's state, shared by all jobs: slots, rate, cool-down, counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tollgate_core::{
    Clock, Timestamp,
    gcra::{Gcra, Rate},
    spec::SiteSpec,
};

use crate::{Refused, SiteStatus};

/// Sites remembered at once. Past it, those that nobody uses and that don't cool down are forgotten.
const SITES_MAX: usize = 10_000;
/// Longest wait for the rate's turn within the gate. Who waits holds one of the site's places and a guest with its
/// memory; a task that waits in the store holds nothing.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);

/// All sites asked for.
#[derive(Default)]
pub(crate) struct Sites(Mutex<HashMap<String, Arc<Site>>>);

/// One host name and port.
pub(crate) struct Site {
    name: String,
    slots: Arc<Semaphore>,
    state: Mutex<SiteState>,
}

#[derive(Default)]
struct SiteState {
    rate: Gcra,
    cooling: Option<Cooling>,
    requests: u64,
    bytes_received: u64,
    refused: u64,
}

/// Why a site is left alone, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cooling {
    until: Timestamp,
    reason: String,
    blocked: bool,
}

/// A place at a site: held for the exchange, from the first byte sent to the last received.
pub(crate) struct Slot {
    site: Arc<Site>,
    /// The rate's turn, as long as nothing has been sent for it.
    turn: Option<Rate>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// The request goes out now: its turn is used up.
    pub(crate) fn sent(&mut self) {
        self.turn = None;
        self.site.state().requests += 1;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(rate) = self.turn {
            self.site.state().rate.give_back(rate);
        }
    }
}

impl Sites {
    fn map(&self) -> MutexGuard<'_, HashMap<String, Arc<Site>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, authority: &str, spec: &SiteSpec, now: Timestamp) -> Arc<Site> {
        let mut sites = self.map();
        if let Some(site) = sites.get(authority) {
            return site.clone();
        }
        if sites.len() >= SITES_MAX {
            sites.retain(|_, site| Arc::strong_count(site) > 1 || site.cooling(now).is_some());
        }
        let site = Arc::new(Site {
            name: authority.to_owned(),
            slots: Arc::new(Semaphore::new(spec.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            state: Mutex::default(),
        });
        sites.insert(authority.to_owned(), site.clone());
        site
    }

    pub(crate) fn status(&self, now: Timestamp) -> Vec<SiteStatus> {
        let mut all: Vec<SiteStatus> = self.map().values().map(|site| site.status(now)).collect();
        all.sort_by(|a, b| a.site.cmp(&b.site));
        all
    }
}

impl Site {
    fn state(&self) -> MutexGuard<'_, SiteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cooling(&self, now: Timestamp) -> Option<Cooling> {
        self.state().cooling.clone().filter(|cooling| cooling.until > now)
    }

    fn refuse_if_cooling(&self, now: Timestamp) -> Result<(), Refused> {
        let Some(cooling) = self.cooling(now) else {
            return Ok(());
        };
        self.state().refused += 1;
        let after = cooling.until.since(now);
        Err(if cooling.blocked {
            Refused::blocked(&self.name, &cooling.reason, after)
        } else {
            Refused::rate_limited(&self.name, &cooling.reason, after)
        })
    }

    /// Waits for a place and for the rate's turn. A site that cools down refuses at once, and so does a turn that is
    /// far off: nobody waits either out here. A slot that is dropped before anything is sent gives its turn back.
    pub(crate) async fn enter(self: &Arc<Self>, spec: &SiteSpec, clock: &dyn Clock) -> Result<Slot, Refused> {
        self.refuse_if_cooling(clock.now())?;
        let permit = self.slots.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Refused::denied("the gate is closed"))?;
        let now = clock.now();
        self.refuse_if_cooling(now)?;
        let slot = Slot { site: self.clone(), turn: spec.rate, _permit: permit };
        let Some(rate) = spec.rate else {
            return Ok(slot);
        };
        let wait = self.state().rate.take(rate, now);
        if wait > TURN_WAIT_MAX {
            self.state().refused += 1;
            return Err(Refused::rate_limited(&self.name, "its `rate` in jobs.toml is used up", wait));
        }
        if !wait.is_zero() {
            // To the next whole millisecond, which is what the clock counts in.
            clock.sleep_until(now.after(wait + Duration::from_millis(1))).await;
            self.refuse_if_cooling(clock.now())?;
        }
        Ok(slot)
    }

    /// Leaves the site alone for `after`, whichever job asks. A longer cool-down stands.
    pub(crate) fn cool_down(&self, now: Timestamp, after: Duration, reason: &str, blocked: bool) {
        let until = now.after(after);
        let mut state = self.state();
        state.refused += 1;
        if state.cooling.as_ref().is_none_or(|cooling| cooling.until < until) {
            tracing::warn!(site = self.name, reason, seconds = after.as_secs(), "a site is left alone");
            state.cooling = Some(Cooling { until, reason: reason.to_owned(), blocked });
        }
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.state().bytes_received += bytes;
    }

    fn status(&self, now: Timestamp) -> SiteStatus {
        let cooling = self.cooling(now);
        let state = self.state();
        SiteStatus {
            site: self.name.clone(),
            requests: state.requests,
            bytes_received: state.bytes_received,
            refused: state.refused,
            cooling_until: cooling.as_ref().map(|cooling| cooling.until),
            reason: cooling.map(|cooling| cooling.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};
    use tollgate_core::spec::{Route, SitePattern};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// A clock that stands still.
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            NOW
        }

        fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
            std::future::pending().boxed()
        }
    }

    fn spec(interval: Duration) -> SiteSpec {
        SiteSpec {
            pattern: SitePattern::Any,
            route: Route::Unset,
            rate: Some(Rate { interval, burst: 1 }),
            concurrency: 4,
            timeout: Duration::from_secs(1),
            body_max: 1,
            cool_down: Duration::from_secs(1),
            at: None,
        }
    }

    async fn first_sent(spec: &SiteSpec) -> Arc<Site> {
        let site = Sites::default().get("a.example:80", spec, NOW);
        site.enter(spec, &Still).await.ok().unwrap().sent();
        site
    }

    fn next_turn(site: &Site, spec: &SiteSpec) -> Duration {
        let mut rate = site.state().rate;
        rate.take(spec.rate.unwrap(), NOW)
    }

    #[tokio::test]
    async fn a_turn_that_is_waited_for_in_vain_is_given_back() {
        let interval = Duration::from_secs(5);
        let spec = spec(interval);
        let site = first_sent(&spec).await;
        {
            let mut waits = Box::pin(site.enter(&spec, &Still));
            assert!(waits.as_mut().now_or_never().is_none());
            assert_eq!(next_turn(&site, &spec), interval * 2);
        }
        assert_eq!(next_turn(&site, &spec), interval, "who was dropped holds no turn");
        assert_eq!(site.state().requests, 1);
    }

    #[tokio::test]
    async fn a_turn_that_is_far_off_is_refused_with_its_wait() {
        let interval = TURN_WAIT_MAX + Duration::from_secs(1);
        let spec = spec(interval);
        let site = first_sent(&spec).await;
        let refused = site.enter(&spec, &Still).await.err().unwrap();
        assert_eq!(refused.refusal.and_then(|refusal| refusal.after), Some(interval));
        assert_eq!(next_turn(&site, &spec), interval);
    }
}
