//! A site's state, shared by all jobs: slots, rate, cool-down, counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tollgate_core::{Clock, Timestamp, gcra::Gcra, spec::SiteSpec};

use crate::{Refused, SiteStatus};

/// Sites remembered at once. Past it, those that nobody uses and that don't cool down are forgotten.
const SITES_MAX: usize = 10_000;

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
    _permit: OwnedSemaphorePermit,
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

    /// Waits for a place and for the rate's turn. A site that cools down refuses at once: nobody waits it out here.
    pub(crate) async fn enter(&self, spec: &SiteSpec, clock: &dyn Clock) -> Result<Slot, Refused> {
        self.refuse_if_cooling(clock.now())?;
        let permit = self.slots.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Refused::denied("the gate is closed"))?;
        self.refuse_if_cooling(clock.now())?;
        if let Some(rate) = spec.rate {
            let now = clock.now();
            let wait = self.state().rate.take(rate, now);
            if !wait.is_zero() {
                // To the next whole millisecond, which is what the clock counts in.
                clock.sleep_until(now.after(wait + Duration::from_millis(1))).await;
                if let Err(refused) = self.refuse_if_cooling(clock.now()) {
                    self.state().rate.give_back(rate);
                    return Err(refused);
                }
            }
        }
        self.state().requests += 1;
        Ok(Slot { _permit: permit })
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
